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
    """Wait until something holds; the app goes on by itself meanwhile.

    Raises:
        AssertionError: When it does not hold in time.
    """
    end, pause = time.monotonic() + seconds, 0.003
    workbench = getattr(pilot.app, "ground", None)  # before it is painted, it hears no key
    while not getattr(workbench, "painted", True) or not predicate():
        assert time.monotonic() < end, f"waited {seconds:g} s for: {description}"
        await asyncio.sleep(pause)  # looking at the whole screen takes as long as drawing it
        pause = min(1.3 * pause, 0.03)


def screen_text(app: App[Any]) -> str:
    """The screen as plain text, a line a row."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)


def shows(app: App[Any], text: str) -> bool:
    """Whether the screen has it, with any spaces and line ends between the words."""
    return text in " ".join(screen_text(app).split())
