"""What a caller hands to isolation: what to run, what it may see and use; and the errors that come back."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.errors import WorkbenchError

RUN_FOLDER = "/run/mlgym"
"""Read-only folder inside the sandbox with our program, and what it offers to others."""

HOME = "/home/agent"
PYTHON_FOLDER = f"{RUN_FOLDER}/bin"
"""Where `python` and `python3` are the Python of the sandbox, which a task's packages are for."""


class SandboxError(WorkbenchError):
    """A sandbox could not do what was asked. `str()` says what happened; `hint` what to do next."""


@dataclass(frozen=True)
class ResourceLimits:
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
        "PATH": f"{PYTHON_FOLDER}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": HOME,
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
    }
