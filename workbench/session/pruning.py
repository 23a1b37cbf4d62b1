"""Space that saved sessions take for nothing: objects that no log names, and shared ones that no session has any more.

What a log may name stays, and so does all of a session that a process drives. A session has its own names of what it
shares with others, so nothing that is taken from the pool is missing anywhere.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import secrets
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import BinaryIO

import msgspec

from workbench.session.files import is_file, lock, make_folder, open_file
from workbench.session.log import EVENTS_FILE, is_locked
from workbench.session.objects import POOL, SMALLEST_SHARED, STORES, ObjectStore, digests_in
from workbench.session.store import SCRATCH, find_unbegun

_AT_REST = 600.0
"""Seconds for which an object must have lain there: one that is younger may be about to be named."""
_BLOCK = 8 << 20


class Pruned(msgspec.Struct):
    """What was removed, or would be."""

    sessions: list[Path] = msgspec.field(default_factory=list)
    """Folders in which nothing ever happened, and what is left of forks and re-executions that were killed."""
    unnamed: int = 0
    """Objects that their session's log does not name."""
    unshared: int = 0
    """Objects of the pool that no session has."""
    joined: int = 0
    """Objects that were there twice, and are one file now."""
    freed: int = 0
    """Bytes."""
    running: list[Path] = msgspec.field(default_factory=list)
    """Sessions that a process drives, which were left alone."""


def prune(root: Path, *, dry_run: bool = False) -> Pruned:
    """Remove from the sessions' folder `root` what is there for nothing; with `dry_run`, say only what that would be.

    Raises OSError.
    """
    work = _Pruning(root, Pruned(sessions=[*find_unbegun(root), *_broken_off(root)]), dry_run)
    for folder in work.done.sessions:
        work.done.freed += sum(path.lstat().st_size for path in folder.rglob("*"))
        if not dry_run:
            shutil.rmtree(folder, ignore_errors=True)
    if not root.is_dir():
        return work.done
    for folder in sorted(root.iterdir()):
        if folder.is_symlink() or folder == work.pool or folder in work.done.sessions:
            continue
        with contextlib.suppress(OSError), os.fdopen(open_file(folder / EVENTS_FILE, os.O_RDWR), "rb") as log:
            if lock(log):  # held while its objects are looked at: nobody can go on with it meanwhile
                work.session(folder, log)
            else:
                work.done.running.append(folder)
    work.shared()
    return work.done


def _broken_off(root: Path) -> list[Path]:
    """Folders of sessions that were to be removed, or to get their name, when their process was killed."""
    found = []
    for folder in (*root.glob(f"{SCRATCH}*"), *root.glob(".2*")):
        with contextlib.suppress(OSError):
            logs = [*folder.glob(EVENTS_FILE), *folder.glob(f"*/{EVENTS_FILE}")]
            if not folder.is_symlink() and _old(folder.lstat()) and not any(map(is_locked, logs)):
                found.append(folder)
    return found


def _old(status: os.stat_result) -> bool:
    return time.time() - max(status.st_mtime, status.st_ctime) > _AT_REST


class _Pruning:
    def __init__(self, root: Path, done: Pruned, dry_run: bool) -> None:
        self.pool = root / POOL
        self.done = done
        self._dry_run = dry_run
        self._gone: Counter[int] = Counter()
        """Names that files would lose, by inode."""

    def session(self, folder: Path, log: BinaryIO) -> None:
        """Remove what the log of a session does not name, and join what it has with what others have."""
        named = _digests(log)
        with contextlib.suppress(OSError), os.fdopen(open_file(folder / "events.damaged"), "rb") as damaged:
            named |= _digests(damaged)
        for store in (ObjectStore(folder / name) for name in STORES):
            for digest in tuple(named):
                with contextlib.suppress(OSError, ValueError):
                    named |= {chunk.digest for chunk in store.chunks(digest) or ()}
            for path in _files(store.folder):
                status = path.lstat()
                if path.parent.name + path.name.partition(".")[0] in named and path.suffix != ".tmp":
                    self._join(path, status)
                elif _old(status):
                    self.done.unnamed += 1
                    self.done.freed += status.st_size if status.st_nlink == 1 else 0
                    if self._dry_run:
                        self._gone[status.st_ino] += 1
                    else:
                        path.unlink(missing_ok=True)

    def _join(self, path: Path, status: os.stat_result) -> None:
        """Make an object and what is the same in the pool one file."""
        if status.st_size < SMALLEST_SHARED or path.suffix:
            return
        shared = self.pool / path.parent.name / path.name
        try:
            other = shared.lstat()
        except FileNotFoundError:
            if not self._dry_run:
                make_folder(shared.parent, below=1)
                os.link(path, shared, follow_symlinks=False)
            return
        if other.st_ino == status.st_ino or not is_file(shared) or not filecmp.cmp(path, shared, shallow=False):
            return
        self.done.joined += 1
        self.done.freed += status.st_size if status.st_nlink == 1 else 0
        if not self._dry_run:
            temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
            os.link(shared, temporary, follow_symlinks=False)
            temporary.replace(path)

    def shared(self) -> None:
        """Remove from the pool what no session has."""
        for path in _files(self.pool):
            status = path.lstat()
            if status.st_nlink - self._gone[status.st_ino] == 1:
                self.done.unshared += 1
                self.done.freed += status.st_size
                if not self._dry_run:
                    path.unlink(missing_ok=True)


def _digests(stream: BinaryIO) -> set[str]:
    found: set[str] = set()
    end = b""
    while block := stream.read(_BLOCK):
        found |= digests_in(end + block)
        end = block[-63:]
    return found


def _files(store: Path) -> list[Path]:
    """What lies in a store, through no link."""
    if store.is_symlink() or not store.is_dir():
        return []
    folders = [folder for folder in store.iterdir() if folder.is_dir() and not folder.is_symlink()]
    return [path for folder in folders for path in folder.iterdir() if is_file(path)]
