"""What a `task.yaml` may say, and errors that name its file, line and field."""

from __future__ import annotations

import difflib
import re
from pathlib import Path, PurePosixPath
from string import Template
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from workbench.tasks.errors import Problem, TaskFileError

TASK_FILE = "task.yaml"
MAX_TASK_FILE = 1 << 20
PLACEHOLDERS = frozenset(
    {"workspace", "artifact", "command_seconds", "training_minutes", "evaluation_seconds", "answer_seconds"}
)
"""Names that a description may use, as `$name` or `${name}`."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _relative(path: str) -> str:
    parts = PurePosixPath(path)
    if not path or parts.is_absolute() or ".." in parts.parts or "\\" in path or "\0" in path:
        raise ValueError("must be a path relative to the task's folder, without '..'")
    return path


RelativePath = Annotated[str, AfterValidator(_relative)]
Seconds = Annotated[float, Field(gt=0, le=7 * 86400, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Baseline(_Part):
    """What a first attempt reaches."""

    submission: RelativePath | None = None
    """The artifact that the scores below belong to, where it ships with the task."""
    script: RelativePath | None = None
    """A program that makes such an artifact."""
    scores: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = {}
    """Published scores, by metric."""


class MetricSpec(_Part):
    """A number that the evaluator returns."""

    key: Annotated[str, Field(min_length=1)]
    direction: Literal["maximize", "minimize"]
    primary: bool = False


class Artifact(_Part):
    """What is submitted."""

    kind: Literal["code", "csv", "checkpoint", "model"]
    path: RelativePath
    """Relative to the workspace."""
    max_bytes: Annotated[int, Field(gt=0)] = 1 << 20
    function: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] | None = None
    """For code: the function that is asked."""


class TaskLimits(_Part):
    """What may be spent, in seconds and bytes."""

    command_seconds: Seconds = 120.0
    """For one command of the agent."""
    training_seconds: Seconds = 1800.0
    """For one training command."""
    evaluation_seconds: Seconds = 120.0
    """For one evaluation."""
    answer_seconds: Seconds = 5.0
    """For one answer of submitted code."""
    loading_seconds: Seconds = 30.0
    """Until submitted code is loaded."""
    memory_bytes: Annotated[int, Field(ge=64 << 20)] = 1 << 30
    """For the submission's process."""


class Resources(_Part):
    """What the machine must have."""

    gpus: Annotated[int, Field(ge=0)] = 0


class EvaluateSpec(_Part):
    """The evaluator: a function of a Python file, and the splits of the data that it can score on."""

    file: RelativePath
    function: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] = "evaluate"
    splits: Annotated[list[str], Field(min_length=1)] = ["test"]


class TaskSpec(_Part):
    """A whole `task.yaml`."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    name: Annotated[str, Field(min_length=1)]
    domain: Annotated[str, Field(min_length=1)]
    level: Annotated[str, Field(min_length=1)]
    description: Annotated[str, Field(min_length=1)]
    """What the agent is told. `$name` stands for values: see PLACEHOLDERS."""
    datasets: list[str] = []
    starter: RelativePath = "starter"
    baseline: Baseline = Baseline()
    metrics: Annotated[list[MetricSpec], Field(min_length=1)]
    artifact: Artifact
    limits: TaskLimits = TaskLimits()
    resources: Resources = Resources()
    evaluate: EvaluateSpec
    demo: RelativePath | None = None
    """A better submission, for the scripted demo agent."""

    @property
    def primary(self) -> MetricSpec:
        """The metric that counts."""
        return next(metric for metric in self.metrics if metric.primary)


def read_task(folder: Path) -> TaskSpec:
    """The task in `folder`, checked as a whole. Raises TaskError."""
    file = folder / TASK_FILE
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_TASK_FILE + 1)
    except OSError as error:
        raise TaskFileError([Problem(file, None, "", f"cannot be read: {error.strerror}")]) from error
    if len(data) > MAX_TASK_FILE:
        raise TaskFileError([Problem(file, None, "", f"is larger than {MAX_TASK_FILE:,} bytes")])
    raw, lines, problems = _parse(file, data)
    if problems:
        raise TaskFileError(problems)
    try:
        spec = TaskSpec.model_validate(raw)
    except ValidationError as error:
        raise TaskFileError(
            [
                Problem(file, _line_of(lines, item["loc"]), _dotted(item["loc"]), _say(item, lines))
                for item in error.errors(include_url=False)
            ]
        ) from None
    problems = [
        Problem(file, _line_of(lines, place), _dotted(place), message) for place, message in _cross_check(spec, folder)
    ]
    if problems:
        raise TaskFileError(problems)
    return spec


Place = tuple[str | int, ...]
Lines = dict[Place, int]


def _parse(file: Path, data: bytes) -> tuple[Any, Lines, list[Problem]]:
    """The plain values, the line of each, and what is wrong with the YAML itself."""
    lines: Lines = {}
    problems: list[Problem] = []
    loader = _Loader(data)
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            return None, lines, [Problem(file, 1, "", "must be a mapping of fields, as in the shipped tasks")]
        _walk(node, (), lines, problems, file)
        return (None if problems else loader.construct_document(node)), lines, problems
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = f"not valid YAML: {error.problem or error.context}"
        return None, lines, [Problem(file, mark.line + 1 if mark else None, "", message)]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return None, lines, [Problem(file, None, "", f"not valid YAML: {str(error).splitlines()[0]}")]
    finally:
        loader.dispose()


def _walk(node: yaml.Node, place: Place, lines: Lines, problems: list[Problem], file: Path) -> None:
    if place in lines or len(place) > 20:
        return
    lines[place] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            if inner in lines:
                problems.append(Problem(file, key.start_mark.line + 1, _dotted(inner), "is given twice"))
            _walk(value, inner, lines, problems, file)
            lines[inner] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*place, index), lines, problems, file)


def _line_of(lines: Lines, place: Place) -> int | None:
    """The line of a field, or of what it would stand in."""
    for length in range(len(place), -1, -1):
        if place[:length] in lines:
            return lines[place[:length]]
    return None


def _dotted(place: Place) -> str:
    return ".".join(str(part) for part in place)


def _say(item: Any, lines: Lines) -> str:
    """One of pydantic's errors in plain words."""
    place: Place = item["loc"]
    if item["type"] == "missing":
        return "is required"
    if item["type"] == "extra_forbidden":
        model: Any = TaskSpec
        for part in place[:-1]:
            if isinstance(part, str):
                model = _model_of(model.model_fields[part].annotation)
        near = difflib.get_close_matches(str(place[-1]), list(model.model_fields), 1)
        return f"is not a known field; did you mean {near[0]!r}?" if near else "is not a known field"
    message = re.sub(r"^(Input|Value error,|String) ?", "", str(item["msg"]))
    given = item.get("input")
    return f"{message} (it is {given!r})" if isinstance(given, str | int | float) and len(str(given)) < 60 else message


def _model_of(annotation: Any) -> Any:
    """The model inside an annotation such as `Annotated[list[MetricSpec], …]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _model_of(part)
        if found is not None:
            return found
    return None


def _cross_check(spec: TaskSpec, folder: Path) -> list[tuple[Place, str]]:
    """What no single field can say: files that must be there, metrics that must agree."""
    found: list[tuple[Place, str]] = []
    keys = [metric.key for metric in spec.metrics]
    for index, key in enumerate(keys):
        if key in keys[:index]:
            found.append((("metrics", index, "key"), f"{key!r} is given twice"))
    primary = sum(metric.primary for metric in spec.metrics)
    if primary != 1:
        found.append((("metrics",), f"exactly one metric must be primary ({primary} are)"))
    for key in spec.baseline.scores:
        if key not in keys:
            found.append((("baseline", "scores", key), f"no such metric; there are {', '.join(keys)}"))
    if spec.artifact.kind == "code" and spec.artifact.function is None:
        found.append((("artifact", "function"), "is required for code: the function that is asked"))
    if not (folder / spec.starter).is_dir():
        found.append((("starter",), f"the folder {spec.starter!r} is not there"))
    files: list[tuple[Place, str | None]] = [
        (("evaluate", "file"), spec.evaluate.file),
        (("demo",), spec.demo),
        (("baseline", "submission"), spec.baseline.submission),
        (("baseline", "script"), spec.baseline.script),
    ]
    for place, path in files:
        if path is not None and not (folder / path).is_file():
            found.append((place, f"the file {path!r} is not there"))
    if PurePosixPath(spec.starter) in PurePosixPath(spec.evaluate.file).parents:
        found.append((("evaluate", "file"), "must not be in the starter folder, which the agent is given"))
    template = Template(spec.description)
    if not template.is_valid():
        found.append((("description",), "has a '$' that begins no name; write '$$' for the sign itself"))
    else:
        for name in sorted(set(template.get_identifiers()) - PLACEHOLDERS):
            known = ", ".join(sorted(PLACEHOLDERS))
            found.append((("description",), f"${name} is not a known name; there are {known}"))
    return found
