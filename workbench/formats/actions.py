"""Lists of actions to run again: what the model `replay:PATH` is given.

A list comes from a plain YAML or JSON file, from one of our saved sessions, or from a trajectory of MLGym.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from workbench.formats import mlgym
from workbench.formats.open import open_recording
from workbench.session import events as ev
from workbench.session.recording import Recording, RecordingError

_LIST_FILES = (".yaml", ".yml", ".json")
_FORM = (
    "a list of actions is YAML or JSON: each item a string, or a mapping with `action` and, if wanted, `thought` "
    "(or such a list under the key `actions`)"
)


class PlannedAction(NamedTuple):
    """An action to propose, and the thought to show with it."""

    thought: str
    action: str


def read_actions(path: Path) -> list[PlannedAction]:
    """The actions in `path`: a YAML or JSON list, a session folder or `events.jsonl`, or an MLGym `.traj`.

    Of a session the actions are taken as they were run: edited ones as edited, rejected ones not at all.
    Raises RecordingError when the file cannot be read, is something else, or holds no action.
    """
    if path.suffix.lower() in _LIST_FILES and path.is_file():
        actions = _read_list(path)
    else:
        actions = actions_of(open_recording(path))
    if not actions:
        raise RecordingError(f"{path} holds no action to run", _FORM)
    return actions


def actions_of(recording: Recording) -> list[PlannedAction]:
    """The actions of a recording as they were run, in order."""
    if recording.source == mlgym.SOURCE:
        return [PlannedAction(thought, action) for thought, action in mlgym.actions_run(recording.events)]
    thoughts: dict[int, str] = {}
    found: list[PlannedAction] = []
    for event in recording.events:
        if isinstance(event, ev.ActionProposed):
            thoughts[event.step] = event.thought
        elif isinstance(event, ev.ActionStarted):
            found.append(PlannedAction(thoughts.get(event.step, ""), event.action))
    return found


def _read_list(path: Path) -> list[PlannedAction]:
    value = _load(path)
    if isinstance(value, dict) and "trajectory" in value:
        return actions_of(open_recording(path))
    if isinstance(value, dict) and "actions" in value:
        value = value["actions"]
    if not isinstance(value, list):
        raise RecordingError(f"{path} is no list of actions", _FORM)
    return [_planned(item, number, path) for number, item in enumerate(value, 1)]


def _planned(item: Any, number: int, path: Path) -> PlannedAction:
    if isinstance(item, str):
        return PlannedAction("", item)
    if isinstance(item, dict) and isinstance(item.get("action"), str):
        thought = item.get("thought")
        if thought is None or isinstance(thought, str):
            return PlannedAction(thought or "", item["action"])
    raise RecordingError(f"{path}: item {number} is no action ({str(item)[:80]!r})", _FORM)


def _load(path: Path) -> Any:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror or error}", "check its permissions") from error
    try:
        if path.suffix.lower() == ".json":
            return msgspec.json.decode(data)
        import yaml

        # The plain loader knows text, numbers, lists and mappings: no tags, no code. It reads `yes` as a boolean, so
        # scalars are kept as the text they are.
        return yaml.load(data, Loader=yaml.BaseLoader)
    except RecursionError:
        raise RecordingError(f"{path} is nested too deeply", _FORM) from None
    except Exception as error:
        # yaml.YAMLError cannot be named without importing it; both decoders raise only what is wrong with the text.
        raise RecordingError(f"{path} cannot be parsed: {error}", _FORM) from error
