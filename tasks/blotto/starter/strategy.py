import random

SOLDIERS = 120
FIELDS = 6


def row_strategy(history):
    """Soldiers for each of the six fields. `history`: earlier rounds as (row allocation, column allocation)."""
    allocation = [0] * FIELDS
    for _ in range(random.randint(1, FIELDS)):
        allocation[random.randrange(FIELDS)] += random.randint(10, 30)
    left = SOLDIERS - sum(allocation)
    for field in range(FIELDS):
        if allocation[field] == 0 and left > 0:
            allocation[field] = random.randint(0, left)
            left -= allocation[field]
    total = sum(allocation)
    allocation = [soldiers * SOLDIERS // total for soldiers in allocation]
    allocation[random.randrange(FIELDS)] += SOLDIERS - sum(allocation)
    return allocation
