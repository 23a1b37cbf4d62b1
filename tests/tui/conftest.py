"""What makes screens the same everywhere, and their tests quick."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

# Set before Textual is imported: it reads these once.
os.environ["TEXTUAL_ANIMATIONS"] = "none"
os.environ["TEXTUAL_SMOOTH_SCROLL"] = "0"
os.environ["COLORTERM"] = "truecolor"
os.environ.pop("NO_COLOR", None)

import textual.app
import textual.pilot
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.screen import Screen

FRAMES = 0.08
"""Seconds after a key, of which those that other programs have the processor do not count."""


async def _quiet(min_sleep: float = 0.0, max_sleep: float = 1.0) -> None:
    """The event loop has nothing to do now."""
    loop: Any = asyncio.get_running_loop()
    await asyncio.sleep(0.002)
    began = time.thread_time()
    while loop._ready and time.thread_time() - began < 1.0:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def _idle(min_sleep: float = 0.0, max_sleep: float = 1.0) -> None:
    """It has nothing to do now and in the next two frames either. (Textual asks how busy the processor is.)"""
    loop: Any = asyncio.get_running_loop()
    waited = 0.0
    await _quiet()
    while waited < FRAMES:
        soon = min((timer.when() for timer in loop._scheduled if not timer.cancelled()), default=1e9) - loop.time()
        if soon > 0.04:
            return
        await asyncio.sleep(max(0.001, soon))
        waited += max(0.001, soon)
        await _quiet()


textual.app.wait_for_idle = _quiet  # type: ignore[attr-defined]  # twice after each key
textual.pilot.wait_for_idle = _idle  # type: ignore[attr-defined]  # after all keys

_parsed: dict[Any, Any] = {}
_parse_rules = Stylesheet._parse_rules


def _parse_once(self: Stylesheet, *args: Any, **options: Any) -> Any:
    """Each app parses the style sheets of all its widgets; those of one theme are the same for all apps."""
    key = (tuple(self._variables.items()), args, tuple(options.items()))
    if key not in _parsed:
        _parsed[key] = _parse_rules(self, *args, **options)
    return _parsed[key]


Stylesheet._parse_rules = _parse_once  # type: ignore[method-assign]
RuleSet.__hash__ = object.__hash__  # type: ignore[method-assign]  # by identity as before, without a call of Python

DRAWN = 20
"""One in so many refreshes of a screen is drawn, beginning with the first: nobody looks at the terminal of a test, and
drawing took two fifths of the time. What is asked of the screen (`screen_text`, a screenshot) is drawn as it is then.
"""
_draw = Screen._compositor_refresh


def _draw_at_times(self: Screen[Any]) -> None:
    app, before = self.app, getattr(self, "refreshes", 0)
    self.refreshes = before + 1  # type: ignore[attr-defined]
    if app.is_headless and self is app.screen and before % DRAWN:
        self._dirty_widgets.clear()  # the compositor knows which places are to be drawn
        app._update_mouse_over(self)
    else:
        _draw(self)


Screen._compositor_refresh = _draw_at_times  # type: ignore[method-assign]
