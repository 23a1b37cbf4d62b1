"""Time of a session: seconds since it began, and seconds net of pauses."""

from __future__ import annotations

import time
from datetime import UTC, datetime


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
        """Stop counting working time. False when it stood already."""
        if self._running_since is None:
            return False
        self._working += time.monotonic() - self._running_since
        self._running_since = None
        return True

    def resume(self) -> bool:
        """Count working time again. False when it ran already."""
        if self._running_since is not None:
            return False
        self._running_since = time.monotonic()
        return True
