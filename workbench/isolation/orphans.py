"""Containers that outlived the process they were made for: how they are told from living ones, and removed.

A container goes by itself when its owner does, even on kill -9: its main process ends when its stream closes. What is
left is what was created and never started, was paused, or could not be removed by an engine that went down. Each
container names its owner by host, process id and the time that process started, so that a process id used again is no
matter.
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from workbench.isolation.engine import EngineError, engine_errors

if TYPE_CHECKING:
    from docker import APIClient

SESSION_LABEL = "mlgym-tui.session"
HOST_LABEL = "mlgym-tui.host"
PID_LABEL = "mlgym-tui.pid"
STARTED_LABEL = "mlgym-tui.started"

REMOVAL_LIMIT = 10.0
"""Seconds to wait for a removal that the engine has begun by itself."""


class Orphan(NamedTuple):
    """A container of ours whose owner is gone: its id, its name, and the session that it was of."""

    container: str
    name: str
    session: str


def owner_labels(session: str) -> dict[str, str]:
    """Labels for a container of this process."""
    return {
        SESSION_LABEL: session,
        HOST_LABEL: platform.node(),
        PID_LABEL: str(os.getpid()),
        STARTED_LABEL: process_started(os.getpid()),
    }


def owner_is_gone(labels: Mapping[str, str]) -> bool:
    """Whether the process that a container's labels name has ended. Of another host's processes nothing is known."""
    if labels.get(HOST_LABEL) != platform.node():
        return False
    pid = labels.get(PID_LABEL, "")
    return not pid.isdigit() or process_started(int(pid)) != labels.get(STARTED_LABEL)


def process_started(pid: int) -> str:
    """Something that tells this process from any other that has or had its id; empty when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "" if Path("/proc/self/stat").exists() else _started_by_ps(pid)
    state, *_, started = stat.rpartition(")")[2].split()[:20]
    return "" if state in "ZX" else f"{boot}:{started}"


def remove_container(api: APIClient, container: str) -> None:
    """Kill and remove a container, and wait until it is gone; one that is gone is fine. Raises SandboxError."""
    end = time.monotonic() + REMOVAL_LIMIT
    while True:
        try:
            with engine_errors():
                api.remove_container(container, force=True, v=True)
            return
        except EngineError as error:
            if error.status == 404:
                return
            busy = error.status == 409 or "state improper" in str(error)  # the engine is removing it already
            if not busy or time.monotonic() > end:
                raise
        time.sleep(0.01)


def find_orphans(api: APIClient) -> list[Orphan]:
    """Containers left by processes that are gone. Raises EngineError."""
    with engine_errors():
        containers = api.containers(all=True, filters={"label": SESSION_LABEL})
    return [
        Orphan(found["Id"], (found.get("Names") or [""])[0].lstrip("/"), found["Labels"][SESSION_LABEL])
        for found in containers
        if owner_is_gone(found["Labels"])
    ]


def _started_by_ps(pid: int) -> str:
    """Where there is no /proc (macOS)."""
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C"}).stdout.strip()
