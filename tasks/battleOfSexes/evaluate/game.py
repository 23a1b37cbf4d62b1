"""Battle of the sexes: payoffs, and the column player."""

from __future__ import annotations

import random

from workbench.tasks.games import History, matrix_game, play
from workbench.tasks.submission import Job, Scores

PAYOFFS = {(0, 0): 2.0, (0, 1): 0.0, (1, 0): 0.0, (1, 1): 1.0}


def column(history: History[int], dice: random.Random) -> int:
    """Opens with its own favourite; then goes along with the row player's first move four times out of five."""
    if not history:
        return 1
    opening = history[0][0]
    return opening if dice.random() < 0.8 else 1 - opening


def evaluate(job: Job) -> Scores:
    """Score of the row player."""
    return play(matrix_game(PAYOFFS, column), job)
