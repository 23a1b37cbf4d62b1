"""Requests to a host keep their distance, over all sessions of a user at once."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from workbench.session.files import lock

_LONGEST_WAIT = 60.0
_SANE = 600.0
"""A slot further ahead was written by a clock that went wrong."""


class TooBusy(Exception):
    """The next turn is too far away. `str()` says so."""


class Pacer:
    """Hands out turns. What was handed out is kept in files of `folder`, which several processes share."""

    def __init__(
        self,
        folder: Path,
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`now` in seconds since the epoch: a monotonic clock means nothing to another process."""
        self._folder = folder
        self._now = now
        self.sleep = sleep
        self._free: dict[str, float] = {}

    async def turn(self, host: str, interval: float) -> None:
        """Wait until this host may be asked; the next one may `interval` seconds later. Raises TooBusy."""
        slot = await asyncio.to_thread(self._reserve, host, interval)
        delay = slot - self._now()
        if delay > 0:
            await self.sleep(delay)

    async def postpone(self, host: str, seconds: float) -> None:
        """The host wants to be left alone for so long, by everybody."""
        until = self._now() + min(seconds, _LONGEST_WAIT)
        await asyncio.to_thread(self._change, host, lambda free: max(free, until))

    def _reserve(self, host: str, interval: float) -> float:
        now = self._now()

        def next_but_one(free: float) -> float:
            slot = max(now, free)
            if slot - now > _LONGEST_WAIT:
                raise TooBusy(f"too many requests to {host} are waiting; try again later")
            return slot + interval

        return self._change(host, next_but_one) - interval

    def _change(self, host: str, change: Callable[[float], float]) -> float:
        """Replace the time at which the host is free by what `change` makes of it."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = self._folder / re.sub(r"[^a-z0-9.-]", "_", host)
            with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+") as stream:
                lock(stream, wait=True)
                free = change(self._sane(stream.read(64)))
                stream.seek(0)
                stream.write(f"{free:.6f}")
                stream.truncate()
        except OSError:  # a folder that cannot be written to: this process keeps its own distance
            free = self._free[host] = change(self._free.get(host, 0.0))
        return free

    def _sane(self, text: str) -> float:
        try:
            free = float(text)
        except ValueError:
            return 0.0
        return free if free < self._now() + _SANE else 0.0
