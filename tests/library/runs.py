"""Sessions of ours and of others, for the tests."""

from __future__ import annotations

from pathlib import Path

from tests.formats.trajectories import OK, step, trajectory, write_run
from workbench.session import events as ev
from workbench.session.clock import Clock
from workbench.session.log import EventLog


def own(
    root: Path,
    name: str = "20260101-101500-blotto-3fa9c1",
    *,
    score: float | None = 0.5,
    end: str | None = "submitted",
    totals: bool = True,
    model: str = "openai:gpt-5",
    parent: ev.Parent | None = None,
    action: str = "ls -la",
) -> Path:
    """A session of ours: one step, one score."""
    folder = root / name
    root.mkdir(parents=True, exist_ok=True)
    log = EventLog(folder, Clock())
    log.append(
        ev.SessionStarted(
            format=1, task=name.split("-")[2], model=model, agent="human" if model == "human" else "default",
            metric=ev.Metric(name="Score", baseline=0.25), parent=parent,
        )
    )  # fmt: skip
    log.append(ev.ActionProposed(step=1, author="model:gpt-5", action=action, thought="look around"))
    log.append(ev.ActionStarted(step=1, author="model:gpt-5", action=action))
    log.append(ev.ActionFinished(step=1, exit_code=0, observation="total 0\nCUDA out of memory\nCUDA out of memory"))
    if score is not None:
        log.append(ev.ScoreRecorded(step=1, score=score))
    if end:
        scores = ev.FinalScores(metric="Score", baseline=0.25, best=score, last=score)
        spent = ev.Totals(model=model, cost=0.5, input_tokens=10, output_tokens=5, working=60.0)
        log.append(ev.SessionEnded(exit_status=end, steps=1, scores=scores, totals=spent if totals else None))
    log.close()
    return folder


def mlgym(root: Path, task: str = "battleOfSexes", status: str = "submitted") -> Path:
    """A run folder of MLGym; the path of its file."""
    steps = [step("validate", OK.format(score=1.3), thought="try early stopping"), step("submit", "done")]
    content = trajectory(steps, scores=[{"Score": 1.3}, {"Score": 1.4}], exit_status=status)
    return write_run(root, content, task=task)
