"""Colonel Blotto: 120 soldiers on six fields, against a column player that scatters them at random."""

from __future__ import annotations

import random

from workbench.tasks.games import BadMove, Game, History, describe, play
from workbench.tasks.submission import Job, Scores

SOLDIERS = 120
FIELDS = 6

Allocation = list[int]


def column(history: History[Allocation], dice: random.Random) -> Allocation:
    """Six uniform numbers, scaled to 120 soldiers; what the rounding leaves goes to one random field."""
    weights = [int(dice.random() * (SOLDIERS + 1)) for _ in range(FIELDS)]
    total = sum(weights)
    if total == 0:
        return [SOLDIERS // FIELDS] * FIELDS
    allocation = [weight * SOLDIERS // total for weight in weights]
    allocation[int(dice.random() * FIELDS)] += SOLDIERS - sum(allocation)
    return allocation


def payoff(row: Allocation, opposite: Allocation) -> float:
    """+1 for more fields won than lost, -1 for fewer, else 0. A field is won by strictly more soldiers."""
    lead = sum((mine > theirs) - (mine < theirs) for mine, theirs in zip(row, opposite, strict=True))
    return float((lead > 0) - (lead < 0))


def read(text: str) -> Allocation:
    """An allocation from the player's text."""
    try:
        allocation = [int(part) for part in text.split(",")]
    except ValueError:
        raise BadMove(f"it returned {describe(text)}") from None
    if len(allocation) != FIELDS:
        raise BadMove(f"it returned {describe(text)}: {len(allocation)} numbers") from None
    if min(allocation) < 0:
        raise BadMove(f"it returned {describe(text)}: negative numbers")
    if sum(allocation) > SOLDIERS:
        raise BadMove(f"it returned {describe(text)}: {sum(allocation)} soldiers")
    return allocation


GAME: Game[Allocation] = Game(
    expected=f"{FIELDS} non-negative integers that sum to at most {SOLDIERS}",
    read=read,
    write=lambda allocation: ",".join(map(str, allocation)),
    column=column,
    payoff=payoff,
)


def evaluate(job: Job) -> Scores:
    """Score of the row player."""
    return play(GAME, job)
