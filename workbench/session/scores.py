"""Best and last score as of each step, kept up to date in steady time."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from workbench.session.events import ScoreRecorded
from workbench.session.state import SessionState


class Standing(NamedTuple):
    """The ledger as of a step."""

    last: ScoreRecorded | None = None
    before: float | None = None
    """The score before this step's own, on the same split of the data; None for the first."""
    own: float | None = None
    """The score recorded in this step itself."""
    bests: Mapping[str, ScoreRecorded] = MappingProxyType({})
    """The best of each split."""
    lasts: Mapping[str, ScoreRecorded] = MappingProxyType({})
    """The newest of each split."""
    validated: str = ""
    """The split that is validated on."""

    @property
    def best(self) -> ScoreRecorded | None:
        """As `SessionState.best_score`."""
        return self.bests.get(self.validated or (self.last.split if self.last is not None else ""))


class ScoreTrail:
    """`at(n)` without going through the steps before n."""

    def __init__(self, state: SessionState) -> None:
        self._state = state
        self._standings: list[Standing] = []
        self.update(0)

    def update(self, step: int) -> None:
        """Take in what changed in `step` and later."""
        state = self._state
        del self._standings[max(0, step) :]
        for item in state.steps[len(self._standings) :]:
            earlier = self._standings[-1] if self._standings else Standing()
            self._standings.append(self._after(earlier, [entry for entry in item.scores if entry.score is not None]))

    def _after(self, earlier: Standing, entries: list[ScoreRecorded]) -> Standing:
        if not entries:
            before = self._before(earlier, earlier.last)
            return earlier if earlier[1:3] == (before, None) else earlier._replace(before=before, own=None)
        bests, lasts, validated = dict(earlier.bests), dict(earlier.lasts), earlier.validated
        for entry in entries:
            best = bests.get(entry.split)
            if best is None or self._state.better(entry.score or 0.0, best.score or 0.0):
                bests[entry.split] = entry
            lasts[entry.split] = entry
            validated = validated or (entry.split if entry.kind == "validate" else "")
        last = entries[-1]
        return Standing(last, self._before(earlier, last), last.score, bests, lasts, validated)

    def _before(self, earlier: Standing, entry: ScoreRecorded | None) -> float | None:
        before = earlier.lasts.get(entry.split) if entry is not None else None
        return before.score if before is not None else None

    def at(self, step: int) -> Standing:
        """The ledger as of a step."""
        if not self._standings:
            return Standing()
        return self._standings[max(0, min(step, len(self._standings) - 1))]


class Entry(NamedTuple):
    """A line of the ledger, for a person who reads it."""

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
    bests = {id(state.best_score(split=split)) for split in {entry.split for entry in state.scores_until()}}
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
