"""Long copies in a thread, which stop at once when their caller is cancelled, and before they fill the disk."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from workbench.isolation.spec import SandboxError
from workbench.isolation.watch import DISK_RESERVE, free_space
from workbench.text import megabytes

T = TypeVar("T")
Check = Callable[[], None]
"""Called between the pieces of a copy; what it raises ends the copy."""
FULL = (errno.ENOSPC, errno.EDQUOT)


class Unwanted(Exception):
    """The caller that wanted the copy was cancelled."""


async def copy_in_thread(folder: Path, work: Callable[[Check], T]) -> T:
    """The result of `work(check)`, which writes to `folder`.

    Cancelled, it comes back only when the thread has ended, so that what `work` leaves behind can be removed. Raises
    SandboxError where the disk has no space (DISK_RESERVE stays free), and what `work` raises.
    """
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Unwanted
        if free_space(folder) < DISK_RESERVE:
            raise _full(folder)

    def run() -> T:
        check()
        return work(check)

    copying = asyncio.ensure_future(asyncio.to_thread(run))
    try:
        return await asyncio.shield(copying)
    except asyncio.CancelledError:
        stop.set()
        while not copying.done():
            await asyncio.wait({copying})
        if not copying.cancelled():
            copying.exception()  # seen
        raise
    except OSError as error:
        if error.errno in FULL:
            raise _full(folder) from error
        raise


def _full(folder: Path) -> SandboxError:
    return SandboxError(
        f"less than {megabytes(DISK_RESERVE)} would be left on the disk of {folder.parent}",
        "free some space and try again; old sessions can be deleted, and $TMPDIR says where evaluations are run",
    )
