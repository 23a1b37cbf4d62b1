"""The scrollback: the only place where rows live on after they left the screen."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from rich.style import Style

from workbench.tui.terminal.engine import PLAIN, Row, Run

MAX_LINES = 50_000
MAX_RUNS = 150_000
"""Styled pieces kept in all; fifty thousand rows of many colours each would take hundreds of megabytes."""


class Ring:
    """Rows that scrolled off, the newest `max_lines` of them (fewer when they are of many colours).

    A row without any styling is kept as its bare string, because floods are made of those.
    `appended` counts every row ever added, so `first` is a stable number of the oldest row kept.
    """

    def __init__(self, max_lines: int = MAX_LINES, max_runs: int = MAX_RUNS) -> None:
        self._rows: deque[str | Row] = deque()
        self._max_lines, self._max_runs = max_lines, max_runs
        self._runs = 0
        self.appended = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def first(self) -> int:
        """Number of the oldest row kept, counting from the first row ever added."""
        return self.appended - len(self._rows)

    def append(self, row: Row) -> None:
        """Add a styled row."""
        if not row:
            self._rows.append("")
        elif len(row) == 1 and row[0].style == PLAIN:
            self._rows.append(row[0].text)
        else:
            self._rows.append(row)
            self._runs += len(row)
        self.appended += 1
        self._evict()

    def extend_text(self, lines: list[str], style: Style = PLAIN) -> None:
        """Add many lines of one style."""
        if style == PLAIN:
            self._rows.extend(lines)
        else:
            self._rows.extend((Run(line, style),) for line in lines)
            self._runs += len(lines)
        self.appended += len(lines)
        self._evict()

    def _evict(self) -> None:
        rows = self._rows
        while len(rows) > self._max_lines or self._runs > self._max_runs:
            row = rows.popleft()
            if not isinstance(row, str):
                self._runs -= len(row)

    def row(self, index: int) -> Row:
        """The row at `index`, 0 being the oldest kept."""
        row = self._rows[index]
        return (Run(row, PLAIN),) if isinstance(row, str) else row

    def texts(self) -> Iterator[str]:
        """The text of all rows, oldest first."""
        return (row if isinstance(row, str) else "".join(run.text for run in row) for row in self._rows)

    def clear(self) -> None:
        """Forget all rows. Their numbers stay used."""
        self._rows.clear()
        self._runs = 0
