"""A task's baseline: its submission, made in a sandbox where a program makes it, scored and compared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from workbench.environment.workspace import fill_with, make_workspace, offer_data
from workbench.sandbox.base import WORKSPACE, SandboxError, SandboxSpec
from workbench.sandbox.temporary import OwnedFolder
from workbench.tasks.catalogue import Task
from workbench.tasks.datasets import mounts, prepare_task
from workbench.tasks.errors import TaskError
from workbench.tasks.evaluation import Evaluation, evaluate

Progress = Callable[[float, str], None]
REPEATED = 1e-6
"""How far from its score, as a part of it, a repeated deterministic baseline may be."""
NOISE = 4.0
"""How many standard errors."""


class BaselineError(TaskError):
    """There is no baseline, or it made no submission."""


@dataclass(frozen=True)
class Comparison:
    """One metric against what is published."""

    metric: str
    got: float
    published: float | None
    tolerance: float
    primary: bool

    @property
    def agrees(self) -> bool:
        """Whether it is the published score, within noise; nothing published agrees."""
        return self.published is None or abs(self.got - self.published) <= self.tolerance


@dataclass(frozen=True)
class BaselineRun:
    """What a baseline reached."""

    evaluation: Evaluation
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether it was scored and all that is published was reached."""
        return self.evaluation.verdict == "ok" and all(item.agrees for item in self.comparisons)


async def run_baseline(
    task: Task, *, sandbox: str = "local", seed: int = 0, progress: Progress | None = None
) -> BaselineRun:
    """Make and score the baseline on the split of `submit`. Raises TaskError, SandboxError or OSError."""
    submission = task.baseline_submission()
    if submission is None:
        script = task.spec.baseline.script
        if script is None:
            raise BaselineError(f"task {task.id} has no baseline: neither a submission nor a script")
        if progress is not None:
            progress(0.0, f"running {PurePosixPath(script).name}")
        submission = await run_program(task, task.folder / script, sandbox=sandbox)
    room: Any = "docker" if sandbox == "docker" else "auto"
    evaluation = await evaluate(
        task, submission, seed=seed, room=room, progress=progress, split=task.split_for("submit")
    )
    return BaselineRun(evaluation, compare(task, evaluation))


def compare(task: Task, evaluation: Evaluation) -> list[Comparison]:
    """Each metric of a score against the published one."""
    tolerances = {} if task.variant else task.spec.baseline.tolerance
    primary = task.primary_metric.name
    found: list[Comparison] = []
    for name, got in evaluation.metrics.items():
        published = task.baseline_scores.get(name)
        tolerance = max(tolerances.get(name, 0.0), REPEATED * abs(published or 0.0))
        if name == primary and evaluation.standard_error:
            tolerance = max(tolerance, NOISE * evaluation.standard_error)
        found.append(Comparison(name, got, published, tolerance, name == primary))
    return sorted(found, key=lambda item: not item.primary)


async def run_program(task: Task, program: Path, *, sandbox: str = "local") -> bytes:
    """The submission that a program of the task writes, in a fresh workspace. Raises as `run_baseline`."""
    prepared = prepare_task(task)
    data = mounts(task, prepared)
    starter = task.folder / task.spec.starter
    name = program.relative_to(starter).as_posix() if program.is_relative_to(starter) else program.name
    folder = OwnedFolder("run")
    try:
        workspace = make_workspace(folder)
        fill_with(workspace, {**task.starter_files(), name: await asyncio.to_thread(program.read_bytes)})
        spec = SandboxSpec("baseline", mounts={path: f"{WORKSPACE}/{inside}" for path, inside in data.items()})
        made = _sandbox(sandbox, spec, workspace)
        offer_data(workspace, data, mounted=True)
        try:
            await made.start()
            limit = task.limits.training_seconds
            done = await made.exec(["python3", name], cwd=WORKSPACE, time_limit=limit)
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            if done.timed_out:
                raise BaselineError(f"{name} of task {task.id} took more than {limit:g} s")
            if done.exit_code != 0:
                raise BaselineError(
                    f"{name} of task {task.id} ended with exit code {done.exit_code}: {said[-1][:300] if said else ''}"
                )
            try:
                return bytes(await made.read_file(f"{WORKSPACE}/{task.artifact.path}", task.artifact.max_bytes))
            except (OSError, SandboxError) as error:
                raise BaselineError(f"{name} of task {task.id} left no {task.artifact.path}: {error}") from error
        finally:
            await made.stop()
    finally:
        folder.remove()


def _sandbox(kind: str, spec: SandboxSpec, workspace: Path) -> Any:
    if kind == "docker":
        from workbench.sandbox.docker import DockerSandbox

        return DockerSandbox(spec, workspace)
    from workbench.sandbox.local import LocalSandbox

    return LocalSandbox(spec, workspace)
