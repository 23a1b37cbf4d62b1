"""What works on this machine, and how to mend what does not."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

import msgspec

Status = Literal["ok", "warning", "missing"]


class Check(msgspec.Struct, frozen=True):
    """One thing looked at."""

    name: str
    status: Status
    detail: str
    remedy: str = ""
    required: bool = False


def examine() -> list[Check]:
    """All checks; none takes more than a few seconds."""
    from workbench.session.store import sessions_root

    temporary = Path(tempfile.gettempdir())
    return [
        _python(), *_sandboxes(), _terminal(), _colour(),
        _writable("sessions", sessions_root(), "set $MLGYM_SESSIONS, or use --sessions DIR"), _marks(),
        _writable("temporary", temporary, "set $TMPDIR to a folder you can write"), _gateway(), _keys(),
    ]  # fmt: skip


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", "ok", f"{version} ({sys.executable})", required=True)


def _sandboxes() -> list[Check]:
    """Each way to confine commands, and the one that a session takes."""
    from workbench.isolation.bwrap import bubblewrap_version, try_bubblewrap
    from workbench.isolation.keeper import landlock_version
    from workbench.isolation.landlock import LACKS, differences, try_landlock

    docker, image = _docker(), _image()
    container = docker.status == image.status == "ok"
    no_bubblewrap, no_landlock = try_bubblewrap(), try_landlock()
    own = f"{bubblewrap_version()}: commands have files, processes, users and a network of their own"
    shared = "; ".join([f"version {landlock_version()}: {LACKS}", *differences(landlock_version())])
    if no_bubblewrap is None:
        best = Check("sandbox", "ok", "--sandbox local (the default) takes bubblewrap")
    elif no_landlock is None:
        remedy = "--sandbox docker isolates better" if container else "bubblewrap or Docker isolate better: see above"
        best = Check("sandbox", "ok", "--sandbox local (the default) takes Landlock", remedy)
    else:
        what = "nothing confines the local sandbox: you and the shipped agent run unprotected, a model is refused"
        best = Check("sandbox", "warning", what, "--sandbox docker" if container else "mend one of the ways above")
    return [
        Check("bubblewrap", "warning" if no_bubblewrap else "ok", no_bubblewrap or own),
        Check("landlock", "warning" if no_landlock else "ok", no_landlock or shared),
        docker,
        image,
        best,
    ]


def _docker() -> Check:
    from workbench.isolation.engine import engine, engine_address, introduction
    from workbench.isolation.spec import SandboxError

    try:
        with engine(time_limit=2.0) as api:
            kind, version, _ = introduction(api)
    except SandboxError as error:
        return Check("docker", "warning", str(error), error.hint or "start the engine, or use the local sandbox")
    return Check("docker", "ok", f"{kind.title()} {version} answers at {engine_address()}")


def _image() -> Check:
    from workbench.isolation.image import image_state
    from workbench.isolation.spec import DEFAULT_IMAGE, SandboxError

    try:
        state = image_state(time_limit=2.0)
    except SandboxError:
        return Check("image", "warning", "not looked at: no engine")
    if state == "current":
        return Check("image", "ok", DEFAULT_IMAGE)
    wrong = "is not built" if state == "missing" else "was made for another version"
    return Check("image", "warning", f"{DEFAULT_IMAGE} {wrong}", "mlgym-tui image build")


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


def _marks() -> Check:
    from workbench.session.marks import NoSecret, user_secret

    try:
        user_secret()
    except NoSecret as problem:
        return Check("marks", "warning", str(problem), "until then your own sessions are trusted no more than others'")
    return Check("marks", "ok", "sessions of yours can be told from those of others")


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


def _gateway() -> Check:
    """One is started, and asked without its key."""
    import asyncio

    import httpx2

    from workbench.gateway.agent import GatewayAgent
    from workbench.gateway.scripted import Scripted
    from workbench.gateway.server import Gateway

    async def ask() -> int:
        gateway = Gateway(GatewayAgent(Scripted([])))
        try:
            (address,) = await gateway.serve(host_port=0)
            async with httpx2.AsyncClient(trust_env=False, timeout=5.0) as client:
                return (await client.get(f"{address}/v1/models")).status_code
        finally:
            await gateway.close()

    try:
        status = asyncio.run(ask())
    except (OSError, httpx2.HTTPError) as error:
        return Check("gateway", "warning", f"agent programs cannot be served: {error}", "look at what 127.0.0.1 allows")
    if status != 401:
        return Check("gateway", "warning", f"it answered {status} to who has no key", "report this")
    return Check("gateway", "ok", "agent programs can be served, and need the session's key")


def _keys() -> Check:
    names = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")
    present = [name for name in names if os.environ.get(name)]
    if present:
        return Check("keys", "ok", f"set: {', '.join(present)} (values are never shown, logged or passed on)")
    return Check("keys", "ok", "none set; the scripted agent, replays and people need none")
