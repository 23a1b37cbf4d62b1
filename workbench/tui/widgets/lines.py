"""Lines as plain data, without a widget: where their characters stand on the screen, and where a text is found."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from textual.content import Content

from workbench.text import cell_width
from workbench.tui.text import TAB_SIZE, cuts, display_line

LONG_LINE = 10_000
"""A longer line is cut at render: only the part in view is converted, with every character taking one column."""

Line = str | Content


def raw_text(line: Line) -> str:
    return line if isinstance(line, str) else line.plain


class Columns:
    """At which character of the line as drawn (tabs expanded) each character of the raw line stands."""

    def __init__(self, raw: str) -> None:
        self._at: list[int] | None = None
        if "\t" in raw:
            places, column = [0], 0
            for character in raw:
                width = TAB_SIZE - column % TAB_SIZE if character == "\t" else cell_width(character)
                column += width
                places.append(places[-1] + (width if character == "\t" else 1))
            self._at = places

    def __getitem__(self, index: int) -> int:
        return index if self._at is None else self._at[min(index, len(self._at) - 1)]


class Layout:
    """Lines broken at words into rows of a width; each is one row where that is 0. A long line is broken anywhere: it
    is not read for this.
    """

    def __init__(self, lines: Sequence[Line], width: int) -> None:
        self.width = width
        self._lines = lines
        self._kept: tuple[int, list[int]] = (-1, [])
        self._starts: Sequence[int] = [0, *accumulate(map(self._count, lines))] if width else range(len(lines) + 1)

    @property
    def rows(self) -> int:
        return self._starts[-1]

    def row_of(self, index: int, column: int = 0) -> int:
        """The row on which a character of a line stands (`column` counts characters of the line as drawn)."""
        step = self._step(raw_text(self._lines[index]))
        piece = column // step if step else bisect_right(self._cuts(index), column) - 1
        return self._starts[index] + piece

    def at(self, row: int) -> tuple[int, int]:
        """The line on a row, and which of its pieces."""
        index = max(0, bisect_right(self._starts, row) - 1)
        return index, row - self._starts[index]

    def piece(self, index: int, piece: int) -> tuple[int, int | None]:
        """The characters (of the line as drawn) from which to which a piece goes; None is the line's end."""
        step = self._step(raw_text(self._lines[index]))
        if step:
            return piece * step, (piece + 1) * step
        starts = self._cuts(index)
        return starts[piece], starts[piece + 1] if piece + 1 < len(starts) else None

    def _step(self, raw: str) -> int:
        """Characters to a row of a long line; 0 for other lines."""
        if len(raw) <= LONG_LINE or not self.width:
            return 0
        return self.width if raw.isascii() else max(1, self.width // 2)

    def _count(self, line: Line) -> int:
        raw = raw_text(line)
        if len(raw) * 2 + raw.count("\t") * TAB_SIZE <= self.width:
            return 1
        step = self._step(raw)
        return -(-len(raw) // step) if step else len(cuts(display_line(raw), self.width))

    def _cuts(self, index: int) -> list[int]:
        if not self.width:
            return [0]
        if index != self._kept[0]:
            self._kept = (index, cuts(display_line(raw_text(self._lines[index])), self.width))
        return self._kept[1]


MAX_MATCHES = 10_000


class Match(NamedTuple):
    """A place found: 0-based line and character, and the number of characters."""

    line: int
    column: int
    length: int


def compile_query(query: str) -> re.Pattern[str]:
    """A query in lower case finds either case."""
    return re.compile(re.escape(query), 0 if query != query.lower() else re.IGNORECASE)


class Finder:
    """The places found, at most 10,000, and which one is current."""

    def __init__(self) -> None:
        self.matches: list[Match] = []
        self.index = -1
        self._by_line: dict[int, list[Match]] = {}

    def clear(self) -> None:
        self.matches, self.index, self._by_line = [], -1, {}

    def find(self, lines: Iterable[str], pattern: re.Pattern[str]) -> None:
        """Find all places; none of them is current yet."""
        self.clear()
        for number, line in enumerate(lines):
            for found in pattern.finditer(line):
                if found.end() == found.start():
                    continue
                match = Match(number, found.start(), found.end() - found.start())
                self.matches.append(match)
                self._by_line.setdefault(number, []).append(match)
                if len(self.matches) >= MAX_MATCHES:
                    return

    def first_from(self, line: int) -> int:
        """Index of the first match at or below a line, or of the very first."""
        return next((index for index, match in enumerate(self.matches) if match.line >= line), 0)

    def go_to(self, index: int) -> Match | None:
        """Make a match current, counting round at both ends."""
        if not self.matches:
            return None
        self.index = index % len(self.matches)
        return self.matches[self.index]

    @property
    def current(self) -> Match | None:
        return self.matches[self.index] if self.index >= 0 else None

    def on_line(self, line: int) -> list[Match]:
        return self._by_line.get(line, [])
