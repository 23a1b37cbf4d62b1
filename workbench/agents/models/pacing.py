"""Sessions that run together wait together: a rate limit that one of them meets holds back all, by a file for each
server in a folder that they share (`$MLGYM_PACING`, which a sweep sets). Without such a folder each waits for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from pathlib import Path

VARIABLE = "MLGYM_PACING"
_LONGEST = 600.0
"""Seconds that a file can hold anybody back: its time may be anything."""


def _file(server: str) -> Path | None:
    folder = os.environ.get(VARIABLE)
    return Path(folder) / hashlib.sha256(server.encode()).hexdigest()[:16] if folder else None


def hold(server: str, seconds: float) -> None:
    """Have all who ask this server wait so long, by the file's time of change."""
    file = _file(server)
    if file is not None:
        with contextlib.suppress(OSError):
            file.touch(mode=0o600)
            until = max(file.stat().st_mtime, time.time() + min(seconds, _LONGEST))
            os.utime(file, (until, until))


async def wait(server: str) -> None:
    """Until the server may be asked."""
    file = _file(server)
    began = time.time()
    while file is not None and time.time() < began + _LONGEST:
        try:
            left = file.stat().st_mtime - time.time()
        except OSError:
            return
        if left <= 0:
            return
        await asyncio.sleep(min(left, _LONGEST))
