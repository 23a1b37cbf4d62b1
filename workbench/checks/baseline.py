"""A task's baseline: its submission is scored and compared. If the task has a program for it, that runs in a sandbox
first.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from workbench.environment.assembly import Actor, fill_with, find_packages, make_sandbox, make_workspace, offer_data
from workbench.environment.resources import lease_gpus, shortage_notes
from workbench.isolation.temporary import OwnedFolder
from workbench.sandbox.base import Sandbox
from workbench.scoring.artifact import ArtifactError
from workbench.scoring.evaluation import Evaluation, evaluate, room_for
from workbench.scoring.submissions import read_submission
from workbench.session.spec import SandboxName, SessionSpec
from workbench.tasks.author_code import last_fault
from workbench.tasks.catalogue import Task
from workbench.tasks.datasets import mounts, prepare_task
from workbench.tasks.errors import TaskError
from workbench.tasks.making import Progress

REPEATED = 1e-6
"""Relative tolerance for a deterministic baseline that is run again."""
NOISE = 4.0
"""How many standard errors two scores may be apart."""


class BaselineError(TaskError):
    """The task has no baseline, or its program made no submission."""


class Comparison(msgspec.Struct, frozen=True):
    """One metric against what is published."""

    metric: str
    got: float
    published: float | None
    tolerance: float
    primary: bool
    reaches: float | None = None
    """The value to expect if no run of the baseline reaches the published one."""

    @property
    def agrees(self) -> bool:
        """Whether the score is the expected one, within noise; where none is expected, every score agrees."""
        expected = self.published if self.reaches is None else self.reaches
        return expected is None or abs(self.got - expected) <= self.tolerance

    @property
    def told(self) -> str:
        """The numbers to compare with, for people: "published 0.5; known to reach 0.6"."""
        known = [] if self.reaches is None else [f"known to reach {self.reaches:.10g}"]
        return "; ".join(([] if self.published is None else [f"published {self.published:.10g}"]) + known)


class BaselineRun(msgspec.Struct, frozen=True):
    """What a baseline reached."""

    evaluation: Evaluation
    comparisons: list[Comparison] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    """Remarks on the machine and the sandbox that belong to the result."""

    @property
    def agrees(self) -> bool:
        """Whether it was scored and every published score was reached."""
        return self.evaluation.verdict == "ok" and all(item.agrees for item in self.comparisons)


async def run_baseline(
    task: Task,
    *,
    sandbox: SandboxName = "local",
    seed: int = 0,
    gpus: str = "",
    share_gpus: bool = False,
    progress: Progress | None = None,
) -> BaselineRun:
    """Make and score the baseline on the split of `submit`. `gpus` as `--gpus`.

    Cancelling it ends everything. Raises TaskError, SandboxError or OSError.
    """
    room = room_for(sandbox)
    notes = shortage_notes(task)
    lease = lease_gpus(task, gpus, share=share_gpus, holder=f"the baseline of {task.id}", notes=notes)

    async def score(submission: bytes | Path) -> BaselineRun:
        split = task.split_for("submit")
        result = await evaluate(task, submission, seed=seed, room=room, progress=progress, split=split, gpus=lease.gpus)
        return BaselineRun(result, compare(task, result), notes)

    try:
        submission = task.baseline_submission()
        if submission is not None:
            return await score(submission)
        script = task.spec.baseline.script
        if script is None:
            raise BaselineError(f"task {task.id} has no baseline: neither a submission nor a script")
        program = task.file(script)
        async with run_program(task, program, sandbox=sandbox, gpus=lease.gpus, notes=notes, progress=progress) as made:
            return await score(made)
    finally:
        lease.release()


def compare(task: Task, evaluation: Evaluation) -> list[Comparison]:
    """Each metric of a score against the published one."""
    baseline = task.spec.baseline
    tolerances = baseline.stand_in_tolerance if task.variant else baseline.tolerance
    primary = task.primary_metric.name
    found: list[Comparison] = []
    for name, got in evaluation.metrics.items():
        published = task.baseline_scores.get(name)
        tolerance = max(tolerances.get(name, 0.0), REPEATED * abs(published or 0.0))
        if name == primary and evaluation.standard_error:
            tolerance = max(tolerance, NOISE * evaluation.standard_error)
        reaches = None if task.variant else baseline.reaches.get(name)
        found.append(Comparison(name, got, published, tolerance, name == primary, reaches))
    return sorted(found, key=lambda item: not item.primary)


@contextlib.asynccontextmanager
async def run_program(
    task: Task,
    program: Path,
    *,
    sandbox: SandboxName = "local",
    gpus: Sequence[int] = (),
    notes: list[str] | None = None,
    progress: Progress | None = None,
) -> AsyncIterator[bytes | Path]:
    """What a program of the task leaves in a fresh workspace: the submission, or the folder that holds a bundled one.

    Nothing runs in that folder any more; it is gone at the end. `notes` gets what must be said of the sandbox. Raises
    as `run_baseline`.
    """
    prepared = await asyncio.to_thread(prepare_task, task)
    data = mounts(task, prepared)
    starters = [folder / task.spec.starter for folder in task.folders]
    inside = [program.relative_to(starter).as_posix() for starter in starters if program.is_relative_to(starter)]
    name = inside[0] if inside else program.name
    folder = OwnedFolder("run")
    try:
        workspace = make_workspace(folder)
        fill_with(workspace, {**task.starter_files(), name: await asyncio.to_thread(program.read_bytes)})
        spec, notes = SessionSpec(sandbox=sandbox), [] if notes is None else notes
        packages = await asyncio.to_thread(find_packages, task, spec, notes)
        made = make_sandbox(task, spec, "baseline", workspace, notes, data, packages, gpus, Actor())
        offer_data(workspace, data, mounted=made.protected)
        try:
            await made.start()
            await _run(task, name, made, notes, progress)
            submission = workspace if task.artifact.bundled else await _submission(task, name, made)
        finally:
            await made.stop()
        yield submission
    finally:
        await asyncio.to_thread(folder.remove)


async def _run(task: Task, name: str, sandbox: Sandbox, notes: list[str], progress: Progress | None) -> None:
    """Run it to its end. Raises BaselineError."""
    limit = task.limits.training_seconds
    ticking = asyncio.ensure_future(_tick(f"running {name}", limit, progress))
    try:
        done = await sandbox.exec(["python3", name], cwd=sandbox.workspace, time_limit=limit)
    finally:
        ticking.cancel()
    if done.timed_out:
        raise BaselineError(f"{name} of task {task.id} took more than {limit:g} s")
    if done.exit_code != 0:
        said = last_fault((done.stderr or done.stdout).decode(errors="replace"), sandbox.workspace)
        why = f": {said.removeprefix(f'{sandbox.workspace}/')[:300]}" if said else ""
        told = f" ({'; '.join(notes)})" if notes else ""
        raise BaselineError(f"{name} of task {task.id} ended with exit code {done.exit_code}{why}{told}")


async def _tick(text: str, limit: float, progress: Progress | None) -> None:
    """Report each second that the program still runs; only the program itself knows its progress."""
    began = time.monotonic()
    while progress is not None:
        progress(0.0, f"{text}, {time.monotonic() - began:.0f} s of at most {limit:g} s")
        await asyncio.sleep(1.0)


async def _submission(task: Task, name: str, sandbox: Sandbox) -> bytes:
    try:
        return await asyncio.to_thread(read_submission, task, sandbox)
    except ArtifactError as error:
        raise BaselineError(f"{name} of task {task.id} left no {task.artifact.path}: {error}") from error
