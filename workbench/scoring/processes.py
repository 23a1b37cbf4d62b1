"""Starting processes so that a cancellation at any moment leaves none behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from typing import Any

from workbench.sandbox.guest.guest import process_table

_PATIENCE = 5.0
"""Seconds that a killed process may take to be gone."""


async def start_process(*command: str, **options: Any) -> Process:
    """As `asyncio.create_subprocess_exec`, in a session of its own (ctrl+c is for the workbench). Raises OSError.

    That one, cancelled between the start of the process and the connection of its pipes, waits for ever (CPython 3.11).
    So it is never cancelled: what nobody wants any more is killed once it is there.
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
    for pid in _descendants(process.pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _descendants(ancestor: int) -> list[int]:
    """Processes that came of `ancestor`, the youngest first."""
    children: dict[int, list[int]] = {}
    for pid, parent, _group, _session in process_table():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    waiting = [ancestor]
    while waiting:
        for pid in children.get(waiting.pop(), []):
            found.append(pid)
            waiting.append(pid)
    return found[::-1]


def processor_seconds(ancestor: int) -> float:
    """The processor time of a process and of all that came of it: what ended is counted by who waited for it."""
    parents: dict[int, int] = {}
    spent: dict[int, int] = {}
    with contextlib.suppress(OSError):
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
                parents[int(name)] = int(fields[1])
                spent[int(name)] = sum(map(int, fields[11:15]))  # utime stime cutime cstime
    below = {ancestor}
    while found := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= found
    return sum(spent.get(pid, 0) for pid in below) / os.sysconf("SC_CLK_TCK")


def _kill_started(starting: asyncio.Future[Process]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        kill_group(starting.result())
