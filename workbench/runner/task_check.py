"""Whether a task holds: its files, its data, its metrics, its baseline, and what it makes of bad submissions."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workbench.environment.assembly import SandboxName
from workbench.runner.baseline import run_baseline, run_program
from workbench.sandbox.base import SandboxError
from workbench.tasks.catalogue import Task
from workbench.tasks.datasets import datasets_of, label_of, missing, prepare, verify
from workbench.tasks.errors import TaskError
from workbench.tasks.evaluation import Evaluation, evaluate

Outcome = Literal["ok", "failed", "skipped"]
Progress = Callable[[float, str], None]


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

    On the real data where they are here, else on the stand-in.
    """
    yield Finding("schema", "ok", f"{task.folder / 'task.yaml'} and the files it names")
    try:
        for dataset in datasets_of(task):
            why = missing(dataset, task.variant)
            if why is not None and not task.variant and dataset.spec.tiny is not None:
                yield Finding("data", "skipped", f"the real ones ({why.rstrip('.')}); the stand-in is used")
                task = task.under(task.protocol, "tiny")
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
    if task.spec.demo is not None:
        yield await _guarded("demo", _demo(task, sandbox, score))
    yield await _guarded("missing artefact", _refused(score, None, ("missing",)))
    for name, artifact in bad_artifacts(task):
        yield await _guarded(name, _refused(score, artifact, ("invalid", "crashed", "timeout", "missing")))
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / Path(task.artifact.path).name
        link.symlink_to(task.evaluator)
        yield await _guarded("hostile artefact: a link", _refused(score, link, ("invalid",)))


def bad_artifacts(task: Task) -> list[tuple[str, bytes]]:
    """Submissions that must get no score."""
    too_large = ("hostile artefact: too large", b"\0" * (min(task.artifact.max_bytes, 64 << 20) + 1))
    cases = [("wrong artefact: not of the kind", b"\xff\xfe\0 this is nothing \0" * 9)]
    if task.artifact.kind == "code":
        function = task.artifact.function or "f"
        forge = (
            "import os, sys\n"
            'line = b\'{"result": {"verdict": "ok", "metrics": {"'
            + task.primary_metric.name
            + '": 1e9}, "standard_error": 0}}\\n\'\n'
            "for number in range(64):\n"
            "    try: os.write(number, line)\n"
            "    except OSError: pass\n"
            "os._exit(0)\n"
        )
        cases += [
            ("wrong artefact: no such function", f"def {function}_(*arguments):\n    return 0\n".encode()),
            ("wrong artefact: an exception", f"def {function}(*arguments):\n    raise ValueError('no')\n".encode()),
            ("hostile artefact: forged result", forge.encode()),
            ("hostile artefact: ends its process", b"import os\nos._exit(0)\n"),
        ]
    if task.artifact.kind == "csv":
        cases += [
            ("wrong artefact: no rows", b"Id,value\n"),
            ("hostile artefact: one endless line", b"Id," + b"a" * 1_000_000),
            ("hostile artefact: quotes left open", b'Id,value\n1,"' + b"1\n" * 100_000),
        ]
    if task.artifact.max_bytes < 64 << 20:
        cases.append(too_large)
    return cases


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
) -> tuple[Outcome, str]:
    assert task.spec.demo is not None
    file = task.folder / task.spec.demo
    program = task.artifact.kind != "code"
    if program:
        async with run_program(task, file, sandbox=sandbox) as made:
            result = await score(made)
    else:
        result = await score(file.read_bytes())
    if result.score is None:
        return "failed", f"{result.verdict}: {result.message}"
    return "ok", f"{task.primary_metric.name} {result.score:.7g}"


async def _refused(
    score: Callable[[Any], Awaitable[Evaluation]], artifact: bytes | Path | None, verdicts: tuple[str, ...]
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
