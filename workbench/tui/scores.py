"""Best and last score as of each step, kept up to date in steady time."""

from __future__ import annotations

from typing import NamedTuple

from workbench.session.events import ScoreRecorded
from workbench.session.state import SessionState


class Standing(NamedTuple):
    """The ledger as of a step."""

    best: ScoreRecorded | None = None
    last: ScoreRecorded | None = None
    before: float | None = None
    """The score before this step's own: that of an earlier step, or the baseline."""
    own: float | None = None
    """The score recorded in this step itself."""


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
            best, last, own = earlier.best, earlier.last, None
            for entry in item.scores:
                if entry.score is None:
                    continue
                last, own = entry, entry.score
                if best is None or best.score is None or state.better(entry.score, best.score):
                    best = entry
            self._standings.append(Standing(best, last, self._before(earlier), own))

    def _before(self, earlier: Standing) -> float | None:
        if earlier.last is not None:
            return earlier.last.score
        metric = self._state.started.metric if self._state.started else None
        return metric.baseline if metric is not None else None

    def at(self, step: int) -> Standing:
        """The ledger as of a step."""
        if not self._standings:
            return Standing()
        return self._standings[max(0, min(step, len(self._standings) - 1))]
