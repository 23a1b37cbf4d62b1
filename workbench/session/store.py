"""Where sessions are kept, and finding and removing them."""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import re
import secrets
import shlex
import shutil
import stat
import time
from datetime import UTC, datetime
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.resources import checkout
from workbench.session.cast import CAST_FILE
from workbench.session.events import SessionEnded
from workbench.session.log import EVENTS_FILE, has_locks, is_locked, read_log
from workbench.session.objects import POOL
from workbench.session.secrets import state_folder

_NAME = re.compile(r"\d{8}-\d{6}-[A-Za-z0-9_.]+-[0-9a-f]{6}")
SCRATCH = ".again-"
"""How folders of sessions that are not kept begin."""
_NEWBORN = 60.0
"""Seconds in which a folder may be without its first event."""


class SessionNotFound(WorkbenchError):
    """No session of that name. The text names the nearest one and where was looked."""


def sessions_root(option: Path | None = None) -> Path:
    """The sessions' folder: `--sessions`, else `$MLGYM_SESSIONS`, else `sessions/` of checkout or XDG state."""
    if option is not None:
        return option.expanduser().absolute()
    if os.environ.get("MLGYM_SESSIONS"):
        return Path(os.environ["MLGYM_SESSIONS"]).expanduser().absolute()
    here = checkout()
    return (here if here is not None and os.access(here, os.W_OK) else state_folder()) / "sessions"


def command_for(session: Path, *words: str) -> str:
    """`mlgym-tui WORDS SESSION`, with `--sessions` where the session is in another folder than is looked in."""
    session = session.absolute()
    if not session.is_dir():  # a recording of another program, or a lone log
        return shlex.join(["mlgym-tui", *words, str(session)])
    elsewhere = [] if session.parent == sessions_root() else ["--sessions", str(session.parent)]
    return shlex.join(["mlgym-tui", *words, session.name, *elsewhere])


def new_session_folder(root: Path, task: str) -> Path:
    """`<yyyymmdd-hhmmss>-<task>-<6 hex>` under `root`, to be made with the session's first event.

    Raises OSError when nothing can be written there.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    name = re.sub(r"[^A-Za-z0-9_.]+", "_", task) or "task"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(root, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(root))
    (root / POOL).mkdir(exist_ok=True, mode=0o700)
    return root / f"{stamp}-{name}-{secrets.token_hex(3)}"


def short_id(ident: str) -> str:
    """The end of an id, by which the session can be called."""
    return ident[-6:] if _NAME.fullmatch(ident) else ident


def find_unbegun(root: Path) -> list[Path]:
    """Session folders whose process was killed before it had written its first event."""
    found = []
    with contextlib.suppress(OSError):
        for folder in sorted(root.iterdir()):
            if not _NAME.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
                continue
            with contextlib.suppress(OSError):
                names = {path.name for path in folder.iterdir()}
                old = time.time() - folder.stat().st_mtime > _NEWBORN
                if (
                    old
                    and names <= {EVENTS_FILE, CAST_FILE, "objects"}
                    and not _begun(folder)
                    and not is_locked(folder)
                ):
                    found.append(folder)
    return found


def _begun(folder: Path) -> bool:
    """Whether its log holds anything, or something else lies in its place."""
    try:
        status = (folder / EVENTS_FILE).lstat()
    except OSError:
        return False
    return status.st_size > 0 or not stat.S_ISREG(status.st_mode)


def session_names(root: Path) -> list[str]:
    """Folders under `root` that are sessions, however damaged, newest first."""
    try:
        with os.scandir(root) as entries:
            names = sorted((entry.name for entry in entries if entry.is_dir()), reverse=True)
    except FileNotFoundError:
        return []
    return [name for name in names if _begun(root / name)]


def find_session(root: Path, reference: str) -> Path:
    """A session folder by path, id, unique beginning of an id, its 6 hex digits, or `last`.

    Raises SessionNotFound, which names the nearest id.
    """
    try:
        path = Path(reference).expanduser()
        if path.exists() or Path(reference.partition("#")[0]).expanduser().is_file():  # FILE#SAMPLE/EPOCH
            return path.absolute()
    except (OSError, ValueError, RuntimeError):  # a name that nothing can have; a home of nobody
        pass
    ids = session_names(root)
    if reference == "last" and ids:
        return root / ids[0]
    matches = [name for name in ids if name == reference] or [
        name for name in ids if name.startswith(reference) or name.endswith(f"-{reference}")
    ]
    if len(matches) == 1:
        return root / matches[0]
    if matches:
        raise SessionNotFound(
            f"{reference!r} fits {len(matches)} sessions: {', '.join(matches[:4])}; give more of the id"
        )
    near = difflib.get_close_matches(reference, ids, n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]}?" if near else "; `mlgym-tui sessions` lists them"
    raise SessionNotFound(f"no session {reference!r} in {root}{hint}")


def check_removable(folder: Path, *, force: bool = False) -> None:
    """Raises ValueError for what is no session folder, or a link to one, and while a process drives the session; unless
    `force`, also where nothing tells whether one does.
    """
    if folder.is_symlink():
        raise ValueError(f"{folder} is a link to a folder; nothing was removed: name the folder itself")
    if not os.path.lexists(folder / EVENTS_FILE):
        raise ValueError(f"{folder} is not a session folder (it has no {EVENTS_FILE}); nothing was removed")
    runs: bool | None = is_locked(folder)
    if not runs and not has_locks(folder):
        from workbench.session.socket import answers, socket_of  # when first needed: it slows the start

        ended = any(isinstance(event, SessionEnded) for event in read_log(folder)[0][-1:])
        runs = answers(socket_of(folder)) or (False if ended or force else None)
    if runs:
        raise ValueError(f"{folder.name} is running: end it first; nothing was removed")
    if runs is None:
        raise ValueError(
            f"{folder.name} may be running: its log has no end, and its file system gives no locks, which would tell; "
            "nothing was removed. If you know that it is over, --force removes it"
        )


def remove_session(folder: Path, *, force: bool = False) -> None:
    """Delete a session folder. Raises what `check_removable` does, and OSError."""
    check_removable(folder, force=force)
    try:
        shutil.rmtree(folder)
    except OSError as error:  # it names a file without its folder
        raise OSError(error.errno, error.strerror, str(folder)) from error
