"""Lists of actions to run again: what the model `replay:PATH` is given.

A list comes from a plain YAML or JSON file, from one of our saved sessions, or from a trajectory of MLGym.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from workbench.session.files import read_file
from workbench.session.plain import read_json
from workbench.session.recording import Recording, RecordingError
from workbench.session.state import Step, fold
from workbench.yamlfile import plain_yaml

if TYPE_CHECKING:
    from workbench.formats.starting import StartingFile

_LIST_FILES = (".yaml", ".yml", ".json")
_LARGEST_JSON = 64 << 20
_LARGEST_YAML = 8 << 20
_ENDED = re.compile(r"(?:autosubmission|submission_not_found|evaluation_format_error) \((\w+)\)")
_FORM = (
    "a list of actions is YAML or JSON: each item a string, or a mapping with `action` and, if wanted, `thought` "
    "(or such a list under the key `actions`)"
)


class PlannedAction(NamedTuple):
    """An action to propose, and the thought to show with it."""

    thought: str
    action: str


class Plan(msgspec.Struct, frozen=True):
    """What is to be run again, and what is known of how it went."""

    actions: list[PlannedAction]
    steps: list[Step] = msgspec.field(default_factory=list)
    """The recorded step of each action; none of a plain list."""
    cause: str = ""
    """Why the recorded session was ended and its submission scored, where the agent had not submitted."""
    files: dict[str, StartingFile] = msgspec.field(default_factory=dict)
    """Those that it began with, as far as it shows them: path in the workspace → file."""
    workspace: str = ""
    """Where it was, in that session's sandbox."""
    window: int | None = None
    """Lines of its file window."""
    of_mlgym: bool = False
    """Whether it was recorded in MLGym, whose commands are a little different."""

    @property
    def compared(self) -> bool:
        """Whether it is known how the actions went."""
        return bool(self.steps)

    def difference(self, index: int, replayed: Step, workspace: str) -> str:
        """How the outcome of action `index` differs from the recorded one; empty where it does not."""
        if index >= len(self.steps):
            return ""
        from workbench.formats.comparing import compare_step, moved

        found = compare_step(self.steps[index], moved(replayed, workspace, self.workspace))
        if found is None:
            return ""
        said = repr if found.what == "output" else str
        return f"{said(found.got)}, recorded was {said(found.expected)}"


def read_plan(path: Path) -> Plan:
    """What `path` says is to be run: a YAML or JSON list, a session folder or `events.jsonl`, or an MLGym `.traj`.

    Of a session the actions are taken as they were run: edited ones as edited, rejected ones not at all.
    Raises RecordingError when the file cannot be read, is something else, or holds no action.
    """
    listed = path.suffix.lower() in _LIST_FILES and path.is_file()
    plan = _read_list(path) if listed else plan_of(_recording(path))
    if not plan.actions:
        raise RecordingError(f"{path} holds no action to run", _FORM)
    return plan


def _recording(path: Path) -> Recording:
    from workbench.formats.open import open_recording  # when first needed: it slows the start

    return open_recording(path)


def plan_of(recording: Recording) -> Plan:
    """What a recording says is to be run."""
    from workbench.formats.comparing import steps_run
    from workbench.formats.mlgym import SOURCE
    from workbench.formats.starting import starting_files

    state = fold(recording.events)
    steps = steps_run(state)
    of_mlgym = recording.source == SOURCE
    ended = _ENDED.fullmatch(state.ended.exit_status) if state.ended is not None else None
    return Plan(
        [PlannedAction(step.thought, step.action) for step in steps],
        steps,
        ended[1] if ended is not None and ended[1] != "submit" else "",
        starting_files(recording.events) if of_mlgym else {},
        state.workspace,
        state.started.window if state.started is not None else None,
        of_mlgym,
    )


def _read_list(path: Path) -> Plan:
    value = _load(path)
    if isinstance(value, dict) and "trajectory" in value:
        return plan_of(_recording(path))
    if isinstance(value, dict) and "actions" in value:
        value = value["actions"]
    if not isinstance(value, list):
        raise RecordingError(f"{path} is no list of actions", _FORM)
    return Plan([_planned(item, number, path) for number, item in enumerate(value, 1)])


def _planned(item: Any, number: int, path: Path) -> PlannedAction:
    if isinstance(item, str):
        return PlannedAction("", item)
    if isinstance(item, dict) and isinstance(item.get("action"), str):
        thought = item.get("thought")
        if thought is None or isinstance(thought, str):
            return PlannedAction(thought or "", item["action"])
    raise RecordingError(f"{path}: item {number} is no action ({str(item)[:80]!r})", _FORM)


def _load(path: Path) -> Any:
    is_json = path.suffix.lower() == ".json"
    try:
        data = read_file(path, _LARGEST_JSON if is_json else _LARGEST_YAML, follow=True)
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror or error}", "check its permissions") from error
    try:
        # Of YAML scalars are kept as the text they are: else `yes` would be a boolean.
        return read_json(data) if is_json else plain_yaml(data)
    except RecursionError:
        raise RecordingError(f"{path} is nested too deeply", _FORM) from None
    except Exception as error:
        # yaml.YAMLError cannot be named without importing it; both decoders raise only what is wrong with the text.
        raise RecordingError(f"{path} cannot be parsed: {error}", _FORM) from error
