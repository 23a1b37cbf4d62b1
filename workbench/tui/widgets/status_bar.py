"""One line that says how things stand: who drives, which step, the score, time and money, and what went wrong."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace
from rich.cells import cell_len
from textual.content import Content
from textual.widget import Widget

from workbench.tui.actions import keyed
from workbench.tui.text import printable, wrapped

_MOST_BELOW = 4
"""Rows that a long message may take."""
_MARGINAL = 7
"""The rank from which on a part goes before others are said shorter."""


class Part(msgspec.Struct, frozen=True):
    """A piece of the status line. What has the lowest `rank` stays when there is no room for all."""

    text: str
    style: str = "$foreground 85%"
    rank: int = 5
    flexible: bool = False
    """It may be cut rather than left out."""
    short: str = ""
    """What it says where there is little room."""


class StatusBar(Widget):
    """The parts that fit, in their order."""

    DEFAULT_CSS = """
    StatusBar { height: auto; max-height: 5; background: $panel; color: $foreground; }
    """

    _parts: tuple[Part, ...] = ()
    _below = 0

    def show(self, parts: Sequence[Part]) -> None:
        """Show these parts; nothing is drawn when they are as before."""
        if tuple(parts) != self._parts:
            self._parts = tuple(parts)
            height = len(self._rows()[1])
            self.refresh(layout=height != self._below)
            self._below = height

    @property
    def text(self) -> str:
        """What is shown, with everything that has room."""
        return self.render().plain

    def render(self) -> Content:
        shown, below = self._rows()
        pieces: list[tuple[str, str]] = []
        for index, part in enumerate(shown):
            if index == 0:
                pieces.append((f" {part.text} ", part.style))
            else:
                pieces.append((" " if index == 1 else " │ ", "$foreground 30%"))
                pieces.append((part.text, part.style))
        pieces += [(f"\n {row}", style) for row, style in below]
        return Content.assemble(*pieces)

    def _rows(self) -> tuple[list[Part], list[tuple[str, str]]]:
        """The parts of the first line; and the rows of a message that has no room there, with their style."""
        width = self.size.width
        parts = [part for part in self._parts if part.text]
        shown = fit(parts, width)
        whole = {printable(text) for part in parts for text in (part.text, part.short)}
        if not width or all(part.text in whole for part in shown):
            return shown, []
        long = max((part for part in parts if part.flexible), key=lambda part: len(part.text))
        rows = wrapped(printable(long.text.replace("\n", " ")), width - 2)
        if len(rows) > _MOST_BELOW:
            more = keyed("{app.messages} shows all of it")
            rows[_MOST_BELOW - 1 :] = [f"{rows[_MOST_BELOW - 1][: width - 30]} … ({more})"]
        return fit([part for part in parts if part is not long], width), [(row, long.style) for row in rows]


def fit(parts: Sequence[Part], width: int) -> list[Part]:
    """The parts that have room, in their order. What is shown for its own sake alone goes first, then words that can be
    said shorter, then what is least needed.
    """
    clean = [replace(part, text=printable(part.text)) for part in parts]
    while len(clean) > 1 and _width(clean) > width:
        last = max(clean, key=lambda part: part.rank)
        if last.rank < _MARGINAL and any(part.short for part in clean):
            clean = [replace(part, text=printable(part.short) or part.text, short="") for part in clean]
            continue
        if last.flexible and cell_len(last.text) > 12:
            break
        clean.remove(last)
    over = _width(clean) - width
    if over > 0:
        for index, part in enumerate(clean):
            if part.flexible:
                text = part.text[: max(1, len(part.text) - over - 1)] + "…"
                clean[index] = replace(part, text=text)
                break
    return clean


def _width(parts: Sequence[Part]) -> int:
    return sum(cell_len(part.text) for part in parts) + 2 + max(0, len(parts) - 1) * 3
