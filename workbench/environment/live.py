"""A session while it is being written: its folder, log, clock, recorded shell, and the state folded from them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from workbench.sandbox.base import AGENT_COLUMNS, AGENT_ROWS
from workbench.session.bus import Bus, ShellOutput
from workbench.session.cast import CastWriter
from workbench.session.clock import Clock
from workbench.session.events import Event
from workbench.session.log import EventLog
from workbench.session.marks import marked
from workbench.session.objects import ObjectStore
from workbench.session.secrets import Redactor
from workbench.session.state import SessionState

_CAST_FLUSH_SECONDS = 0.1


class LiveSession:
    """Writes a session folder. Everything that happens goes through `emit`; `state` is always up to date."""

    def __init__(self, folder: Path, *, state: SessionState | None = None) -> None:
        """`state` is the fold over what the log of `folder` holds already; without it the session is new, and `folder`
        is made with its first event: what is killed before leaves nothing.

        Raises LogError when a session that goes on cannot be written or another process drives it.
        """
        self.folder = folder
        self.state = state or SessionState()
        self.first_seq = self.state.last_seq + 1
        """Number of the first event that this process writes."""
        self.clock = Clock(elapsed=self.state.elapsed, working=self.state.working)
        self.redactor = Redactor()
        self.objects = ObjectStore(folder / "objects", self.redactor)
        self.log: EventLog
        self.cast: CastWriter
        self._open = False
        self.bus = Bus()
        self._flush_timer: asyncio.TimerHandle | None = None
        if state is not None:
            self._open_files()

    def _open_files(self) -> None:
        self.log = EventLog(
            self.folder,
            self.clock,
            next_seq=self.first_seq,
            redactor=self.redactor,
            mark=lambda event: marked(event, self.state.named),
        )
        self._open = True
        self.log.subscribe(self.state.apply)
        self.log.subscribe(self.bus.publish)
        self.cast = CastWriter(
            self.folder,
            lambda: self.clock.elapsed,
            columns=AGENT_COLUMNS,
            rows=AGENT_ROWS,
            timestamp=int(time.time()),
            redactor=self.redactor,
        )

    def emit(self, event: Event) -> Event:
        """Append to the log, fold into the state, tell the subscribers. Raises LogError (disk full)."""
        if not self._open:
            self._open_files()
        return self.log.append(event)

    def subscribe(self, subscriber: Callable[[Event], None]) -> Callable[[], None]:
        """Be told of every event, after it is in the state. Returns the function that ends it."""
        return self.log.subscribe(subscriber)

    def show(self, data: bytes) -> None:
        """Output of the shell: recorded, and passed to the terminal panes."""
        self.cast.feed(data)
        if self._flush_timer is None:
            self._flush_timer = asyncio.get_running_loop().call_later(_CAST_FLUSH_SECONDS, self._flush)
        self.bus.publish(ShellOutput(data))

    def _flush(self) -> None:
        self._flush_timer = None
        self.cast.flush()

    async def sync(self) -> None:
        """Have the step on the disk (fsync), off the event loop."""
        await asyncio.to_thread(self.log.sync)

    def close(self) -> None:
        """Close the files and release the lock. Can be called twice."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        if self._open:
            self.cast.close()
            self.log.close()
