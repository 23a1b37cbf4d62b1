"""What an agent reads after `validate` or `submit`."""

from __future__ import annotations

from typing import Any

from workbench.environment.services.desk import refusal
from workbench.session.events import ScoreRecorded
from workbench.session.state import SessionState
from workbench.tasks.catalogue import Task


def reply(entry: ScoreRecorded, state: SessionState, task: Task) -> dict[str, Any]:
    """What the agent reads after `validate` or `submit`."""
    most = state.limits.validates
    left = "" if most is None else f" ({state.validations} of {most})"
    if entry.verdict != "ok":
        advice = "Nothing was submitted. " if entry.kind == "submit" else ""
        return refusal(f"{entry.verdict}: {entry.message}\n{advice}".rstrip())
    if state.sealed:
        said = "Submitted." if entry.kind == "submit" else f"Validated{left}; scores are hidden until the end."
        return {"ok": True, "text": said, "exit_code": 0}
    metric = task.primary_metric
    lines = [f"{name}: {_number(value)}" for name, value in sorted(entry.metrics.items())]
    if entry.standard_error is not None:
        lines.append(f"standard error: {_number(entry.standard_error)}")
    best = state.best_score(split=entry.split)
    if metric.baseline is not None:
        lines.append(f"baseline: {_number(metric.baseline)}")
    if best is not None and best.score is not None:
        lines.append(f"best so far: {_number(best.score)}")
    if len(task.spec.evaluate.splits) > 1:
        lines.append(f"scored on the {entry.split} data")
    lines += [f"({caveat})" for caveat in entry.caveats]
    if entry.instead is not None:
        lines.append(f"What was validated in step {entry.instead} was submitted instead: it scored better.")
    lines.append("Submitted." if entry.kind == "submit" else f"Validated{left}; nothing is submitted yet.")
    return {"ok": True, "text": "\n".join(lines), "exit_code": 0}


def _number(value: float) -> str:
    return f"{value:.6g}"
