"""The table of runs at home, and that of tasks: columns as they have room, one row under the cursor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from rich.cells import set_cell_size
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.widget import Widget

from workbench.library.columns import COLUMNS, Column, fit, fitting, score
from workbench.library.listing import Listing, TaskStanding
from workbench.library.notes import NONE
from workbench.session.run import Run
from workbench.tui.text import one_line
from workbench.tui.widgets.row_list import Piece, RowList

_MARKS = 4
"""Columns in front of a row: its mark, and its star."""
_MEASURED = 120
"""Rows that the widths of columns are taken from."""


class Header(Widget):
    """The names of the columns."""

    DEFAULT_CSS = "Header { height: 1; background: $panel; color: $foreground 70%; text-style: bold; }"

    def __init__(self, text: Callable[[], str]) -> None:
        super().__init__()
        self._text = text

    def render(self) -> Content:
        return Content(self._text())


class Table(RowList):
    """What both tables have in common."""

    class Opened(Message):
        """A row was clicked twice."""

    def on_focus(self) -> None:
        self.post_message(self.Moved())

    def on_click(self, event: Click) -> None:
        if event.chain == 2:
            self.post_message(self.Opened())


class RunTable(Table):
    """The runs of a listing. `marked` are the paths of those that are marked."""

    def __init__(self, listing: Listing, marked: Collection[str], *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._listing, self._marked = listing, marked
        self._fitted: tuple[int, list[tuple[int, int]]] = (-1, [])

    @property
    def row_count(self) -> int:
        return len(self._listing.rows)

    @property
    def run(self) -> Run | None:
        """The run under the cursor; none of a heading."""
        rows = self._listing.rows
        return rows[self.cursor].run if self.cursor < len(rows) else None

    def show_rows(self) -> None:
        """The listing is another: the cursor stays on its run, where that is still there."""
        before = self.run_before
        rows = self._listing.rows
        found = next((place for place, row in enumerate(rows) if row.run and row.run.path == before), None)
        self.cursor = found if found is not None else max(0, min(self.cursor, len(rows) - 1))
        self._fitted = (-1, [])
        self.rows_changed(0)
        self.refresh()

    run_before = ""
    """The path of the run that the person last moved to."""

    def chosen(self, row: int) -> None:
        super().chosen(row)
        self.run_before = self.run.path if self.run is not None else ""

    def go_to(self, path: str) -> None:
        """Put the cursor on a run."""
        self.run_before = path
        self.show_rows()
        self.post_message(self.Moved())

    def _columns(self) -> list[tuple[int, int]]:
        """Which columns have room, and how wide they are."""
        width = self.scrollable_content_region.width
        if self._fitted[0] != width:
            first = max(0, self.scroll_offset.y - _MEASURED // 2)
            rows = [row.run for row in self._listing.rows[first : first + _MEASURED] if row.run is not None]
            cells = [[column.text(run) for column in COLUMNS] for run in rows]
            cells.append([f"{column.name}▼" if column.name == self._listing.column else "" for column in COLUMNS])
            self._fitted = (width, fitting(cells, COLUMNS, max(20, width - _MARKS)))
        return self._fitted[1]

    def header(self) -> str:
        """The names of the columns, with the one that the list is sorted by marked."""
        names = [" " * _MARKS]
        for place, width in self._columns():
            column = COLUMNS[place]
            sign = ""
            if column.name == self._listing.column:
                sign = "▼" if column.descending != self._listing.backwards else "▲"
            names.append(_cell(f"{column.name[: width - len(sign)]}{sign}", width, column) + "  ")
        return "".join(names)

    def row_pieces(self, row: int, width: int) -> list[Piece]:
        line = self._listing.rows[row]
        if line.run is None:
            sign = "▸" if line.group in self._listing.folded else "▾"
            return [(fit(f" {sign} {one_line(line.text)}", width), "primary")]
        run = line.run
        marks = ("◆" if run.path in self._marked else " ") + ("★" if self._starred(run) else " ")
        pieces = [(f" {marks} ", "warning")]
        for index, (place, wide) in enumerate(self._columns()):
            column = COLUMNS[place]
            text = column.text(run)
            if not index and line.level:
                text = f"{'  ' * (line.level - 1)}└ {text}"
            pieces.append((_cell(text, wide, column) + "  ", _colour(column, run)))
        return pieces

    def _starred(self, run: Run) -> bool:
        return self._listing.notes.get(run.path, NONE).starred


class TaskLine(NamedTuple):
    """A task, and how its runs stand."""

    name: str
    standing: TaskStanding
    known: bool
    """It is one of this machine's tasks, and can be started."""


class TaskTable(Table):
    """The tasks of this machine, and those that there are runs of."""

    @property
    def line(self) -> TaskLine | None:
        """The task under the cursor."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    def show_tasks(self, tasks: Sequence[TaskLine]) -> None:
        self.rows = tasks
        self.cursor = max(0, min(self.cursor, len(tasks) - 1))
        self.rows_changed(0)

    def header(self) -> str:
        return self._line("task", "runs", "metric", "baseline", "people", "models")

    def _line(self, task: str, *numbers: str) -> str:
        room = max(12, self.scrollable_content_region.width - 1 - 11 * len(numbers))
        return fit(f" {task}", room) + "".join(f" {set_cell_size(f'{each:>10}', 10)}" for each in numbers)

    def row_pieces(self, row: int, width: int) -> list[Piece]:
        line: TaskLine = self.rows[row]
        task, runs, metric, baseline, *best = line.standing
        name = f"{task}  {line.name}" if line.name else task
        scores = (score(baseline), *(score(run.best if run else None) for run in best))
        text = self._line(one_line(name), str(runs), one_line(metric, 10), *scores)
        return [(text, "" if line.known else "secondary")]


def _cell(text: str, width: int, column: Column) -> str:
    return fit(one_line(text), width, right=column.right)


def _colour(column: Column, run: Run) -> str:
    if column.name == "status":
        good = run.live or run.category == "Success"
        return "success" if good else "error" if run.status == "damaged" else "warning"
    if column.name == "best" and run.against in ("better", "worse"):
        return "success" if run.against == "better" else "warning"
    return ""
