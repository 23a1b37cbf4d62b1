"""The files of the workspace after each step, stored once by content.

A scan stats every file and reads only those that changed; the log gets the changes since the scan before. Size and
mtime alone miss a same-size rewrite within a clock tick, so ctime and inode are compared too, and a file whose ctime is
as young as the last scan is read again.

The workspace is hostile: folders are walked by descriptor and nothing is opened through a symbolic link, so that an
agent cannot have a file of the host stored by swapping a folder for a link.
"""

from __future__ import annotations

import hashlib
import os
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
        return f"{c.mode:o} {c.object or c.target or c.size} {c.path}\n".encode("utf-8", "surrogateescape")


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
        subfolders: list[str] = []
        try:
            with os.scandir(folder) as listing:
                for item in listing:
                    path = prefix + item.name
                    self._seen += 1
                    if self._seen > self._most:
                        self._skip(path)
                        return
                    try:
                        status = item.stat(follow_symlinks=False)
                        if stat.S_ISDIR(status.st_mode):
                            subfolders.append(item.name)
                        elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                            found[path] = self._entry(folder, item.name, path, status)
                    except OSError:
                        self._skip(path)
            for name in subfolders:
                if self._seen > self._most or level >= _DEEPEST:
                    self._skip(prefix + name)
                    continue
                try:
                    child = os.open(name, _NOFOLLOW | os.O_DIRECTORY, dir_fd=folder)
                except OSError:
                    self._skip(prefix + name)
                    continue
                self._walk(child, f"{prefix}{name}/", level + 1, found)
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
            target = os.readlink(name, dir_fd=folder)
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


def restore(files: Iterable[FileChange], objects: ObjectStore, folder: Path) -> list[str]:
    """Write `files` into `folder` (empty, or a workspace of ours that no process uses).

    Returns the paths that could not be restored: too large to have been kept, or missing from the store.
    """
    missing: list[str] = []
    root = folder.resolve()
    for file in files:
        target = root / file.path
        if ".." in Path(file.path).parts or Path(file.path).is_absolute():
            missing.append(file.path)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.parent.resolve().is_relative_to(root):
            missing.append(file.path)
        elif file.target is not None:
            target.symlink_to(file.target)
        elif file.object is None:
            missing.append(file.path)
        else:
            try:
                data = objects.get(file.object)
            except (OSError, ValueError):
                missing.append(file.path)
                continue
            target.write_bytes(data)
            target.chmod(file.mode & 0o777)
    return missing
