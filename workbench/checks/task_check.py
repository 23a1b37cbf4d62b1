"""Checks a task: its files, data, metrics and baseline, and that bad submissions get no score."""

from __future__ import annotations

import math
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Literal

import msgspec

from workbench.checks.bad_artifacts import bad_files, bad_folders, bad_tables
from workbench.checks.baseline import REPEATED, BaselineRun, run_baseline, run_program
from workbench.errors import WorkbenchError
from workbench.scoring.evaluation import Evaluation, evaluate, room_for
from workbench.session.spec import SandboxName
from workbench.tasks.catalogue import Task
from workbench.tasks.datasets import Prepared, datasets_of, label_of, prepare, verify
from workbench.tasks.making import Progress
from workbench.tasks.needs import examine

Outcome = Literal["ok", "failed", "skipped"]
Score = Callable[..., Awaitable[Evaluation]]
"""Scores an artifact, on the split of `submit` or on a named one."""

NO_SCORE = ("invalid", "crashed", "timeout", "missing")
LONG = 60.0
"""An evaluation that takes more seconds than this is not repeated."""
ROUNDING = 1e-9
"""Relative tolerance between a score and the same one computed again."""


class Finding(msgspec.Struct, frozen=True):
    """The outcome of one check."""

    name: str
    outcome: Outcome
    detail: str


async def check(
    task: Task, *, sandbox: SandboxName = "local", progress: Progress | None = None
) -> AsyncIterator[Finding]:
    """All checks, one after the other. The schema and the files were checked when the task was loaded.

    On the real data where they are here and this machine is one for them, else on the stand-in. A fault that several
    checks meet is told in full once.
    """
    told: dict[str, str] = {}
    async for finding in _all_checks(task, sandbox, progress):
        before = told.setdefault(finding.detail, finding.name)
        if finding.outcome == "failed" and before != finding.name:
            finding = msgspec.structs.replace(finding, detail=f"as {before}")
        yield finding


async def _all_checks(task: Task, sandbox: SandboxName, progress: Progress | None) -> AsyncIterator[Finding]:
    yield Finding("schema", "ok", f"{task.folder / 'task.yaml'} and the files it names")
    try:
        if not task.variant and task.spec.datasets and all(item.spec.tiny for item in datasets_of(task)):
            tiny = task.under(task.protocol, "tiny")
            cured = [why for why in examine(task).obstacles if why not in examine(tiny).obstacles]
            for why in cured:
                yield Finding("data", "skipped", f"the real ones ({why.rstrip('.')}); the stand-in is used")
            task = tiny if cured else task
        prepared = {dataset.id: prepare(dataset, task.variant, progress) for dataset in datasets_of(task)}
        wrong = [
            f"{item.id}: {fault}" for item in prepared.values() for fault in [*verify(item), *_given_away(task, item)]
        ]
        if prepared:
            label = label_of(prepared)
            detail = f"{', '.join(prepared)}{f' ({label})' if label else ''}: prepared, checksums as they were"
            yield Finding("data", "failed" if wrong else "ok", "; ".join(wrong) or detail)
    except (WorkbenchError, OSError) as error:
        yield _failed("data", error)
        return
    room = room_for(sandbox)

    async def score(artifact: bytes | Path | None, split: str = "") -> Evaluation:
        split = split or task.split_for("submit")
        return await evaluate(task, artifact, seed=1, room=room, progress=progress, split=split)

    yield await _guarded("baseline", _baseline(task, sandbox, progress))
    async for finding in _demo(task, sandbox, score):
        yield finding
    yield await _guarded("missing artifact", _refused(score, None, ("missing",)))
    for name, artifact in [] if task.artifact.bundled else bad_files(task):
        yield await _guarded(name, _refused(score, artifact))
    if not task.artifact.bundled:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / Path(task.artifact.path).name
            link.symlink_to(task.evaluator)
            yield await _guarded("hostile artifact: a link", _refused(score, link, ("invalid",)))


async def _baseline(task: Task, sandbox: SandboxName, progress: Progress | None) -> tuple[Outcome, str]:
    spec = task.spec.baseline
    if spec.submission is None and spec.script is None:
        return "skipped", "the task has none"
    run = await run_baseline(task, sandbox=sandbox, progress=progress)
    if run.evaluation.verdict != "ok":
        return "failed", f"{run.evaluation.verdict}: {run.evaluation.message}"
    said = ", ".join(
        f"{item.metric} {item.got:.10g}" + (f" ({item.told})" if item.told else "") for item in run.comparisons
    )
    return ("ok", said) if run.agrees else ("failed", said + _mend(task, run))


def _mend(task: Task, run: BaselineRun) -> str:
    """What the author should change where the baseline does not reach the scores in task.yaml."""
    scores, tolerance = ("stand_in", "stand_in_tolerance") if task.variant else ("scores", "tolerance")
    off = ", ".join(f"{item.metric} ± {item.tolerance:.2g}" for item in run.comparisons if not item.agrees)
    return (
        f": further apart than {off}. Write what it reaches under baseline.{scores} of task.yaml; where it cannot be "
        f"met more exactly, how far off it may be under baseline.{tolerance}"
    )


def _given_away(task: Task, prepared: Prepared) -> list[str]:
    """Secret files of a split that the agent can see too."""
    files = prepared.checksums()
    public = {digest: name for name, digest in files.items() if name.startswith("public/")}
    return [
        f"the agent has {name} too, as {public[digest]}: what is held back belongs in making.secret only"
        for name, digest in files.items()
        if name.startswith("secret/") and Path(name).stem in task.spec.evaluate.splits and digest in public
    ]


async def _demo(task: Task, sandbox: SandboxName, score: Score) -> AsyncIterator[Finding]:
    """Check the demo's submission. Tables, checkpoints and models are also damaged, and must then get no score."""
    program = task.spec.demo or (task.spec.baseline.script if task.artifact.bundled else None)
    if program is None:
        return
    file = task.file(program)
    if task.artifact.kind == "code":
        async for finding in _good(task, score, file.read_bytes()):
            yield finding
        return
    try:
        async with run_program(task, file, sandbox=sandbox) as made:
            async for finding in _good(task, score, made):
                yield finding
            if isinstance(made, bytes):
                for name, table in bad_tables(made):
                    yield await _guarded(name, _refused(score, table))
            else:
                with tempfile.TemporaryDirectory() as folder:
                    for name, bad in bad_folders(task, made, Path(folder)):
                        yield await _guarded(name, _refused(score, bad))
    except (WorkbenchError, OSError) as error:
        yield _failed("demo", error)


async def _good(task: Task, score: Score, submission: bytes | Path) -> AsyncIterator[Finding]:
    """Check a valid submission: that it has a score, the same score again, and a score on each other split."""
    results: list[Evaluation] = []

    async def scored(split: str) -> tuple[Outcome, str]:
        result = await score(submission, split)
        if result.score is None:
            return "failed", f"{result.verdict}: {result.message}"
        results.append(result)
        return "ok", f"{task.primary_metric.name} {result.score:.7g}{_beside_baseline(task, result.score)}"

    submitted = task.split_for("submit")
    yield await _guarded("demo", scored(submitted))
    if results:
        yield await _guarded("same score again", _repeated(task, score, submission, results[0]))
    for split in task.spec.evaluate.splits:
        if split != submitted:
            yield await _guarded(f"demo on {split} data", scored(split))


def _beside_baseline(task: Task, score: float) -> str:
    """A remark where the demo is no better than the baseline: perhaps the metric's direction is the wrong one."""
    metric = task.primary_metric
    if metric.baseline is None:
        return ""
    gain = score - metric.baseline if metric.direction == "maximize" else metric.baseline - score
    return "" if gain > 0 else f" (no better than the baseline, {metric.baseline:.7g}: {metric.direction} is meant?)"


async def _repeated(task: Task, score: Score, submission: bytes | Path, first: Evaluation) -> tuple[Outcome, str]:
    """Whether the same submission and seed give the same metrics (those that are measured are left out)."""
    if first.duration > LONG:
        return "skipped", f"an evaluation takes {first.duration:.0f} s"
    weaker = task.baseline_submission()
    if weaker is not None and (other := await score(weaker)).verdict == "ok":
        submission, first = weaker, other  # a perfect one has the same score whatever it is asked
    again = (await score(submission)).metrics
    part = REPEATED if task.artifact.bundled else ROUNDING
    different = [
        f"{metric.key} {first.metrics[metric.key]:.10g}, then {again.get(metric.key, math.nan):.10g}"
        for metric in task.spec.metrics
        if not metric.measured
        and not math.isclose(first.metrics[metric.key], again.get(metric.key, math.nan), rel_tol=part, abs_tol=part)
    ]
    if not different:
        return "ok", "with the same seed"
    return "failed", (
        f"{'; '.join(different)}, with the same seed: job.random is the only randomness that an evaluator may use; "
        "of a time or the like, say `measured: true`"
    )


async def _refused(
    score: Score, artifact: bytes | Path | None, verdicts: tuple[str, ...] = NO_SCORE
) -> tuple[Outcome, str]:
    result = await score(artifact)
    if result.verdict in verdicts:
        return "ok", f"{result.verdict}: {result.message}"
    return "failed", f"the verdict is {result.verdict}, score {result.score}; it must be {' or '.join(verdicts)}"


async def _guarded(name: str, work: Awaitable[tuple[Outcome, str]]) -> Finding:
    """Run one check. It fails where the evaluator or the sandbox fails."""
    try:
        outcome, detail = await work
    except (WorkbenchError, OSError) as error:
        return _failed(name, error)
    return Finding(name, outcome, detail)


def _failed(name: str, error: WorkbenchError | OSError) -> Finding:
    return Finding(name, "failed", error.in_full if isinstance(error, WorkbenchError) else str(error))
