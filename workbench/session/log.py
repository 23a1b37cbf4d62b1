"""The event log of a session: an append-only file of JSON lines, and its reader.

A crash loses at most the line being written: lines are written whole with one system call, and the reader takes the
good prefix. `sync` (fsync) is called at step ends, so that a power loss costs at most a step.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from workbench.errors import WorkbenchError
from workbench.session.clock import Clock, utc_now
from workbench.session.events import FORMAT, Event, Naming, SessionStarted, UnknownEvent, decode, encode
from workbench.session.files import LARGEST_LOG, NoLocks, lock, open_file
from workbench.session.secrets import Redactor

EVENTS_FILE = "events.jsonl"

_MOST_PROBLEMS = 20


class LogError(WorkbenchError):
    """The log cannot be written or is driven by another process. The text says what to do."""


class EventLog:
    """Writer of `events.jsonl`. Holds a lock on it while open: two processes never drive one session."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        *,
        next_seq: int = 0,
        redactor: Redactor | None = None,
        mark: Callable[[Naming], Naming] | None = None,
    ) -> None:
        """Open `folder/events.jsonl` for appending; both are made where they are missing. `mark` is what marks an event
        as the user's own.

        Raises LogError when another process holds it or the folder cannot be written.
        """
        self.path = folder / EVENTS_FILE
        self.clock = clock
        self._mark = mark
        self._next_seq = next_seq
        self._redactor = redactor or Redactor()
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            self._fd = open_file(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        except OSError as error:
            raise LogError(explain_write_error(error, self.path)) from error
        self.locked = False
        """Whether no other process can write to it."""
        with contextlib.suppress(NoLocks):
            for attempt in range(5):  # a listing looks at the lock for an instant
                self.locked = lock(self._fd)
                if self.locked:
                    break
                if attempt == 4:
                    os.close(self._fd)
                    raise LogError(f"{folder} is being driven by another process; end that one first")
                time.sleep(0.005)

    def append(self, event: Event) -> Event:
        """Write the event, with `seq`, `time` and `elapsed` filled in, and return it as it is written.

        Raises LogError when it cannot be written; nothing of it is left in the file then.
        """
        stamped = msgspec.structs.replace(
            event, seq=self._next_seq, time=utc_now(), elapsed=round(self.clock.elapsed, 6)
        )
        line = self._redactor.data(encode(stamped))
        if self._mark is not None and isinstance(event, Naming):  # as it will be read again
            read = decode(line)
            assert isinstance(read, Naming)
            stamped = self._mark(read)
            line = encode(stamped)
        self._write(line + b"\n")
        self._next_seq += 1
        return stamped

    def _write(self, line: bytes) -> None:
        end = os.fstat(self._fd).st_size
        written = 0
        try:
            while written < len(line):
                written += os.write(self._fd, line[written:])
        except OSError as error:
            if written:
                os.ftruncate(self._fd, end)
            raise LogError(explain_write_error(error, self.path)) from error

    def sync(self) -> None:
        """Force what was appended to the disk. May take milliseconds: call it off the event loop.

        Raises LogError when the disk refuses; where there is nothing to force (a file system without it) that is fine.
        """
        if self._fd >= 0:
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise LogError(explain_write_error(error, self.path)) from error

    def close(self) -> None:
        """Release the file and its lock. Can be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_log(path: Path) -> tuple[list[Event], list[str]]:
    """The events of a log as far as they are good, and what is wrong with the rest.

    `path` is the file or its folder. Raises OSError when it cannot be read at all. A line cut off at the end, damage in
    the middle, a gap in `seq` and events of a later version are problems, not errors; reading stops at damage, and at
    LARGEST_LOG.
    """
    with os.fdopen(open_file(_log_file(path)), "rb") as stream:
        events, problems, _ = _read(stream)
    return events, problems


class LogTail:
    """A log that another process writes, as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = _log_file(path)
        self._position = 0
        self._damaged = False

    def read(self) -> list[Event]:
        """The events that have come since the last time, as far as they are good. Raises OSError."""
        if self._damaged:
            return []
        with os.fdopen(open_file(self._path), "rb") as stream:
            stream.seek(self._position)
            whole, newline, _ = stream.read(LARGEST_LOG).rpartition(b"\n")
        self._position += len(whole) + len(newline)
        events = []
        for line in whole.split(b"\n") if newline else ():
            try:
                events.append(decode(line))
            except UnknownEvent:
                continue
            except ValueError:
                self._damaged = True
                break
        return events


def repair_log(path: Path) -> tuple[list[Event], list[str]]:
    """As `read_log`, and cut the file to its good part so that it can be appended to.

    What is cut is kept beside it in `events.damaged` (a torn last line too): nothing is lost. Raises LogError while
    another process drives the session, and where the log is too large to be continued.
    """
    file = _log_file(path)
    with os.fdopen(open_file(file, os.O_RDWR), "r+b") as stream:
        with contextlib.suppress(NoLocks):
            if not lock(stream):
                raise LogError(f"{file.parent} is being driven by another process; end that one first")
        if os.fstat(stream.fileno()).st_size > LARGEST_LOG:
            raise LogError(f"{file} is larger than {LARGEST_LOG >> 20} MB: its session can only be looked at")
        events, problems, good = _read(stream)
        stream.seek(good)
        rest = stream.read()
        if rest:
            aside = open_file(file.with_name("events.damaged"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            with os.fdopen(aside, "ab") as damaged:
                damaged.write(rest)
            stream.truncate(good)
    return events, problems


def _log_file(path: Path) -> Path:
    return path / EVENTS_FILE if path.name != EVENTS_FILE and path.is_dir() else path


def _read(stream: BinaryIO) -> tuple[list[Event], list[str], int]:
    data = stream.read(LARGEST_LOG)
    beyond = os.fstat(stream.fileno()).st_size - len(data) if len(data) == LARGEST_LOG else 0
    events: list[Event] = []
    problems: list[str] = []
    position = number = skipped = 0
    while (end := data.find(b"\n", position)) >= 0:
        number += 1
        try:
            event = decode(data[position:end])
        except UnknownEvent as unknown:
            skipped += 1
            if skipped <= _MOST_PROBLEMS:
                problems.append(f"line {number}: unknown event {unknown} of a later version, skipped")
            position = end + 1
            continue
        except ValueError as error:
            problems.append(f"line {number} is damaged ({error}); it and what follows are left out")
            break
        if number == 1:
            problems += _faults_of_the_first(event)
        expected = number - 1
        if event.seq != expected:
            problems.append(f"line {number}: event {event.seq} where {expected} was expected; what follows is left out")
            break
        events.append(event)
        position = end + 1
    else:
        rest = len(data) - position
        if beyond > 0:
            left_out = f"{beyond + rest:,} bytes are left out"
            problems.append(f"only the first {LARGEST_LOG >> 20} MB are read; {left_out}")
        elif rest:
            problems.append(f"line {number + 1} was cut off while it was written; {rest} bytes are left out")
    if skipped > _MOST_PROBLEMS:
        problems.append(f"{skipped - _MOST_PROBLEMS:,} more unknown events of a later version, skipped")
    return events, problems, position


def _faults_of_the_first(event: Event) -> Iterator[str]:
    if not isinstance(event, SessionStarted):
        yield "the first line is not session.started: the beginning of this log is missing"
    elif event.format > FORMAT:
        yield (
            f"written in log format {event.format}, this version reads up to {FORMAT}: "
            "some things may be missing; update mlgym-tui"
        )


def is_locked(path: Path) -> bool:
    """Whether some process drives this session now, as far as its file system tells."""
    return _lock_of(path) == "taken"


def has_locks(path: Path) -> bool:
    """Whether the file system of a session can tell that."""
    return _lock_of(path) != "none"


def _lock_of(path: Path) -> Literal["free", "taken", "none"]:
    try:
        fd = open_file(_log_file(path))
    except OSError:
        return "free"
    try:
        return "free" if lock(fd, shared=True) else "taken"
    except NoLocks:
        return "none"
    finally:
        os.close(fd)


def explain_write_error(error: OSError, path: Path) -> str:
    """Why a file of a session could not be written, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {path.parent} is full: free some space, then `mlgym-tui resume` the session"
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"{path.parent} cannot be written: choose another folder with --sessions"
    return f"cannot write {path}: {error.strerror or error}"
