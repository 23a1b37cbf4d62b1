"""Fields to type in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events
from textual.widgets import Input

if TYPE_CHECKING:
    from textual.widget import Widget
else:
    Widget = object  # style sheets know a widget by the first of its bases that is one: that is the other one


class KeysInOrder(Widget):
    """Does what its own keys do at once. Left to bubble, as is usual, they would come after letters that were typed
    later: over a slow line, which brings many keys together, `ab⌫c` would be `ab`.
    """

    async def _on_key(self, event: events.Key) -> None:
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            if not binding.priority and await self.app.run_action(binding.action, self):
                event.stop()
                event.prevent_default()
                return


class LineInput(KeysInOrder, Input):
    """A line of text."""
