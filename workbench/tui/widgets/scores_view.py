"""The score ledger: every validate and submit, what of the artifact changed since the one before, best and last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from workbench.library.columns import fit, fitting, text_columns
from workbench.library.ledger import FITTED, HEADINGS, Read, cells, change_of, difference
from workbench.session.events import AGAINST
from workbench.session.scores import Entry, ledger
from workbench.session.state import SessionState
from workbench.tui.actions import bindings_of, keyed
from workbench.tui.text import one_line
from workbench.tui.widgets.line_view import Line, LineMark, PanelView, add_compared
from workbench.tui.widgets.row_list import Piece, RowList
from workbench.tui.workers import work_on

_MUTED = "$foreground 55%"
_COLUMNS = text_columns(HEADINGS, **FITTED)


class ScoreRows(RowList):
    """The lines of the ledger."""

    def __init__(self, state: SessionState) -> None:
        super().__init__(id="score-rows")
        self._state = state
        self.cells: list[list[str]] = []

    def row_pieces(self, row: int, width: int) -> list[Piece]:
        entry: Entry = self.rows[row]
        last = row == len(self.rows) - 1
        sign, colour = ("*", "success") if entry.best else (">", "primary") if last else (" ", "secondary")
        text = "  ".join(
            fit(one_line(self.cells[row][at], 200), room, right=_COLUMNS[at].right) for at, room in self._room(width)
        )
        return [(f"{sign} ", colour), (text, "error" if entry.recorded.verdict != "ok" else "")]

    def heading(self, width: int) -> str:
        """The names of the columns."""
        return "  " + "  ".join(fit(HEADINGS[at], room, right=_COLUMNS[at].right) for at, room in self._room(width))

    def _room(self, width: int) -> list[tuple[int, int]]:
        return fitting(self.cells, _COLUMNS, max(10, width - 2))


class ScoresView(Vertical):
    """A line of totals, the ledger, and below it what changed in the artifact of the line under the cursor."""

    DEFAULT_CSS = """
    ScoresView > #score-totals, ScoresView > #score-heading { height: 1; color: $foreground 75%; }
    ScoresView > #score-heading { color: $foreground 55%; }
    ScoresView > ScoreRows { height: 1fr; }
    ScoresView > #score-change { display: none; height: 1fr; border-top: solid $border-blurred; }
    ScoresView.-changed > #score-change { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings_of(
        {"scores.change": "change", "scores.go": "go", "scores.submit": "screen.do('session.submit_best')"}
    )

    def __init__(self, state: SessionState, read: Read, go: Callable[[int], None]) -> None:
        """`go` shows a step of the session."""
        super().__init__(id="scores")
        self._state, self._read, self._go = state, read, go
        self._key: tuple[object, ...] = ()
        self.rows = ScoreRows(state)
        self.change = PanelView(id="score-change")
        self._totals = Static("", id="score-totals", markup=False)
        self._heading = Static("", id="score-heading", markup=False)

    def compose(self) -> ComposeResult:
        yield self._totals
        yield self._heading
        yield self.rows
        yield self.change

    def show(self) -> None:
        """Show the ledger as it is now; nothing is drawn when it is as before."""
        state = self._state
        key = (len(state.scores_until()), len(state.sealed), state.limits.validates, state.validations, self.size.width)
        if key != self._key:
            self._key = key
            work_on(self, self._load, group="scores", exclusive=True)

    async def _load(self) -> None:
        entries = ledger(self._state)
        changes = await asyncio.to_thread(lambda: [change_of(entry, self._read) for entry in entries])
        at_end = self.rows.cursor >= self.rows.row_count - 1
        self.rows.rows = entries
        self.rows.cells = [cells(entry, change, self._state) for entry, change in zip(entries, changes, strict=True)]
        self.rows.rows_changed(0)
        self._totals.update(Content(f" {one_line(totals(self._state), 300)}"))
        self._heading.update(Content(self.rows.heading(self.rows.size.width) if entries else ""))
        if at_end and entries:
            self.rows.cursor = len(entries) - 1
            self._show_change()

    def on_resize(self) -> None:
        self.show()

    @property
    def title(self) -> str:
        """For the border."""
        return "Scores"

    @property
    def subtitle(self) -> str:
        """For the lower border: the keys."""
        return keyed("{scores.change} what changed · {scores.go} its step · {scores.submit} submits the best")

    @property
    def text(self) -> str:
        """For copying."""
        return "\n".join("\t".join(row) for row in (HEADINGS, *self.rows.cells))

    @on(ScoreRows.Moved)
    def _show_change(self) -> None:
        if self.has_class("-changed") and self.rows.rows:
            work_on(self, self._load_change, self.rows.rows[self.rows.cursor], group="change", exclusive=True)

    async def _load_change(self, entry: Entry) -> None:
        found = await asyncio.to_thread(difference, entry, self._read)
        lines: list[Line] = []
        marks: dict[int, LineMark] = {}
        if found is None or entry.recorded.artifact is None:
            lines.append(Content.styled("(no text that could be compared)", _MUTED))
        elif all(line.mark == " " for line in found):
            lines.append(Content.styled("(the same as before)", _MUTED))
        else:
            add_compared(lines, marks, found)
        self.change.show(lines, marks=marks)
        self.change.go_to(min(marks, default=1))

    def action_change(self) -> None:
        """What changed in the artifact since the one before; once more closes it."""
        self.toggle_class("-changed")
        self._show_change()

    def action_go(self) -> None:
        """Show the step of the line under the cursor."""
        if self.rows.rows:
            self._go(self.rows.rows[self.rows.cursor].recorded.step)


def totals(state: SessionState) -> str:
    """Best and last, the baseline, and how many validations are left."""
    from workbench.text import many, number

    found = state.final_scores()
    if found.last is None:
        parts = [f"{many(len(state.sealed), 'score')} hidden until the end" if state.sealed else "nothing was scored"]
    else:
        parts = [
            f"{found.metric or 'score'}: * best {number(found.best)} {AGAINST[found.against_baseline]}".rstrip(),
            f"> last {number(found.last)}",
        ]
    parts += [f"baseline {number(found.baseline)}"] if found.baseline is not None else []
    if (limit := state.limits.validates) is not None:
        parts.append(f"{many(max(0, limit - state.validations), 'validation')} left of {limit}")
    return " · ".join(parts)
