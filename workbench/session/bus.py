"""One subscription for all that a view of a running session is told: events, the status, and what the shell prints."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from workbench.session.events import Event
from workbench.session.status import LiveStatus


class ShellOutput(msgspec.Struct, frozen=True):
    """Bytes that the shell's terminal was sent."""

    data: bytes


Message = Event | LiveStatus | ShellOutput
Subscriber = Callable[[Message], None]


class Bus:
    """Passes messages on, in order, to everybody who subscribed. All on one event loop."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Have `subscriber` called with every message from now on. Returns the function that ends it."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber) if subscriber in self._subscribers else None

    def publish(self, message: Message) -> None:
        """Tell everybody who is subscribed now."""
        for subscriber in tuple(self._subscribers):
            subscriber(message)
