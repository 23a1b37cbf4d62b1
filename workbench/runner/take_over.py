"""A person's turn at the shell: each command that they run is a step, as the agent's are."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from workbench.environment.episode import Episode
from workbench.environment.live import LiveSession
from workbench.runner.controls import Controls
from workbench.runner.hub import Hub
from workbench.sandbox.base import AGENT_COLUMNS, AGENT_ROWS
from workbench.sandbox.shell import CommandResult
from workbench.session import events as ev
from workbench.session.log import LogError
from workbench.text import many

if TYPE_CHECKING:
    from workbench.runner.cockpit import Cockpit

SOON = 300.0
"""Seconds before the end of their time at which a person who is the agent is told."""


class TakeOver(msgspec.Struct):
    """One turn."""

    hub: Hub
    live: LiveSession
    episode: Episode
    controls: Controls
    over: Callable[[], tuple[str, str] | None] | None = None
    """Which limit of a person who is the agent is reached, and why; None where an agent's session is taken over."""
    watched: bool = False
    """The person is asked whether they are there, where nothing is heard of them."""
    _warned: bool = False
    _step: int = 0
    _began: float = 0.0
    _cockpit: Cockpit | None = None
    _unkept: asyncio.Queue[tuple[int, Cockpit | None]] = msgspec.field(default_factory=asyncio.Queue)
    """Steps whose files and metrics are not stored yet."""
    _failure: Exception | None = None
    """Why the session can no longer be written, found where it could not be raised."""

    async def drive(self) -> None:
        """The person drives until the shell is handed back, the session is stopped or over, or something is
        submitted.

        Raises SandboxError, LogError or OSError.
        """
        shell = self.episode.shell
        columns, rows = self.controls.take_over_size
        self.live.cast.resize(columns, rows)
        await shell.take_over(columns, rows, on_command_started=self._started, on_command_finished=self._finished)
        self.hub.tell(phase="human")
        watch = self.hub.spawn(self._watch()) if self.watched else None
        try:
            while self.controls.mode == "human" and self.controls.stopping is None and not self.episode.submitted:
                over = self._reached()
                if over is not None and (over[0] == "max_time" or self.live.state.current.over):
                    break
                await self.hub.news(time_limit=self._seconds_left())
                await self._settle()
        finally:
            if watch is not None:
                watch.cancel()
                await asyncio.wait({watch})
        await shell.hand_back(force=True)  # it was given up while it was being taken, or the session ends
        await self._settle()
        if self.controls.mode == "human" and (over := self._reached()) is not None:
            self.controls.set_mode("paused", author="", reason=over[1])
        await self.episode.snapshot(self.live.state.last_step)  # what the shell holds can be asked only now
        self.live.cast.resize(AGENT_COLUMNS, AGENT_ROWS)

    def _started(self, text: str) -> None:
        with self._failing_later():
            self._step = self.live.state.last_step + 1
            self.episode.begin_step(self._step)
            self._began = self.live.clock.elapsed
            self.live.emit(ev.ActionProposed(step=self._step, author=self.controls.user, action=text))
            self.live.emit(ev.ActionStarted(step=self._step, author=self.controls.user, action=text))
            from workbench.runner.cockpit import Cockpit

            self._cockpit = Cockpit(self.hub, self.episode, self._step)

    def _finished(self, text: str, result: CommandResult) -> None:
        with self._failing_later():
            self.episode.finish(self._step, result, self._began, self.live.clock.elapsed)
            if self._cockpit is not None:
                self._cockpit.stop()
            self._unkept.put_nowait((self._step, self._cockpit))
        self.hub.wake()

    @contextlib.contextmanager
    def _failing_later(self) -> Iterator[None]:
        """In a callback of the shell: `_settle` raises what is caught here (disk full)."""
        try:
            yield
        except (LogError, OSError) as error:
            self._failure = self._failure or error
            self.hub.wake()

    async def _settle(self) -> None:
        if self._failure is not None:
            raise self._failure
        while not self._unkept.empty():
            step, cockpit = self._unkept.get_nowait()
            if cockpit is not None:
                await cockpit.end()
            await self.episode.snapshot(step)
            await self.live.sync()

    def _reached(self) -> tuple[str, str] | None:
        return self.over() if self.over is not None else None

    def _seconds_left(self) -> float | None:
        """Until a person who is the agent has used their time up, or is told that it will be over soon."""
        limit = self.live.state.limits.seconds
        if limit is None or self.over is None:
            return None
        left = max(0.0, limit - self.live.clock.working)
        if left > SOON:
            return left - SOON + 0.01
        if not self._warned:
            self._warned = True
            self.hub.tell(problem=f"your time is over in {many(max(1, round(left / 60)), 'minute')}")
        return left + 0.01

    async def _watch(self) -> None:
        """Where nothing is heard of the person for long, stop the clock and ask them whether they worked."""
        controls, clock = self.controls, self.live.clock
        while True:
            quiet = time.monotonic() - controls.sign_of_life
            if quiet < controls.idle_seconds or clock.paused:
                await asyncio.sleep(max(controls.idle_seconds - quiet, controls.idle_seconds / 10))
                continue
            clock.pause()
            self.live.emit(ev.ClockPaused(reason="no sign of life"))
            began, worked = clock.elapsed, False
            try:
                worked = await controls.ask(
                    f"Were you away? For {controls.idle_seconds / 60:.0f} minutes there was neither a key nor output, "
                    "and the clock stands still. Was that time worked?"
                )
            finally:
                controls.sign_of_life = time.monotonic()
                seconds, reason = (clock.elapsed - began, "was at work") if worked else (-quiet, "was away")
                clock.correct(seconds)
                clock.resume()
                self.live.emit(ev.ClockResumed(reason="no sign of life"))
                self.live.emit(ev.ClockCorrected(seconds=round(seconds, 3), reason=reason, author=controls.user))
