"""Iterated prisoner's dilemma: payoffs, and a column player that draws a new rule for each round."""

from __future__ import annotations

import random

from workbench.tasks.games import History, matrix_game, play
from workbench.tasks.submission import Job, Scores

PAYOFFS = {(0, 0): 3.0, (0, 1): 0.0, (1, 0): 5.0, (1, 1): 1.0}


def mixed(history: History[int], dice: random.Random) -> int:
    """Opens with 1; then 0 (1/3), 1 (1/6), its own last move (0.4), or the opposite of the row's last move (0.1)."""
    if not history:
        return 1
    row, own = history[-1]
    chance = dice.random()
    if chance < 1 / 3:
        return 0
    if chance < 1 / 2:
        return 1
    return own if chance < 0.9 else 1 - row


def tit_for_tat(history: History[int], dice: random.Random) -> int:
    """Opens with 0, then copies the row player."""
    return history[-1][0] if history else 0


def always_cooperate(history: History[int], dice: random.Random) -> int:
    """0."""
    return 0


def always_defect(history: History[int], dice: random.Random) -> int:
    """1."""
    return 1


def coin(history: History[int], dice: random.Random) -> int:
    """0 or 1, evenly."""
    return dice.getrandbits(1)


def grim(history: History[int], dice: random.Random) -> int:
    """1 once the row player has ever played 1."""
    return int(any(row == 1 for row, _ in history))


def pavlov(history: History[int], dice: random.Random) -> int:
    """Opens with 0; 0 if both played the same last round, else 1."""
    return int(bool(history) and history[-1][0] != history[-1][1])


def tit_for_two_tats(history: History[int], dice: random.Random) -> int:
    """1 only after the row player played 1 twice in a row."""
    return int(len(history) >= 2 and history[-1][0] == history[-2][0] == 1)


def suspicious_tit_for_tat(history: History[int], dice: random.Random) -> int:
    """Opens with 1, then copies the row player."""
    return history[-1][0] if history else 1


def forgiving(history: History[int], dice: random.Random) -> int:
    """Opens with 0; forgives two defections in a row, else copies the row player."""
    if not history or (len(history) >= 2 and history[-1][0] == history[-2][0] == 1):
        return 0
    return history[-1][0]


RULES = (
    mixed,
    tit_for_tat,
    always_cooperate,
    always_defect,
    coin,
    grim,
    pavlov,
    tit_for_two_tats,
    suspicious_tit_for_tat,
    coin,  # twice among the eleven
    forgiving,
)


def column(history: History[int], dice: random.Random) -> int:
    """One of the eleven rules, drawn anew each round, decides."""
    return RULES[int(dice.random() * len(RULES))](history, dice)


def evaluate(job: Job) -> Scores:
    """Score of the row player."""
    return play(matrix_game(PAYOFFS, column), job)
