"""Sessions as trajectories in ATIF that Harbor's validator takes. What it has no place for stands in `extra`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from workbench import __version__
from workbench.formats.md_export import people_noted
from workbench.session import events as ev
from workbench.session.recording import Recording
from workbench.session.spending import Spending
from workbench.session.state import Step, fold

VERSION = "ATIF-v1.7"
"""No later version is needed for what is written, and older readers refuse what they do not know."""


def write_atif(recording: Recording, _out: Path) -> bytes:
    """The session as JSON."""
    return msgspec.json.format(msgspec.json.encode(as_atif(recording)), indent=1)


def as_atif(recording: Recording) -> dict[str, Any]:
    """The same as a plain value."""
    state = fold(recording.events)
    started = state.started or ev.SessionStarted(format=ev.FORMAT, task="")
    steps: list[dict[str, Any]] = [{"source": "user", "message": started.description or started.task}]
    if started.time:
        steps[0]["timestamp"] = started.time
    early: list[ev.ScoreRecorded] = []
    for step in state.steps[1:]:
        early += step.scores
        if not step.proposed_again:
            steps.append(_as_step(step, early))
            early = []
        steps += [{"source": "user", "message": said.text, "extra": {"author": said.author}} for said in step.messages]
    if state.unassigned.calls:  # the last answers led to no action
        said = "\n".join(note.text for note in state.notes if note.step is None and not note.author)
        last = {"source": "agent", "message": said, "llm_call_count": state.unassigned.calls}
        steps.append(last | {"metrics": _metrics(state.unassigned)})
    for place, each in enumerate(steps, 1):
        each["step_id"] = place
    parent = started.parent
    metric = started.metric
    extra = {
        "task": started.task,
        "exit_status": state.ended.exit_status if state.ended else None,
        "metric": {"name": metric.name, "direction": metric.direction, "baseline": metric.baseline} if metric else None,
        "parent": {"session": parent.session, "step": parent.step} if parent else None,
        "step_limit": started.limits.steps,
        "source": recording.source,
        "notes": people_noted(state) or None,
    }
    return {
        "schema_version": VERSION,
        "session_id": started.session or recording.path.stem,
        "agent": {"name": started.agent or "unknown", "version": _version(started), "model_name": state.model},
        "steps": steps,
        "final_metrics": _known(
            {
                "total_prompt_tokens": state.input_tokens or None,
                "total_completion_tokens": state.output_tokens or None,
                "total_cost_usd": state.cost if state.spending_by and not state.unpriced_tokens else None,
                "total_steps": len(steps),
            }
        ),
        "extra": _known(extra),
    }


def _version(started: ev.SessionStarted) -> str:
    return started.versions.get("mlgym-tui") or (__version__ if not started.source else "unknown")


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def _as_step(step: Step, scores: list[ev.ScoreRecorded]) -> dict[str, Any]:
    """A person's command is a step of the agent without a call of a model: only such a step may hold calls."""
    call = f"call_{step.number}"
    outcome = {
        "exit_code": step.exit_code, "duration": step.duration or None, "cwd": step.cwd,
        "timed_out": step.timed_out or None,
        "scores": [{"kind": s.kind, "verdict": s.verdict, "metrics": s.metrics} for s in scores] or None,
    }  # fmt: skip
    how = {
        "author": step.author, "proposed": step.proposed if step.edited else None, "edited_by": step.edited_by,
        "executed": None if step.executed else False, "refused": True if step.status == "refused" else None,
        "rejected_by": step.rejected_by, "comment": step.comment,
    }  # fmt: skip
    content = step.observation if step.status != "rejected" else ""
    by_model = step.author.startswith("model:")
    made: dict[str, Any] = {
        "source": "agent",
        "message": step.thought,
        "tool_calls": [
            {
                "tool_call_id": call, "function_name": "bash", "arguments": {"command": step.action},
                "extra": _known(how),
            }
        ],
        "observation": {"results": [{"source_call_id": call, "content": content, "extra": _known(outcome)}]},
        "llm_call_count": max(step.spending.calls, 1) if by_model else 0,
        "extra": {"author": step.author},
    }  # fmt: skip
    if step.time:
        made["timestamp"] = step.time
    if by_model:
        made["model_name"] = step.author.removeprefix("model:")
        if step.spending.calls:
            made["metrics"] = _metrics(step.spending)
    return made


def _metrics(spent: Spending) -> dict[str, Any]:
    cost = spent.cost if spent.known else None
    return _known({"prompt_tokens": spent.input_tokens, "completion_tokens": spent.output_tokens, "cost_usd": cost})
