"""What a batch system (SLURM) grants the process that it started: processors, memory, GPUs, and until when."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping

import msgspec

from workbench.text import many, megabytes

BEFORE_THE_END = 60.0
"""Seconds before a job ends in which a session is saved."""
_OURS = 1 << 30
"""Bytes of memory, at most, that a job keeps for the workbench and the clean room."""


class Grant(msgspec.Struct, frozen=True):
    """Of a job. None, or empty, is what the batch system does not say."""

    job: str
    cpus: int | None
    memory_bytes: int | None
    """For the sandbox: the rest is the workbench's own. What takes more ends the job as a whole."""
    ends: float | None
    """Seconds since 1970."""

    def described(self) -> str:
        """In a sentence, for the session's log."""
        given = [] if self.cpus is None else [many(self.cpus, "processor")]
        given += [] if self.memory_bytes is None else [f"{megabytes(self.memory_bytes)} of memory"]
        parts = [f"{self.job} grants {' and '.join(given) or 'what the machine has'}"]
        if self.ends is not None:
            at = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(self.ends))
            parts.append(f"it ends at {at}: a minute before, the session is interrupted, and can be resumed")
        return "; ".join(parts)


def granted(env: Mapping[str, str] = os.environ) -> Grant | None:
    """What this process has from a batch system; None where none started it."""
    job = env.get("SLURM_JOB_ID", "")
    if not job:
        return None
    cpus = _number(env, "SLURM_CPUS_ON_NODE") or _number(env, "SLURM_CPUS_PER_TASK")
    memory = _number(env, "SLURM_MEM_PER_NODE") or _number(env, "SLURM_MEM_PER_CPU") * cpus
    whole = memory << 20
    return Grant(
        f"SLURM job {job[:40]}",
        cpus or None,
        whole - min(_OURS, whole // 4) if whole else None,
        float(_number(env, "SLURM_JOB_END_TIME")) or None,
    )


@contextlib.contextmanager
def before_the_end(stop: Callable[[str], object]) -> Iterator[None]:
    """Have the running event loop call `stop`, with the reason, in time before the job of this process ends."""
    import asyncio

    grant = granted()
    if grant is None or grant.ends is None:
        yield
        return
    left = grant.ends - BEFORE_THE_END - time.time()
    end = asyncio.get_running_loop().call_later(left, stop, f"{grant.job} is about to end")
    try:
        yield
    finally:
        end.cancel()


def processors() -> int:
    """How many this process may use."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    grant = granted()
    return here if grant is None or grant.cpus is None else min(here, grant.cpus)


def memory() -> int:
    """Bytes that this process may use, with what it starts."""
    grant = granted()
    return (grant and grant.memory_bytes) or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def gpus_granted(seen: list[int], unique_ids: Mapping[int, str], env: Mapping[str, str] = os.environ) -> list[int]:
    """Those of the GPUs that can be seen (`seen`) that this process was given.

    SLURM tells their numbers on the node. CUDA_VISIBLE_DEVICES counts those that can be seen, or has unique ids; the
    first that is neither ends it, as in CUDA.
    """
    for name in ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS"):
        if name in env:
            return [index for index in seen if index in _indices(env[name])]
    if "CUDA_VISIBLE_DEVICES" not in env:
        return seen
    found = set()
    for part in env["CUDA_VISIBLE_DEVICES"].split(","):
        word = part.strip()
        named = [index for index, ident in unique_ids.items() if len(word) > 4 and ident.startswith(word)]
        if re.fullmatch(r"\d{1,3}", word) and int(word) < len(seen):
            named = [seen[int(word)]]
        if len(named) != 1:
            break
        found.update(named)
    return [index for index in seen if index in found]


def _number(env: Mapping[str, str], name: str) -> int:
    """0 where it is none."""
    return int(env[name]) if re.fullmatch(r"\d{1,15}", env.get(name, "")) else 0


def _indices(text: str) -> set[int]:
    """Of a list like `0,2-3`."""
    found: set[int] = set()
    for first, last in re.findall(r"(\d{1,3})(?:-(\d{1,3}))?", text):
        found.update(range(int(first), int(last or first) + 1))
    return found
