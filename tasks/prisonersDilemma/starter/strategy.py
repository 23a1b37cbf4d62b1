import random


def row_strategy(history):
    """The row player's move: 0 cooperates, 1 defects. `history`: earlier rounds as (row move, column move)."""
    if not history:
        return random.choice([0, 1])
    my_last, their_last = history[-1]
    chance = random.random()
    if their_last == 1:
        if chance < 0.75:
            return 1
        return my_last if chance < 0.9 else 0
    if chance < 0.6:
        return 0
    return my_last if chance < 0.9 else 1
