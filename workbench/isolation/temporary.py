"""Temporary folders that are recognised when they were abandoned: each is locked by the process that made it.

The lock goes with the process, however it ends. So a folder that another process can lock belongs to nobody any more.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from workbench.session.files import NoLocks, lock

PREFIX = "mlgym-tui-"
PURPOSES = ("meeting", "image", "run", "room", "guest", "probe")
"""A socket to meet a container at; an image being built; a session's workspace; the room of a submission; the files of
a guest; a try whether bubblewrap works."""

Purpose = Literal["meeting", "image", "run", "room", "guest", "probe"]
_LOCK = ".owner"
_NEWBORN = 60.0
"""Seconds in which a folder may exist without its lock."""


class OwnedFolder:
    """A temporary folder of this process, for this user only."""

    def __init__(self, purpose: Purpose, base: str | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{purpose}-", dir=base))
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        lock(self._lock, wait=True)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Delete the folder. Can be called twice."""
        _delete(self.path)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def enterable(folder: Path) -> None:
    """As root: let another user pass through a folder of ours to what it may enter there; nothing where it is none."""
    if os.geteuid() == 0 and folder.name.startswith(PREFIX) and (folder / _LOCK).is_file():
        folder.chmod(0o711)


def find_stale_folders() -> list[Path]:
    """Temporary folders of ours, and of this user, whose process is gone."""
    return [path for path in _candidates() if _is_stale(path)]


def remove_stale_folders() -> list[Path]:
    """Delete them. Returns what was deleted."""
    removed = find_stale_folders()
    for path in removed:
        _delete(path)
    return removed


def _delete(folder: Path) -> None:
    """Delete as far as it goes, whatever an agent did to the permissions inside."""

    def mend(_function: object, path: str, _error: object) -> None:
        with contextlib.suppress(OSError):
            target = Path(path)
            target.parent.chmod(target.parent.stat().st_mode | stat.S_IRWXU)
            if target.is_dir() and not target.is_symlink():
                target.chmod(stat.S_IRWXU)
                shutil.rmtree(target, ignore_errors=True)
            else:
                target.unlink()

    with contextlib.suppress(RecursionError):
        shutil.rmtree(folder, onerror=mend)
    if folder.exists():  # deeper than Python, its open files or a path can go
        with contextlib.suppress(OSError):
            subprocess.run(["rm", "-rf", "--", str(folder)], stdin=subprocess.DEVNULL, capture_output=True, check=False)


def image_build_base() -> str:
    """/tmp is often in memory, and mounted without devices: /var/tmp unless the user says otherwise."""
    return os.environ.get("TMPDIR") or "/var/tmp"


def short_base() -> str | None:
    """Where a unix socket's path (of about 100 characters at most) has room. None is the default."""
    return None if len(tempfile.gettempdir()) < 60 else "/tmp"


def _candidates() -> Iterator[Path]:
    for base in sorted({tempfile.gettempdir(), short_base() or tempfile.gettempdir(), image_build_base()}):
        for purpose in PURPOSES:
            with contextlib.suppress(OSError):
                yield from sorted(Path(base).glob(f"{PREFIX}{purpose}-*"))


def _is_stale(path: Path) -> bool:
    try:
        status = path.lstat()
        if path.is_symlink() or not path.is_dir() or os.getuid() not in (0, status.st_uid):
            return False
        owner = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - status.st_mtime > _NEWBORN and not any(path.iterdir())
    except OSError:
        return False
    try:
        return lock(owner)
    except NoLocks:
        return False
    finally:
        os.close(owner)
