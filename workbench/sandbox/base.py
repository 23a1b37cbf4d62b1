"""What a sandbox is: a place where commands run, with a workspace, and a shell on a pseudo-terminal.

Two backends stand behind this protocol, `local` (bubblewrap) and `docker`. In both, one small program of ours, the
guest (`guest/guest.py`), runs beside the agent's shell as the same unprivileged user, and everything the host asks for
goes through it. The host trusts nothing that it says: a guest taken over by an agent can only lie about the agent's
own output.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from workbench.isolation.spec import ResourceLimits

WORKSPACE = "/home/agent/workspace"
"""The workspace as the agent sees it, the same in both backends (MLGym's actions name it)."""

UNATTENDED = {
    **dict.fromkeys(("PAGER", "GIT_PAGER", "MANPAGER", "SYSTEMD_PAGER"), "cat"),
    **dict.fromkeys(("EDITOR", "VISUAL", "GIT_EDITOR"), "true"),  # the text is taken as it is
    "LESS": "-FRX",
    "GIT_TERMINAL_PROMPT": "0",
    "SSH_ASKPASS": "false",
    "SSH_ASKPASS_REQUIRE": "force",
    "DEBIAN_FRONTEND": "noninteractive",
    "PIP_NO_INPUT": "1",
    "CONDA_ALWAYS_YES": "true",
    "NPM_CONFIG_YES": "true",
}
"""Variables that keep programs from waiting for somebody at the terminal. A person who takes over is without them."""

SignalName = Literal["INT", "TERM", "KILL"]


@dataclass(frozen=True)
class Waiting:
    """A program in the foreground that waits for somebody to type."""

    pid: int
    program: str
    how: Literal["read", "poll"]
    """It reads the terminal; or it waits for events, after taking the terminal out of its usual mode."""
    ticks: int
    """Time on a processor of all that is in the foreground."""


AGENT_COLUMNS, AGENT_ROWS = 120, 40
"""Size of the pseudo-terminal while the agent drives: what it sees never depends on somebody's window."""


@dataclass(frozen=True)
class ExecResult:
    """Outcome of a side command (not run in the agent's shell)."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    truncated: bool = False


@dataclass
class SandboxSpec:
    """What a backend needs to make a sandbox."""

    session: str
    """Id of the session; containers are labelled with it."""
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    network: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables of the agent's shell (WINDOW, ...). Never keys."""
    gpus: Sequence[int] = ()
    mounts: Mapping[Path, str] = field(default_factory=dict)
    """Host folder → path inside, read-only (datasets)."""
    hidden: Sequence[Path] = ()
    """Host folders that must not be seen though they lie in what is visible inside (tasks, prepared data)."""


Request = dict[str, Any]
RequestHandler = Callable[[Request], Awaitable[dict[str, Any]]]
"""Answers a request of an agent command (validate, submit, window, ...) that came over the socket."""


class Pty(Protocol):
    """A bash on a pseudo-terminal inside the sandbox.

    `on_output` and `on_exit` are called on the event loop; set both right after `open_shell` returns (output that came
    earlier is kept until then).
    """

    on_output: Callable[[bytes], None] | None
    on_exit: Callable[[int], None] | None
    """Called once with the shell's exit status (128 + n when killed by signal n), after its last output."""

    def write(self, data: bytes) -> None:
        """Queue bytes for the terminal's input. Never blocks."""

    def pause_reading(self) -> None:
        """Stop reading: the writer inside is held back (back-pressure)."""

    def resume_reading(self) -> None: ...

    def resize(self, columns: int, rows: int) -> None: ...

    def reset_modes(self, *, echo: bool = True) -> None:
        """Set the terminal's line settings (termios) to sane, with or without ECHO, from the master side."""

    async def signal(self, name: SignalName) -> None:
        """Signal the foreground process group (bash itself only by KILL, or when bash is all there is)."""

    async def waiting(self) -> Waiting | None:
        """Which program in the foreground waits for input from the terminal, if one seems to."""

    async def close(self) -> None:
        """Hang up: kill the shell and everything in its session, release the terminal. Can be called twice."""


class Sandbox(Protocol):
    """A started sandbox serves one session. Every method may raise SandboxError."""

    workspace: str
    """Path of the workspace inside (WORKSPACE, but for an unprotected local one)."""
    run_folder: str
    """Where the guest program and the agent commands are, as the agent sees it."""
    workspace_folder: Path
    """The same folder as the host sees it. Hostile: open nothing in it while following links."""
    on_request: RequestHandler | None
    on_warning: Callable[[str], None] | None
    """Told when something was killed or is about to run out (memory, disk)."""
    protected: bool
    """False when nothing keeps the agent from the host (`--unsafe-local`)."""

    async def start(self) -> None: ...

    def describe(self) -> dict[str, Any]:
        """Backend, isolation, limits, image and versions, for the log."""

    async def open_shell(self, cwd: str, columns: int = AGENT_COLUMNS, rows: int = AGENT_ROWS) -> Pty:
        """Start an interactive bash in `cwd` (in the workspace when that is gone)."""

    async def exec(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str | None = None,
        time_limit: float = 60.0,
        max_output: int = 16 << 20,
    ) -> ExecResult:
        """Run a side command beside the agent's shell, as the same user."""

    async def read_file(self, path: str, max_bytes: int = 64 << 20) -> bytes:
        """A regular file, opened without following links at its last part.

        Raises FileNotFoundError, IsADirectoryError, PermissionError, or SandboxError (a link, not a regular file, too
        large).
        """

    async def stop(self) -> None:
        """Kill everything inside and remove it. Can be called twice. The workspace folder is left to the caller."""
