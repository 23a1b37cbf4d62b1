"""The keys that do something now, at the bottom of the screen. Made from the registry of actions."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

from workbench.tui.actions import Action

_ALWAYS = frozenset(["app.help"])
"""Without these nobody finds the rest."""


def _room(action: Action) -> int:
    return len(action.shown_keys.split(" ")[0]) + len(action.label) + 3


class KeyBar(Widget):
    """As many actions as have room, in their order, and help in any case. Clicking one does it."""

    DEFAULT_CSS = """
    KeyBar { height: 1; background: $background; color: $foreground; padding: 0 1;
        link-style: none; link-color: $foreground; link-background-hover: $panel; link-style-hover: none; }
    """

    _actions: tuple[Action, ...] = ()

    def show(self, actions: Sequence[Action]) -> None:
        """Show these actions; nothing is drawn when they are as before."""
        if tuple(actions) != self._actions:
            self._actions = tuple(actions)
            self.refresh()

    def render(self) -> Content:
        pieces: list[Content] = []
        left = self.content_size.width + 2  # the last needs no gap
        kept = sum(_room(action) for action in self._actions if action.id in _ALWAYS)
        for action in self._actions:
            kept -= _room(action) if action.id in _ALWAYS else 0
            left -= _room(action)
            if left < kept and action.id not in _ALWAYS:
                left = kept  # full: only what must be there follows
                continue
            key = action.shown_keys.split(" ")[0]
            markup = f"[@click=screen.do('{action.id}')][bold $primary]$key[/] [$foreground 70%]$label[/][/]  "
            pieces.append(Content.from_markup(markup, key=key, label=action.label))
        return Content("").join(pieces)
