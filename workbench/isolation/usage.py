"""What a sandbox uses while it runs: processors, memory, disk, GPUs. Seen from outside; nothing inside is asked."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from workbench.isolation.spec import ResourceLimits
from workbench.isolation.watch import ResourceWatch, free_space
from workbench.session.status import Gpu, Resources

_GPU_SECONDS = 10.0
"""Between two looks at GPUs: `nvidia-smi` takes a while."""

Totals = Callable[[], tuple[float, int]]
"""Seconds of processor time so far, and bytes of memory now. Raises OSError where that is not known."""


class Meter:
    """Called again and again, in a thread: it blocks for a moment."""

    def __init__(
        self,
        totals: Totals,
        folder: Path,
        limits: ResourceLimits | None = None,
        gpus: Sequence[int] = (),
        watch: ResourceWatch | None = None,
    ) -> None:
        """`folder`: the workspace; `watch`: who measures its size."""
        self._totals, self._folder, self._gpus, self._watch = totals, folder, gpus, watch
        self._limits = limits or ResourceLimits(memory_bytes=None, workspace_bytes=None)
        self._before: tuple[float, float] | None = None
        self._gpus_seen: tuple[Gpu, ...] = ()
        self._gpus_at = 0.0

    def __call__(self) -> Resources:
        cpus = memory = disk = None
        with contextlib.suppress(OSError):
            seconds, memory = self._totals()
            now = time.monotonic()
            if self._before is not None and now > self._before[0]:
                cpus = max(0.0, (seconds - self._before[1]) / (now - self._before[0]))
            self._before = now, seconds
        workspace = self._watch.workspace_size if self._watch is not None else None
        with contextlib.suppress(OSError):
            disk = free_space(self._folder)
        limits = self._limits
        return Resources(
            cpus=cpus,
            memory=memory,
            memory_free=_least(memory_available(), limits.memory_bytes, memory),
            workspace=workspace,
            disk_free=_least(disk, limits.workspace_bytes, workspace),
            gpus=self._look_at_gpus(),
        )

    def _look_at_gpus(self) -> tuple[Gpu, ...]:
        if self._gpus and time.monotonic() >= self._gpus_at:
            self._gpus_seen = look_at_gpus(self._gpus)
            self._gpus_at = time.monotonic() + _GPU_SECONDS
        return self._gpus_seen


def look_at_gpus(gpus: Sequence[int]) -> tuple[Gpu, ...]:
    """What NVIDIA's driver says of them; nothing where it says nothing within two seconds."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    command = [
        program, f"--id={','.join(map(str, gpus))}", "--format=csv,noheader,nounits",
        "--query-gpu=index,utilization.gpu,memory.used,memory.total",
    ]  # fmt: skip
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=2.0, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return read_gpus(said)


def read_gpus(said: str) -> tuple[Gpu, ...]:
    """The GPUs in the rows of `nvidia-smi`; what it does not know (`[N/A]`) is left out."""
    found = []
    for line in said.splitlines():
        with contextlib.suppress(ValueError):
            index, busy, used, total = (int(part) for part in line.split(","))
            found.append(Gpu(index, busy / 100, used << 20, total << 20))
    return tuple(found)


def memory_available() -> int | None:
    """Bytes of memory free on the machine, where that can be read."""
    with contextlib.suppress(OSError, ValueError), open("/proc/meminfo", "rb") as file:
        for line in file:
            if line.startswith(b"MemAvailable:"):
                return int(line.split()[1]) << 10
    return None


def _least(free: int | None, limit: int | None, used: int | None) -> int | None:
    """What may still be taken of something."""
    left = limit - used if limit is not None and used is not None else None
    return min((each for each in (free, left) if each is not None), default=None)
