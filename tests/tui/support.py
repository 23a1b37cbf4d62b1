"""Help for tests with a screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from textual.app import App
from textual.pilot import Pilot

LONGEST = 60.0
"""Seconds that anything may take before a test fails."""


async def wait_for(
    pilot: Pilot[Any], predicate: Callable[[], object], description: str, seconds: float = LONGEST
) -> None:
    """Wait until something holds. (`pilot.pause` alone is a guess that the app is idle, not a promise.)

    Raises:
        AssertionError: When it does not hold in time.
    """
    end = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < end, f"waited {seconds:g} s for: {description}"
        await pilot.pause()
        await asyncio.sleep(0.005)


def screen_text(app: App[Any]) -> str:
    """The screen as plain text, a line a row."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)
