"""Keys in the order in which they were typed, each to what its predecessor left on the screen.

Textual hands every key on at once, to the widget that has the focus now. A key that opens a dialog is done only later,
so that the rest of what a quick person (or a slow line, which brings many keys together) typed would act on the screen
behind the dialog. Here the next key waits until the one before it was handled by everything on its way, and until the
screen that it opened is there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from textual import events
from textual.message_pump import MessagePump

if TYPE_CHECKING:
    from textual.app import App

    from workbench.tui.screens.view import Ground

Typed = events.Key | events.Paste

_LOOK_AGAIN_SECONDS = 0.02


class TypeAhead:
    """The keys that wait. `ground` is the screen under any dialog; `deliver` gives the app a key as Textual does it."""

    def __init__(
        self, app: App[Any], ground: Callable[[], Ground | None], deliver: Callable[[Typed], Awaitable[None]]
    ) -> None:
        self._app = app
        self._ground = ground
        self._deliver = deliver
        self._waiting: deque[Typed] = deque()
        self._under_way = False

    def add(self, event: Typed) -> None:
        """A key was pressed. What comes before there is anything to see does nothing."""
        ground = self._ground()
        if ground is not None and ground.painted:
            self._waiting.append(event)
            if not self._under_way:
                self._under_way = True
                self._app.call_next(self._next)

    @property
    def pending(self) -> bool:
        """Whether a key is on its way, or waits."""
        return self._under_way

    def forget(self) -> None:
        """What waits was meant for something that is over."""
        self._waiting.clear()

    async def _next(self) -> None:
        app = self._app
        ground = self._ground()
        if ground is not None and ground.changing_hands:
            asyncio.get_running_loop().call_later(_LOOK_AGAIN_SECONDS, app.call_next, self._next)
        elif not self._waiting:
            self._under_way = False
        else:
            screen = app.screen
            target = app.focused or screen
            await self._deliver(self._waiting.popleft())
            self._follow(target, screen, target)

    def _follow(self, pump: MessagePump | None, screen: MessagePump, again: MessagePump | None = None) -> None:
        """Come after the key on its way from a widget up to the app, then go through the screen that it has opened.

        `again`: the widget from which the same way is gone once more, after what the key's binding has made it say.
        """
        app = self._app
        if pump is not None and pump is not app and pump.call_later(self._passed, pump, screen, again):
            return
        app.call_later(self._arrived, screen, again)

    def _passed(self, pump: MessagePump, screen: MessagePump, again: MessagePump | None) -> None:
        # What the key has made its widget say is behind it in the queue: that goes first.
        busy = not pump._message_queue.empty()
        self._follow(pump if busy else pump._parent, screen, again)

    async def _arrived(self, screen: MessagePump, again: MessagePump | None) -> None:
        now = self._app.screen
        if now is screen:
            if again is not None:
                self._follow(again, screen)
            else:
                await self._next()
            return
        if now is self._ground() and not getattr(screen, "goes_on", False):
            # Typed before anybody saw that the dialog is over; what it would do here was not meant.
            self.forget()
        self._follow(now, now)
