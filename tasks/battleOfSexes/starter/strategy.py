import random


def row_strategy(history):
    """The row player's move, 0 or 1. `history`: earlier rounds of this game as (row move, column move)."""
    if not history:
        return 0
    my_last, their_last = history[-1]
    chance = random.random()
    if chance < 0.1:
        return 0
    if chance < 0.2:
        return 1
    if chance < 0.9:
        return their_last
    return my_last
