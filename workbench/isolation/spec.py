"""What a caller hands to isolation: what to run, what it may see and use; and the errors that come back."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from workbench import __version__
from workbench.errors import WorkbenchError

DEFAULT_IMAGE = f"mlgym-tui/agent:{__version__}"
RUN_FOLDER = "/run/mlgym"
"""Read-only folder inside the sandbox with our program, and what it offers to others."""

HOME = "/home/agent"
PYTHON_FOLDER = f"{RUN_FOLDER}/bin"
"""Where `python` and `python3` are the Python of the sandbox, which a task's packages are for."""
COMMANDS_FOLDER = f"{HOME}/.mlgym/bin"
"""Where `validate` and `submit` are programs, for what is no shell of ours."""


class SandboxError(WorkbenchError):
    """A sandbox could not do what was asked. `str()` says what happened; `hint` what to do next."""


class ResourceLimits(msgspec.Struct, frozen=True):
    """What a sandbox may use. None is no limit."""

    memory_bytes: int | None = 8 << 30
    cpus: float | None = None
    processes: int | None = 512
    file_bytes: int | None = 16 << 30
    """Largest single file."""
    workspace_bytes: int | None = 64 << 30


def base_environment() -> dict[str, str]:
    """Variables of every confined command. None of the host's."""
    return {
        "PATH": f"{PYTHON_FOLDER}:{COMMANDS_FOLDER}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": HOME,
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
    }


class Confinement(msgspec.Struct, frozen=True):
    """What an isolated process sees and may use."""

    writable: Mapping[Path, str] = msgspec.field(default_factory=dict)
    """Host folder or file → absolute path inside. Folders are the only thing that outlives the process."""
    readonly: Mapping[Path, str] = msgspec.field(default_factory=dict)
    links: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Absolute path inside → what the symbolic link there names. Not in a container."""
    hidden: Sequence[Path] = ()
    """Host folders that must not be seen, besides those that never are (see `hidden_in`)."""
    gpus: Sequence[int] = ()
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Variables, besides those of `base_environment`."""
    cwd: str = HOME
    network: bool = False
    limits: ResourceLimits = msgspec.field(default_factory=ResourceLimits)
    scratch_bytes: int = 2 << 30
    """Size of each of /tmp, /dev/shm and the home folder (all in memory)."""

    @property
    def environment(self) -> dict[str, str]:
        """All variables."""
        return {**base_environment(), **self.env}


class IsolatedProcess:
    """An isolated process, whatever isolates it, and the socket to it."""

    channel: socket.socket
    """Our end of what is standard input (and, if that is a socket, output) to the process."""
    confined = True
    """Whether walls keep it from the host, not limits alone."""

    async def end(self) -> None:
        """Kill it with all that came of it, and wait until that is gone. Can be called twice. Raises SandboxError."""
        raise NotImplementedError

    async def processor_seconds(self) -> float:
        """The processor time that all its processes have taken so far; 0 where that is not known."""
        raise NotImplementedError

    async def how_it_ended(self) -> str:
        """How it ended ("exit status 3"), waiting a moment for that; empty when it is not known."""
        raise NotImplementedError

    async def standard_error(self) -> str:
        """The last that it wrote to its standard error."""
        raise NotImplementedError


def describe_status(status: int) -> str:
    """An exit status in words; 128 + n, and -n, mean signal n."""
    number = -status if status < 0 else status - 128 if status > 128 else 0
    with contextlib.suppress(ValueError):
        if number:
            return f"killed by {signal.Signals(number).name}"
    return f"exit status {status}"


STDERR_TAIL = 2048
"""Bytes of standard error that are kept."""
