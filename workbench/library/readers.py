"""Reads many files at once, in processes of our own: what is read from them are rows, whoever reads."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import msgspec

from workbench.session.run import Run

_MOST = 8
"""Processes, of which each takes some ten megabytes."""
_BEGIN = (
    "import sys; sys.path[:] = sys.argv[1:]; from workbench.library import index, readers; readers.serve(index.read)"
)
_LENGTH = 4


class Job(NamedTuple):
    """A file to be read, or a session folder."""

    path: str
    ours: bool
    changed: float
    """When it was last written."""
    certain: bool
    """It should be a run: where it is none, that is a row as well."""
    whole: bool


Read = Callable[[Job], list[Run]]
_jobs = msgspec.msgpack.Decoder(list[Job])
_rows = msgspec.msgpack.Decoder(list[Run])


def read_side_by_side(jobs: Sequence[Job], read: Read) -> Iterator[list[Run]]:
    """The rows of each file, in the order of `jobs`. What no other process could read is read here."""
    count = min(_MOST, len(os.sched_getaffinity(0)), len(jobs))
    readers = [_start(jobs[first::count]) for first in range(count)] if count > 1 else []
    try:
        for place, job in enumerate(jobs):
            rows = _next(readers[place % count]) if readers else None
            yield read(job) if rows is None else rows
    finally:
        for reader in readers:
            if reader is not None:
                reader.kill()
                reader.wait()
                if reader.stdout is not None:
                    reader.stdout.close()


def _start(jobs: Sequence[Job]) -> subprocess.Popen[bytes] | None:
    """A process that reads these files; None where none can be had."""
    # `-P`: nothing of the folder that the user is in is imported. It imports from where this process did.
    command = [sys.executable, "-P", "-c", _BEGIN, *sys.path]
    try:
        given = msgspec.msgpack.encode(jobs)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except (OSError, UnicodeEncodeError):  # the latter: a path that is no text
        return None
    if process.stdin is not None:
        with contextlib.suppress(OSError):  # it has ended already
            process.stdin.write(given)
        with contextlib.suppress(OSError):
            process.stdin.close()
    return process


def _next(process: subprocess.Popen[bytes] | None) -> list[Run] | None:
    """What the process read from its next file; None where it could not."""
    if process is None or process.stdout is None:
        return None
    length = int.from_bytes(process.stdout.read(_LENGTH), "big")
    try:
        return _rows.decode(process.stdout.read(length)) if length else None
    except ValueError:  # it has ended
        return None


def serve(read: Read) -> None:
    """Such a process: jobs on stdin, rows on stdout."""
    out: BinaryIO = sys.stdout.buffer
    for job in _jobs.decode(sys.stdin.buffer.read()):
        try:
            said = msgspec.msgpack.encode(read(job))
        except UnicodeEncodeError:
            said = b""
        out.write(len(said).to_bytes(_LENGTH, "big") + said)
        out.flush()
