"""The user's own defaults: `config.yaml` in the configuration folder, and the variables that go before it.

An option of the command line goes before both. Cheap to import; where there is no file, none is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from workbench.errors import WorkbenchError
from workbench.session.secrets import config_folder, is_secret_name, secret_values
from workbench.text import duration
from workbench.yamlfile import MetricPatterns, NotEmpty, Part, Place, Problem, in_lines, pattern_problem, read_yaml

Duration = Annotated[
    str,
    Meta(pattern=r"^((\d+(\.\d+)?[dhms])+|\d+(\.\d+)?)\Z", description="must be a time: 90m, 4h, 1h30m, or seconds"),
]
Steps = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(gt=0, le=1e9)]

_NO_KEY = "a key of a provider does not belong in this file: put it into the environment or a .env beside it"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LIKE_A_KEY = re.compile(r"\b(?:sk|pk|hf|ghp|xai|gsk)[-_][\w-]{16,}|\bAIza[\w-]{20,}|://[^/@\s]*:[^/@\s]*@")


class Settings(Part, frozen=True, kw_only=True):
    """What a person wants unless they say otherwise. What is None is as each command has it."""

    model: NotEmpty | None = None
    """Of `run`, and of what is started at home."""
    agent: NotEmpty | None = None
    base_url: NotEmpty | None = None
    """The server of that model."""
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    sandbox: Literal["local", "docker"] | None = None
    image: NotEmpty | None = None
    max_steps: Steps | None = None
    max_time: Duration | float | None = None
    max_cost: Amount | None = None
    max_tokens: Steps | None = None
    window: Annotated[int, Meta(ge=5, le=10_000)] | None = None
    approve: NotEmpty | None = None
    delay: Annotated[float, Meta(ge=0, le=3600)] | None = None
    """Seconds for which a proposal is shown before it runs."""
    sessions: NotEmpty | None = None
    """The folder of sessions."""
    theme: NotEmpty | None = None
    notify: Literal["never", "bell", "desktop"] = "never"
    """When a run stops or waits for the person, who has touched no key for a while."""
    printed_metrics: MetricPatterns = []
    """What else is a metric in what programs print (docs/metrics.md)."""
    keys: dict[str, str] = {}
    """The keys of actions, by the action's id; several are separated by spaces."""


VARIABLES = {
    name: "TEXTUAL_THEME" if name == "theme" else f"MLGYM_{name.upper()}"
    for name in Settings.__struct_fields__
    if name not in ("keys", "printed_metrics")
}
"""Variables of the environment that go before the file."""

_OF_A_SANDBOX = ("sandbox", "image", "window")
OF_A_MODEL = ("agent", "base_url", "temperature")
"""What belongs to the model of the same file, and to no other."""
_OF_A_RUN = (
    "model", *OF_A_MODEL, *_OF_A_SANDBOX, "max_steps", "max_time", "max_cost", "max_tokens", "approve", "delay",
)  # fmt: skip

Check = Callable[[Settings], Iterable[tuple[Place, str]]]


class ConfigError(WorkbenchError):
    """The file or a variable says what cannot be."""

    def __init__(self, problems: list[Problem]) -> None:
        for at, problem in enumerate(problems):
            if is_secret_name(problem.field) and problem.field.partition(".")[0] not in Settings.__struct_fields__:
                problems[at] = Problem(problem.file, problem.line, problem.field, _NO_KEY)
        super().__init__(in_lines(problems), "correct it; `mlgym-tui config --help` shows what it may say", 2)


def config_file() -> Path:
    """Where the file is, or would be."""
    return config_folder() / "config.yaml"


def from_file(check: Check = lambda _: ()) -> Settings:
    """What the file says, nothing where there is none. `check` finds further faults. Raises ConfigError."""
    file = config_file()
    if not os.path.lexists(file):
        return Settings()

    def faults(settings: Settings) -> Iterator[tuple[Place, str]]:
        secrets = secret_values()
        for name, value in msgspec.structs.asdict(settings).items():
            if isinstance(value, str) and (_LIKE_A_KEY.search(value) or value in secrets):
                yield (name,), _NO_KEY
        for where, text in _texts(settings):
            if _CONTROL.search(text):
                yield where, "holds a control character, which no setting has"
        if problem := _time_problem(settings.max_time):
            yield ("max_time",), problem
        for place, pattern in enumerate(settings.printed_metrics):
            if problem := pattern_problem(pattern):
                yield ("printed_metrics", place), problem
        yield from check(settings)

    return read_yaml(
        file, Settings, like="`mlgym-tui config --help`", fault=ConfigError, check=faults, may_be_empty=True
    )


def _texts(settings: Settings) -> Iterator[tuple[Place, str]]:
    """All texts, and where each stands."""
    for name, value in msgspec.structs.asdict(settings).items():
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        yield from (((name, place), text) for place, text in inner)
        if isinstance(value, str):
            yield (name,), value


def _time_problem(said: str | float | None) -> str:
    """What is wrong with a time that has the form of one; empty where nothing is."""
    try:
        if said is not None:
            duration(str(said))
    except ValueError as error:
        return str(error)
    return ""


def from_environment(settings: Settings) -> Settings:
    """The same, but for what variables say. Raises ConfigError."""
    given: dict[str, Any] = {}
    for field in msgspec.structs.fields(Settings):
        said = os.environ.get(VARIABLES.get(field.name, ""), "")
        if said:
            try:
                given[field.name] = msgspec.convert(said, field.type, strict=False)
            except msgspec.ValidationError as error:
                raise WorkbenchError(f"${VARIABLES[field.name]} is {said!r}: {error}", "correct it", 2) from None
    if problem := _time_problem(given.get("max_time")):
        raise WorkbenchError(f"${VARIABLES['max_time']}: {problem}", "correct it", 2)
    return msgspec.structs.replace(settings, **given)


def settings(check: Check = lambda _: ()) -> Settings:
    """What holds: the environment goes before the file. Raises ConfigError."""
    return from_environment(from_file(check))


def defaults(said: Settings) -> dict[str, Any]:
    """The options that they stand for, by command, as click's `default_map`."""

    def options(*names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(said, name)) is not None}

    where = options("sandbox")
    patterns = {"printed_metrics": said.printed_metrics} if said.printed_metrics else {}
    of_a_run = options(*_OF_A_RUN) | patterns
    if said.max_time is not None:
        of_a_run["max_time"] = duration(str(said.max_time))
    return {
        "run": of_a_run,
        "human": options(*_OF_A_SANDBOX) | patterns,
        "metrics": patterns,
        "plot": patterns,
        "baseline": where,
        "tasks": {"prepare": where, "check": where},
    }
