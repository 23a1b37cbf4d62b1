"""A pane: a border with a number and a title around one widget."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from workbench.tui.text import one_line


class Retitled(Message):
    """What a pane holds shows something else: the pane needs another title."""


class Pane(Vertical):
    """The frame of one part of the workbench. `number` is the key that goes there."""

    DEFAULT_CSS = """
    Pane {
        border: round $border-blurred;
        border-title-color: $foreground 75%;
        border-subtitle-color: $foreground 55%;
        border-title-background: $background;
        background: $background;
        padding: 0;
        link-style: none;
        link-color: $foreground;
        link-style-hover: underline;
        link-background-hover: $background;
    }
    Pane:focus-within {
        border: round $border;
        border-title-color: $foreground;
        border-title-style: bold;
        border-subtitle-color: $foreground 75%;
    }
    """

    def __init__(self, number: int, name: str, *children: Widget, id: str) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self.number = number
        self.label = name
        """What the pane is called where only its name has room."""
        self._inside = children
        self._title: object = None
        self._subtitle: object = None
        self.set_title(name)

    def compose(self) -> ComposeResult:
        yield from self._inside

    def set_title(self, title: str | Content, subtitle: str | Content = "") -> None:
        """Show a title, and a remark in the lower border. Plain strings are never markup."""
        if title != self._title:
            self._title = title
            content = title if isinstance(title, Content) else Content(one_line(title))
            self.border_title = Content.assemble((f"{self.number} ", "$border"), content)
        if subtitle != self._subtitle:
            self._subtitle = subtitle
            self.border_subtitle = subtitle if isinstance(subtitle, Content) else Content(one_line(subtitle))
