"""What works on this machine, and how to mend what does not."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Status = Literal["ok", "warning", "missing"]


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    status: Status
    detail: str
    remedy: str = ""
    required: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def examine() -> list[Check]:
    """All checks; none takes more than a few seconds."""
    checks: list[Callable[[], Check]] = [
        _python,
        _bubblewrap,
        _docker,
        _image,
        _terminal,
        _colour,
        _sessions,
        _marks,
        _temporary,
        _keys,
    ]
    return [check() for check in checks]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", "ok", f"{version} ({sys.executable})", required=True)


def _bubblewrap() -> Check:
    from workbench.isolation.bwrap import probe_bubblewrap

    problem = probe_bubblewrap()
    if problem is None:
        return Check("bubblewrap", "ok", "the local sandbox works")
    return Check(
        "bubblewrap",
        "warning",
        f"{problem}; the shipped scripted agent and you run unprotected, a model's commands are refused",
        "apt install bubblewrap (or dnf, pacman), or use --sandbox docker",
    )


def _docker() -> Check:
    from workbench.isolation.engine import probe_docker

    problem = probe_docker()
    if problem is None:
        return Check("docker", "ok", "the engine answers")
    return Check("docker", "warning", problem, "start the engine, or use the local sandbox")


def _image() -> Check:
    from workbench.isolation.engine import engine, probe_docker
    from workbench.isolation.image import DEFAULT_IMAGE
    from workbench.isolation.spec import SandboxError

    if probe_docker() is not None:
        return Check("image", "warning", "not looked at: no engine")
    try:
        with engine(time_limit=3.0) as api:
            found = bool(api.images(name=DEFAULT_IMAGE))
    except (SandboxError, OSError) as error:
        return Check("image", "warning", f"cannot be looked up: {error}")
    if found:
        return Check("image", "ok", DEFAULT_IMAGE)
    return Check("image", "warning", f"{DEFAULT_IMAGE} is not built", "mlgym-tui image build")


def _terminal() -> Check:
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        return Check("terminal", "warning", "the output is not a terminal: runs are headless here")
    size = shutil.get_terminal_size()
    where = [name for name, on in (("tmux", "TMUX" in os.environ), ("ssh", "SSH_TTY" in os.environ)) if on]
    detail = f"{os.environ.get('TERM', 'unknown')}, {size.columns}×{size.lines}" + (
        f" in {', '.join(where)}" if where else ""
    )
    if os.environ.get("TERM", "dumb") == "dumb":
        return Check("terminal", "warning", "TERM is dumb: runs are headless here", "export TERM=xterm-256color")
    if size.columns < 60 or size.lines < 15:
        return Check(
            "terminal", "warning", f"{detail}: too small for the workbench", "make it at least 60×15, better 80×24"
        )
    return Check("terminal", "ok", detail)


def _colour() -> Check:
    if os.environ.get("NO_COLOR"):
        return Check("colour", "ok", "NO_COLOR is set: shown in grey")
    if os.environ.get("COLORTERM") in ("truecolor", "24bit"):
        return Check("colour", "ok", "true colour")
    if "256" in os.environ.get("TERM", ""):
        return Check("colour", "ok", "256 colours")
    return Check("colour", "warning", "16 colours or unknown", "export COLORTERM=truecolor if your terminal has it")


def _sessions() -> Check:
    from workbench.session.store import sessions_root

    return _writable("sessions", sessions_root(), "set $MLGYM_SESSIONS, or use --sessions DIR")


def _marks() -> Check:
    from workbench.session.marks import NoSecret, user_secret

    try:
        user_secret()
    except NoSecret as problem:
        return Check("marks", "warning", str(problem), "until then your own sessions are trusted no more than others'")
    return Check("marks", "ok", "sessions of yours can be told from those of others")


def _temporary() -> Check:
    return _writable("temporary", Path(tempfile.gettempdir()), "set $TMPDIR to a folder you can write")


def _writable(name: str, folder: Path, remedy: str) -> Check:
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Check(name, "missing", f"{folder} cannot be written", remedy, required=True)
    free = shutil.disk_usage(nearest).free
    if free < 1 << 30:
        return Check(name, "warning", f"{folder}: only {free >> 20} MB free", "free some space")
    return Check(name, "ok", f"{folder} ({free >> 30} GB free)")


def _keys() -> Check:
    names = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")
    present = [name for name in names if os.environ.get(name)]
    if present:
        return Check("keys", "ok", f"set: {', '.join(present)} (values are never shown, logged or passed on)")
    return Check("keys", "ok", "none set; the scripted agent, replays and people need none")
