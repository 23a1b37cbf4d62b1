"""MLGym's run folder on disk: the `.traj`, its `results.json`, and what the folder's name tells.

A whole file is decoded in one typed pass that leaves the message history unread (it holds every observation a second
time). A damaged or cut file is read again step by step, as far as its steps are complete.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from workbench.session.files import read_file
from workbench.session.plain import read_json, without_surrogates
from workbench.session.recording import RecordingError


class TrajStep(msgspec.Struct):
    """One step as the file has it. `state` is from before the action, and is JSON in a string."""

    action: str = ""
    observation: str | None = None
    response: str | None = None
    thought: str | None = None
    state: str | None = None
    execution_time: float | None = None


class TrajInfo(msgspec.Struct):
    """The outcome of the run."""

    exit_status: str | None = None
    submission: str | None = None
    score: list[Any] | None = None
    model_stats: dict[str, Any] | None = None


@dataclass
class Trajectory:
    """A `.traj` as far as it could be read."""

    steps: list[TrajStep]
    environment: str = ""
    info: TrajInfo | None = None
    """None when the file is cut before it."""
    system: str = ""
    """The first system message."""
    task_text: str = ""
    """The first user message."""
    answers: int | None = None
    """How many times the model answered, where the history could be read."""
    last_answer: str = ""
    last_action: str = ""
    """The action in that answer."""
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RunName:
    """What the name of the run folder tells."""

    model: str = ""
    task: str = ""
    agent: str = ""
    cost_limit: float | None = None


class _Message(msgspec.Struct):
    role: str = ""
    content: msgspec.Raw = msgspec.Raw(b'""')
    action: msgspec.Raw = msgspec.Raw(b'""')


class _File(msgspec.Struct):
    trajectory: list[TrajStep]
    history: msgspec.Raw = msgspec.Raw(b"[]")
    info: TrajInfo | None = None
    environment: str | None = None


_Struct = TypeVar("_Struct", bound=msgspec.Struct)
_file_decoder = msgspec.json.Decoder(_File)
_history_decoder = msgspec.json.Decoder(list[_Message])
_UNREADABLE = (ValueError, RecursionError, MemoryError)
"""What a decoder raises: msgspec.DecodeError, UnicodeDecodeError and json.JSONDecodeError are ValueErrors."""

_LARGEST_RESULTS = 4 << 20
_MOST_VALUES = 2_000_000
"""Lists and objects in a file: each takes more memory than it takes bytes."""
_MOST_STEPS = 20_000
_MOST_INFOS = 20

_RUN_NAME = re.compile(
    r"(?P<model>.+?)__(?P<task>.+?)__(?P<agent>.+?)__t-[^_]*__p-[^_]*__c-(?P<cost>[\d.]+)__install-\d+(?:__.*)?"
)
_MODEL_ROUTES = ("metagen-", "litellm-", "litellm:")
"""How MLGym reached the model: no part of the model's name."""


def read_run_name(folder_name: str) -> RunName:
    """Model, task, agent configuration and cost limit (US dollars) from `MODEL__TASK__CONFIG__t-…__c-…__…`."""
    match = _RUN_NAME.fullmatch(folder_name)
    if match is None:
        return RunName()
    model = match["model"]
    for route in _MODEL_ROUTES:
        model = model.removeprefix(route)
    try:
        cost = float(match["cost"])
    except ValueError:
        cost = 0.0
    return RunName(model, match["task"], match["agent"], cost or None)


def read_results(path: Path) -> tuple[dict[str, Any], list[str]]:
    """`results.json` beside a trajectory (empty when there is none), and what is wrong with it."""
    try:
        loaded = read_json(read_file(path, _LARGEST_RESULTS))
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError) as error:
        return {}, [f"{path.name} beside the trajectory cannot be read ({_short(error)}): the baseline is unknown"]
    if not isinstance(loaded, dict):
        return {}, [f"{path.name} beside the trajectory is not a JSON object: the baseline is unknown"]
    return loaded, []


def decode_trajectory(data: bytes, path: Path) -> Trajectory:
    """The trajectory in `data`, whole or as far as it is good.

    Raises RecordingError when there is nothing to show: not a trajectory, another program's, cut in its first step.
    """
    if data.count(b"{") + data.count(b"[") > _MOST_VALUES:
        raise RecordingError(
            f"{path} is no trajectory of MLGym: it has more than {_MOST_VALUES:,} brackets",
            "open a session folder of mlgym-tui, or a .traj file that MLGym wrote",
        )
    trajectory = _decode(data, path)
    if len(trajectory.steps) > _MOST_STEPS:
        trajectory.problems.append(f"only the first {_MOST_STEPS:,} of {len(trajectory.steps):,} steps are shown")
        del trajectory.steps[_MOST_STEPS:]
    return trajectory


def _decode(data: bytes, path: Path) -> Trajectory:
    problems: list[str] = []
    try:
        file = _file_decoder.decode(data)
        messages: list[_Message] | None = None
    except _UNREADABLE as error:
        file, messages = _decode_leniently(data, path, error, problems)
    _refuse_swe_agent(file.environment or "", file.info.model_stats if file.info else None, path)
    trajectory = Trajectory(file.trajectory, file.environment or "", file.info, problems=problems)
    if file.info is None and not any("how the run ended" in problem for problem in problems):
        problems.append("`info` is missing or not an object: how the run ended is not known")
    try:
        _read_history(trajectory, _history_decoder.decode(file.history) if messages is None else messages)
    except _UNREADABLE as error:
        problems.append(f"the message history cannot be read ({_short(error)}); the steps are complete")
    return trajectory


def _read_history(trajectory: Trajectory, messages: list[_Message]) -> None:
    first: dict[str, _Message] = {}
    for message in reversed(messages):
        first[message.role] = message
    trajectory.system = _text(first.get("system", _Message()).content)
    trajectory.task_text = _text(first.get("user", _Message()).content)
    answers = [message for message in messages if message.role == "assistant"]
    trajectory.answers = len(answers) or None
    if answers:
        trajectory.last_answer, trajectory.last_action = _text(answers[-1].content), _text(answers[-1].action)


def _text(content: msgspec.Raw) -> str:
    value = msgspec.json.decode(content)
    return value if isinstance(value, str) else ""


# -- files that do not decode in one pass ------------------------------------------------------------------------------


def _decode_leniently(
    data: bytes, path: Path, error: BaseException, problems: list[str]
) -> tuple[_File, list[_Message]]:
    """JSON that msgspec refuses (NaN, lone surrogates, other types), or a damaged file; and its history."""
    text = data.decode("utf-8-sig", "replace")
    try:
        whole = read_json(text, strict=False)
    except ValueError as damage:
        whole = without_surrogates(_salvage(text, path, damage, problems))
    if not isinstance(whole, dict) or not isinstance(whole.get("trajectory"), list):
        raise RecordingError(
            f"{path} is JSON, but no trajectory of MLGym ({_short(error)})",
            "open a session folder of mlgym-tui, or a .traj file that MLGym wrote",
        )
    steps = whole["trajectory"]
    # What is no object ends the steps, for a step must not change its number.
    good = next((place for place, step in enumerate(steps) if not isinstance(step, dict)), len(steps))
    if good < len(steps):
        problems.append(f"step {good + 1} is not an object: it and what follows are left out")
    info, history = whole.get("info"), whole.get("history")
    file = _File(
        [_fitted(TrajStep, step) for step in steps[:good]],
        info=_fitted(TrajInfo, info) if isinstance(info, dict) else None,
        environment=str(whole.get("environment", "")),
    )
    messages = history if isinstance(history, list) else []
    return file, [_fitted(_Message, message) for message in messages if isinstance(message, dict)]


def _fitted(kind: type[_Struct], raw: dict[str, Any]) -> _Struct:
    """The fields of an object that have the right type; the others as if they were not there."""
    fields: dict[str, Any] = {}
    for each in msgspec.structs.fields(kind):
        with contextlib.suppress(KeyError, ValueError):
            value = raw[each.name]
            left = each.type is msgspec.Raw
            fields[each.name] = msgspec.Raw(msgspec.json.encode(value)) if left else msgspec.convert(value, each.type)
    return kind(**fields)


def _salvage(text: str, path: Path, damage: BaseException, problems: list[str]) -> dict[str, Any]:
    """The complete steps of a file that is no valid JSON, and its info where the damage lies behind the steps."""
    start = re.search(r'"trajectory"\s*:\s*\[', text)
    if start is None:
        raise RecordingError(
            f"{path} is not JSON, or is cut off before its steps ({_short(damage)})",
            "if it is a copy, copy it again; a session of mlgym-tui is opened by its folder",
        )
    environment = re.search(r'"environment"\s*:\s*"([^"]*)"', text[: start.start()])
    name = environment[1] if environment else ""
    _refuse_swe_agent(name, None, path)
    steps, end, closed = _elements(text, start.end())
    whole: dict[str, Any] = {"trajectory": steps, "environment": name}
    if not steps or not isinstance(steps[0], dict):
        raise RecordingError(
            f"{path} is damaged before its first step is complete ({_short(damage)})",
            "if it is a copy, copy it again",
        )
    if not closed:
        problems.append(
            f"the file is cut off or damaged in step {len(steps) + 1} ({_short(damage)}): "
            f"the {len(steps)} complete steps before it are shown; how the run ended is not known"
        )
        return whole
    history = re.compile(r'"history"\s*:\s*\[').search(text, end)
    if history is not None:
        messages, _, complete = _elements(text, history.end())
        whole["history"] = messages if complete else messages[:2]  # which answer was the last is not known from a part
    whole["info"] = _find_info(text, end)
    outcome = "" if whole["info"] is not None else "; how the run ended is not known"
    problems.append(
        f"the file is cut off or damaged behind its steps ({_short(damage)}): all {len(steps)} steps are shown{outcome}"
    )
    return whole


def _elements(text: str, position: int) -> tuple[list[Any], int, bool]:
    """The complete elements of the array at `position`, where reading stopped, and whether the array was closed."""
    decoder = json.JSONDecoder(strict=False)
    separator = re.compile(r"[\s,]*")
    found: list[Any] = []
    while True:
        gap = separator.match(text, position)
        position = gap.end() if gap else position
        if text.startswith("]", position):
            return found, position + 1, True
        try:
            value, position = decoder.raw_decode(text, position)
        except _UNREADABLE:
            return found, position, False
        found.append(value)


def _find_info(text: str, start: int) -> Any:
    """The last object called "info" behind the steps that reads as an outcome."""
    decoder = json.JSONDecoder(strict=False)
    for match in reversed(deque(re.compile(r'"info"\s*:\s*(?=\{)').finditer(text, start), _MOST_INFOS)):
        with contextlib.suppress(*_UNREADABLE):
            value, _ = decoder.raw_decode(text, match.end())
            if isinstance(value, dict) and "exit_status" in value:
                return value
    return None


def _refuse_swe_agent(environment: str, stats: dict[str, Any] | None, path: Path) -> None:
    """Old SWE-agent trajectories have the same shape; their environment and cost field have other names."""
    if environment.startswith("mlgym"):
        return
    if environment in ("swe_main", "main") or (stats is not None and "instance_cost" in stats):
        raise RecordingError(
            f"{path} is a trajectory of SWE-agent, which is not supported yet",
            "MLGym's .traj files and sessions of mlgym-tui can be opened",
        )


def _short(error: BaseException) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__


def seconds(value: float | None) -> float:
    """A duration that can be added up: not negative, not NaN, not absurd."""
    return value if value is not None and 0 < value < 1e12 else 0.0
