"""The messages of a prompt, one line each; or what became of those of the prompt before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import msgspec
from textual.binding import BindingType

from workbench.session.prompt_view import Change, Kind
from workbench.session.prompts import SentMessage
from workbench.tui import words
from workbench.tui.actions import bindings_of
from workbench.tui.text import one_line
from workbench.tui.widgets.line_view import LineView
from workbench.tui.widgets.row_list import Chooser, Piece, cut, width_of

ELIDED = "⋯"

KINDS: dict[Kind, words.Sign] = {
    "same": words.Sign("=", "as before", "secondary"),
    "added": words.Sign("+", "added", "primary"),
    "removed": words.Sign("-", "removed", "error"),
    "changed": words.Sign("~", "changed", "warning"),
    "elided": words.Sign(ELIDED, "shortened", "warning"),
}
_STEP_FROM = 60
"""The step is shown in lists at least this wide."""


class Row(msgspec.Struct, frozen=True):
    """A message at its place in the prompt (from 1; 0: none), or `folded` messages that are as before."""

    place: int = 0
    change: Change | None = None
    folded: int = 0


class MessageList(Chooser):
    """`cursor` is the message whose text is shown, in a view that the paging keys scroll from here."""

    BINDINGS: ClassVar[list[BindingType]] = bindings_of({
        "lines.half_down": "text('page', 0.5)",
        "lines.half_up": "text('page', -0.5)",
        "lines.page_down": "text('page', 1)",
        "lines.page_up": "text('page', -1)",
        "lines.left": "text('sideways', -1)",
        "lines.right": "text('sideways', 1)",
        "lines.wrap": "text('toggle_wrap')",
    })  # fmt: skip

    def __init__(self, text_view: LineView, text_of: Callable[[SentMessage], str], *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._compared = False
        self._view = text_view
        self._text_of = text_of

    def show_rows(self, rows: Sequence[Row], cursor: int, *, compared: bool) -> None:
        """Show these, and have the cursor on one of them; `compared` marks what became of each."""
        self.rows, self._compared = rows, compared
        self.cursor = max(0, min(cursor, len(rows) - 1))
        self.rows_changed(0)
        self.refresh()
        self._reveal()

    def action_text(self, name: str, *amounts: float) -> None:
        """Scroll the text of the message, or wrap it."""
        getattr(self._view, f"action_{name}")(*amounts)

    def row_pieces(self, row: int, width: int) -> list[Piece]:
        shown: Row = self.rows[row]
        digits = max(2, len(str(max((item.place for item in self.rows[-2:]), default=0))))
        if shown.change is None:
            many = f"{shown.folded:,} messages are" if shown.folded > 1 else "a message is"
            return [(" ", ""), (f"{' ' * digits} = {many} as before", "secondary")]
        message, sign = shown.change.message, KINDS[shown.change.kind]
        mark = sign if self._compared else words.Sign(ELIDED if message.elided else " ", "", "warning")
        head = [
            (f" {shown.place or '':>{digits}} ", "secondary"),
            (f"{mark.glyph} ", mark.colour),
            (f"{one_line(message.role, 9) or '?':<9} ", ""),
        ]
        if width >= _STEP_FROM:
            head.append((f"{'' if message.step is None else f'step {message.step}':<9} ", "secondary"))
        head.append((f"{tokens(message.tokens):>7}  ", "secondary"))
        note = sign.word if self._compared else ""
        if message.elided and shown.change.kind != "removed":
            note = f"{ELIDED} {one_line(message.elided, 70)}"
        room = max(4, width - width_of(head))
        body = [(f"{note}  ", mark.colour)] if note else []
        body.append((one_line(self._text_of(message).lstrip(), room * 2), "secondary" if note else ""))
        return [*head, *cut(body, room)]


def tokens(count: int | None) -> str:
    """A number of tokens; a dash where nobody counted."""
    return "–" if count is None else f"{count:,}"
