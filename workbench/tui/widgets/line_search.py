"""Finding text in lines: plain data, no widget."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

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
