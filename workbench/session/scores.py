"""The ledger of a session, for a person who reads it."""

from __future__ import annotations

from typing import NamedTuple

from workbench.session.events import ScoreRecorded
from workbench.session.state import SessionState


class Entry(NamedTuple):
    """A line of it."""

    recorded: ScoreRecorded
    author: str
    clock: float | None
    """Seconds that were worked by then; None where a recording has no times."""
    artifact_before: str | None
    """What was scored before it; None for the first."""
    best: bool
    """The best of its split, up to the end."""


def ledger(state: SessionState) -> list[Entry]:
    """Every validate and submit, in order."""
    bests = {id(entry) for entry in state.standing().bests.values()}
    found: list[Entry] = []
    before: str | None = None
    timed = any(step.finished for step in state.steps)
    for entry in state.scores_until():
        step = state.steps[min(entry.step, state.last_step)]
        author = entry.author or step.edited_by or step.author
        clock = state.clock.worked_until(entry.elapsed) if timed and entry.elapsed >= 0 else None
        found.append(Entry(entry, author, clock, before, id(entry) in bests))
        before = entry.artifact or before
    return found
