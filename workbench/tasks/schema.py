"""What a `task.yaml` may say, and errors that name its file, line and field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from string import Template
from typing import Annotated, Literal

from msgspec import Meta, field

from workbench.tasks.errors import TaskFileError
from workbench.yamlfile import MetricPatterns, NotEmpty, Number, Part, Place, pattern_problem, read_yaml

TASK_FILE = "task.yaml"
PLACEHOLDERS = frozenset(
    {"workspace", "artifact", "command_seconds", "training_minutes", "evaluation_seconds", "answer_seconds"}
)
"""Names that a description may use, as `$name` or `${name}`."""


RelativePath = Annotated[
    str,
    Meta(pattern=r"\A(?!/)(?!(?:[^/]*/)*\.\.(?:/|\Z))[^\\\0]+\Z", description="must be a relative path, without '..'"),
]
Seconds = Annotated[float, Meta(gt=0, le=7 * 86400)]
Identifier = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")]
FunctionName = Annotated[str, Meta(pattern=r"^[A-Za-z_]\w*\Z")]
Requirement = NotEmpty


class Baseline(Part, frozen=True, kw_only=True):
    """What a first attempt reaches."""

    submission: RelativePath | None = None
    """The artifact that the scores below belong to, where it ships with the task."""
    script: RelativePath | None = None
    """A program that makes such an artifact: it is put in the workspace, and run there by `python`."""
    scores: dict[str, Number] = {}
    """Published scores, by metric."""
    reaches: dict[str, Number] = {}
    """The scores that it is known to reach, where these are not the published ones."""
    stand_in: dict[str, Number] = {}
    """What the same baseline reaches on the data's stand-in."""
    tolerance: dict[str, Number] = {}
    """How far from its scores a baseline may be, where that lies in the task (other instances, another machine)."""
    stand_in_tolerance: dict[str, Number] = {}
    """The same, on the stand-in."""


class MetricSpec(Part, frozen=True, kw_only=True):
    """A number that the evaluator returns."""

    key: NotEmpty
    direction: Literal["maximize", "minimize"]
    primary: bool = False
    """Whether it is the one that counts."""
    primary_in: list[Literal["mlgym"]] = []
    """Protocols under which this is the one that counts instead."""
    measured: bool = False
    """A time or the like, which differs between evaluations of the same submission."""


class Artifact(Part, frozen=True, kw_only=True):
    """What is submitted."""

    kind: Literal["code", "csv", "checkpoint", "model"]
    path: RelativePath
    """Relative to the workspace: a file; for a checkpoint or a model, a file or a folder."""
    also: list[RelativePath] = []
    """For a checkpoint or a model: further files and folders that belong to it, taken where they are there."""
    max_bytes: Annotated[int, Meta(gt=0)] = 1 << 20
    """Of all of it."""
    function: FunctionName | None = None
    """For code: the function that is asked."""
    beside: list[RelativePath] = []
    """For code: files of the task that lie beside it when it is scored, and that it may import."""

    @property
    def bundled(self) -> bool:
        """Whether it may be several files, which are copied into one archive."""
        return self.kind in ("checkpoint", "model")


class TaskLimits(Part, frozen=True, kw_only=True):
    """What may be spent, in seconds and bytes."""

    command_seconds: Seconds = 120.0
    """For one command of the agent."""
    training_seconds: Seconds = 1800.0
    """For one training command."""
    evaluation_seconds: Seconds = 120.0
    """Of processor time, for one evaluation: of all processes of the submission together (of a checkpoint or model: for
    each thread that it may compute with). By the clock it may take five times that."""
    answer_seconds: Seconds = 5.0
    """For one answer of submitted code, by the clock."""
    loading_seconds: Seconds = 30.0
    """Until submitted code is loaded."""
    memory_bytes: Annotated[int, Meta(ge=64 << 20)] = 1 << 30
    """For the submission's process, or the room in which its model is loaded."""
    validates: Annotated[int, Meta(ge=1)] | None = None
    """How often `validate` scores the work in a session; by default as often as it is asked for."""


class Resources(Part, frozen=True, kw_only=True):
    """What the agent's sandbox has, and the machine with it."""

    gpus: Annotated[int, Meta(ge=0, le=64)] = 0
    memory_bytes: Annotated[int, Meta(ge=64 << 20)] | None = None
    """For everything in the sandbox together; by default as in every sandbox."""
    cpus: Annotated[float, Meta(ge=0.1, le=4096)] | None = None
    """Processors; by default all."""
    requirements: list[Requirement] = []
    """Python packages besides the task's, on a machine that has GPUs."""


class EvaluateSpec(Part, frozen=True, kw_only=True):
    """The evaluator: a function of a Python file, and the splits of the data that it can score on."""

    file: RelativePath
    function: FunctionName = "evaluate"
    runner: RelativePath | None = None
    """For a checkpoint or a model: the program that loads it, in its room, and answers the evaluator's questions."""
    rooms: Annotated[int, Meta(ge=1, le=4)] = 1
    """How many fresh rooms the submission is loaded in, for an evaluator that compares their answers."""
    splits: Annotated[list[str], Meta(min_length=1)] = field(default_factory=lambda: ["test"])
    protocols: dict[Literal["mlgym"], str] = {}
    """The split that both `validate` and `submit` see under a protocol, where that is not `test`."""


class TaskSpec(Part, frozen=True, kw_only=True):
    """A whole `task.yaml`."""

    id: Identifier
    name: NotEmpty
    domain: NotEmpty
    level: NotEmpty
    description: NotEmpty
    """What the agent is told. `$name` stands for values: see PLACEHOLDERS."""
    datasets: list[Identifier] = []
    """Of `datasets/`, beside the tasks or in the task's folder."""
    requirements: list[Requirement] = []
    """Python packages for the agent, and for the room in which its code or model is scored, as pip reads them."""
    requirements_optional: bool = False
    """Whether the task runs without them."""
    extras: Annotated[dict[Identifier, list[Requirement]], Meta(max_length=6)] = {}
    """Further packages, by the name under which `tasks prepare --with NAME` installs them, too. pip's options
    (`--extra-index-url=…`) may be among them."""
    shares: Identifier | None = None
    """A folder beside the task's, laid out like it: its files are this task's, too, where it has none of that name."""
    starter: RelativePath = "starter"
    baseline: Baseline = Baseline()
    metrics: Annotated[list[MetricSpec], Meta(min_length=1)]
    artifact: Artifact
    limits: TaskLimits = TaskLimits()
    resources: Resources = Resources()
    evaluate: EvaluateSpec
    printed_metrics: MetricPatterns = []
    """Regular expressions for metrics that programs print in a way of their own. Each named group is a metric, but for
    `step`, `epoch` and `total`, which say where; `name` and `value` are one together."""
    demo: RelativePath | None = None
    """For the scripted demo agent: a better submission where that is code, else a better version of the starter's
    program of that name, which writes one."""

    @property
    def primary(self) -> MetricSpec:
        """The metric that counts."""
        return self.primary_under("")

    def primary_under(self, protocol: str) -> MetricSpec:
        """The metric that counts under a protocol."""
        chosen = [metric for metric in self.metrics if protocol in metric.primary_in]
        return (chosen or [metric for metric in self.metrics if metric.primary])[0]


def read_task(folder: Path) -> TaskSpec:
    """The task in `folder`, checked as a whole. Raises TaskError."""
    return read_yaml(
        folder / TASK_FILE,
        TaskSpec,
        like="the shipped tasks",
        fault=TaskFileError,
        check=lambda spec: _cross_check(spec, folder),
    )


def _cross_check(spec: TaskSpec, folder: Path) -> Iterator[tuple[Place, str]]:
    """Checks across fields: files that must exist, metrics that must agree."""
    keys = [metric.key for metric in spec.metrics]
    for index, key in enumerate(keys):
        if key in keys[:index]:
            yield ("metrics", index, "key"), f"{key!r} is given twice"
    primary = sum(metric.primary for metric in spec.metrics)
    if primary != 1:
        yield ("metrics",), f"exactly one metric must be primary ({primary} are)"
    for group in ("scores", "reaches", "stand_in", "tolerance", "stand_in_tolerance"):
        for key in getattr(spec.baseline, group):
            if key not in keys:
                yield ("baseline", group, key), f"no such metric; there are {', '.join(keys)}"
    if spec.artifact.kind == "code" and spec.artifact.function is None:
        yield ("artifact", "function"), "is required for code: the function that is asked"
    if spec.artifact.bundled != (spec.evaluate.runner is not None):
        need = "is required for a checkpoint or a model" if spec.artifact.bundled else "is for checkpoints and models"
        yield ("evaluate", "runner"), f"{need}: the program that loads it"
    if spec.artifact.also and not spec.artifact.bundled:
        yield ("artifact", "also"), "is for checkpoints and models; of others one file is taken"
    if spec.artifact.beside and spec.artifact.kind != "code":
        yield ("artifact", "beside"), "is for code, which may import them"
    for protocol, split in spec.evaluate.protocols.items():
        if split not in spec.evaluate.splits:
            yield ("evaluate", "protocols", protocol), f"must be one of {', '.join(spec.evaluate.splits)}"
    for number, pattern in enumerate(spec.printed_metrics):
        if problem := pattern_problem(pattern):
            yield ("printed_metrics", number), problem
    folders = [folder] if spec.shares is None else [folder, folder.parent / spec.shares]
    if not folders[-1].is_dir():
        yield ("shares",), f"there is no folder {spec.shares!r} beside {folder.name}"
    if spec.demo is not None and spec.artifact.kind != "code":
        program = f"{spec.starter}/{PurePosixPath(spec.demo).name}"
        if not any((place / program).is_file() for place in folders):
            yield ("demo",), f"must be another version of a program of the starter; there is no {program!r}"
    if not any((place / spec.starter).is_dir() for place in folders):
        yield ("starter",), f"the folder {spec.starter!r} is not there"
    files: list[tuple[Place, str | None]] = [
        (("evaluate", "file"), spec.evaluate.file),
        (("evaluate", "runner"), spec.evaluate.runner),
        (("demo",), spec.demo),
        (("baseline", "submission"), spec.baseline.submission),
        (("baseline", "script"), spec.baseline.script),
        *((("artifact", "beside", number), path) for number, path in enumerate(spec.artifact.beside)),
    ]
    for place, path in files:
        if path is not None and not any((place / path).is_file() for place in folders):
            yield place, f"the file {path!r} is not there"
    for name in ("file", "runner"):
        if PurePosixPath(spec.starter) in PurePosixPath(getattr(spec.evaluate, name) or "").parents:
            yield ("evaluate", name), "must not be in the starter folder, which the agent is given"
    template = Template(spec.description)
    if not template.is_valid():
        yield ("description",), "has a '$' that begins no name; write '$$' for the sign itself"
    else:
        for name in sorted(set(template.get_identifiers()) - PLACEHOLDERS):
            known = ", ".join(sorted(PLACEHOLDERS))
            yield ("description",), f"${name} is not a known name; there are {known}"
