"""Opens any session file that we can read: our own, and other people's.

What a file is, is decided by what it holds, not by its name. One table has all formats; a file may hold several runs,
and `FILE#SAMPLE` names one of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from workbench.formats.table import FORMATS, SOURCE, Format, is_mlgym
from workbench.session.detail import with_details
from workbench.session.events import SessionStarted
from workbench.session.files import open_file
from workbench.session.log import EVENTS_FILE, is_locked, read_log
from workbench.session.outcome import category
from workbench.session.recording import Recording, RecordingError
from workbench.session.run import Run, damaged, run_of
from workbench.session.state import fold

_WHAT_OPENS = (
    "a session folder of mlgym-tui or its events.jsonl can be opened, and what MLGym, SWE-agent, mini-swe-agent, "
    "Inspect, Harbor (ATIF) and asciinema write"
)
_HEAD, _TAIL = 4096, 64 * 1024

_Made = TypeVar("_Made")


class RunRef(NamedTuple):
    """A run by its file, and where that holds several, by its name in it."""

    path: Path
    sample: str = ""

    def __str__(self) -> str:
        return f"{self.path}#{self.sample}" if self.sample else str(self.path)


def ref_of(path: Path | str) -> RunRef:
    """`FILE#SAMPLE` as a reference; a path that exists is meant as it is."""
    whole = str(path)
    if not os.path.lexists(whole):
        for place in (found.start() for found in re.finditer("#", whole)):
            if os.path.isfile(whole[:place]):
                return RunRef(Path(whole[:place]), whole[place + 1 :])
    return RunRef(Path(whole))


def runs_in(path: Path | str) -> list[RunRef]:
    """The runs in a file (or session folder): one, or as many as it holds. Raises RecordingError."""
    ref = ref_of(path)
    return [ref] if ref.sample or ref.path.is_dir() else _listed(ref.path, format_of(ref.path))


def _listed(path: Path, found: Format) -> list[RunRef]:
    names = _guarded(found.runs, path) if found.runs is not None else []
    return [RunRef(path, name) for name in names] if len(names) > 1 else [RunRef(path)]


def rows_in(path: Path, *, whole: bool = False) -> list[Run]:
    """A row for each run in a file, read as cheaply as its format allows, or `whole`. Raises RecordingError, OSError
    where it is not known what runs there are; a run that cannot be read is a row that says so.
    """
    found = format_of(path)
    return [_row(ref, found, whole) for ref in _listed(path, found)]


def _row(ref: RunRef, found: Format, whole: bool) -> Run:
    changed = 0.0
    try:
        status = ref.path.stat()
        changed = status.st_mtime
        if found.glance is not None:
            row = _guarded(found.glance, ref.path, whole)
            if row is not None:
                kind = category(row.status)
                return msgspec.structs.replace(row, path=str(ref), changed=changed, size=status.st_size, category=kind)
        recording = open_recording(ref.path, ref.sample, bare=True)
        state = fold(recording.events)
        live = recording.folder is not None and is_locked(recording.folder)
        row = run_of(state, str(ref), changed=changed, live=live, problem="; ".join(recording.problems[:2]))
        if whole:
            row = msgspec.structs.replace(with_details(row, state), size=status.st_size)
        return row
    except (RecordingError, OSError) as error:
        return damaged(str(ref), str(error), changed)


def open_recording(path: Path, sample: str = "", *, bare: bool = False) -> Recording:
    """The recording in `path`: a session folder, its `events.jsonl`, a run folder of MLGym, or a file of any format.

    `sample` (or `path` as `FILE#SAMPLE`): which of several. `bare`: file windows and prompts may be left out.

    What is damaged, cut off or of a later version is opened as far as it is good; `problems` says what is wrong.
    Raises RecordingError when nothing can be opened.
    """
    try:
        path, named = ref_of(path.expanduser())
        if path.is_dir():
            return _open_folder(path)
        if not path.exists():
            raise RecordingError(f"{path} does not exist", _nearest(path))
        if not path.is_file():
            raise RecordingError(f"{path} is not a regular file", _WHAT_OPENS)
        return _open_file(path, sample or named, bare)
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
        os.close(open_file(folder / trajectories[0]))  # no link is followed that the user did not name
        return _open_file(folder / trajectories[0], "")
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


def holds_many(path: Path) -> bool:
    """Whether it is a file of several runs, or a folder that is no session: neither of ours, nor of a single file."""
    try:
        if path.is_dir():
            return not os.path.lexists(path / EVENTS_FILE) and len(list(path.glob("*.traj"))) != 1
        return len(runs_in(path)) > 1
    except (OSError, ValueError, RecordingError):
        return False


def _holds_session(folder: Path) -> bool:
    return folder.is_dir() and ((folder / EVENTS_FILE).is_file() or any(folder.glob("*.traj")))


def _open_file(path: Path, sample: str, bare: bool = False) -> Recording:
    found = format_of(path)
    read = (found.read_bare if bare else None) or found.read
    assert read is not None  # what is only written is never found
    recording = _guarded(read, path, sample)
    recording.sample = sample
    return recording


def _guarded(read: Callable[..., _Made], path: Path, *more: Any) -> _Made:
    """What a reader makes of a file, which may hold anything."""
    try:
        return read(path, *more)
    except (RecursionError, MemoryError):
        raise RecordingError(f"{path} is nested too deeply, or too large", _WHAT_OPENS) from None
    except UnicodeEncodeError:
        raise RecordingError(f"{path} holds text that is no Unicode", _WHAT_OPENS) from None


def format_of(path: Path) -> Format:
    """What kind of file it is. Raises RecordingError for an empty one, OSError."""
    with os.fdopen(open_file(path, follow=True), "rb") as stream:
        head = stream.read(_HEAD)
        size = os.fstat(stream.fileno()).st_size
        tail = b""
        if size > _HEAD and not is_mlgym(head):
            stream.seek(max(_HEAD, size - _TAIL))
            tail = stream.read(_TAIL)
    if not head.strip():
        broken = ": the session broke off before its first event" if path.name == EVENTS_FILE else ""
        raise RecordingError(f"{path} is empty{broken}", _WHAT_OPENS)
    return next(each for each in FORMATS if each.sniff(path, head, tail))


def open_log(path: Path, _sample: str = "") -> Recording:
    return _open_own(path, path.absolute().parent if path.name == EVENTS_FILE else None)


def _open_own(path: Path, folder: Path | None) -> Recording:
    events, problems = read_log(path)
    if not events:
        raise RecordingError(
            f"{path} holds no event that can be read: {'; '.join(problems) or 'it is empty'}",
            "the session broke off before its first step, or the file is another program's",
        )
    started = events[0]
    imported = started.source if isinstance(started, SessionStarted) else ""
    return Recording(events, imported or SOURCE, path, folder, problems)


def open_terminal(path: Path, sample: str = "") -> Recording:
    if (path.parent / EVENTS_FILE).is_file():
        raise RecordingError(f"{path} is the terminal of a session", f"open its folder: {path.parent}")
    from workbench.formats.asciicast import read_asciicast

    return read_asciicast(path, sample)


def open_shared(path: Path, _sample: str = "") -> Recording:
    from workbench.formats.storing import unpack

    folder = unpack(path)
    recording = _open_own(folder / EVENTS_FILE, folder)
    recording.path = path
    return recording


def _nearest(path: Path) -> str:
    """What to try instead of a path that does not exist."""
    import difflib  # only where somebody erred

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
