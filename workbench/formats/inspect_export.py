"""Sessions as logs of Inspect, `.json` or (by the name of the file) `.eval`: what its own tools and our reader open.

A person's step is a tool event without an answer of a model. Inspect has no exit codes of tools: they stand where its
own are, in the sandbox event inside the tool's span.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from workbench.formats.md_export import people_noted
from workbench.formats.reading import moment
from workbench.session import events as ev
from workbench.session.recording import Recording
from workbench.session.spending import Spending
from workbench.session.state import SessionState, Step, fold

_TOOL = {"name": "bash", "description": "Runs a command in the shell.", "parameters": {"type": "object"}}


def write_inspect(recording: Recording, out: Path) -> bytes:
    """The session as a log of one sample."""
    log = as_inspect(recording)
    if out.suffix != ".eval":
        return msgspec.json.format(msgspec.json.encode(log), indent=1)
    sample = log.pop("samples")[0]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        start = {name: log[name] for name in ("version", "eval", "plan")}
        archive.writestr("_journal/start.json", msgspec.json.encode(start))
        archive.writestr(f"samples/{sample['id']}_epoch_1.json", msgspec.json.encode(sample))
        shown = ("id", "epoch", "input", "target", "scores", "model_usage", "started_at", "completed_at", "total_time")
        summary = {name: sample[name] for name in shown} | {"completed": True}
        archive.writestr("summaries.json", msgspec.json.encode([summary]))
        archive.writestr("header.json", msgspec.json.encode(log))
    return packed.getvalue()


def as_inspect(recording: Recording) -> dict[str, Any]:
    """The log as a plain value."""
    state = fold(recording.events)
    started = state.started or ev.SessionStarted(format=ev.FORMAT, task="")
    begin = moment(started.time) or 0.0
    model = state.model or started.agent or "none"
    scores = {entry.scorer: entry.score for entry in _ledger(state) if not entry.intermediate}
    usage = {model: _usage(state.input_tokens, state.output_tokens, state.cost)} if state.input_tokens else {}
    sample: dict[str, Any] = {
        "id": recording.sample or started.session or "session",
        "epoch": 1,
        "input": started.description or started.task,
        "target": "",
        "messages": [{"role": "user", "content": started.description or started.task, "source": "input"}],
        "output": {"model": model, "choices": []},
        "scores": scores,
        "metadata": {
            "exit_status": state.ended.exit_status if state.ended else None,
            "source": recording.source,
            "notes": people_noted(state),
        },
        "store": {},
        "events": _Events(state, model, begin).all(),
        "model_usage": usage,
        "started_at": _stamp(begin, 0.0),
        "completed_at": _stamp(begin, state.elapsed),
        "total_time": state.elapsed,
        "working_time": state.working,
        "attachments": {},
    }
    return {
        "version": 2,
        "status": "success" if state.ended is not None else "started",
        "eval": {
            "eval_id": started.session or "session",
            "run_id": started.session or "session",
            "created": _stamp(begin, 0.0),
            "task": started.task or "session",
            "task_id": started.task or "session",
            "task_version": 0,
            "task_args": {},
            "dataset": {"name": started.task or "session", "samples": 1, "sample_ids": [sample["id"]]},
            "model": model,
            "model_args": {},
            "config": {"limit": 1, "epochs": 1},
            "packages": {},
            "metadata": {"format": "mlgym-tui"},
        },
        "plan": {"name": "plan", "steps": [], "config": {}},
        "results": {"total_samples": 1, "completed_samples": 1, "scores": []},
        "stats": {
            "started_at": _stamp(begin, 0.0), "completed_at": _stamp(begin, state.elapsed), "model_usage": usage,
        },
        "samples": [sample],
    }  # fmt: skip


class _Entry(msgspec.Struct):
    scorer: str
    score: dict[str, Any]
    intermediate: bool
    step: int


def _ledger(state: SessionState) -> Iterator[_Entry]:
    for entry in state.scores_until():
        name = state.metric.name or "score"
        value: Any = entry.metrics if len(entry.metrics) > 1 else entry.score
        score = {"value": entry.verdict if value is None else value, "explanation": entry.message or None}
        yield _Entry(name, score, entry.kind == "validate", entry.step)


class _Events:
    """The events of a sample: of each step the answer, the approval, the tool with its span, and the scores."""

    def __init__(self, state: SessionState, model: str, begin: float) -> None:
        self.state, self.model, self.begin = state, model, begin
        self.events: list[dict[str, Any]] = []

    def all(self) -> list[dict[str, Any]]:
        scores: dict[int, list[_Entry]] = {}
        for entry in _ledger(self.state):
            scores.setdefault(entry.step, []).append(entry)
        self._scores(scores.get(0, []), 0.0)
        for step in self.state.steps[1:]:
            if not step.proposed_again:
                self._step(step)
            self._scores(scores.get(step.number, []), step.finished)
            for told in step.messages:
                self._add("info", step.finished, source=told.author, data=told.text)
        if self.state.unassigned.calls:  # the last answers led to no action
            said = "\n".join(note.text for note in self.state.notes if not (note.step or note.author))
            self._answer(self.state.elapsed, said, self.state.unassigned, [])
        return self.events

    def _add(self, event: str, at: float, span: str = "", **fields: Any) -> None:
        stamp = _stamp(self.begin, at)
        self.events.append(
            {"event": event, "uuid": f"e{len(self.events)}", "span_id": span or None, "timestamp": stamp,
             "working_start": max(at, 0.0), **fields}
        )  # fmt: skip

    def _scores(self, entries: list[_Entry], at: float) -> None:
        for entry in entries:
            self._add("score", at, scorer=entry.scorer, score=entry.score, intermediate=entry.intermediate)

    def _answer(self, at: float, said: str, spent: Spending, calls: list[dict[str, Any]]) -> None:
        message = {"role": "assistant", "content": said, "source": "generate", "tool_calls": calls, "model": self.model}
        usage = _usage(spent.input_tokens, spent.output_tokens, spent.cost if spent.known else None)
        output = {
            "model": self.model, "choices": [{"message": message, "stop_reason": "tool_calls" if calls else "stop"}],
            "usage": usage if spent.calls else None,
        }  # fmt: skip
        self._add(
            "model", at, model=self.model, input=[], tools=[_TOOL], tool_choice="auto", config={}, output=output
        )  # fmt: skip

    def _step(self, step: Step) -> None:
        call = f"call_{step.number}"
        made = {"id": call, "function": "bash", "arguments": {"command": step.proposed}, "type": "function"}
        if not step.author.startswith("human:"):
            self._answer(step.started, step.proposed_thought, step.spending, [made])
        by = step.edited_by or step.rejected_by
        ran = made | {"arguments": {"command": step.action}}
        if by:
            decision = {"decision": "modify", "modified": ran} if step.edited_by else {"decision": "reject"}
            who = "human" if by.startswith("human:") else by.removeprefix("policy:")
            self._add(
                "approval", step.started, message=step.thought, call=made, approver=who,
                explanation=step.comment or None, metadata={"author": by}, **decision,
            )  # fmt: skip
        if step.status == "rejected" and not step.rejected_by:
            return  # it never got its turn: only the answer has it
        span = f"span_{step.number}"
        self._add("span_begin", step.started, span, id=span, type="tool", name="bash", parent_id=None)
        error = None
        if step.status == "rejected":
            error = {"type": "approval", "message": step.comment or "rejected"}
        elif step.status == "refused":
            error = {"type": "parsing", "message": ""}
        elif step.timed_out:
            error = {"type": "timeout", "message": ""}
        self._add(
            "tool", step.started, type="function", id=call, function="bash", arguments=ran["arguments"],
            result=step.observation if step.status != "rejected" else "", error=error, events=[],
            completed=_stamp(self.begin, step.finished), working_time=step.duration,
            metadata={"author": step.author},
        )  # fmt: skip
        if step.exit_code is not None:
            self._add(
                "sandbox", step.started, span, action="exec", cmd=step.action, result=step.exit_code,
                completed=_stamp(self.begin, step.finished),
            )  # fmt: skip
        self._add("span_end", step.finished, span, id=span)


def _usage(sent: int, received: int, cost: float | None) -> dict[str, Any]:
    priced = {} if cost is None else {"total_cost": cost}
    return {"input_tokens": sent, "output_tokens": received, "total_tokens": sent + received, **priced}


def _stamp(begin: float, elapsed: float) -> str:
    return (datetime.fromtimestamp(begin, UTC) + timedelta(seconds=max(elapsed, 0.0))).isoformat()
