"""Starting processes so that a cancellation at any moment leaves none behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from typing import Any


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
            await asyncio.shield(process.wait())
        raise


def kill_group(process: Process) -> None:
    """Kill a process of `start_process` and its children.

    Bubblewrap's first child waits for ever for a parent that is killed while the two set up their namespaces.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _kill_started(starting: asyncio.Future[Process]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        kill_group(starting.result())
