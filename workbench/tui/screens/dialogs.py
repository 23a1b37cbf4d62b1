"""The small dialogs: a question, a line of text, a proposal to edit. Escape leaves each of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import ClassVar, NamedTuple

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static, TextArea

from workbench.tui.text import printable

_LEAVE = Binding("escape", "leave", "leave", show=False, priority=True, id="dialog.leave")


def keys_line(*keys: tuple[str, str]) -> Content:
    """Keys, and what they do."""
    pieces: list[tuple[str, str]] = []
    for key, label in keys:
        pieces += [(key, "bold $primary"), (f" {label}   ", "$foreground 70%")]
    return Content.assemble(*pieces)


def foot(*keys: tuple[str, str]) -> Static:
    """The last line of a dialog."""
    return Static(keys_line(*keys), classes="dialog-foot")


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
            yield foot(("y", self._yes), ("n", self._no))

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)

    def action_leave(self) -> None:
        self.dismiss(False)


class ProblemLine(Static):
    """Why an entry was not taken, under its field; the entry stays."""

    def __init__(self) -> None:
        super().__init__(id="problem", classes="-empty", markup=False)

    def say(self, problem: str) -> None:
        self.update(printable(problem))
        self.set_class(not problem, "-empty")


class Ask(ModalScreen[str | None]):
    """A line of text. None when the person left without one.

    `check` says what is wrong with a line; the person can then mend it.
    """

    CSS_PATH: ClassVar[str | Path] = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [_LEAVE]

    def __init__(
        self,
        title: str,
        placeholder: str,
        *,
        value: str = "",
        note: str = "",
        bottom: bool = False,
        check: Callable[[str], Awaitable[str]] | None = None,
    ) -> None:
        super().__init__(classes="-bottom" if bottom else "")
        self._title_text, self._placeholder, self._value, self._note = title, placeholder, value, note
        self._check = check

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(self._title_text)
            if self._note:
                yield Static(printable(self._note), markup=False, classes="dialog-text")
            yield Input(self._value, placeholder=self._placeholder, compact=True)
            yield ProblemLine()
            yield foot(("enter", "ok"), ("esc", "leave"))

    def on_mount(self) -> None:
        self.set_focus(self.query_one(Input))

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        problem = await self._check(event.value) if self._check is not None else ""
        if problem:
            self.query_one(ProblemLine).say(problem)
        else:
            self.dismiss(event.value)

    def action_leave(self) -> None:
        self.dismiss(None)


class PlainArea(TextArea):
    """An editor for untrusted text: control characters are shown as glyphs, and kept as they are."""

    def get_line(self, line_index: int) -> Text:
        return Text(printable(self.document.get_line(line_index)), end="", no_wrap=True)


class Write(ModalScreen[str | None]):
    """A text of one or more lines, for the agent. None when the person left without one."""

    CSS_PATH: ClassVar[str | Path] = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        _LEAVE,
        Binding("enter,ctrl+s", "send", "send", show=False, priority=True, id="dialog.send"),
        Binding("ctrl+j,alt+enter", "line", "new line", show=False, priority=True, id="dialog.line"),
    ]

    def __init__(self, title: str, placeholder: str) -> None:
        super().__init__()
        self._title_text, self._placeholder = title, placeholder

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(self._title_text)
            yield PlainArea(placeholder=self._placeholder, tab_behavior="focus", soft_wrap=True, compact=True)
            yield foot(("enter", "send"), ("ctrl+j", "new line"), ("esc", "leave"))

    def on_mount(self) -> None:
        self.set_focus(self.query_one(TextArea))

    def action_send(self) -> None:
        self.dismiss(self.query_one(TextArea).text.strip())

    def action_line(self) -> None:
        self.query_one(TextArea).insert("\n")

    def action_leave(self) -> None:
        self.dismiss(None)


class ActionArea(PlainArea):
    """The action."""


class ThoughtArea(PlainArea):
    """The thought."""


class Edited(NamedTuple):
    """What a person made of a proposal."""

    action: str
    thought: str | None = None
    """None where none was offered."""
    told: bool | None = None
    """Whether the model is told; None where nobody asked."""


class EditAction(ModalScreen[Edited | None]):
    """An action in an editor, and the thought before it. None when the person left without a change of mind."""

    CSS_PATH: ClassVar[str | Path] = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        _LEAVE,
        Binding("ctrl+s,ctrl+j", "accept", "accept", show=False, priority=True, id="dialog.accept"),
        Binding("ctrl+t", "tell", "tell", show=False, priority=True, id="dialog.tell"),
        # Before the editor sees it, so that what is typed next is in the other one.
        Binding("shift+tab", "switch", "switch", show=False, priority=True, id="pane.previous"),
    ]

    def __init__(self, action: str, title: str, *, thought: str | None = None, told: bool | None = None) -> None:
        """`told`: whether the model is told, unless the person says otherwise; None where there is none to tell."""
        super().__init__()
        self._action, self._title_text, self._thought, self.told = action, title, thought, told

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog -large") as box:
            box.border_title = Content(self._title_text)
            if self._thought is not None:
                yield Static("Thought", classes="dialog-label")
                yield ThoughtArea(self._thought, tab_behavior="focus", soft_wrap=True, compact=True)
                yield Static("Action", classes="dialog-label")
            yield ActionArea(self._action, language="bash", tab_behavior="indent", show_line_numbers=True, compact=True)
            if self.told is not None:
                yield Static(self._told_line(), id="told")
            keys = [("ctrl+s", "accept (nothing runs yet)"), ("esc", "leave it")]
            yield foot(*keys, *([("shift+tab", "thought")] if self._thought is not None else []))

    def on_mount(self) -> None:
        area = self.query_one(ActionArea)
        self.set_focus(area)
        area.move_cursor(area.document.end)

    def _told_line(self) -> Content:
        if self.told:
            said = ("The model is told", "that you changed it: it sees its own turn, and what you made of it")
        else:
            said = ("The model is not told", "that you changed it: it sees your version as its own")
        return Content.assemble(("ctrl+t", "bold $primary"), (f"  {said[0]} ", "bold"), (said[1], "$foreground 70%"))

    def action_tell(self) -> None:
        """Tell the model, or not."""
        if self.told is not None:
            self.told = not self.told
            self.query_one("#told", Static).update(self._told_line())

    def action_switch(self) -> None:
        """To the thought, or back to the action."""
        if self._thought is not None:
            action = self.query_one(ActionArea)
            self.set_focus(self.query_one(ThoughtArea) if self.focused is action else action)

    def action_accept(self) -> None:
        thought = self.query_one(ThoughtArea).text if self._thought is not None else None
        self.dismiss(Edited(self.query_one(ActionArea).text, thought, self.told))

    def action_leave(self) -> None:
        self.dismiss(None)
