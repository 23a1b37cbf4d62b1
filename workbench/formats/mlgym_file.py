"""MLGym's run folder on disk: the `.traj`, its `results.json`, and what the folder's name tells.

A whole file is decoded in one typed pass that leaves the message history unread (it holds every observation a second
time). A damaged or cut file is read again step by step, as far as its steps are complete.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import msgspec

from workbench.formats.reading import UNREADABLE, decode_cut, items, record, refuse_crowded, short, text
from workbench.session.files import read_file
from workbench.session.plain import read_json
from workbench.session.recording import RecordingError


class TrajStep(msgspec.Struct):
    """One step as the file has it. `state` is from before the action, and is JSON in a string."""

    action: Any = ""
    observation: Any = ""
    response: Any = ""
    thought: Any = ""
    state: Any = None
    execution_time: Any = None
    mlgym_tui: Any = None
    """What our export adds."""

    def __post_init__(self) -> None:
        for name in ("action", "observation", "response", "thought"):
            if not isinstance(getattr(self, name), str):
                setattr(self, name, "")


class TrajInfo(msgspec.Struct):
    """The outcome of the run."""

    exit_status: Any = ""
    submission: Any = ""
    score: Any = None
    model_stats: Any = None

    def __post_init__(self) -> None:
        self.exit_status = self.exit_status if isinstance(self.exit_status, str) else ""
        self.submission = self.submission if isinstance(self.submission, str) else ""
        self.score = self.score if isinstance(self.score, list) else []


class Trajectory(msgspec.Struct):
    """A `.traj` as far as it could be read."""

    steps: list[TrajStep]
    info: TrajInfo | None = None
    """None when the file is cut before it."""
    system: str = ""
    """The first system message."""
    task_text: str = ""
    """The first user message."""
    messages: list[tuple[str, msgspec.Raw]] = msgspec.field(default_factory=list)
    """The history, where it could be read: role and content."""
    answers: int | None = None
    """How many times the model answered, where the history could be read."""
    last_answer: str = ""
    last_action: str = ""
    """The action in that answer."""
    problems: list[str] = msgspec.field(default_factory=list)


class RunName(msgspec.Struct, frozen=True):
    """What the name of the run folder tells."""

    model: str = ""
    task: str = ""
    agent: str = ""
    cost_limit: float | None = None


class _Message(msgspec.Struct):
    role: Any = ""
    content: msgspec.Raw = msgspec.Raw(b'""')
    action: msgspec.Raw = msgspec.Raw(b'""')


class _File(msgspec.Struct):
    trajectory: list[TrajStep]
    history: msgspec.Raw = msgspec.Raw(b"[]")
    info: TrajInfo | None = None


_file_decoder = msgspec.json.Decoder(_File)
_history_decoder = msgspec.json.Decoder(list[_Message])

_LARGEST_RESULTS = 4 << 20
_MOST_STEPS = 20_000

_RUN_NAME = re.compile(
    r"(?P<model>.+?)__(?P<task>.+?)__(?P<agent>.+?)__t-[^_]*__p-[^_]*__c-(?P<cost>[\d.]+)__install-\d+(?:__.*)?"
)
EXITS = frozenset(("skip", "exit_forfeit", "exit_context", "exit_cost", "exit_error", "exit_format", "exit_api"))
"""What SWE-agent, and MLGym after it, write in the place of an action."""
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


def shell_state(state: object) -> tuple[str, str | None]:
    """Working directory, and open file (None where not known, empty where there is none), of a step's state: an object,
    or one as JSON in a string.
    """
    if isinstance(state, str):
        try:
            state = msgspec.json.decode(state)  # as almost all of them: in a fifth of the time
        except (ValueError, RecursionError):
            with contextlib.suppress(ValueError):
                state = read_json(str(state), strict=False)
    found = record(state)
    open_file = text(found.get("open_file"))
    return text(found.get("working_dir")), "" if open_file == "n/a" else open_file or None


def read_results(path: Path) -> tuple[dict[str, Any], list[str]]:
    """`results.json` beside a trajectory (empty when there is none), and what is wrong with it."""
    try:
        loaded = read_json(read_file(path, _LARGEST_RESULTS))
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError) as error:
        return {}, [f"{path.name} beside the trajectory cannot be read ({short(error)}): the baseline is unknown"]
    if not isinstance(loaded, dict):
        return {}, [f"{path.name} beside the trajectory is not a JSON object: the baseline is unknown"]
    return loaded, []


def decode_trajectory(data: bytes, path: Path) -> Trajectory:
    """The trajectory in `data`, whole or as far as it is good.

    Raises RecordingError when there is nothing to show: not a trajectory, another program's, cut in its first step.
    """
    refuse_crowded(data, str(path))
    trajectory = _decode(data, path)
    if len(trajectory.steps) > _MOST_STEPS:
        trajectory.problems.append(f"only the first {_MOST_STEPS:,} of {len(trajectory.steps):,} steps are shown")
        del trajectory.steps[_MOST_STEPS:]
    return trajectory


def _decode(data: bytes, path: Path) -> Trajectory:
    problems: list[str] = []
    try:
        file = _file_decoder.decode(data)
    except UNREADABLE as error:
        file = _decode_leniently(data, path, error, problems)
    trajectory = Trajectory(file.trajectory, file.info, problems=problems)
    if file.info is None and not any("how the run ended" in problem for problem in problems):
        problems.append("`info` is missing or not an object: how the run ended is not known")
    try:
        _read_history(trajectory, _history_decoder.decode(file.history))
    except UNREADABLE as error:
        problems.append(f"the message history cannot be read ({short(error)}); the steps are complete")
    return trajectory


def _read_history(trajectory: Trajectory, messages: list[_Message]) -> None:
    first: dict[str, _Message] = {}
    for message in reversed(messages):
        message.role = message.role if isinstance(message.role, str) else ""
        first[message.role] = message
    trajectory.system = _text(first.get("system", _Message()).content)
    trajectory.task_text = _text(first.get("user", _Message()).content)
    trajectory.messages = [(message.role, message.content) for message in messages]
    answers = [message for message in messages if message.role == "assistant"]
    trajectory.answers = len(answers) or None
    if answers:
        trajectory.last_answer, trajectory.last_action = _text(answers[-1].content), _text(answers[-1].action)


def last_answer(history: msgspec.Raw) -> tuple[str, str]:
    """What the model answered last, and the action in it. Raises ValueError."""
    answers = [message for message in _history_decoder.decode(history) if message.role == "assistant"]
    return (_text(answers[-1].content), _text(answers[-1].action)) if answers else ("", "")


def _text(content: msgspec.Raw) -> str:
    value = msgspec.json.decode(content)
    return value if isinstance(value, str) else ""


# -- files that do not decode in one pass ------------------------------------------------------------------------------


def _decode_leniently(data: bytes, path: Path, error: BaseException, problems: list[str]) -> _File:
    """JSON that msgspec refuses (NaN, lone surrogates, other types), or a damaged file."""
    whole = decode_cut(data, Any, str(path), "trajectory", problems)
    if not isinstance(whole, dict) or not isinstance(whole.get("trajectory"), list):
        raise RecordingError(
            f"{path} is JSON, but no trajectory of MLGym ({short(error)})",
            "open a session folder of mlgym-tui, or a .traj file that MLGym wrote",
        )
    steps = whole["trajectory"]
    # What is no object ends the steps, for a step must not change its number.
    good = next((place for place, step in enumerate(steps) if not isinstance(step, dict)), len(steps))
    if good < len(steps):
        problems.append(f"step {good + 1} is not an object: it and what follows are left out")
    info = whole.get("info")
    return _File(
        msgspec.convert(steps[:good], list[TrajStep]),
        msgspec.Raw(msgspec.json.encode(items(whole.get("history")))),
        msgspec.convert(info, TrajInfo) if isinstance(info, dict) else None,
    )
