"""What the parts of a running session share: its log, its status, work in the background, and the call to look."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Coroutine
from typing import Any, TypeVar

import msgspec

from workbench.environment.live import LiveSession
from workbench.session import events as ev
from workbench.session.bus import Message
from workbench.session.socket import Drivers, SessionServer, SocketError, socket_of
from workbench.session.status import LiveStatus

T = TypeVar("T")


class Hub:
    """One for each session that runs."""

    def __init__(self, live: LiveSession, status: LiveStatus) -> None:
        self.live = live
        self.state = live.state
        self.status = status
        self._news = asyncio.Event()
        self._background: set[asyncio.Task[Any]] = set()
        self._server: SessionServer | None = None
        live.bus.subscribe(self._heard)

    def tell(self, **changes: Any) -> None:
        """Change the status, and publish it where that makes a difference."""
        clock = self.live.clock
        changes["clock_runs"] = not clock.paused
        if any(getattr(self.status, name) != value for name, value in changes.items()):
            self.status = msgspec.structs.replace(self.status, **changes, worked=clock.working, as_of=time.monotonic())
            self.live.bus.publish(self.status)

    async def offer(self, drivers: Drivers) -> None:
        """Let other processes of the user look on; not where the agent could be one of them, and so drive itself."""
        if self.state.sandbox.get("protected") is not False:
            self._server = SessionServer(self.live.folder, self.live.bus, self.state, lambda: self.status, drivers)
            with contextlib.suppress(SocketError):
                await self._server.start(socket_of(self.live.folder))

    def _heard(self, message: Message) -> None:
        if isinstance(message, ev.ClockPaused | ev.ClockResumed):
            self.tell()

    def wake(self) -> None:
        """Something changed: the loop looks again."""
        self._news.set()

    async def news(self, also: Collection[asyncio.Future[Any]] = (), *, time_limit: float | None = None) -> None:
        """Until somebody calls `wake`, or one of `also` is done, or the time is up."""
        waker = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({waker, *also}, timeout=time_limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waker.cancel()
        self._news.clear()

    def spawn(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        """Do something in the background. It is cancelled when the session ends; what it raises is the `problem`."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.tell(problem=str(error))
            self.wake()

    async def close(self) -> None:
        """Let those go who look on: they have seen the end."""
        if self._server is not None:
            await self._server.stop()

    async def quiet(self) -> None:
        """End what goes on in the background: nothing of it comes after the end of the session."""
        background = tuple(self._background)
        for task in background:
            task.cancel()
        if background:
            await asyncio.wait(background)
