"""What a training program says of itself while it runs: its metrics, the time left; what it uses; alarms."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable

from workbench.environment.episode import Episode
from workbench.library.curves import Curve, Curves, is_loss
from workbench.library.filter import Filter
from workbench.library.metrics import at_prompt, is_scoring, patterns_of
from workbench.library.moments import Running, condition, fields_of
from workbench.library.training import Parser, Progress, Reading
from workbench.runner.hub import Hub
from workbench.session.bus import Message, ShellOutput
from workbench.session.status import Resources
from workbench.text import many, megabytes

_TICK = 0.5
_AT_ONCE, _IN_PLACE, _MOST = 256 << 10, 8 << 10, 1 << 20
"""Bytes: the most that is read in a tick, what is read without a thread, the most that waits (the newest)."""
_MOST_SHOWN, _POINTS_SHOWN = 6, 120
"""Curves in the status, and points of each."""
_WIDEST = 60
_MEASURED = 2.0
"""Seconds between two looks at what the sandbox uses: more where a look takes over a hundredth of that."""


class Cockpit:
    """Watches the command of a step from the moment it is made: its metrics are shown while it runs, and logged by
    `end`. What is scored is not watched.
    """

    def __init__(
        self, hub: Hub, episode: Episode, step: int, mind: Callable[[int, Running], object] | None = None
    ) -> None:
        """`mind` does what breakpoints say while the command runs; None where a person typed it."""
        self._hub, self._episode, self._step, self._mind = hub, episode, step, mind
        action = hub.state.steps[step].action
        self._waiting = bytearray()
        self._parser = Parser("" if mind is None else at_prompt(action), patterns_of(hub.state))
        self._curves = Curves()
        self._began = self._heard = time.monotonic()
        self._resources, self._measure_at = Resources(), 0.0
        self._measuring: asyncio.Task[None] | None = None
        self._bar_began: tuple[float, float] | None = None
        self._alarm = ""
        self._over = asyncio.Event()
        self._leave: Callable[[], None] | None = None
        self._ticking: asyncio.Task[None] | None = None
        if not is_scoring(action):
            self._leave = hub.live.bus.subscribe(self._hear)
            self._ticking = hub.spawn(self._tick())

    def stop(self) -> None:
        """The command is over: what comes is not its own. Can be called twice."""
        if self._leave is not None:
            self._leave()
        self._over.set()

    async def end(self) -> None:
        """Log what it printed, once it is over."""
        self.stop()
        if self._ticking is None:
            return
        await asyncio.wait({self._ticking})
        self._say("")
        if self._curves.by_name:
            self._hub.tell(progress="")
        self._hub.tell(curves=(), resources=None, time_limit=0.0)
        await self._read(_MOST)
        self._curves.add(self._parser.close())
        for event in self._curves.events(self._step):
            self._hub.live.emit(event)

    def _hear(self, message: Message) -> None:
        if isinstance(message, ShellOutput):
            self._heard = time.monotonic()
            self._waiting += message.data
            if len(self._waiting) > 2 * _MOST:
                del self._waiting[:-_MOST]

    async def _tick(self) -> None:
        pause = _TICK
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), pause)
                return
            began = time.monotonic()
            await self._read(_AT_ONCE)
            pause = max(_TICK, 4 * (time.monotonic() - began))  # a flood is read now and then
            self._measure()
            now = time.monotonic()
            running = Running(now - self._began, now - self._heard, self._curves, self._resources)
            fields = fields_of(self._hub.state, self._hub.state.steps[self._step], running=running)
            self._say(next((said(running) for when, said in _ALARMS if when.matches(fields)), ""))
            limit = 0.0
            if self._mind is not None:
                self._mind(self._step, running)
                limit = self._episode.time.limit
            curves = tuple(each.event(self._step, _POINTS_SHOWN) for each in self._curves.losses_first[:_MOST_SHOWN])
            self._hub.tell(curves=curves, resources=self._resources, time_limit=limit)
            if curves:
                self._hub.tell(progress=self._summary())

    async def _read(self, most: int) -> None:
        data = bytes(self._waiting[:most])
        del self._waiting[:most]
        if len(data) > _IN_PLACE or (data and self._parser.patterns):
            await asyncio.to_thread(lambda: self._curves.add(self._parser.feed(data)))
        else:
            self._curves.add(self._parser.feed(data))

    def _measure(self) -> None:
        """Have it looked what the sandbox uses, unless that is under way, or was just done."""
        measure = self._episode.sandbox.measure
        busy = self._measuring is not None and not self._measuring.done()
        if measure is None or busy or time.monotonic() < self._measure_at:
            return

        async def look() -> None:
            began, self._resources, ended = await asyncio.to_thread(
                lambda: (time.thread_time(), measure(), time.thread_time())
            )
            self._measure_at = time.monotonic() + max(_MEASURED, 100 * (ended - began))

        self._measuring = self._hub.spawn(look())

    def _say(self, alarm: str) -> None:
        """As the problem of the session, until it is over."""
        if alarm != self._alarm:
            if alarm or self._hub.status.problem == self._alarm:
                self._hub.tell(problem=alarm)
            self._alarm = alarm

    def _summary(self) -> str:
        """In a few words: how far, the newest losses first, how long."""
        parts = []
        newest = [curve.newest for curve in self._curves.losses_first]
        progress = self._progress(newest[0])
        if progress is not None:
            parts.append(f"{progress.done:g}/{progress.total:g}")
        elif newest[0].step is not None:
            parts.append(f"{newest[0].step:g}")
        left = self._left(progress)
        ends = [f"{int(left) // 60}:{int(left) % 60:02} left"] if left is not None and left < 1e6 else []
        for each in newest[:3]:
            said = f"{each.name} {each.value:.4g}"
            if len(" ".join([*parts, said, *ends])) < _WIDEST:
                parts.append(said)
        return "running " + " · ".join(parts + ends)

    def _progress(self, newest: Reading) -> Progress | None:
        """Of the outermost bar; without one, of lines that say how many steps or epochs there will be in all."""
        within = newest.epoch is not None and newest.epoch != newest.step
        if self._parser.progress is not None or newest.step is None or not newest.total or within:
            return self._parser.progress
        return Progress(newest.step, newest.total)

    def _left(self, progress: Progress | None) -> float | None:
        """Seconds until that is full: as the program says, else as fast as it went so far."""
        if progress is None or progress.left is not None:
            return progress.left if progress else self._parser.left
        now = time.monotonic()
        if self._bar_began is None or progress.done < self._bar_began[1]:
            self._bar_began = (now, progress.done)
        began, first = self._bar_began
        if progress.done <= first or progress.done >= progress.total:
            return None
        return (progress.total - progress.done) * (now - began) / (progress.done - first)


def _lost(running: Running) -> str:
    bad = next(curve.newest for curve in running.curves.losses_first if _is_bad(curve))
    return f"{bad.name} is {bad.value:g}" + ("" if bad.step is None else f" at its step {bad.step:g}")


def _is_bad(curve: Curve) -> bool:
    return not math.isfinite(curve.newest.value)


def _risen(running: Running) -> str:
    worst = max(running.curves.losses_first, key=lambda curve: curve.rising * is_loss(curve.newest.name))
    return f"{worst.newest.name} has been rising over {many(worst.rising, 'point')}"


_ALARMS: tuple[tuple[Filter, Callable[[Running], str]], ...] = (
    (condition("nan:loss"), _lost),
    (
        condition("memory<1e8"),
        lambda now: f"the sandbox may take only {megabytes(now.resources.memory_free or 0)} more of memory",
    ),
    (
        condition("disk<2e9"),
        lambda now: f"there are only {megabytes(now.resources.disk_free or 0)} left for the workspace",
    ),
    (condition("silent>=300"), lambda now: f"no output for {now.silent / 60:.0f} minutes"),
    (condition("rising>=100"), _risen),
)
"""What is said unasked, the most urgent first: conditions as those of breakpoints."""
