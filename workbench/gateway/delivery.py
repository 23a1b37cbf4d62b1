"""An answer on its way to a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator


class Delivery:
    """What the client gets, as it comes. It is kept: a client that lost its connection gets all of it once more."""

    def __init__(self) -> None:
        self.status = 0
        """Of HTTP; 0 as long as nothing is known."""
        self.headers: list[tuple[str, str]] = []
        self.pieces: list[bytes] = []
        self.complete = False
        self.broken = False
        """The answer broke off: so does the connection."""
        self.taken = False
        """A client has got all of it."""
        self.blanks = 0
        """Blank lines that have kept its client waiting."""
        self._news = asyncio.Event()

    def start(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.status, self.headers = status, headers
        self._news.set()

    def send(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self._news.set()

    def end(self, *, broken: bool = False) -> None:
        self.complete, self.broken = True, broken
        self._news.set()

    @property
    def begun(self) -> bool:
        return self.status != 0

    async def begin(self, seconds: float) -> bool:
        """Wait so long for the first byte. Returns whether it is there."""
        return await self._wait(seconds, 0) if not self.begun else True

    async def follow(self, seconds: float) -> AsyncIterator[bytes]:
        """The pieces, from the first; an empty one whenever nothing came for so long."""
        at = 0
        while True:
            while at < len(self.pieces):
                yield self.pieces[at]
                at += 1
            if self.complete:
                return
            if not await self._wait(seconds, at):
                yield b""

    async def _wait(self, seconds: float, at: int) -> bool:
        self._news.clear()
        if self.complete or len(self.pieces) > at:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True
