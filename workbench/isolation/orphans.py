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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.isolation.engine import EngineError, engine, engine_errors

if TYPE_CHECKING:
    from docker import APIClient

SESSION_LABEL = "mlgym-tui.session"
HOST_LABEL = "mlgym-tui.host"
PID_LABEL = "mlgym-tui.pid"
STARTED_LABEL = "mlgym-tui.started"

REMOVAL_LIMIT = 10.0
"""Seconds to wait for a removal that the engine has begun by itself."""


@dataclass(frozen=True)
class Orphan:
    """A container of ours whose owner is gone."""

    container: str
    """Its id."""
    name: str
    session: str
    owner: int
    """Process id that the owner had."""
    status: str
    """What the engine says of it: "Up 3 minutes", "Created"."""


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


def find_orphans() -> list[Orphan]:
    """Containers left by processes that are gone. Raises SandboxError when there is no engine to ask."""
    with engine(time_limit=10.0) as api:
        return _find(api)


def remove_orphans(orphans: Sequence[Orphan] | None = None) -> list[Orphan]:
    """Remove them (all that are found, when none are given). What was removed. Raises SandboxError."""
    with engine(time_limit=30.0) as api:
        chosen = _find(api) if orphans is None else list(orphans)
        for orphan in chosen:
            remove_container(api, orphan.container)
        return chosen


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
            if error.status != 409 or time.monotonic() > end:  # 409: the engine is removing it already
                raise
        time.sleep(0.01)


def _find(api: APIClient) -> list[Orphan]:
    containers = api.containers(all=True, filters={"label": SESSION_LABEL})
    orphans = []
    for container in containers:
        labels = container.get("Labels") or {}
        if not owner_is_gone(labels):
            continue
        pid = labels.get(PID_LABEL, "")
        orphans.append(
            Orphan(
                container=container["Id"],
                name=(container.get("Names") or [""])[0].lstrip("/"),
                session=labels.get(SESSION_LABEL, ""),
                owner=int(pid) if pid.isdigit() else 0,
                status=container.get("Status", ""),
            )
        )
    return orphans


def _started_by_ps(pid: int) -> str:
    """Where there is no /proc (macOS)."""
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C"}).stdout.strip()
