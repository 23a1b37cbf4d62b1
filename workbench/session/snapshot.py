"""The files of the workspace after each step, stored once by content.

A scan stats every file and reads only those that changed; the log gets the changes since the scan before. Size and
mtime alone miss a same-size rewrite within a clock tick, so ctime and inode are compared too, and a file whose ctime is
as young as the last scan is read again.

The workspace is hostile: folders are walked by descriptor and nothing is opened through a symbolic link, so that an
agent cannot have a file of the host stored by swapping a folder for a link.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from workbench.session.events import FileChange
from workbench.session.objects import ObjectStore

_RACY_NS = 20_000_000
"""A file changed less than this before a scan may change again within the same clock tick."""

_DEEPEST = 100
"""Levels of folders that are looked into; each holds a descriptor open while what is below it is walked."""
_MOST_SKIPPED = 1000
"""Names of what was left out that are kept."""

_NOFOLLOW = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True)
class Snapshot:
    """What a scan found."""

    tree: str
    changes: list[FileChange]
    skipped: list[str]


@dataclass(frozen=True)
class _Entry:
    stamp: tuple[int, int, int, int, int]
    racy: bool
    change: FileChange

    @cached_property
    def manifest_line(self) -> bytes:
        """Made once: an entry that did not change is kept from scan to scan."""
        c = self.change
        return f"{c.mode:o} {c.object or c.target or c.size} {c.path}\n".encode("utf-8", "replace")


class _StoreFailure(Exception):
    """The store cannot be written: not to be taken for a file that cannot be read."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class Snapshotter:
    """Scans one workspace again and again. Not thread-safe: one scan at a time."""

    def __init__(
        self, root: Path, objects: ObjectStore, *, largest_file: int = 64 << 20, most_entries: int = 50_000
    ) -> None:
        """`most_entries`: files, folders and whatever else lies there; those beyond are left out."""
        self._root = root
        self._objects = objects
        self._largest = largest_file
        self._most = most_entries
        self._seen = 0
        self._entries: dict[str, _Entry] = {}
        self._skipped: list[str] = []
        self._tree = ""

    def assume(self, files: Iterable[FileChange]) -> None:
        """Take `files` for what the scan before found (a workspace that was restored): only differences are changes."""
        self._entries = {file.path: _Entry((0, 0, 0, 0, 0), True, file) for file in files}

    def scan(self) -> Snapshot:
        """Store what changed since the scan before. Raises OSError when the store cannot be written."""
        self._skipped = []
        self._seen = 0
        found: dict[str, _Entry] = {}
        self._started_ns = time.time_ns()
        try:
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            self._skip(".")
        else:
            try:
                self._walk(root, "", 1, found)
            except _StoreFailure as failure:
                raise failure.error from None
        changes = [
            entry.change
            for path, entry in found.items()
            if (before := self._entries.get(path)) is not entry
            and (before is None or _differs(before.change, entry.change))
        ]
        gone = [path for path in self._entries if path not in found]
        changes += [FileChange(path=path, kind="deleted") for path in gone]
        if changes or not self._tree:
            self._tree = hashlib.sha256(b"".join(found[path].manifest_line for path in sorted(found))).hexdigest()
        self._entries = found
        return Snapshot(self._tree, sorted(changes, key=lambda change: change.path), sorted(self._skipped))

    def _walk(self, folder: int, prefix: str, level: int, found: dict[str, _Entry]) -> None:
        subfolders: list[tuple[str, str]] = []
        try:
            with os.scandir(folder) as listing:
                for item in listing:
                    path = prefix + (item.name if item.name.isascii() else logged_name(os.fsencode(item.name)))
                    self._seen += 1
                    if self._seen > self._most:
                        self._skip(path)
                        return
                    try:
                        status = item.stat(follow_symlinks=False)
                        if stat.S_ISDIR(status.st_mode):
                            subfolders.append((item.name, path))
                        elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                            found[path] = self._entry(folder, item.name, path, status)
                    except OSError:
                        self._skip(path)
            for name, path in subfolders:
                if self._seen > self._most or level >= _DEEPEST:
                    self._skip(path)
                    continue
                try:
                    child = os.open(name, _NOFOLLOW | os.O_DIRECTORY, dir_fd=folder)
                except OSError:
                    self._skip(path)
                    continue
                self._walk(child, f"{path}/", level + 1, found)
        finally:
            os.close(folder)

    def _skip(self, path: str) -> None:
        if len(self._skipped) < _MOST_SKIPPED:
            self._skipped.append(path)

    def _entry(self, folder: int, name: str, path: str, status: os.stat_result) -> _Entry:
        stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_mode)
        before = self._entries.get(path)
        if before is not None and before.stamp == stamp and not before.racy:
            if before.change.object is None and before.change.target is None:
                self._skip(path)
            return before
        kind = "modified" if before is not None else "added"
        mode = stat.S_IMODE(status.st_mode)
        racy = self._started_ns - status.st_ctime_ns < _RACY_NS
        if stat.S_ISLNK(status.st_mode):
            target = logged_name(os.fsencode(os.readlink(name, dir_fd=folder)))
            return _Entry(
                stamp,
                racy,
                FileChange(path=path, kind=kind, mode=mode, target=target),  # type: ignore[arg-type]
            )
        data = self._read(folder, name) if status.st_size <= self._largest else None
        if data is None:
            self._skip(path)
            change = FileChange(path=path, kind=kind, size=status.st_size, mode=mode)  # type: ignore[arg-type]
        else:
            change = FileChange(
                path=path,
                kind=kind,  # type: ignore[arg-type]
                object=self._store(data),
                size=len(data),
                mode=mode,
            )
        return _Entry(stamp, racy, change)

    def _store(self, data: bytes) -> str:
        try:
            return self._objects.put(data)
        except OSError as error:
            raise _StoreFailure(error) from error

    def _read(self, folder: int, name: str) -> bytes | None:
        try:
            fd = os.open(name, _NOFOLLOW, dir_fd=folder)
        except OSError:
            return None
        with os.fdopen(fd, "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return None
            data = stream.read(self._largest + 1)
        return data if len(data) <= self._largest else None


def _differs(before: FileChange, after: FileChange) -> bool:
    return (before.object, before.target, before.mode, before.size) != (
        after.object,
        after.target,
        after.mode,
        after.size,
    )


# -- names -------------------------------------------------------------------------------------------------------------


def logged_name(name: bytes) -> str:
    """A name as the log has it. A byte that is no UTF-8 becomes NUL, which no name has, and two hexadecimal digits."""
    text = name.decode("utf-8", "surrogateescape")
    return text if text.isascii() else _ESCAPED.sub(lambda found: f"\0{ord(found[0]) - 0xDC00:02x}", text)


def file_name(logged: str) -> bytes:
    """The name that stands in the log as `logged`. Raises ValueError where no file can have it."""
    text = _LOGGED.sub(lambda found: chr(0xDC00 + int(found[1], 16)), logged)
    if "\0" in text or not text:
        raise ValueError("no file has such a name")
    return text.encode("utf-8", "surrogateescape")


def path_parts(path: str) -> list[bytes]:
    """The names in the path of a file of a workspace. Raises ValueError where no scan can have found it."""
    parts = file_name(path).split(b"/")
    too_long = len(path) > _LONGEST_PATH or len(parts) > _DEEPEST or max(map(len, parts)) > _LONGEST_NAME
    if too_long or not {b"", b".", b".."}.isdisjoint(parts):
        raise ValueError("no file of a workspace has such a path")
    return parts


_LONGEST_PATH, _LONGEST_NAME = 4095, 255
_ESCAPED = re.compile("[\udc80-\udcff]")
_LOGGED = re.compile("\0([89a-f][0-9a-f])")

# -- restoring ---------------------------------------------------------------------------------------------------------

_MOST_BYTES = 16 << 30
"""Of all files that are restored: a log may name one object a million times."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)


def restore(files: Iterable[FileChange], objects: ObjectStore, folder: Path) -> list[str]:
    """Write `files` into `folder`, an empty workspace that no process uses.

    Returns the paths that could not be restored: too large to have been kept, missing from the store, or such as no
    workspace has. A log may name anything: nothing is written outside, through a link, or over something else. Raises
    OSError when there is no room.
    """
    lost: list[str] = []
    left = _MOST_BYTES
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for file in files:
            try:
                left -= _restore_one(file, objects, root, left)
            except (OSError, ValueError) as error:
                if getattr(error, "errno", None) in _NO_ROOM:
                    raise
                lost.append(file.path[:_LONGEST_PATH])
    finally:
        os.close(root)
    return lost


def _restore_one(file: FileChange, objects: ObjectStore, root: int, most: int) -> int:
    """Bytes that were written. Raises OSError or ValueError."""
    *above, name = path_parts(file.path)
    target = None if file.target is None else file_name(file.target)
    data = b"" if file.target is not None else objects.get(file.object or "")
    if len(data) > most:
        raise ValueError("the workspace is larger than what is restored")
    parent = os.dup(root)
    try:
        for part in above:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=parent)
            inner = os.open(part, _NOFOLLOW | os.O_DIRECTORY, dir_fd=parent)
            os.close(parent)
            parent = inner
        if target is not None:
            os.symlink(target, name, dir_fd=parent)
            return 0
        made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
        try:
            with os.fdopen(made, "wb") as stream:
                stream.write(data)
                os.fchmod(made, file.mode & 0o777)
        except OSError:
            os.unlink(name, dir_fd=parent)
            raise
        return len(data)
    finally:
        os.close(parent)
