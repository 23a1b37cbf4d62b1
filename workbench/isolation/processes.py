"""Processes of this machine: started so that a cancellation at any moment leaves none behind, counted, killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

_PATIENCE = 5.0
"""Seconds that a killed process may take to be gone."""
_Result = TypeVar("_Result")
_PAGE = os.sysconf("SC_PAGE_SIZE")


async def within(seconds: float, waited_for: Awaitable[_Result]) -> _Result | None:
    """What is waited for; None where that takes longer, and then it is cancelled."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await waited_for
    return None


def said_beside(command: Sequence[str], expected: str) -> str | None:
    """What a command that was tried says instead of what is expected; None where it says just that. Blocks.

    Raises OSError or TimeoutExpired.
    """
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    return None if (done.returncode, done.stdout) == (0, expected) else done.stderr or f"exit code {done.returncode}"


def run_and_tell(command: Sequence[str], tell: Callable[[str], object], **options: Any) -> tuple[int, list[str]]:
    """Run a command to its end; its status, and the last lines of its output. Each line is passed to `tell`.

    Blocks. The command has a group of its own, so that ctrl+c is for us: that, or an exception in `tell`, kills it.
    """
    last: deque[str] = deque(maxlen=20)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        **options,
    ) as process:
        try:
            for line in process.stdout or ():
                if text := line.strip():
                    last.append(text)
                    tell(text)
            return process.wait(), list(last)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


async def start_process(*command: str, **options: Any) -> Process:
    """As `asyncio.create_subprocess_exec`, in a session of its own (ctrl+c is for the workbench). Raises OSError.

    Cancelled between the start of the process and the connection of its pipes, CPython 3.11's own function waits for
    ever. So it is never cancelled: a process that nobody wants any more is killed once it is there.
    """
    starting = asyncio.ensure_future(asyncio.create_subprocess_exec(*command, start_new_session=True, **options))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_kill_started)
        with contextlib.suppress(OSError):
            process = await asyncio.shield(starting)
            await asyncio.wait({asyncio.ensure_future(process.wait())}, timeout=_PATIENCE)
        raise


def kill_group(process: Process) -> None:
    """Kill a process of `start_process` and all that came of it.

    Its group is not enough: bubblewrap's first child may be in a session of its own already, where it waits for ever
    for a parent that is killed while the two set up their namespaces.
    """
    for below in reversed(processes_below(process.pid)):  # the youngest first
        kill_quietly(below.pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def kill_quietly(pid: int, number: int = signal.SIGKILL) -> None:
    """Signal a process, which may be gone."""
    with contextlib.suppress(OSError):
        os.kill(pid, number)


class HostProcess(msgspec.Struct, frozen=True):
    """A process as the host sees it."""

    pid: int
    parent: int
    name: str
    resident: int
    """Bytes."""
    ticks: int
    """Processor time of this process, and of the children that it has waited for, in clock ticks."""
    leads_terminal: bool
    """Leader of a session with a terminal: the agent's shell, as a rule."""


def processes_below(ancestor: int) -> list[HostProcess]:
    """Everything that descends from a process, parents before their children, without that one. Linux only."""
    found: list[HostProcess] = []
    parents = [ancestor]
    while parents:
        for pid in _children(parents.pop()):
            if process := read_process(pid):
                found.append(process)
                parents.append(pid)
    return found


def all_processes() -> list[HostProcess]:
    """Every process to be seen; empty where there is no /proc."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    return [process for name in names if name.isdigit() and (process := read_process(int(name)))]


def read_process(pid: int) -> HostProcess | None:
    """A process as it is now; None where it is gone, or there is no /proc."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        line = Path(f"/proc/{pid}/stat").read_bytes()
        name = line[line.index(b"(") + 1 : line.rindex(b")")].decode("utf-8", "replace")
        fields = line[line.rindex(b")") + 1 :].split()
        leads = int(fields[3]) == pid and int(fields[4]) != 0
        ticks = sum(map(int, fields[11:15]))  # utime stime cutime cstime
        return HostProcess(pid, int(fields[1]), name, int(fields[21]) * _PAGE, ticks, leads)
    return None


def _children(pid: int) -> list[int]:
    try:
        children = []
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                children += [int(number) for number in file.read().split()]
        return children
    except FileNotFoundError:  # the process is gone, or this kernel does not list children
        return [process.pid for process in all_processes() if process.parent == pid]
    except OSError:
        return []


def proportional_memory(process: HostProcess) -> int:
    """Bytes of memory with shared pages divided among their users, where that can be read."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{process.pid}/smaps_rollup", "rb") as file:
        for line in file:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) << 10
    return process.resident


def memory_of(ancestor: int, limit: int) -> int:
    """Bytes of memory that all that descends from a process takes; more exactly where that is over the limit."""
    processes = processes_below(ancestor)
    used = sum(process.resident for process in processes)
    return used if used <= limit else sum(proportional_memory(process) for process in processes)


def used_by(ancestor: int) -> tuple[float, int]:
    """Seconds of processor time of a process and of all that came of it (what ended is counted by who waited for it),
    and the bytes of memory that they take now. Raises ProcessLookupError where it is gone, or there is no /proc.
    """
    first = read_process(ancestor)
    if first is None:
        raise ProcessLookupError(ancestor)
    found = [first, *processes_below(ancestor)]
    ticks = sum(process.ticks for process in found)
    return ticks / int(os.sysconf("SC_CLK_TCK")), sum(process.resident for process in found)


def _kill_started(starting: asyncio.Future[Process]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        kill_group(starting.result())
