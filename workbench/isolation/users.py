"""The users that confined processes run as where the workbench is run by root, whom no limit on processes binds."""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

HOST_UID = 60990
"""The user that sandboxes run as when the workbench is run by root; it owns their workspaces. No account has it."""
_OTHERS = range(60706, 61184)
"""For what shares the host's users with the host: neither systemd nor Debian gives these to anybody."""


def running_as_root() -> bool:
    """Whether commands must be handed to HOST_UID."""
    return os.geteuid() == 0


def sandbox_uid() -> int:
    """The user, as the host sees it, that confined commands run as."""
    return HOST_UID if running_as_root() else os.geteuid()


def own(path: Path, user: tuple[int, int] = (HOST_UID, HOST_UID)) -> None:
    """As root: give a file or folder, with everything in it, to the user of a sandbox. Links are not followed."""
    if not running_as_root():
        return
    os.chown(path, *user, follow_symlinks=False)
    if path.is_symlink() or not path.is_dir():
        return
    for folder, folders, files in os.walk(path):
        for name in folders + files:
            entry = os.path.join(folder, name)
            with contextlib.suppress(FileNotFoundError):
                found = os.lstat(entry)
                if (found.st_uid, found.st_gid) != user:
                    os.chown(entry, *user, follow_symlinks=False)


def processes_of(uid: int) -> int:
    """How many processes and threads a user has."""
    count = 0
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                count += len(os.listdir(entry / "task"))
        except OSError:
            continue
    return count


def fresh_user() -> int:
    """As root: a user that no account has (nor systemd gives out), and no process now; else who we are."""
    if not running_as_root():
        return os.geteuid()
    used = {HOST_UID}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            used.add(entry.stat().st_uid)
    return random.SystemRandom().choice([user for user in _OTHERS if user not in used])
