"""Files of session folders, opened without trusting what lies there.

A session may come from anybody. What should be a file may be a link to a file of the reader's, a FIFO that never
answers, a device, or gigabytes. Whatever reads or writes in a session folder opens it here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from workbench.text import megabytes

LARGEST_OBJECT = 256 << 20
"""Bytes of the largest file that is read as a whole."""
LARGEST_LOG = 256 << 20
"""Bytes of a log that are read."""

_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITES = os.O_WRONLY | os.O_RDWR


class NoLocks(OSError):
    """A file system, as some networks have them, on which no process can keep another away."""


class UnfitFile(OSError):
    """What lies there is not opened: no regular file, or too large. `strerror` says so."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(errno.EINVAL, why, str(path))


def open_file(path: Path, flags: int = os.O_RDONLY, *, below: int = 0, follow: bool = False) -> int:
    """A descriptor of a regular file. Raises OSError, UnfitFile among them.

    Neither the file nor the `below` folders that hold it may be links; those above are the user's own word. With
    `follow` the file may be one: for what the user named. A file to be written must have no second name. What is made
    is for the user alone, whatever the umask.
    """
    parts = path.parts
    if "\0" in str(path):
        raise UnfitFile(path, "no file has such a name")
    with _folder(Path(*parts[: len(parts) - 1 - below]), parts[len(parts) - 1 - below : -1]) as parent:
        wanted = flags & ~os.O_CREAT & ~os.O_TRUNC | (_SAFE & ~os.O_NOFOLLOW if follow else _SAFE)
        try:
            if flags & os.O_CREAT:
                with contextlib.suppress(FileExistsError):
                    made = os.open(parts[-1], wanted | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=parent)
                    os.fchmod(made, 0o600)
                    return made
            descriptor = os.open(parts[-1], wanted & ~os.O_EXCL, dir_fd=parent)
        except OSError as error:
            raise _explained(error, path) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnfitFile(path, "it is not a regular file")
        if flags & _WRITES and status.st_nlink != 1:
            raise UnfitFile(path, "it has a second name elsewhere (a hard link), which would be written to as well")
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _explained(error: OSError, path: Path) -> OSError:
    if error.errno in (errno.ELOOP, errno.EMLINK):
        return UnfitFile(path, "it is a link, which is not followed")
    if error.errno in (errno.ENXIO, errno.EISDIR, errno.ENODEV):
        return UnfitFile(path, "it is not a regular file")
    return OSError(error.errno, error.strerror, str(path))


@contextlib.contextmanager
def _folder(top: Path, names: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
    """A descriptor of the folder `names` below `top`, without following a link on the way down."""
    folder = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            made = False
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=folder)
                    made = True
            try:
                inner = os.open(name, _FOLDER, dir_fd=folder)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    raise UnfitFile(top / name, "it should be a folder") from None
                raise OSError(error.errno, error.strerror, str(top / name)) from None
            os.close(folder)
            folder = inner
            if made:
                os.fchmod(folder, 0o700)
        yield folder
    finally:
        os.close(folder)


def make_folder(path: Path, *, below: int = 0) -> None:
    """Make a folder for the user alone, and those that hold it. It and the `below` folders above may not be links."""
    parts = path.parts
    top = Path(*parts[: len(parts) - 1 - below])
    top.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _folder(top, parts[len(parts) - 1 - below :], make=True):
        pass


def read_file(path: Path, limit: int, *, below: int = 0, follow: bool = False) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises OSError."""
    with os.fdopen(open_file(path, below=below, follow=follow), "rb") as stream:
        size = os.fstat(stream.fileno()).st_size  # memory for more than that would be taken, and given back
        data = stream.read(min(limit, size) + 1)
        if len(data) > size:
            data += stream.read(limit + 1 - len(data))
    if len(data) > limit:
        raise UnfitFile(path, f"it is larger than {megabytes(limit)}, the most that is read")
    return data


def write_whole(path: Path, data: bytes) -> None:
    """Write a file of the user's that others may read meanwhile: they see all of it or what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, spare = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        os.replace(spare, path)
    except BaseException:
        os.unlink(spare)
        raise


def lock(file: int | IO[Any], *, shared: bool = False, wait: bool = False) -> bool:
    """Take the lock on an open file, which goes with the process that holds it, however it ends. False where another
    has it; with `wait`, until it is free. Where the file system gives no locks, one that waits goes on without; else
    that raises NoLocks.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            if not wait:
                raise NoLocks(error.errno, "its file system gives no locks") from error
        elif wait:
            raise
        return False
    return True


def is_file(path: Path) -> bool:
    """Whether a regular file, and no link to one, is there."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False
