"""Watches the memory and the disk of a local sandbox, where no control group limits them.

Memory in sum over all its processes (a limit per process would break GPU libraries, which reserve address space), the
size of the workspace, and the free space of its disk: what goes over is killed before the host suffers.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from workbench.isolation.processes import (
    kill_group,
    kill_quietly,
    memory_of,
    processes_below,
    proportional_memory,
    start_process,
)
from workbench.isolation.spec import ResourceLimits
from workbench.text import megabytes

DISK_RESERVE = 512 << 20
"""Bytes that stay free on the disk of the workspace, whatever the sandbox does."""
_NEAR = 8 * DISK_RESERVE
_STRIKES = 5
_PAUSE = 1.0
"""Seconds between two looks where no limit is near."""


def free_space(folder: Path) -> int:
    """Bytes that are left on the disk of a folder. Raises OSError."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


class ResourceWatch(msgspec.Struct):
    """Looks again and again until cancelled, more often when a limit is near."""

    guest: int
    """The process that all in the sandbox descend from."""
    folder: Path
    """The workspace."""
    limits: ResourceLimits
    warn: Callable[[str], None]
    give_up: Callable[[str], None]
    """Called when killing commands did not help: end the sandbox."""
    scratch: tuple[Path, ...] = ()
    """Other folders that are its own, on a disk."""
    disk_reserve: int = DISK_RESERVE
    workspace_size: int | None = None
    """Bytes of the workspace, as measured last."""
    _strikes: int = 0
    _measure_at: float = msgspec.field(default_factory=lambda: time.monotonic() + _PAUSE)
    """Not at once: that would be a process more while the sandbox starts."""

    async def run(self) -> None:
        """Watch."""
        while True:
            patience = min(self._look_at_memory(), self._look_at_disk(), await self._look_at_workspace())
            await asyncio.sleep(patience)

    def _look_at_memory(self) -> float:
        limit = self.limits.memory_bytes
        if limit is None:
            return _PAUSE
        used = memory_of(self.guest, limit)
        if used > limit and (processes := processes_below(self.guest)):
            largest = max(processes, key=proportional_memory)
            self.warn(
                f"the sandbox used {megabytes(used)} of its {megabytes(limit)} of memory: "
                f"{largest.name} ({megabytes(largest.resident)}) was killed"
            )
            kill_quietly(largest.pid)
        return _PAUSE if used < limit / 4 else 0.1

    def _look_at_disk(self) -> float:
        try:
            free = free_space(self.folder)
        except OSError:
            return _PAUSE
        if free >= self.disk_reserve:
            self._strikes = 0
        else:
            self._stop_commands(f"the disk of the workspace has only {megabytes(free)} left")
        return 0.1 if free < _NEAR else _PAUSE

    async def _look_at_workspace(self) -> float:
        """Measure the workspace, rarely enough that it costs a few per cent of a processor at most."""
        limit = self.limits.workspace_bytes
        start = time.monotonic()
        if limit is None or start < self._measure_at:
            return _PAUSE
        size = await folder_size(self.folder, *self.scratch)
        self.workspace_size = size
        self._measure_at = time.monotonic() + max(_PAUSE, 30 * (time.monotonic() - start))
        if size > limit:
            self._stop_commands(
                f"the workspace holds {megabytes(size)}, more than its {megabytes(limit)}; delete something"
            )
        return _PAUSE

    def _stop_commands(self, why: str) -> None:
        """Kill what runs, but not the shells."""
        processes = processes_below(self.guest)
        commands = [p for p in processes if not (p.parent == self.guest and p.leads_terminal and p.name == "bash")]
        if commands:
            self._strikes += 1
            self.warn(f"{why}: {', '.join(sorted({p.name for p in commands}))} was killed")
            for process in commands:
                kill_quietly(process.pid)
        elif processes and self._strikes:
            self._strikes += 1  # the shell itself may be what writes
        if self._strikes > _STRIKES:
            self.give_up(f"{why}: the sandbox was ended")


async def folder_size(*folders: Path) -> int:
    """Bytes of disk that folders take, measured by `du` (which no hostile tree confuses); 0 where that fails."""
    command = ("du", "-s", "-x", "-c", "--block-size=1", "--", *map(str, folders))
    nothing = asyncio.subprocess.DEVNULL
    try:
        process = await start_process(*command, stdin=nothing, stdout=asyncio.subprocess.PIPE, stderr=nothing)
    except OSError:
        return 0
    try:
        said, _ = await process.communicate()
    except asyncio.CancelledError:
        kill_group(process)
        raise
    number = said.rstrip(b"\n").rpartition(b"\n")[2].partition(b"\t")[0]  # the last line has the sum
    return int(number) if number.isdigit() else 0
