"""Whether a task holds: its files, its data, its metrics, its baseline, and what it makes of bad submissions."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workbench.environment.assembly import SandboxName
from workbench.runner.bad_artifacts import bad_files, bad_folders
from workbench.runner.baseline import run_baseline, run_program
from workbench.sandbox.base import SandboxError
from workbench.tasks.artifact import ArtifactError
from workbench.tasks.catalogue import Task
from workbench.tasks.datasets import datasets_of, label_of, prepare, verify
from workbench.tasks.errors import TaskError
from workbench.tasks.evaluation import Evaluation, evaluate
from workbench.tasks.needs import examine

Outcome = Literal["ok", "failed", "skipped"]
Progress = Callable[[float, str], None]


NO_SCORE = ("invalid", "crashed", "timeout", "missing")


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    name: str
    outcome: Outcome
    detail: str


async def check(
    task: Task, *, sandbox: SandboxName = "local", progress: Progress | None = None
) -> AsyncIterator[Finding]:
    """All checks, one after the other. The schema and the files were checked when the task was loaded.

    On the real data where they are here and this machine is one for them, else on the stand-in.
    """
    yield Finding("schema", "ok", f"{task.folder / 'task.yaml'} and the files it names")
    try:
        if not task.variant and task.spec.datasets and all(item.spec.tiny for item in datasets_of(task)):
            tiny = task.under(task.protocol, "tiny")
            cured = [why for why in examine(task).obstacles if why not in examine(tiny).obstacles]
            for why in cured:
                yield Finding("data", "skipped", f"the real ones ({why.rstrip('.')}); the stand-in is used")
            task = tiny if cured else task
        prepared = {dataset.id: prepare(dataset, task.variant, progress) for dataset in datasets_of(task)}
        wrong = [f"{item.id}: {fault}" for item in prepared.values() for fault in verify(item)]
        if prepared:
            label = label_of(prepared)
            detail = f"{', '.join(prepared)}{f' ({label})' if label else ''}: prepared, checksums as they were"
            yield Finding("data", "failed" if wrong else "ok", "; ".join(wrong) or detail)
    except (TaskError, SandboxError, OSError) as error:
        yield Finding("data", "failed", str(error))
        return
    room: Any = "docker" if sandbox == "docker" else "auto"

    async def score(artifact: bytes | Path | None) -> Evaluation:
        return await evaluate(task, artifact, seed=1, room=room, progress=progress, split=task.split_for("submit"))

    yield await _baseline(task, sandbox, progress)
    async for finding in _demo(task, sandbox, score):
        yield finding
    yield await _guarded("missing artefact", _refused(score, None, ("missing",)))
    for name, artifact in [] if task.artifact.bundled else bad_files(task):
        yield await _guarded(name, _refused(score, artifact))
    if not task.artifact.bundled:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / Path(task.artifact.path).name
            link.symlink_to(task.evaluator)
            yield await _guarded("hostile artefact: a link", _refused(score, link, ("invalid",)))


async def _baseline(task: Task, sandbox: SandboxName, progress: Progress | None) -> Finding:
    spec = task.spec.baseline
    if spec.submission is None and spec.script is None:
        return Finding("baseline", "skipped", "the task has none")
    try:
        run = await run_baseline(task, sandbox=sandbox, progress=progress)
    except (TaskError, SandboxError, OSError) as error:
        return Finding("baseline", "failed", str(error))
    if run.evaluation.verdict != "ok":
        return Finding("baseline", "failed", f"{run.evaluation.verdict}: {run.evaluation.message}")
    said = ", ".join(
        f"{item.metric} {item.got:.7g}" + ("" if item.published is None else f" (published {item.published:.7g})")
        for item in run.comparisons
    )
    return Finding("baseline", "ok" if run.agrees else "failed", said)


async def _demo(
    task: Task, sandbox: SandboxName, score: Callable[[bytes | Path], Awaitable[Evaluation]]
) -> AsyncIterator[Finding]:
    """The demo's submission; of a checkpoint or a model, also what becomes of it when it is spoiled."""
    program = task.spec.demo or (task.spec.baseline.script if task.artifact.bundled else None)
    if program is None:
        return
    file = task.folder / program
    if task.artifact.kind == "code":
        yield await _guarded("demo", _scored(task, score, file.read_bytes()))
        return
    try:
        async with run_program(task, file, sandbox=sandbox) as made:
            yield await _guarded("demo", _scored(task, score, made))
            if isinstance(made, Path):
                with tempfile.TemporaryDirectory() as folder:
                    for name, bad in bad_folders(task, made, Path(folder)):
                        yield await _guarded(name, _refused(score, bad))
    except (ArtifactError, TaskError, SandboxError, OSError) as error:
        yield Finding("demo", "failed", str(error))


async def _scored(
    task: Task, score: Callable[[bytes | Path], Awaitable[Evaluation]], submission: bytes | Path
) -> tuple[Outcome, str]:
    result = await score(submission)
    if result.score is None:
        return "failed", f"{result.verdict}: {result.message}"
    return "ok", f"{task.primary_metric.name} {result.score:.7g}"


async def _refused(
    score: Callable[[Any], Awaitable[Evaluation]], artifact: bytes | Path | None, verdicts: tuple[str, ...] = NO_SCORE
) -> tuple[Outcome, str]:
    result = await score(artifact)
    if result.verdict in verdicts:
        return "ok", f"{result.verdict}: {result.message}"
    return "failed", f"the verdict is {result.verdict}, score {result.score}; it must be {' or '.join(verdicts)}"


async def _guarded(name: str, work: Awaitable[tuple[Outcome, str]]) -> Finding:
    """A check; a fault of the evaluator, or of the sandbox, fails it."""
    try:
        outcome, detail = await work
    except (TaskError, SandboxError, OSError) as error:
        return Finding(name, "failed", str(error))
    return Finding(name, outcome, detail)
