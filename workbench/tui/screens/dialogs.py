"""The small dialogs: a question, a line of text, an action to edit. Escape leaves each of them."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static, TextArea

from workbench.tui.text import printable

_LEAVE = Binding("escape", "leave", "leave", show=False, priority=True, id="dialog.leave")


def _foot(*keys: tuple[str, str]) -> Static:
    pieces: list[tuple[str, str]] = []
    for key, label in keys:
        pieces += [(key, "bold $primary"), (f" {label}   ", "$foreground 70%")]
    return Static(Content.assemble(*pieces), classes="dialog-foot")


class Confirm(ModalScreen[bool]):
    """A question with two answers. True is yes; escape is no."""

    CSS_PATH: ClassVar[str | Path] = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        # Not enter, which runs actions: what is asked here ends something, and may be asked by mistake.
        Binding("y", "answer(True)", "yes", show=False, id="dialog.yes"),
        Binding("n", "answer(False)", "no", show=False, id="dialog.no"),
        _LEAVE,
    ]

    def __init__(self, title: str, text: str, *, yes: str, no: str) -> None:
        super().__init__()
        self._title_text, self._text, self._yes, self._no = title, text, yes, no

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(self._title_text)
            yield Static(printable(self._text), markup=False, classes="dialog-text")
            yield _foot(("y", self._yes), ("n", self._no))

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)

    def action_leave(self) -> None:
        self.dismiss(False)


class Ask(ModalScreen[str | None]):
    """A line of text. None when the person left without one."""

    CSS_PATH: ClassVar[str | Path] = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [_LEAVE]

    def __init__(self, title: str, placeholder: str, *, value: str = "", bottom: bool = False) -> None:
        super().__init__(classes="-bottom" if bottom else "")
        self._title_text, self._placeholder, self._value = title, placeholder, value

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(self._title_text)
            yield Input(self._value, placeholder=self._placeholder, compact=True)
            yield _foot(("enter", "ok"), ("esc", "leave"))

    def on_mount(self) -> None:
        # At once: keys typed before a deferred focus would be lost.
        self.set_focus(self.query_one(Input))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.dismiss(event.value)

    def action_leave(self) -> None:
        self.dismiss(None)


class ActionArea(TextArea):
    """An editor for untrusted text: control characters are shown as glyphs, and kept as they are."""

    def get_line(self, line_index: int) -> Text:
        return Text(printable(self.document.get_line(line_index)), end="", no_wrap=True)


class EditAction(ModalScreen[str | None]):
    """An action in an editor. None when the person left without a change of mind."""

    CSS_PATH: ClassVar[str | Path] = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        _LEAVE,
        Binding("ctrl+s,ctrl+j", "accept", "accept", show=False, priority=True, id="dialog.accept"),
    ]

    def __init__(self, action: str, title: str) -> None:
        super().__init__()
        self._action, self._title_text = action, title

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog -large") as box:
            box.border_title = Content(self._title_text)
            yield ActionArea(self._action, language="bash", tab_behavior="indent", show_line_numbers=True, compact=True)
            yield _foot(("ctrl+s", "accept (nothing runs yet)"), ("esc", "leave it as it was"))

    def on_mount(self) -> None:
        area = self.query_one(ActionArea)
        self.set_focus(area)
        area.move_cursor(area.document.end)

    def action_accept(self) -> None:
        self.dismiss(self.query_one(ActionArea).text)

    def action_leave(self) -> None:
        self.dismiss(None)
