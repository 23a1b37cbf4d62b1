"""A session while it is being written: its folder, log, clock, recorded shell, and the state folded from them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from workbench.sandbox.base import AGENT_COLUMNS, AGENT_ROWS
from workbench.session.bus import Bus, ShellOutput
from workbench.session.cast import CAST_FILE, Cast, CastWriter
from workbench.session.clock import Clock
from workbench.session.events import Event
from workbench.session.log import EventLog
from workbench.session.marks import marked
from workbench.session.objects import ObjectStore, pool_of
from workbench.session.secrets import Redactor
from workbench.session.state import SessionState

_CAST_FLUSH_SECONDS = 0.1
_LONGEST_SILENCE = 7 * 86400.0
"""Seconds for which a shell may go on after the last event of a log."""


def _clock_after(folder: Path, state: SessionState) -> Clock:
    """The clock of a session that goes on: of one that was killed, from the last sign of life. That may be what the
    shell printed last, since in an editor much may be done without an event.
    """
    silence = 0.0
    if state.started is not None and state.ended is None:
        with contextlib.suppress(OSError):
            last = Cast(folder / CAST_FILE).last_time()
            silence = min(max(0.0, last - state.elapsed), _LONGEST_SILENCE)
    worked = silence if state.clock.paused_at is None else 0.0
    return Clock(elapsed=state.elapsed + silence, working=state.working + worked)


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
        self.clock = _clock_after(folder, self.state)
        self.redactor = Redactor()
        self.objects = ObjectStore(folder / "objects", self.redactor, pool_of(folder))
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
        logged = self.log.append(event)
        self.state.apply(logged)
        self.bus.publish(logged)
        return logged

    def subscribe(self, subscriber: Callable[[Event], None]) -> Callable[[], None]:
        """Call `subscriber` for every event, after the event is in the state. Returns the function that ends this."""
        return self.bus.subscribe(lambda message: subscriber(message) if isinstance(message, Event) else None)

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
        """Make sure that the step is on the disk (fsync), without blocking the event loop."""
        await asyncio.to_thread(self.log.sync)

    def close(self) -> None:
        """Close the files and release the lock. Can be called twice."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        if self._open:
            self.cast.close()
            self.log.close()
