"""Sessions in MLGym's layout: a run folder with its `.traj` and `results.json`, or the `.traj` alone.

MLGym knows one author, and no step that did not run: rejected actions are left out, and who acted, exit codes and which
step was scored stand under a key of ours, which its tools do not read.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

from workbench.formats.md_export import people_noted
from workbench.session import events as ev
from workbench.session.recording import Recording
from workbench.session.state import SessionState, Step, fold

OURS = "mlgym_tui"
"""The key in a step."""


def write_mlgym(recording: Recording, _out: Path) -> bytes:
    """The `.traj`."""
    return json.dumps(as_mlgym(fold(recording.events)), indent=2).encode()


def run_folder(recording: Recording, below: Path) -> dict[Path, bytes]:
    """The files of a new run folder below another: its name tells the model and the task."""
    state = fold(recording.events)
    started = state.started or ev.SessionStarted(format=ev.FORMAT, task="")
    model, task, agent = (re.sub(r"[^\w.-]+|_{2,}", "-", each) or "unknown" for each in (
        state.model.rpartition(":")[2], started.task, started.agent or "default",
    ))  # fmt: skip
    cost = f"{started.limits.cost or 0:.2f}"
    name = f"{model}__{task}__{agent}__t-0.00__p-1.00__c-{cost}__install-0__parallel_agents_run_"
    folder = next(path for number in itertools.count() if not (path := below / f"{name}{number}").exists())
    traj = as_mlgym(state)
    metric = started.metric
    baseline = {metric.name: metric.baseline} if metric is not None and metric.baseline is not None else {}
    results = {"agent": traj["info"]["score"], "baseline": baseline}
    return {
        folder / f"{task}.traj": json.dumps(traj, indent=2).encode(),
        folder / "results.json": json.dumps(results, indent=2).encode(),
    }


def as_mlgym(state: SessionState) -> dict[str, Any]:
    """The trajectory as a plain value."""
    started = state.started or ev.SessionStarted(format=ev.FORMAT, task="")
    steps = [step for step in state.steps[1:] if step.status != "rejected"]
    left = f"(Current Step: 0, Remaining Steps: {started.limits.steps})" if started.limits.steps else ""
    history = [
        {"role": "system", "content": f"The viewer shows {started.window} lines.", "agent": "primary_0"},
        {
            "role": "user",
            "content": f"{started.description or started.task}\n\n\n{left}".rstrip(),
            "agent": "primary_0",
        },
    ]
    for step in steps:
        history.append(
            {"role": "assistant", "content": _response(step), "thought": step.thought, "action": step.action,
             "agent": "primary_0"}
        )  # fmt: skip
        history.append({"role": "user", "content": step.observation, "agent": "primary_0"})
    scores = [entry for entry in state.scores_until() if entry.metrics]
    final = next((entry for entry in reversed(scores) if entry.kind != "validate"), None)
    ledger = [entry.metrics for entry in scores if entry.kind == "validate"] + ([final.metrics] if final else [])
    stats = {
        "total_cost": state.cost, "task_cost": state.cost, "tokens_sent": state.input_tokens,
        "tokens_received": state.output_tokens, "api_calls": sum(s.calls for s in state.spending_by.values()),
    }  # fmt: skip
    return {
        "environment": f"mlgym_{started.task}",
        "trajectory": [_as_step(step, state.steps[step.number - 1]) for step in steps],
        "history": history,
        **({OURS: {"notes": noted}} if (noted := people_noted(state)) else {}),
        "info": {
            "exit_status": state.ended.exit_status if state.ended else None,
            "submission": final.artifact_name if final else None,
            "score": ledger,
            "model_stats": stats,
            "summarizer": {},
        },
    }


def _as_step(step: Step, before: Step) -> dict[str, Any]:
    """A step; its state is from before the action."""
    state = {
        "open_file": before.window.path if before.window is not None else "n/a",
        "working_dir": before.cwd or step.cwd,
    }  # fmt: skip
    ours = {
        "author": step.author, "exit_code": step.exit_code, "executed": step.executed, "time": step.time,
        "scored": sum(entry.kind == "validate" and bool(entry.metrics) for entry in step.scores),
    }  # fmt: skip
    return {
        "action": step.action, "observation": step.observation, "response": _response(step), "thought": step.thought,
        "state": json.dumps(state), "execution_time": step.duration, OURS: ours,
    }  # fmt: skip


def _response(step: Step) -> str:
    return f"{step.thought}\n```\n{step.action}\n```"
