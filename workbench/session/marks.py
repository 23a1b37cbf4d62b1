"""Which sessions are this user's own: a keyed mark on each event that names what this machine will use.

The mark is an HMAC over that event and all of its kind before it in the log, made with a secret in the user's state
folder. So nobody else can write such an event, change one, or carry one into another session: what a marked log names
(agent, task folder, model, server, approval file, limits, and the answers of `--trust`) was named by this user.

It does not say that the rest is as it was: somebody may have cut the log off, or changed what agents said and did, the
files of the workspace, the scores. Nor does it vouch for what the names stand for now: a path or a module that the user
once named is used as it is found. Whoever can read the secret can make marks: no sandbox shows it, but commands that
run unprotected (`--unsafe-local`) can read it.
"""

from __future__ import annotations

import contextlib
import getpass
import hmac
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from workbench.errors import WorkbenchError
from workbench.session.events import Naming, SessionStarted
from workbench.session.plain import without_defaults
from workbench.session.secrets import state_folder

SECRET_FILE = "session-secret"
LENT_SECRET = "MLGYM_SWEEP_SECRET"
"""Variable with the secret of one job of a sweep, for the process on another machine that runs it."""
_BYTES = 32


class NoSecret(WorkbenchError):
    """The secret cannot be read or made. One sentence that says why."""


def user_name() -> str:
    """Who signs the steps and the notes of a person."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "someone"


class Origin(msgspec.Struct, frozen=True):
    """What the marks of a log say."""

    own: bool
    """This user named everything that the log names."""
    trusted: frozenset[str] = frozenset()
    """Where that is not so: what this user has allowed it since, and what it still names."""
    why: str = ""
    """Why the marks say nothing, where the reason is not in the log."""


def user_secret() -> bytes:
    """The secret of this user, made when it is first needed; safe when two processes make it at once.

    Where another machine's user lent one for a job of a sweep, it is that. Raises NoSecret.
    """
    if lent := os.environ.get(LENT_SECRET):
        return bytes.fromhex(lent)
    path = state_folder() / SECRET_FILE
    try:
        if not path.exists():
            _make(path)
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            found = os.read(fd, _BYTES + 1) if stat.S_ISREG(status.st_mode) else b""
        finally:
            os.close(fd)
    except OSError as error:
        raise NoSecret(f"the secret that marks your sessions, {path}, cannot be had: {error.strerror}") from error
    if len(found) != _BYTES or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise NoSecret(
            f"{path} is no secret that only you can read; remove it, and a new one is made (sessions from before are "
            "then like those of others)"
        )
    return found


def sweep_secret(job: str) -> bytes:
    """The secret of a job of a sweep: whoever has it can mark the sessions of that job as this user's, and no others.

    Raises NoSecret.
    """
    return hmac.new(user_secret(), b"mlgym-tui sweep\n" + job.encode("utf-8", "replace"), "sha256").digest()


def _make(path: Path) -> None:
    """The file is there as a whole or not at all; where another process was first, its own stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f"{SECRET_FILE}.{os.getpid()}.{secrets.token_hex(4)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.write(fd, secrets.token_bytes(_BYTES))
            os.fsync(fd)
        finally:
            os.close(fd)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()


def marked(event: Naming, before: Iterable[Naming]) -> Naming:
    """The event, as it will be read again, with its mark; without one where there is no secret.

    `before`: those of the log that it is to stand in.
    """
    try:
        secret = user_secret()
    except NoSecret:
        return msgspec.structs.replace(event, mark="")
    *_, mark = _marks(secret, [*before, event])
    return msgspec.structs.replace(event, mark=mark)


def origin(named: Iterable[Naming]) -> Origin:
    """Whose the log is that has these events."""
    named = list(named)
    try:
        ours = [user_secret()]
        if job := next((event.sweep for event in named if isinstance(event, SessionStarted) and event.sweep), ""):
            ours.append(sweep_secret(job))  # it ran on another machine
    except NoSecret as problem:
        return Origin(False, why=str(problem))
    own, trusted = bool(named), frozenset[str]()
    for event, *marks in zip(named, *(_marks(secret, named) for secret in ours), strict=True):
        if any(hmac.compare_digest(event.mark.encode(), mark.encode()) for mark in marks):
            trusted |= frozenset(getattr(event, "trusted", ()))
        else:
            own, trusted = False, frozenset()  # what was allowed, was allowed before this came in
    return Origin(own, trusted)


def _marks(secret: bytes, named: Iterable[Naming]) -> Iterator[str]:
    running = hmac.new(secret, b"mlgym-tui session\n", "sha256")
    for event in named:
        running.update(_canonical(event) + b"\n")
        yield running.hexdigest()


def _canonical(event: Naming) -> bytes:
    """What the event says, as JSON. A field that has its default is left out, so that new fields change no old mark."""
    said = without_defaults(event)
    said.pop("mark", None)
    return msgspec.json.encode([event.name, said], order="sorted")
