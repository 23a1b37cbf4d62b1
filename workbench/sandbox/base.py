"""What a sandbox is: a place where commands run, with a workspace, and a shell on a pseudo-terminal.

Two backends stand behind this protocol, `local` (bubblewrap) and `docker`. In both, one small program of ours, the
guest (`guest/guest.py`), runs beside the agent's shell as the same unprivileged user, and everything the host asks for
goes through it. The host trusts nothing that it says: a guest taken over by an agent can only lie about the agent's
own output.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from workbench.isolation.spec import Confinement
from workbench.sandbox.pty import Pty
from workbench.session.status import Resources

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

AGENT_COLUMNS, AGENT_ROWS = 120, 40
"""Size of the pseudo-terminal while the agent drives: what it sees never depends on somebody's window."""


class ExecResult(msgspec.Struct, frozen=True):
    """Outcome of a side command (not run in the agent's shell)."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    truncated: bool = False


class SandboxSpec(Confinement, frozen=True, kw_only=True):
    """What a backend needs to make a sandbox: what a session brings (datasets, variables of the agent's shell such as
    WINDOW, never keys). The backend adds the workspace and our own programs.
    """

    session: str
    """Id of the session; containers are labelled with it."""


Request = dict[str, Any]
RequestHandler = Callable[[Request], Awaitable[dict[str, Any]]]
"""Answers a request of an agent command (validate, submit, window, ...) that came over the socket."""


class Sandbox(Protocol):
    """Serves one session once it is started. Every method may raise SandboxError."""

    workspace: str
    """Path of the workspace inside (WORKSPACE, but for an unprotected local one)."""
    run_folder: str
    """Where the guest program and the agent commands are, as the agent sees it."""
    workspace_folder: Path
    """The same folder as the host sees it. Hostile: open nothing in it while following links."""
    on_request: RequestHandler | None
    on_warning: Callable[[str], None] | None
    """Told when something was killed or is about to run out (memory, disk), and when the sandbox died by itself."""
    measure: Callable[[], Resources] | None
    """Says what it uses now: it blocks for a moment, so it is called in a thread. None where that cannot be known."""
    protected: bool
    """False when nothing keeps the agent from the host (`--unsafe-local`)."""

    async def start(self) -> None:
        """Start it, and nothing is left behind where that fails."""

    def describe(self) -> dict[str, Any]:
        """Backend, isolation, limits, image and versions, for the log."""

    async def open_shell(
        self,
        cwd: str,
        columns: int = AGENT_COLUMNS,
        rows: int = AGENT_ROWS,
        *,
        argv: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> Pty:
        """Start an interactive bash in `cwd` (in the workspace when that is gone), or another program: `argv`, with
        `env` besides the shell's variables.
        """

    async def relay(self, path: str) -> int:
        """A port of 127.0.0.1 inside whose connections lead to the unix socket at `path` (inside), and nowhere else."""

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

    async def stop(self) -> None:
        """Kill everything inside and remove it. Can be called twice. The workspace folder is left to the caller."""
