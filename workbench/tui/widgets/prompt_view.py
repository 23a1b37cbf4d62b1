"""What a model was sent for the step under the cursor: its messages, the text of one of them, and what is new."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from workbench.session.prompt_view import (
    Change,
    PromptOfStep,
    Read,
    change_lines,
    comparison,
    message_text,
    numbered,
    prompt_of_step,
    summary,
)
from workbench.session.prompts import TOOLS, SentMessage
from workbench.session.state import SessionState
from workbench.tui.actions import bindings_of, keyed
from workbench.tui.text import one_line, printable, split_lines
from workbench.tui.widgets.line_view import Line, LineMark, PanelView, add_compared
from workbench.tui.widgets.lines import compile_query
from workbench.tui.widgets.message_list import KINDS, MessageList, Row, tokens
from workbench.tui.widgets.pane import Retitled

_MUTED = "$foreground 55%"
_TEXTS_KEPT = 4_000_000
"""Characters of messages that are kept in memory once they were read."""


class PromptView(Vertical):
    """A summary, the list of messages, and below it the text of the one under the cursor."""

    DEFAULT_CSS = """
    PromptView > #prompt-summary { height: auto; max-height: 4; color: $foreground 75%; }
    PromptView > MessageList { height: 2fr; }
    PromptView > #prompt-heading { height: 1; background: $panel; color: $foreground 85%; }
    PromptView > PanelView { height: 3fr; }
    PromptView.-nothing > #prompt-heading, PromptView.-nothing > #prompt-summary { display: none; }
    PromptView.-nothing > MessageList { height: 0; }
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings_of(
        {"prompt.compare": "compare", "prompt.previous": "call(-1)", "prompt.next": "call(1)"}
    )

    def __init__(self, state: SessionState, read: Read, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._state = state
        self._read = read
        self._texts: dict[str, str] = {}
        self._characters = 0
        self._key: tuple[object, ...] = ()
        self._place: int | None = None
        self._query = ""
        self.compared = False
        """Whether what became of the messages of the prompt before is shown."""
        self.shown = PromptOfStep(-1)
        self.summary_text = ""
        self.text_view = PanelView(id="prompt-text")
        self.text_view.wrap = True
        self.messages = MessageList(self.text_view, self._text_of, id="prompt-messages")
        self._summary = Static("", id="prompt-summary", markup=False)
        self._heading = Static("", id="prompt-heading", markup=False)

    def compose(self) -> ComposeResult:
        yield self._summary
        yield self.messages
        yield self._heading
        yield self.text_view

    # -- what is shown -----------------------------------------------------------------------------------------------

    def show_step(self, step: int) -> None:
        """Show what was sent for a step; nothing is drawn when it is as before."""
        calls = self._state.prompts.of_step(step)
        last = calls[-1] if calls else None
        known = (last.usage, last.trouble) if last is not None else None
        author = self._state.steps[step].author if step <= self._state.last_step else ""
        if step != self.shown.step:
            self._place = None
        key = (step, self._place, self.compared, len(calls), known, author)
        if key == self._key:
            return
        same = key[:3] == self._key[:3]
        self._key = key
        self.shown = prompt_of_step(self._state, self._read, step, self._place)
        self._draw(self.messages.cursor if same else None)
        self.post_message(Retitled())

    def _draw(self, cursor: int | None) -> None:
        """Draw all of it with the cursor on that row; None puts the cursor on the first new message."""
        prompt = self.shown.prompt
        self.set_class(prompt is None, "-nothing")
        if prompt is None:
            self.messages.show_rows((), 0, compared=False)
            self.text_view.show([Content.styled(self.shown.nothing, _MUTED)])
            return
        lines = summary(prompt)
        if self.compared:
            changes = self.shown.changes
            lines.insert(0, comparison(changes, self.shown.previous))
            rows = _compared_rows(changes)
            news = next((index for index, row in enumerate(rows) if row.change is not None), 0)
        else:
            rows = [Row(place, Change("same", None, message)) for place, message in numbered(prompt)]
            news = len(rows) - 1
        self.summary_text = "\n".join(map(printable, lines))
        self._summary.update(Content(self.summary_text))
        self.messages.show_rows(rows, news if cursor is None else cursor, compared=self.compared)
        self._show_text()

    def _show_text(self) -> None:
        """The text of the message under the cursor, or what changed in it."""
        row = self.row
        if row is None or row.change is None:
            self._heading.update(Content(""))
            self.text_view.show([])
            return
        self._heading.update(Content(one_line(_heading(row, compared=self.compared), 300)))
        if self.compared:
            lines: list[Line] = []
            marks: dict[int, LineMark] = {}
            add_compared(lines, marks, change_lines(row.change, self._text_of))
            self.text_view.show(lines, marks=marks)
            first = min(marks, default=1)
            self.text_view.go_to(first)
            self.call_after_refresh(self.text_view.go_to, first)  # its height may change with the summary's
        else:
            self.text_view.show(split_lines(self._text_of(row.change.message)))

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        rows, cursor = self.messages.rows, self.messages.cursor
        return rows[cursor] if cursor < len(rows) else None

    @property
    def title(self) -> str:
        """For the border."""
        if self.shown.step < 0:
            return "Prompt"
        return f"Prompt · step {self.shown.step}" + (" · what is new" if self.compared and self.shown.prompt else "")

    @property
    def subtitle(self) -> str:
        """For the lower border: which call it is, and the keys."""
        other = "whole prompt" if self.compared else "what is new"
        parts = [keyed(f"{{prompt.compare}} {other}")] if self.shown.prompt is not None else []
        if len(self.shown.calls) > 1:
            which = f"call {self.shown.place + 1} of {len(self.shown.calls)} for this step"
            parts.insert(0, keyed(f"{which}: {{prompt.previous}} {{prompt.next}}"))
        return " · ".join([*parts, keyed("{prompt.close} closes")])

    @property
    def text(self) -> str:
        """For copying: the text of the message under the cursor."""
        return self.text_view.text

    def _text_of(self, message: SentMessage) -> str:
        text = self._texts.get(message.hash)
        if text is None:
            text = message_text(self._read(message.hash))
            if self._characters > _TEXTS_KEPT:
                self._texts.clear()
                self._characters = 0
            self._texts[message.hash] = text
            self._characters += len(text)
        return text

    # -- what the keys do --------------------------------------------------------------------------------------------

    @on(MessageList.Chosen)
    def _chosen(self, message: MessageList.Chosen) -> None:
        message.stop()
        self._go_to(message.row)

    def _go_to(self, row: int) -> None:
        if row != self.messages.cursor:
            self.messages.cursor = row
            self._show_text()

    def action_compare(self) -> None:
        """Show what is new, or the whole prompt again."""
        self.compared = not self.compared
        self.show_step(self.shown.step)

    def action_call(self, places: int) -> None:
        """Another call that was made for this step."""
        place = self.shown.place + places
        if 0 <= place < len(self.shown.calls):
            self._place = place
            self.show_step(self.shown.step)

    # -- search ------------------------------------------------------------------------------------------------------

    def search(self, query: str) -> str:
        """Go to the first message that holds `query`, from the cursor on. Returns what to tell the user."""
        self._query = query
        if query:
            return self._find(self.messages.cursor, 1)
        self.text_view.search("")
        return ""

    def onward(self, direction: int) -> str:
        """Go to the next place found (1) or the one before (-1). Returns what to tell the user."""
        if not self._query:
            return keyed("nothing to search for in the prompt yet; {search.open} asks")
        view = self.text_view
        if view.matches and 0 <= view.match_index + direction < len(view.matches):
            view.next_match() if direction > 0 else view.previous_match()
            return self._found()
        return self._find(self.messages.cursor + direction, direction)

    def _find(self, begin: int, direction: int) -> str:
        pattern = compile_query(self._query)
        rows = self.messages.rows
        for offset in range(len(rows)):
            index = (begin + direction * offset) % len(rows)
            change = rows[index].change
            if change is None:
                continue
            held = (change.old, change.new) if self.compared else (change.message,)
            if any(pattern.search(self._text_of(message)) for message in held if message is not None):
                self._go_to(index)
                self.text_view.search(self._query)
                if direction < 0:
                    self.text_view.previous_match()
                return self._found()
        return f"not in this prompt: {self._query}"

    def _found(self) -> str:
        count, row = len(self.text_view.matches), self.row
        where = f"message {row.place}" if row is not None and row.place else "what is shown"
        return f"/{self._query}: {self.text_view.match_index + 1} of {count} in {where}"


def _compared_rows(changes: list[Change]) -> list[Row]:
    """The rows of a comparison. Messages in a row that are as before share one."""
    rows: list[Row] = []
    place = 0
    for change in changes:
        here = change.new is not None and change.new.role != TOOLS
        place += here
        if change.kind != "same":
            rows.append(Row(place if here else 0, change))
        elif rows and rows[-1].change is None:
            rows[-1] = Row(folded=rows[-1].folded + 1)
        else:
            rows.append(Row(folded=1))
    return rows


def _heading(row: Row, *, compared: bool) -> str:
    """What is known of a message beside its text."""
    assert row.change is not None
    message = row.change.message
    parts = [f"message {row.place}"] if row.place else []
    parts.append(message.role or "role unknown")
    if compared:
        parts.append(KINDS[row.change.kind].word)
    if message.step is not None:
        parts.append(f"of step {message.step}")
    parts.append(f"{tokens(message.tokens)} tokens")
    old = row.change.old
    if compared and old is not None and row.change.new is not None:
        parts[-1] = f"{tokens(old.tokens)} → {parts[-1]}"
    if message.elided:
        parts.append(f"shortened: {message.elided}")
    return " " + " · ".join(parts)
