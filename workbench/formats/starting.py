"""The files that a recorded run of MLGym began with, as far as the run itself shows them.

Trajectories hold no files. But an agent opens what it edits, and a window of a thousand lines shows most files whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

import msgspec

from workbench.formats import mlgym_text as text
from workbench.session.events import Event
from workbench.session.snapshot import path_parts
from workbench.session.state import fold

_LOOKING = re.compile(r"(?:ls|cat|head|tail|wc|pwd|cd|echo|grep|find|file|du|tree|stat)\b[^>;&|`$]*")
"""Commands that leave all files as they are."""
_READ_ONLY = re.compile(r"read-only file (/\S+)")
_BETWEEN_WORDS = re.compile(r"[\s:]")
_LONGEST_PATH = 4096

_MOST_WINDOWS, _LONGEST_COMMANDS = 10_000, 200_000
"""After so many nothing is learned any more: no run of MLGym has nearly as many."""


class StartingFile(NamedTuple):
    """Content and mode."""

    data: bytes
    mode: int = 0o644


class _Pieces(msgspec.Struct):
    """What was seen of a file."""

    total: int
    lines: dict[int, str] = msgspec.field(default_factory=dict)


def starting_files(events: Iterable[Event]) -> dict[str, StartingFile]:
    """The files that windows show whole before anything can have changed them: path in the workspace → file.

    After a command that may write anything, only files count that were listed before. What lies in `data/` is the
    task's, and left out.
    """
    state = fold(events)
    seen: dict[str, _Pieces] = {}
    changed: set[str] = set()
    listed: set[str] = set()
    programs: set[str] = set()
    anything = False
    commands = ""
    shown = 0
    for step in state.steps[1:]:
        if shown > _MOST_WINDOWS or len(commands) > _LONGEST_COMMANDS:
            break
        category = text.action_category(step.action)
        windows = text.shown_windows(step.observation)
        if category == "View":
            for window in windows:
                path = state.relative_path(window.path)
                name = PurePosixPath(window.path).name
                known = name not in commands and (not anything or name in listed)
                shown += 1
                if path is None or not _can_be(path) or path.startswith("data/"):
                    continue
                if known and path not in changed:
                    pieces = seen.setdefault(path, _Pieces(window.total_lines))
                    if pieces.total == window.total_lines:
                        pieces.lines.update(enumerate(window.text.split("\n"), window.first_line))
        elif category == "Edit":
            if not text.lint_rejected(step.observation):
                changed.update(filter(None, (state.relative_path(window.path) for window in windows)))
        elif category == "Bash" and _LOOKING.fullmatch(step.action.strip()):
            if step.action.split()[0] == "ls" and not anything:
                names = step.observation.split()
                listed.update(name.rstrip("*/@") for name in names)
                programs.update(name.rstrip("*") for name in names if name.endswith("*"))
        elif category in ("Bash", "Python"):
            anything = True
            commands += step.action if category == "Bash" else ""
    locked = {path for step in state.steps for path in _locked(step.observation)}
    files: dict[str, StartingFile] = {}
    for path, pieces in seen.items():
        if len(pieces.lines) >= pieces.total and set(pieces.lines) >= set(range(1, pieces.total + 1)):
            data = "".join(pieces.lines[number] + "\n" for number in range(1, pieces.total + 1))
            mode = 0o444 if f"{state.workspace}/{path}" in locked else 0o644
            executable = 0o111 if PurePosixPath(path).name in programs else 0
            files[path] = StartingFile(data.encode("utf-8", "replace"), mode | executable)
    return files


def _locked(observation: str) -> Iterator[str]:
    """The files of which it says that they cannot be written."""
    yield from _READ_ONLY.findall(observation)
    for before in observation.split(": Permission denied")[:-1]:
        _, slash, rest = _BETWEEN_WORDS.split(before[-_LONGEST_PATH:])[-1].partition("/")
        yield slash + rest


def _can_be(path: str) -> bool:
    """Whether a workspace can have it: a recording may show any path."""
    try:
        return bool(path_parts(path))
    except ValueError:
        return False
