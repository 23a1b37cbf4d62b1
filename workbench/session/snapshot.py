"""The files of the workspace after each step, stored once by content.

A scan stats every file and reads only those that changed; the log gets the changes since the scan before. Size and
mtime alone miss a same-size rewrite within a clock tick or with its times set back, so ctime (which nobody can set) and
inode are compared too, and a file whose ctime is as young as the last scan is read again. What is kept: files up to a
size (see `Snapshotter`), links, folders (empty ones, too), and their permissions; neither owners and times, nor which
files are one file under two names, nor what is no file (sockets, pipes, devices).

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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec

from workbench.session.chunks import LARGE, Stored, UnreadableFile, store_large
from workbench.session.events import FileChange
from workbench.session.objects import ObjectStore

_RACY_NS = 20_000_000
"""A file changed less than this before a scan may change again within the same clock tick."""

_DEEPEST = 100
"""Levels of folders that are looked into; each holds a descriptor open while what is below it is walked."""
_MOST_SKIPPED = 1000
"""Names of what was left out that are kept."""

LARGEST_FILE = 1 << 30
"""Bytes of a file that is kept."""
_ROOM = 1 << 30
"""Bytes that stay free on the disk of the store: what would take them, and is large, is not kept."""

_NOFOLLOW = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Snapshot(msgspec.Struct, frozen=True):
    """What a scan found."""

    tree: str
    changes: list[FileChange]
    skipped: list[str]
    folders: list[FileChange]
    """Those that changed."""
    reasons: dict[str, str]
    """Why what is skipped was."""


@dataclass(frozen=True)
class _Entry:
    stamp: tuple[int, int, int, int, int]
    racy: bool
    change: FileChange
    stored: Stored | None = None
    """Of a large file."""

    @cached_property
    def manifest_line(self) -> bytes:
        """Made once: an entry that did not change is kept from scan to scan."""
        c = self.change
        return f"{c.mode:o} {c.object or c.target or c.size} {c.path}\n".encode("utf-8", "replace")


def _folder_line(folder: FileChange) -> bytes:
    return f"{folder.mode:o} folder {folder.path}\n".encode("utf-8", "replace")


class _StoreFailure(Exception):
    """The store cannot be written: not to be taken for a file that cannot be read."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class Snapshotter:
    """Scans one workspace again and again. Not thread-safe: one scan at a time."""

    def __init__(
        self, root: Path, objects: ObjectStore, *, largest_file: int = LARGEST_FILE, most_entries: int = 50_000
    ) -> None:
        """`most_entries`: files, folders and whatever else lies there; those beyond are left out."""
        self._root = root
        self._objects = objects
        self._largest = largest_file
        self._most = most_entries
        self._seen = 0
        self._entries: dict[str, _Entry] = {}
        self._folders: dict[str, FileChange] = {}
        self._skipped: dict[str, str] = {}
        self._tree = ""

    def assume(self, files: Iterable[FileChange], folders: Iterable[FileChange] = ()) -> None:
        """Take these for what the scan before found (a workspace that was restored): only differences are changes."""
        self._entries = {file.path: _Entry((0, 0, 0, 0, 0), True, file) for file in files}
        self._folders = {folder.path: folder for folder in folders}

    def scan(self) -> Snapshot:
        """Store what changed since the scan before. Raises OSError when the store cannot be written."""
        self._skipped = {}
        self._seen = 0
        found: dict[str, _Entry] = {}
        self._found_folders: dict[str, FileChange] = {}
        self._started_ns = time.time_ns()
        try:
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            self._skip(".", "the workspace cannot be read")
        else:
            try:
                self._walk(root, "", 1, found)
            except _StoreFailure as failure:
                raise failure.error from None
        changes = [
            entry.change
            for path, entry in found.items()
            if (before := self._entries.get(path)) is not entry
            and (before is None or msgspec.structs.replace(entry.change, kind=before.change.kind) != before.change)
        ]
        changes += [FileChange(path=path, kind="deleted") for path in self._entries if path not in found]
        folders = [
            folder
            for path, folder in self._found_folders.items()
            if path not in self._folders or self._folders[path].mode != folder.mode
        ]
        folders += [FileChange(path=path, kind="deleted") for path in self._folders if path not in self._found_folders]
        if changes or folders or not self._tree:
            lines = [found[path].manifest_line for path in sorted(found)]
            lines += [_folder_line(self._found_folders[path]) for path in sorted(self._found_folders)]
            self._tree = hashlib.sha256(b"".join(lines)).hexdigest()
        self._entries, self._folders = found, self._found_folders
        for each in (changes, folders):
            each.sort(key=lambda change: change.path)
        return Snapshot(self._tree, changes, sorted(self._skipped), folders, self._skipped)

    def _walk(self, folder: int, prefix: str, level: int, found: dict[str, _Entry]) -> None:
        subfolders: list[tuple[str, str]] = []
        try:
            with os.scandir(folder) as listing:
                for item in listing:
                    path = prefix + (item.name if item.name.isascii() else logged_name(os.fsencode(item.name)))
                    self._seen += 1
                    if self._seen > self._most:
                        self._skip(path, f"there are more than {self._most:,} files and folders")
                        return
                    try:
                        status = item.stat(follow_symlinks=False)
                        if stat.S_ISDIR(status.st_mode):
                            subfolders.append((item.name, path))
                            self._found_folders[path] = self._folder(path, stat.S_IMODE(status.st_mode))
                        elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
                            found[path] = self._entry(folder, item.name, path, status)
                    except OSError:
                        self._skip(path, "it cannot be read")
            for name, path in subfolders:
                if self._seen > self._most or level >= _DEEPEST:
                    self._skip(path, "there is too much, or it lies too deep")
                    continue
                try:
                    child = os.open(name, _NOFOLLOW | os.O_DIRECTORY, dir_fd=folder)
                except OSError:
                    self._skip(path, "it cannot be read")
                    continue
                self._walk(child, f"{path}/", level + 1, found)
        finally:
            os.close(folder)

    def _skip(self, path: str, why: str) -> None:
        if len(self._skipped) < _MOST_SKIPPED:
            self._skipped[path] = why

    def _folder(self, path: str, mode: int) -> FileChange:
        before = self._folders.get(path)
        if before is not None and before.mode == mode:
            return before
        return FileChange(path=path, kind="added" if before is None else "modified", mode=mode)

    def _entry(self, folder: int, name: str, path: str, status: os.stat_result) -> _Entry:
        stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_mode)
        before = self._entries.get(path)
        if before is not None and before.stamp == stamp and not before.racy:
            if before.change.object is None and before.change.target is None:
                self._skip(path, self._too_large)
            return before
        kind: Literal["modified", "added"] = "modified" if before is not None else "added"
        mode = stat.S_IMODE(status.st_mode)
        racy = self._started_ns - status.st_ctime_ns < _RACY_NS
        if stat.S_ISLNK(status.st_mode):
            target = logged_name(os.fsencode(os.readlink(name, dir_fd=folder)))
            return _Entry(stamp, racy, FileChange(path=path, kind=kind, mode=mode, target=target))
        kept: tuple[str, int, Stored | None] | None = None
        if status.st_size > self._largest:
            self._skip(path, self._too_large)
        elif status.st_size > LARGE and not self._room_for(status.st_size):
            self._skip(path, "the disk is nearly full")
        else:
            kept = self._keep(folder, name, before.stored if before is not None else None)
            if kept is None:
                self._skip(path, "it cannot be read, or grew while it was")
        if kept is None:
            return _Entry(stamp, racy, FileChange(path=path, kind=kind, size=status.st_size, mode=mode))
        digest, size, stored = kept
        return _Entry(stamp, racy, FileChange(path=path, kind=kind, object=digest, size=size, mode=mode), stored)

    @property
    def _too_large(self) -> str:
        return f"it is larger than {self._largest >> 20} MB"

    def _room_for(self, size: int) -> bool:
        place = self._objects.folder
        while not place.exists() and place != place.parent:
            place = place.parent
        with contextlib.suppress(OSError):
            disk = os.statvfs(place)
            return disk.f_bavail * disk.f_frsize > size + _ROOM
        return True

    def _keep(self, folder: int, name: str, before: Stored | None) -> tuple[str, int, Stored | None] | None:
        """Hash and size of what was stored of a file; None where it cannot be read. Raises _StoreFailure."""
        try:
            descriptor = os.open(name, _NOFOLLOW, dir_fd=folder)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None
            if status.st_size >= LARGE:
                stored = store_large(descriptor, self._objects, before, self._largest)
                return None if stored is None else (stored.digest, stored.size, stored)
            try:
                data = os.read(descriptor, LARGE)
            except OSError:
                return None
            return self._objects.put(data), len(data), None
        except UnreadableFile:
            return None
        except OSError as error:
            raise _StoreFailure(error) from error
        finally:
            os.close(descriptor)


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


def restore(
    files: Iterable[FileChange], objects: ObjectStore, folder: Path, folders: Iterable[FileChange] = ()
) -> list[str]:
    """Write `files` and `folders` into `folder`, an empty workspace that no process uses.

    Returns the paths that could not be restored: too large to have been kept, missing from the store, or such as no
    workspace has. A log may name anything: nothing is written outside, through a link, or over something else. Raises
    OSError when there is no room.
    """
    lost: list[str] = []
    left = _MOST_BYTES
    wanted = sorted(folders, key=lambda each: each.path)
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for each in wanted:
            with _told(each, lost):
                os.close(_opened(path_parts(each.path), root))
        for file in files:
            with _told(file, lost):
                left -= _restore_one(file, objects, root, left)
        for each in reversed(wanted):  # last: a folder may forbid its owner to write into it
            with contextlib.suppress(OSError, ValueError):
                descriptor = _opened(path_parts(each.path), root)
                os.fchmod(descriptor, each.mode & 0o777)
                os.close(descriptor)
    finally:
        os.close(root)
    return lost


@contextlib.contextmanager
def _told(each: FileChange, lost: list[str]) -> Iterator[None]:
    """What cannot be restored is named in `lost`. Raises OSError when there is no room."""
    try:
        yield
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in _NO_ROOM:
            raise
        lost.append(each.path[:_LONGEST_PATH])


def _opened(parts: Iterable[bytes], root: int) -> int:
    """A folder below `root`, made where it is missing. Raises OSError where a link or a file is in its way."""
    folder = os.dup(root)
    for part in parts:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=folder)
            inner = os.open(part, _NOFOLLOW | os.O_DIRECTORY, dir_fd=folder)
        finally:
            os.close(folder)
        folder = inner
    return folder


def _restore_one(file: FileChange, objects: ObjectStore, root: int, most: int) -> int:
    """Bytes that were written. Raises OSError or ValueError."""
    *above, name = path_parts(file.path)
    target = None if file.target is None else file_name(file.target)
    if target is None and (file.object is None or file.object not in objects):
        raise ValueError("it was not kept, or is lost")
    parent = _opened(above, root)
    try:
        if target is not None:
            os.symlink(target, name, dir_fd=parent)
            return 0
        made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
        written = 0
        try:
            with os.fdopen(made, "wb") as stream:
                for piece in objects.pieces(file.object or ""):
                    written += len(piece)
                    if written > most:
                        raise ValueError("the workspace is larger than what is restored")
                    stream.write(piece)
                os.fchmod(made, file.mode & 0o777)
        except BaseException:  # ctrl+c among them: what is there is whole
            os.unlink(name, dir_fd=parent)
            raise
        return written
    finally:
        os.close(parent)
