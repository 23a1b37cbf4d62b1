"""Which runs there are below some folders: sessions of ours and files of other programs, mixed, one row each.

A row is read once. It is kept in a file of the user's cache folder, one for each folder that was asked for, and holds
as long as its file is the same one, of the same size and time. The cache is replaced as a whole: of two processes that
write it, the later one wins, and nothing is lost but time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from workbench import __version__
from workbench.library.readers import Job, read_side_by_side
from workbench.session.events import SessionEnded, SessionStarted, UnknownEvent, decode
from workbench.session.files import open_file, read_file, write_whole
from workbench.session.log import EVENTS_FILE, is_locked, read_log
from workbench.session.recording import RecordingError
from workbench.session.run import Run, damaged, row_of, run_of
from workbench.session.secrets import cache_folder

_HEAD_BYTES = 1 << 20
_TAIL_BYTES = 64 * 1024
_LARGEST_CACHE = 256 << 20
_MOST_CACHES = 100
"""Folders of which the rows are kept: those that were asked for last."""
_MOST_LEVELS = 12
_SURE = (".traj", ".eval")
"""Files that should be a run: one that is none is shown, and what is wrong with it."""
_SCORES_ONLY = "results.json"
"""Scores of a run of MLGym: a run of its own where no trajectory lies beside it."""
_MAYBE = (".json", ".jsonl", ".cast", ".zip")
"""Files that may be one."""
_GLANCED = 4
"""To read a file whole costs so many times as much as to glance at it."""
_TAILED = 8 << 10
"""Bytes whose reading costs as much as a glance at a session of ours, of whatever size."""
_SOON = 4 << 20
"""Bytes that are read as they are found; what comes then waits for the rest."""
_MANY = 24 << 20
"""Bytes that are worth other processes."""


class _Kept(msgspec.Struct, array_like=True, gc=False):
    stamp: tuple[int, ...]
    rows: list[Run]


class _Cache(msgspec.Struct, array_like=True):
    version: str = ""
    files: dict[str, msgspec.Raw] = {}
    """What is kept of each: decoded one by one, so that nobody waits for all of them."""


_FORMAT = 5
"""Goes up when rows of the same files come out differently."""
_VERSION = f"{_FORMAT} {__version__} {' '.join(Run.__struct_fields__)}"
"""What a cache must have been written with to be of use."""
_decoder, _entry_decoder = msgspec.msgpack.Decoder(_Cache), msgspec.msgpack.Decoder(_Kept)


class _Found(NamedTuple):
    """A file that is, or may be, a run."""

    path: str
    """The folder, for a session of ours."""
    status: os.stat_result
    ours: bool
    beside: tuple[int, ...] = ()
    """What stands beside a run of MLGym and belongs to it."""

    @property
    def stamp(self) -> tuple[int, ...]:
        """The same for as long as the file is."""
        status = self.status
        return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, *self.beside)

    def job(self, top: Path, whole: bool) -> Job:
        """How it is read."""
        certain = self.path == str(top) or self.path.endswith(_SURE)
        return Job(self.path, self.ours, self.status.st_mtime, certain, whole)

    def cost(self, whole: bool) -> int:
        """Of reading it, in bytes that are read whole."""
        return self.status.st_size if whole else _TAILED if self.ours else self.status.st_size // _GLANCED


def runs(paths: Iterable[Path], *, whole: bool = False) -> Iterator[Run]:
    """A row for every run in `paths` (folders, however deep, and files), as they are found. Of sessions in one folder
    the newest comes first. What cannot be read is a row as well, with its problem. Raises no OSError.

    `whole`: with what only a whole reading tells (`Run.whole`).
    """
    for path in paths:
        yield from _runs_below(Path(os.path.abspath(path.expanduser())), whole)


def _runs_below(top: Path, whole: bool) -> Iterator[Run]:
    cache = cache_folder() / "runs" / f"{hashlib.sha256(os.fsencode(top)).hexdigest()[:32]}.msgpack"
    old = _load(cache)
    kept: dict[str, msgspec.Raw] = {}
    fresh = False
    try:
        for found, rows, known in _rows(_find(top), top, old, whole):
            fresh = fresh or not known
            with contextlib.suppress(UnicodeEncodeError):  # a path that is no text
                new = None if known else msgspec.Raw(msgspec.msgpack.encode(_Kept(found.stamp, rows)))
                kept[found.path] = old[found.path] if new is None else new
            yield from (_as_of_now(row) for row in rows) if found.ours else rows
        if fresh or len(kept) != len(old):
            _store(cache, kept)
    except GeneratorExit:
        if fresh:
            _store(cache, {**old, **kept})
        raise


def _rows(
    files: Iterator[_Found], top: Path, old: dict[str, msgspec.Raw], whole: bool
) -> Iterator[tuple[_Found, list[Run], bool]]:
    """Every file, its rows, and whether they were known."""
    cost = 0
    waiting: list[_Found] = []
    for found in files:
        rows = _known(found, old, whole)
        if rows is not None:
            yield found, rows, True
            continue
        cost += found.cost(whole)
        if cost <= _SOON:
            yield found, read(found.job(top, whole)), False
        else:
            waiting.append(found)
    jobs = [found.job(top, whole) for found in waiting]
    read_now = read_side_by_side(jobs, read) if cost > _MANY else map(read, jobs)
    yield from ((found, rows, False) for found, rows in zip(waiting, read_now, strict=True))


def _known(found: _Found, old: dict[str, msgspec.Raw], whole: bool) -> list[Run] | None:
    """The rows that are kept of a file; None where it has to be read."""
    try:
        entry = _entry_decoder.decode(old[found.path])
    except (KeyError, ValueError):
        return None
    return entry.rows if entry.stamp == found.stamp and not (whole and not all(map(_is_whole, entry.rows))) else None


def _is_whole(row: Run) -> bool:
    return row.whole or row.status == "damaged"


def _as_of_now(row: Run) -> Run:
    """A session of ours that did not end may be running, or not any more."""
    if row.status not in ("running", "crashed"):
        return row
    live = is_locked(Path(row.path) / EVENTS_FILE)
    return msgspec.structs.replace(row, status="running" if live else "crashed", live=live)


# -- finding ----------------------------------------------------------------------------------------------------------


def _find(top: Path) -> Iterator[_Found]:
    with contextlib.suppress(OSError):
        status = os.stat(top)
        if not stat.S_ISDIR(status.st_mode):
            yield _Found(str(top), status, False)
            return
    folders = [(str(top), 0)]
    while folders:
        folder, level = folders.pop()
        log = f"{folder}/{EVENTS_FILE}"
        try:
            status = os.lstat(log)
        except (OSError, ValueError):
            files, inner = _list(folder)
            beside = _stamp_of(f"{folder}/{_SCORES_ONLY}") if _SCORES_ONLY in files else ()
            for name in files:
                alone = name == _SCORES_ONLY and not any(other.endswith(".traj") for other in files)
                if alone or (name.endswith(_SURE + _MAYBE) and name != _SCORES_ONLY):
                    with contextlib.suppress(OSError, ValueError):
                        yield _Found(f"{folder}/{name}", os.lstat(f"{folder}/{name}"), False, beside)
            if level < _MOST_LEVELS:
                folders += [(f"{folder}/{name}", level + 1) for name in inner]
        else:
            if status.st_size or not stat.S_ISREG(status.st_mode):
                yield _Found(folder, status, True)


def _list(folder: str) -> tuple[list[str], list[str]]:
    """Names of files and of folders in a folder; those that come first are taken last."""
    files, folders = [], []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif entry.is_file(follow_symlinks=False):
                    files.append(entry.name)
    dated = sorted(name for name in folders if name[:8].isdigit())
    return sorted(files), [*sorted(set(folders) - set(dated), reverse=True), *dated]


def _stamp_of(path: str) -> tuple[int, ...]:
    try:
        status = os.lstat(path)
    except OSError:
        return ()
    return (status.st_size, status.st_mtime_ns)


# -- reading ----------------------------------------------------------------------------------------------------------


def read(job: Job) -> list[Run]:
    """The rows of a file; none for one that is no run."""
    from workbench.formats.mlgym_glance import scores_only  # here: where all rows are known, no file is opened
    from workbench.formats.open import rows_in

    path = Path(job.path)
    if job.ours:
        return [own_run(path, job.whole)]
    if job.path.endswith(_SCORES_ONLY):
        return [row] if (row := scores_only(path, job.changed)) is not None else []
    try:
        rows = rows_in(path, whole=job.whole)
    except (RecordingError, OSError) as error:
        rows = [damaged(job.path, str(error), job.changed)]
    return [row for row in rows if job.certain or row.status != "damaged"]


def own_run(folder: Path, whole: bool = False) -> Run:
    """The row of a session of ours: from the first and the last line where they suffice, else from the whole log."""
    file = folder / EVENTS_FILE
    changed = 0.0
    try:
        changed = os.lstat(file).st_mtime
        with os.fdopen(open_file(file), "rb") as stream:
            status = os.fstat(stream.fileno())
            first = decode(stream.readline(_HEAD_BYTES).rstrip(b"\n"))
            stream.seek(max(0, status.st_size - _TAIL_BYTES))
            last = _ended(stream.read())
        if not isinstance(first, SessionStarted):
            raise ValueError("it does not begin with session.started")
        if last is not None and last.totals is not None and not whole:
            return row_of(first, last, folder, changed=changed)
        from workbench.session.detail import with_details
        from workbench.session.state import fold

        state = fold(read_log(file)[0])
        row = run_of(state, folder, changed=changed, live=state.ended is None and is_locked(file))
        return msgspec.structs.replace(with_details(row, state), size=status.st_size) if whole else row
    except UnknownEvent as error:
        problem = f"it begins with an unknown event, {error}"
    except OSError as error:
        problem = f"{EVENTS_FILE}: {error.strerror or error}"
    except ValueError as error:
        problem = str(error)
    return damaged(folder, problem, changed)


def _ended(tail: bytes) -> SessionEnded | None:
    line = tail.rstrip(b"\n").rpartition(b"\n")[2]
    if not tail.endswith(b"\n") or b'"session.ended"' not in line[:64]:
        return None
    try:
        event = decode(line)
    except (ValueError, UnknownEvent):
        return None
    return event if isinstance(event, SessionEnded) else None


# -- the cache --------------------------------------------------------------------------------------------------------


def _load(cache: Path) -> dict[str, msgspec.Raw]:
    try:
        loaded = _decoder.decode(read_file(cache, _LARGEST_CACHE))
    except (OSError, ValueError, RecursionError):
        return {}
    return loaded.files if loaded.version == _VERSION else {}


def _store(cache: Path, files: dict[str, msgspec.Raw]) -> None:
    """Without it, the next start takes longer: nothing else."""
    with contextlib.suppress(OSError):
        write_whole(cache, msgspec.msgpack.encode(_Cache(_VERSION, files)))
        for old in sorted(cache.parent.glob("*.msgpack"), key=lambda path: path.stat().st_mtime)[:-_MOST_CACHES]:
            old.unlink(missing_ok=True)
