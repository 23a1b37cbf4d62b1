"""What an analysis needs of a run beyond its row: every score, and what was done and went wrong at each step."""

from __future__ import annotations

import msgspec

from workbench.session.kinds import kind_of
from workbench.session.outcome import failures
from workbench.session.run import Run
from workbench.session.state import SessionState


def with_details(row: Run, state: SessionState) -> Run:
    """The row with what only a whole reading tells."""
    entries = [entry for entry in state.scores_until() if entry.verdict == "ok"]
    steps = [step for step in state.steps[1:] if step.counts or step.author.startswith("human:")]
    return msgspec.structs.replace(
        row,
        whole=True,
        attempts=tuple(entry.score for entry in entries),
        standard_errors=tuple(entry.standard_error for entry in entries),
        scored_at=tuple(entry.step for entry in entries),
        kinds="".join(kind_of(step.action) for step in steps),
        seconds=tuple(round(step.duration, 3) for step in steps),
        failures=tuple((failure.step, failure.kind) for failure in failures(state)),
        tampered=next((entry.tampered for entry in entries if entry.tampered), ""),
    )
