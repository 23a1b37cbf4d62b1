"""Time of a session: seconds since it began, and seconds net of pauses."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

_LONGEST = 1e10
"""Seconds of a correction: some centuries."""


def utc_now() -> str:
    """Wall-clock time, RFC 3339 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Clock:
    """Monotonic. A resumed session goes on where its log ended: `elapsed` and `working` are given then."""

    def __init__(self, elapsed: float = 0.0, working: float = 0.0) -> None:
        now = time.monotonic()
        self._origin = now - elapsed
        self._working = working
        self._running_since: float | None = now

    @property
    def elapsed(self) -> float:
        """Seconds since the session began (time between processes is left out)."""
        return time.monotonic() - self._origin

    @property
    def working(self) -> float:
        """Seconds that count against the time limit: without pauses."""
        return self._working + (time.monotonic() - self._running_since if self._running_since is not None else 0.0)

    @property
    def paused(self) -> bool:
        return self._running_since is None

    def pause(self) -> bool:
        """Stop counting working time. False when it was stopped already."""
        if self._running_since is None:
            return False
        self._working += time.monotonic() - self._running_since
        self._running_since = None
        return True

    def resume(self) -> bool:
        """Count working time again. False when it was running already."""
        if self._running_since is not None:
            return False
        self._running_since = time.monotonic()
        return True

    def correct(self, seconds: float) -> None:
        """So many seconds more (or, negative, fewer) were worked."""
        self._working += seconds


class Correction(NamedTuple):
    """What somebody said about the time that was worked."""

    at: float
    seconds: float
    reason: str
    author: str


class Period(NamedTuple):
    """A time of work or a pause, in seconds since the session began."""

    kind: str
    """`work` or `pause`."""
    begin: float
    end: float
    reason: str = ""
    """Of a pause."""


class WorkTime(msgspec.Struct):
    """Pauses and corrections, as a log tells them. Times are seconds since the session began."""

    pauses: list[tuple[float, float, str]] = msgspec.field(default_factory=list)
    """Begin, end and reason of those that are over."""
    paused_at: float | None = None
    reason: str = ""
    """Of the pause that goes on."""
    corrections: list[Correction] = msgspec.field(default_factory=list)
    _paused: float = 0.0
    _corrected: float = 0.0

    def pause(self, at: float, reason: str) -> None:
        """The clock stands still; while it does already, only the reason is new."""
        if self.paused_at is None:
            self.paused_at = at
        self.reason = reason

    def resume(self, at: float) -> None:
        """The clock runs again, where it stood still."""
        if self.paused_at is not None:
            self.pauses.append((self.paused_at, max(at, self.paused_at), self.reason))
            self._paused += max(0.0, at - self.paused_at)
            self.paused_at = None

    def correct(self, correction: Correction) -> None:
        """Count a correction from now on."""
        self.corrections.append(correction)
        self._corrected += min(max(correction.seconds, -_LONGEST), _LONGEST)

    def working(self, now: float) -> float:
        """Seconds that were worked until `now`, which no event is later than."""
        pause = now - self.paused_at if self.paused_at is not None else 0.0
        return max(0.0, now - self._paused - pause + self._corrected)

    def worked_until(self, at: float) -> float:
        """The same at any time."""
        paused = sum(min(end, at) - begin for begin, end, _ in self.pauses if begin < at)
        if self.paused_at is not None:
            paused += max(0.0, at - self.paused_at)
        return max(0.0, at - paused + sum(each.seconds for each in self.corrections if each.at <= at))

    def periods(self, end: float) -> list[Period]:
        """Work and pauses in turn, up to the end of the session; what took no time is left out."""
        found, at = [], 0.0
        last = [(self.paused_at, end, self.reason)] if self.paused_at is not None else []
        for begin, over, reason in [*self.pauses, *last]:
            found += [Period("work", at, begin), Period("pause", begin, over, reason)]
            at = over
        return [each for each in [*found, Period("work", at, end)] if each.end > each.begin]
