"""Opens any session file that we can read: our own, and other people's.

What a file is, is decided by what it holds, not by its name alone.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from workbench.formats.mlgym import read_mlgym
from workbench.session.files import open_file
from workbench.session.log import EVENTS_FILE, read_log
from workbench.session.recording import Recording, RecordingError

SOURCE = "mlgym-tui"

_WHAT_OPENS = "a session folder of mlgym-tui, its events.jsonl, or a .traj file (or run folder) of MLGym can be opened"
_HEAD = 4096


def open_recording(path: Path) -> Recording:
    """The recording in `path`: a session folder, its `events.jsonl`, an MLGym `.traj`, or an MLGym run folder.

    What is damaged, cut off or of a later version is opened as far as it is good; `problems` says what is wrong.
    Raises RecordingError when nothing can be opened.
    """
    try:
        path = path.expanduser()
        if path.is_dir():
            return _open_folder(path)
        if not path.exists():
            raise RecordingError(f"{path} does not exist", _nearest(path))
        if not path.is_file():
            raise RecordingError(f"{path} is not a regular file", _WHAT_OPENS)
        return _open_file(path)
    except (OSError, ValueError, RuntimeError) as error:
        # ValueError: a path with a NUL byte. RuntimeError: the home of a user who does not exist.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RecordingError(f"{str(path)!r} cannot be read: {reason}", "check its name and its permissions") from error


def _open_folder(folder: Path) -> Recording:
    if os.path.lexists(folder / EVENTS_FILE):
        return _open_own(folder / EVENTS_FILE, folder)
    names = sorted(entry.name for entry in folder.iterdir())
    trajectories = [name for name in names if name.endswith(".traj")]
    if len(trajectories) == 1:
        return read_mlgym(folder / trajectories[0])
    if trajectories:
        raise RecordingError(
            f"{folder} holds {len(trajectories)} trajectories", f"open one of them: {_some(trajectories)}"
        )
    inner = [name for name in names if _holds_session(folder / name)]
    if inner:
        raise RecordingError(
            f"{folder} holds {len(inner)} sessions, but is none itself", f"open one of them: {_some(inner)}"
        )
    if "results.json" in names:
        raise RecordingError(
            f"{folder} is a run of MLGym of which only the scores are left: results.json, but no .traj",
            "its steps are lost; open another run",
        )
    raise RecordingError(f"{folder} holds no session", _WHAT_OPENS)


def _holds_session(folder: Path) -> bool:
    return folder.is_dir() and ((folder / EVENTS_FILE).is_file() or any(folder.glob("*.traj")))


def _open_file(path: Path) -> Recording:
    with os.fdopen(open_file(path, follow=True), "rb") as stream:
        head = stream.read(_HEAD)
    if not head.strip():
        broken = ": the session broke off before its first event" if path.name == EVENTS_FILE else ""
        raise RecordingError(f"{path} is empty{broken}", _WHAT_OPENS)
    found = next(each for each in FORMATS if each.sniff(path, head))
    if found.read is None:
        raise RecordingError(f"{path} is {found.name}, which is not supported yet", _WHAT_OPENS)
    return found.read(path)


def _is_own_log(head: bytes) -> bool:
    """Whether the first line is one of our events (or its beginning, where the line is longer than what was read)."""
    line, newline, _ = head.partition(b"\n")
    if line.startswith(b'{"event":'):
        return True
    if newline:
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return isinstance(value, dict) and isinstance(value.get("event"), str)
    return False


def _open_log(path: Path) -> Recording:
    return _open_own(path, path.absolute().parent if path.name == EVENTS_FILE else None)


def _open_own(path: Path, folder: Path | None) -> Recording:
    events, problems = read_log(path)
    if not events:
        raise RecordingError(
            f"{path} holds no event that can be read: {'; '.join(problems) or 'it is empty'}",
            "the session broke off before its first step, or the file is another program's",
        )
    return Recording(events, SOURCE, path, folder, problems)


def _refuse_terminal(path: Path) -> Recording:
    if (path.parent / EVENTS_FILE).is_file():
        raise RecordingError(f"{path} is the terminal of a session", f"open its folder: {path.parent}")
    raise RecordingError(f"{path} is a terminal recording without its session", _WHAT_OPENS)


class Format(NamedTuple):
    """A kind of file that we know."""

    name: str
    sniff: Callable[[Path, bytes], bool]
    """Whether a file is of this format: given its path and its first bytes."""
    read: Callable[[Path], Recording] | None = None
    """None: it cannot be read yet."""


FORMATS = (
    Format("a log of ours", lambda path, head: path.name == EVENTS_FILE or _is_own_log(head), _open_log),
    Format("a terminal recording", lambda path, head: path.suffix == ".cast", _refuse_terminal),
    Format(
        "a log of Inspect (or another archive)",
        lambda path, head: path.suffix == ".eval" or head.startswith(b"PK\x03\x04"),
    ),
    Format(
        "a log of Inspect",
        lambda path, head: b'"eval"' in head and b'"status"' in head and b'"trajectory"' not in head,
    ),
    Format(
        "a trajectory of mini-swe-agent",
        lambda path, head: path.name.endswith(".traj.json") or b'"trajectory_format"' in head,
    ),
    Format("a trajectory in ATIF (Harbor)", lambda path, head: b'"schema_version"' in head and b"ATIF" in head),
    Format("a trajectory of MLGym", lambda path, head: True, partial(read_mlgym, follow=True)),
)
"""All that are known, in the order in which they are tried: the last one says itself what is wrong with a file."""


def _nearest(path: Path) -> str:
    """What to try instead of a path that does not exist."""
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        path, folder = folder, folder.parent
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        names = []
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"did you mean {folder / close[0]}?" if close else _WHAT_OPENS


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
