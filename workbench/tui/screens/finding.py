"""Finds the runs below some folders, again and again, for a list that shows them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from workbench.library.index import runs
from workbench.library.listing import Listing
from workbench.library.notes import Notes, read_all
from workbench.session.run import Run

_BATCH_SECONDS = 0.1
"""As often as new rows are shown while folders are read."""
_LOOK_SECONDS = 3.0
"""Between two looks for new runs, at least."""
_SPARED = 30
"""A look that takes long is followed by a rest so many times as long."""
_FEW = 1000
"""Runs that are filtered and sorted in next to no time."""


class Finding:
    """Keeps `listing` as the folders are; `show` draws it."""

    def __init__(self, folders: Sequence[Path], listing: Listing, show: Callable[[], None]) -> None:
        self._folders, self.listing, self._show = folders, listing, show
        self.reading = True
        """Not everything has been read yet."""
        self._stopped = threading.Event()
        self._looked = self._took = 0.0
        """When the last look was begun, and how long it took."""
        self._drawn = 0.0
        """How long it took to show new rows."""
        self._busy = False
        self._turn = asyncio.Lock()

    @property
    def due(self) -> bool:
        """Whether it is time to look again."""
        return not self._busy and time.monotonic() - self._looked > max(_LOOK_SECONDS, _SPARED * self._took)

    def stop(self) -> None:
        """Nobody looks any more."""
        self._stopped.set()

    async def change(self, how: Callable[[Listing], None]) -> None:
        """Change the list, and show it. What is shown of many runs stays until they are arranged, in a thread."""
        async with self._turn:
            other = self.listing.another()
            how(other)
            if len(other.runs) > _FEW:
                await asyncio.to_thread(getattr, other, "rows")
            self.listing.become(other)
            self._show()

    async def look(self) -> None:
        """Look once."""
        self._looked = time.monotonic()
        await asyncio.to_thread(self._read, asyncio.get_running_loop())

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread: read all rows, and tell of those that are new or different as they come."""
        self._busy = True
        known = dict(self.listing.runs)
        batch: list[Run] = []
        found: dict[str, Run] = {}
        told = time.monotonic()
        for run in runs(self._folders):
            if self._stopped.is_set():
                return
            found[run.path] = run
            if known.get(run.path) != run:
                batch.append(run)
            if batch and time.monotonic() - told > max(_BATCH_SECONDS, 4 * self._drawn):
                asyncio.run_coroutine_threadsafe(self._take(batch), loop)
                batch, told = [], time.monotonic()
        noted = read_all(found.values())
        same = not batch and found.keys() == known.keys() and noted == self.listing.notes
        asyncio.run_coroutine_threadsafe(self._took_all(None if same else found, noted), loop)

    async def _take(self, batch: list[Run]) -> None:
        begun = time.monotonic()
        await self.change(lambda listing: listing.put(batch))
        self._drawn = time.monotonic() - begun

    async def _took_all(self, found: dict[str, Run] | None, noted: dict[str, Notes]) -> None:
        """`found`: None where it is what was known before."""
        first, self.reading, self._busy = self.reading, False, False
        self._took = time.monotonic() - self._looked
        if found is not None:
            runs = found
            await self.change(lambda listing: listing.hold(runs, noted))
        elif first:
            self._show()
