"""The scrollback: the only place where rows live on after they left the screen."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from workbench.tui.terminal.engine import PLAIN, CellStyle, Row, Run

MAX_LINES = 50_000


class Ring:
    """Rows that scrolled off, the newest `max_lines` of them.

    A row without any styling is kept as its bare string, because floods are made of those.
    `appended` counts every row ever added, so `first` is a stable number of the oldest row kept.
    """

    def __init__(self, max_lines: int = MAX_LINES) -> None:
        self._rows: deque[str | Row] = deque(maxlen=max_lines)
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
        self.appended += 1

    def extend_text(self, lines: list[str], style: CellStyle = PLAIN) -> None:
        """Add many lines of one style."""
        rows: Iterable[str | Row] = lines if style == PLAIN else ((Run(line, style),) for line in lines)
        self._rows.extend(rows)
        self.appended += len(lines)

    def row(self, index: int) -> Row:
        """The row at `index`, 0 being the oldest kept."""
        row = self._rows[index]
        return (Run(row, PLAIN),) if isinstance(row, str) else row

    def text(self, index: int) -> str:
        row = self._rows[index]
        return row if isinstance(row, str) else "".join(run.text for run in row)

    def clear(self) -> None:
        self._rows.clear()
