"""Artefacts of several files (checkpoints, models): copied once into one tar, which is hashed, stored and scored.

The same files give the same bytes: entries are sorted and carry neither times nor owners nor modes.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from workbench.tasks.artifact import ArtifactError, explain

MOST_FILES = 2000
MOST_FOLDERS_DEEP = 16
_SKIPPED = frozenset({"__pycache__", ".git", ".ipynb_checkpoints"})
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def pack(root: Path, path: str, also: Sequence[str], cap: int, archive: Path) -> None:
    """Copy `path`, and those of `also` that are there, from the folder `root` (which is not to be trusted).

    Each is a file or a folder; no link is followed anywhere below `root`. Raises ArtifactError: something is missing,
    is no regular file, or all of it is larger than `cap` bytes. Blocks.
    """
    left = cap
    count = 0
    taken: set[str] = set()
    with archive.open("wb") as stream, tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for wanted in (path, *also):
            try:
                for name, file in _files(root, wanted):
                    with os.fdopen(file, "rb") as source:
                        if name in taken:
                            continue
                        size = os.fstat(source.fileno()).st_size
                        left, count = left - size, count + 1
                        if left < 0:
                            raise ArtifactError(
                                "invalid", f"{path}: more than {cap:,} bytes, the most that this task takes"
                            )
                        if count > MOST_FILES:
                            raise ArtifactError("invalid", f"{path}: more than {MOST_FILES:,} files")
                        taken.add(name)
                        entry = tarfile.TarInfo(name)
                        entry.size, entry.mode = size, 0o444
                        tar.addfile(entry, source)
            except ArtifactError as error:
                if error.verdict != "missing" or wanted == path:
                    raise
            except OSError as error:
                if str(error) == "unexpected end of data":
                    raise ArtifactError("invalid", f"{wanted} was written to while it was copied: try again") from error
                raise explain(error, wanted) from error
    if not count:
        raise ArtifactError("missing", f"{path} is an empty folder: write it, then try again")


def unpack(archive: Path, folder: Path, cap: int) -> None:
    """Write the files of an archive of `pack` to `folder`. Raises ArtifactError for any other archive. Blocks."""
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
                        stream.write(piece)
                target.chmod(0o444)
    except (tarfile.TarError, EOFError, FileExistsError, NotADirectoryError, UnicodeError) as error:
        raise ArtifactError("invalid", f"{archive.name} is no archive of an artefact: {error}") from error


def _files(root: Path, wanted: str) -> Iterator[tuple[str, int]]:
    """The regular files of a file or folder below `root`: path relative to it, and a descriptor, the caller's to close.

    Raises ArtifactError or OSError.
    """
    with contextlib.ExitStack() as kept:

        def keep(descriptor: int) -> int:
            kept.callback(os.close, descriptor)
            return descriptor

        folder = keep(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        *above, last = PurePosixPath(wanted).parts
        for part in above:
            folder = keep(_open(part, folder, wanted, os.O_DIRECTORY))
        yield from _below(folder, last, wanted, 0)


def _below(folder: int, name: str, path: str, depth: int) -> Iterator[tuple[str, int]]:
    descriptor = _open(name, folder, path)
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        yield path, descriptor
        return
    try:
        if not stat.S_ISDIR(kind):
            raise ArtifactError("invalid", f"{path} is not a regular file")
        if depth > MOST_FOLDERS_DEEP:
            raise ArtifactError("invalid", f"{path}: folders in folders, more than {MOST_FOLDERS_DEEP} deep")
        try:
            names = sorted(os.listdir(descriptor))
        except OSError as error:
            raise explain(error, path) from error
        for inner in names:
            if inner not in _SKIPPED:
                yield from _below(descriptor, inner, f"{path}/{inner}", depth + 1)
    finally:
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
