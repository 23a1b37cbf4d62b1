"""The small dialogs: a question, a line of text, a proposal to edit. Escape leaves each of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static, TextArea

from workbench.tui.actions import BY_ID, bindings_of, key_of
from workbench.tui.text import one_line, printable

T = TypeVar("T")


def keys_line(*keys: tuple[str, str]) -> Content:
    """Keys, or the ids of actions, and what they do."""
    pieces: list[tuple[str, str]] = []
    for key, label in keys:
        pieces += [(key_of(key) if key in BY_ID else key, "bold $primary"), (f" {label}   ", "$foreground 70%")]
    return Content.assemble(*pieces)


def foot(*keys: tuple[str, str]) -> Static:
    """The last line of a dialog."""
    return Static(keys_line(*keys), classes="dialog-foot")


class Dialog(ModalScreen[T]):
    """A box over the screen. Escape leaves it, with `nothing` as the answer."""

    CSS_PATH: ClassVar[str | Path] = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings_of({"dialog.leave": "leave"}, priority=True)
    nothing: Any = None
    goes_on = False
    """What is typed after the key that closes it is meant for the screen below, however soon it comes."""

    def __init__(self, title: str, *, classes: str = "") -> None:
        super().__init__(classes=classes)
        self._title_text = title

    def box(self, hint: str = "", *, large: bool = False) -> Vertical:
        """The box, with the title in its border; `hint` is in the lower one."""
        box = Vertical(classes="dialog -large" if large else "dialog")
        box.border_title, box.border_subtitle = Content(one_line(self._title_text, 80)), Content(hint)
        return box

    def action_leave(self) -> None:
        self.dismiss(self.nothing)


class Confirm(Dialog[bool]):
    """A question with two answers. True is yes; escape is no."""

    nothing = False

    # Not enter, which runs actions: what is asked here ends something, and may be asked by mistake.
    BINDINGS: ClassVar[list[BindingType]] = bindings_of({"dialog.yes": "answer(True)", "dialog.no": "answer(False)"})

    def __init__(self, title: str, text: str, *, yes: str, no: str) -> None:
        super().__init__(title)
        self._text, self._yes, self._no = text, yes, no

    def compose(self) -> ComposeResult:
        with self.box():
            yield Static(printable(self._text), markup=False, classes="dialog-text")
            yield foot(("dialog.yes", self._yes), ("dialog.no", self._no))

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)


class ProblemLine(Static):
    """Why an entry was not taken, under its field; the entry stays."""

    def __init__(self) -> None:
        super().__init__(id="problem", classes="-empty", markup=False)

    def say(self, problem: str) -> None:
        self.update(printable(problem))
        self.set_class(not problem, "-empty")


class Ask(Dialog[str | None]):
    """A line of text. None when the person left without one.

    `check` says what is wrong with a line; the person can then mend it.
    """

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
        super().__init__(title, classes="-bottom" if bottom else "")
        self._placeholder, self._value, self._note = placeholder, value, note
        self._check = check

    def compose(self) -> ComposeResult:
        with self.box():
            if self._note:
                yield Static(printable(self._note), markup=False, classes="dialog-text")
            yield Input(printable(self._value), placeholder=self._placeholder, compact=True)
            yield ProblemLine()
            yield foot(("enter", "ok"), ("dialog.leave", "leave"))

    def on_mount(self) -> None:
        self.set_focus(self.query_one(Input))

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        problem = await self._check(event.value) if self._check is not None else ""
        if problem:
            self.query_one(ProblemLine).say(problem)
        else:
            self.dismiss(event.value)


class Question(Ask):
    """What the session asks, until it is answered. It comes while something else is typed: so a word is the answer."""

    def __init__(self, question: str) -> None:
        super().__init__("A question: yes or no?", "yes or no", note=question, check=self._answer)
        self.question = question

    async def _answer(self, line: str) -> str:
        return "" if line.strip().lower() in ("yes", "no") else "type yes or no"

    def action_leave(self) -> None:
        self.query_one(ProblemLine).say("type yes or no")


class PlainArea(TextArea):
    """An editor for untrusted text: control characters are shown as glyphs, and kept as they are."""

    def get_line(self, line_index: int) -> Text:
        return Text(printable(self.document.get_line(line_index)), end="", no_wrap=True)


class Drafting(Dialog[T]):
    """A dialog whose text is kept when it is left, and is there again when it is opened again."""

    area: TextArea
    """The one that is kept."""
    _begun = ""

    @property
    def _drafts(self) -> dict[str, str]:
        drafts: dict[str, str] = self.app.drafts  # type: ignore[attr-defined]
        return drafts

    def take_up(self) -> None:
        """Go on with what was written, if anything was; undoing takes it back."""
        self.set_focus(self.area)
        self._begun = self.area.text
        draft = self._drafts.pop(self._title_text, "")
        if draft:
            self.area.replace(draft, (0, 0), self.area.document.end)
            self.app.ground_say("this is what you wrote before; ctrl+z takes it back")  # type: ignore[attr-defined]
        self.area.move_cursor(self.area.document.end)

    def action_leave(self) -> None:
        if self.area.text.strip() and self.area.text != self._begun:
            self._drafts[self._title_text] = self.area.text
            self.app.ground_say("what you wrote is kept until you come back")  # type: ignore[attr-defined]
        super().action_leave()


class Write(Drafting[str | None]):
    """A text of one or more lines, for the agent. None when the person left without one."""

    BINDINGS: ClassVar[list[BindingType]] = bindings_of({"dialog.send": "send", "dialog.line": "line"}, priority=True)

    def __init__(self, title: str, placeholder: str) -> None:
        super().__init__(title)
        self._placeholder = placeholder

    def compose(self) -> ComposeResult:
        with self.box():
            self.area = PlainArea(placeholder=self._placeholder, tab_behavior="focus", soft_wrap=True, compact=True)
            yield self.area
            yield foot(("dialog.send", "send"), ("dialog.line", "new line"), ("dialog.leave", "leave"))

    def on_mount(self) -> None:
        self.take_up()

    def action_send(self) -> None:
        self.dismiss(self.area.text.strip())

    def action_line(self) -> None:
        self.area.insert("\n")


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


_ACCEPT = "accept (nothing runs yet)"


class EditAction(Drafting[Edited | None]):
    """An action in an editor, and the thought before it. None when the person left without a change of mind."""

    # Before the editor sees the key, so that what is typed next is in the other one.
    BINDINGS: ClassVar[list[BindingType]] = bindings_of(
        {"dialog.accept": "accept", "dialog.tell": "tell", "pane.previous": "switch"}, priority=True
    )

    def __init__(
        self, action: str, title: str, *, thought: str | None = None, told: bool | None = None, accept: str = _ACCEPT
    ) -> None:
        """`told`: whether the model is told, unless the person says otherwise; None where there is none to tell.
        `accept`: what comes of it.
        """
        super().__init__(title)
        self._accept = accept
        self._action, self._thought, self.told = action, thought, told

    def compose(self) -> ComposeResult:
        with self.box(large=True):
            if self._thought is not None:
                yield Static("Thought", classes="dialog-label")
                yield ThoughtArea(self._thought, tab_behavior="focus", soft_wrap=True, compact=True)
                yield Static("Action", classes="dialog-label")
            self.area = ActionArea(
                self._action, language="bash", tab_behavior="indent", show_line_numbers=True, compact=True
            )
            yield self.area
            if self.told is not None:
                yield Static(self._told_line(), id="told")
            keys = [("dialog.accept", self._accept), ("dialog.leave", "leave it")]
            yield foot(*keys, *([("shift+tab", "thought")] if self._thought is not None else []))

    def on_mount(self) -> None:
        self.take_up()

    def _told_line(self) -> Content:
        if self.told:
            said = ("The model is told", "that you changed it: it sees its own turn, and what you made of it")
        else:
            said = ("The model is not told", "that you changed it: it sees your version as its own")
        return Content.assemble(
            (key_of("dialog.tell"), "bold $primary"), (f"  {said[0]} ", "bold"), (said[1], "$foreground 70%")
        )

    def action_tell(self) -> None:
        """Tell the model, or not."""
        if self.told is not None:
            self.told = not self.told
            self.query_one("#told", Static).update(self._told_line())

    def action_switch(self) -> None:
        """To the thought, or back to the action."""
        if self._thought is not None:
            self.set_focus(self.query_one(ThoughtArea) if self.focused is self.area else self.area)

    def action_accept(self) -> None:
        thought = self.query_one(ThoughtArea).text if self._thought is not None else None
        self.goes_on = self._accept == _ACCEPT  # the next key may run it; what was sent is over
        self.dismiss(Edited(self.area.text, thought, self.told))
