"""Artifacts of several files (checkpoints, models), copied once into one tar, which is hashed, stored and scored. The
same files give the same bytes: entries are sorted and carry neither times nor owners nor modes.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, cast

from workbench.scoring.artifact import ArtifactError, explain
from workbench.scoring.copying import FULL

MOST_FILES = 2000
"""The most files and folders in one artifact."""
MOST_FOLDERS_DEEP = 16
_SKIPPED = frozenset({"__pycache__", ".git", ".ipynb_checkpoints"})
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def pack(
    root: Path, path: str, also: Sequence[str], cap: int, archive: Path, check: Callable[[], None] = lambda: None
) -> None:
    """Copy `path`, and those of `also` that are there, from the untrusted folder `root`.

    Each is a file or a folder; no link is followed anywhere below `root`. `check` is called again and again, and may
    raise. Raises ArtifactError: something is missing, is no regular file, or all of it is larger than `cap` bytes; and
    OSError where the archive cannot be written. Blocks.
    """
    left, found = cap, 0
    taken: set[str] = set()

    def count() -> None:
        """Counts folders too, so that a tree of a million empty ones is refused early."""
        nonlocal found
        check()
        found += 1
        if found > MOST_FILES:
            raise ArtifactError("invalid", f"{path}: more than {MOST_FILES:,} files and folders")

    with archive.open("wb") as stream, tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for wanted in (path, *also):
            try:
                for name, file in _files(root, wanted, count):
                    with os.fdopen(file, "rb") as source:
                        if name in taken:
                            continue
                        size = os.fstat(source.fileno()).st_size
                        left -= size
                        if left < 0:
                            raise ArtifactError(
                                "invalid", f"{path}: more than {cap:,} bytes, the most that this task takes"
                            )
                        taken.add(name)
                        entry = tarfile.TarInfo(name)
                        entry.size, entry.mode = size, 0o444
                        tar.addfile(entry, cast(IO[bytes], _Checked(source, check)))
            except ArtifactError as error:
                if error.verdict != "missing" or wanted == path:
                    raise
            except OSError as error:
                if str(error) == "unexpected end of data":
                    raise ArtifactError("invalid", f"{wanted} was written to while it was copied: try again") from error
                if error.errno in FULL:
                    raise
                raise explain(error, wanted) from error
    if not taken:
        raise ArtifactError("missing", f"{path} is an empty folder: write it, then try again")


def unpack(archive: Path, folder: Path, cap: int, check: Callable[[], None] = lambda: None) -> None:
    """Write the files of an archive of `pack` to `folder`, calling `check` again and again.

    Raises ArtifactError for any other archive, and OSError where they cannot be written. Blocks.
    """
    left, count = cap, 0
    try:
        with tarfile.open(archive, "r:") as tar:
            for entry in tar:
                parts = PurePosixPath(entry.name).parts
                plain = entry.isreg() and not entry.issparse() and parts and entry.name == "/".join(parts)
                if not plain or entry.name.startswith("/") or ".." in parts or "\0" in entry.name:
                    raise ArtifactError(
                        "invalid", f"the archive has an entry that is no plain file: {entry.name!r:.100}"
                    )
                left, count = left - entry.size, count + 1
                if left < 0 or count > MOST_FILES or len(parts) > MOST_FOLDERS_DEEP + 1:
                    raise ArtifactError("invalid", "the archive is larger than this task takes")
                target = folder.joinpath(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                content = tar.extractfile(entry)
                assert content is not None
                with content, target.open("xb") as stream:
                    while piece := content.read(1 << 20):
                        check()
                        stream.write(piece)
                target.chmod(0o444)
    except (tarfile.TarError, EOFError, FileExistsError, NotADirectoryError, UnicodeError) as error:
        raise ArtifactError("invalid", f"{archive.name} is no archive of an artifact: {error}") from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise ArtifactError("invalid", f"{archive.name} has a file with a name that is too long here") from error


class _Checked:
    """A file that calls `check` before each piece is read, so that a long copy can be stopped."""

    def __init__(self, source: IO[bytes], check: Callable[[], None]) -> None:
        self._source, self._check = source, check

    def read(self, size: int) -> bytes:
        """The next piece."""
        self._check()
        return self._source.read(size)


def _files(root: Path, wanted: str, count: Callable[[], None]) -> Iterator[tuple[str, int]]:
    """The regular files of a file or folder below `root`: path relative to it, and a descriptor, the caller's to close.

    `count` is called for each file and folder, and may raise. Raises ArtifactError or OSError.
    """
    with contextlib.ExitStack() as kept:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        kept.callback(os.close, folder)
        *above, last = PurePosixPath(wanted).parts
        for part in above:
            folder = _open(part, folder, wanted, os.O_DIRECTORY)
            kept.callback(os.close, folder)
        yield from _below(folder, last, wanted, 0, count)


def _below(folder: int, name: str, path: str, depth: int, count: Callable[[], None]) -> Iterator[tuple[str, int]]:
    descriptor = _open(name, folder, path)
    try:
        kind = os.fstat(descriptor).st_mode
        count()
        if stat.S_ISREG(kind):
            given, descriptor = descriptor, -1
            yield path, given
            return
        if not stat.S_ISDIR(kind):
            raise ArtifactError("invalid", f"{path} is not a regular file")
        if depth > MOST_FOLDERS_DEEP:
            raise ArtifactError("invalid", f"{path}: folders in folders, more than {MOST_FOLDERS_DEEP} deep")
        try:
            with os.scandir(descriptor) as entries:  # of which there may be millions
                names = sorted(entry.name for entry in itertools.islice(entries, MOST_FILES + len(_SKIPPED) + 1))
        except OSError as error:
            raise explain(error, path) from error
        for inner in names:
            if inner not in _SKIPPED:
                yield from _below(descriptor, inner, f"{path}/{inner}", depth + 1, count)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _open(name: str, folder: int, path: str, flags: int = 0) -> int:
    try:
        path.encode()
        return os.open(name, _OPEN | flags, dir_fd=folder)
    except UnicodeError as error:
        raise ArtifactError("invalid", "the name of a file is no text") from error
    except (OSError, ValueError) as error:
        if flags & os.O_DIRECTORY and isinstance(error, NotADirectoryError):
            raise ArtifactError("invalid", f"{path}: {name} is no folder, or a link") from error
        raise explain(error, path) from error
