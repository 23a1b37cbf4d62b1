"""Small trajectories of our own in MLGym's format, for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WORKSPACE = "/home/agent/workspace"
RUN_FOLDER = "metagen-some-model__{task}__default__t-0.00__p-0.95__c-4.00__install-0__parallel_agents_run_0"
OK = (
    f"Your code produced a valid submission artefact at {WORKSPACE}/target.py.\n"
    "Baseline Score: {{'Score': 1.02}}\nEvaluation Score: {{'Score': {score}}}"
)
WRITTEN = "File updated. Please review the changes."


def window(path: str, lines: list[str], *, first: int = 1, total: int | None = None) -> str:
    """A file window as MLGym prints it."""
    total = first - 1 + len(lines) if total is None else total
    last = first - 1 + len(lines)
    above = [f"({first - 1} more lines above)"] if first > 1 else []
    below = [f"({total - last} more lines below)"] if total > last else []
    numbered = [f"{number}:{line}" for number, line in enumerate(lines, first)]
    return "\n".join([f"[File: {path} ({total} lines total)]", *above, *numbered, *below])


def step(
    action: str,
    observation: str | None = "",
    *,
    open_file: str = "n/a",
    cwd: str = WORKSPACE,
    took: float = 0.5,
    thought: str = "a thought",
    response: str = "",
) -> dict[str, Any]:
    """One step; `open_file` and `cwd` are from before the action."""
    return {
        "state": json.dumps({"open_file": open_file, "working_dir": cwd}),
        "response": response or f"{thought}\n```\n{action}\n```",
        "thought": thought,
        "action": action,
        "execution_time": took,
        "observation": observation,
    }


def trajectory(
    steps: list[dict[str, Any]],
    *,
    scores: list[dict[str, Any]] | None = None,
    exit_status: str = "submitted",
    environment: str = "mlgym_main",
    extra_answers: int = 0,
) -> dict[str, Any]:
    """A whole file."""
    history: list[dict[str, Any]] = [
        {"role": "system", "content": "The viewer shows 1000 lines.", "agent": "primary_0"},
        {
            "role": "user",
            "content": "Play well.\n\n\n(Current Step: 0, Remaining Steps: 5)\n(Open file: n/a)",
            "agent": "primary_0",
        },
    ]
    for item in steps:
        history.append({"role": "assistant", "content": item["response"], "action": item["action"]})
        history.append({"role": "user", "content": item["observation"] or ""})
    for number in range(extra_answers):
        history.append({"role": "assistant", "content": f"never run {number}", "action": "train it\n"})
    return {
        "environment": environment,
        "trajectory": steps,
        "history": history,
        "info": {
            "model_stats": {
                "total_cost": 0.5,
                "task_cost": 0.25,
                "tokens_sent": 100,
                "tokens_received": 20,
                "api_calls": 3,
            },
            "exit_status": exit_status,
            "submission": f"{WORKSPACE}/target.py",
            "score": scores or [],
            "summarizer": {},
        },
    }


def write_run(
    root: Path, content: dict[str, Any], *, task: str = "battleOfSexes", baseline: dict[str, Any] | None = None
) -> Path:
    """A run folder as MLGym names it; returns the `.traj`."""
    folder = root / RUN_FOLDER.format(task=task)
    folder.mkdir(parents=True)
    path = folder / f"{task}.traj"
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    if baseline is not None:
        results = {"agent": content["info"]["score"], "baseline": baseline}
        (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return path


FILE = f"{WORKSPACE}/strategy.py"


def healthy() -> dict[str, Any]:
    """Looks, edits (once refused by the linter), validates (fails, then works) and submits."""
    before = ["def play(history):", "", "    return 1"]
    after = ["def play(history):", "", "    return 0"]
    rejected = (
        "Your proposed edit has introduced new syntax error(s). Please read this error message.\n\nERRORS:\n- E999\n\n"
        + window(FILE, ["    retur 0"], first=3, total=3)
        + "\n-------------------------------------------------\n\nThis is the original code before your edit\n"
        + window(FILE, ["    return 1"], first=3, total=3)
        + "\n-------------------------------------------------\nYour changes have NOT been applied."
    )
    return trajectory(
        [
            step("cd src\n", None, took=0.25),
            step('open "../strategy.py"\n', window(FILE, before), cwd=f"{WORKSPACE}/src"),
            step("edit 3:3\n    retur 0\nend_of_edit\n", rejected, open_file=FILE, cwd=f"{WORKSPACE}/src"),
            step("validate\n", "Submission artefact not found. You have to produce one.", open_file=FILE),
            step("edit 3:3\n    return 0\nend_of_edit\n", window(FILE, after) + "\n" + WRITTEN, open_file=FILE),
            step("python train.py\n", "EXECUTION TIMED OUT BECAUSE THE COMMAND WAS RUNNING", open_file=FILE),
            step("validate\n", OK.format(score=1.25), open_file=FILE, took=2.0),
            step("submit\n", "", open_file=FILE),
        ],
        scores=[{"Score": 1.25}, {"Score": 1.25}],
    )
