"""Runs side by side: the list of their steps, aligned, and below it what they did at the row under the cursor."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from workbench.analysis.aligning import LETTERS, Divergence, Row, align, first_divergence, plots
from workbench.formats.open import open_recording
from workbench.library.columns import fit
from workbench.session.diff import runs
from workbench.session.events import AGAINST
from workbench.session.outcome import Failures, verdict
from workbench.session.recording import RecordingError
from workbench.session.state import SessionState, Step
from workbench.tui import words
from workbench.tui.actions import COMPARE, bindings_of, keyed
from workbench.tui.diffs import run_differences, shown
from workbench.tui.own_app import OwnApp
from workbench.tui.screens.help import HelpScreen
from workbench.tui.source import RecordedSource
from workbench.tui.text import one_line, split_lines
from workbench.tui.widgets.line_view import CHANGED, Line, LineMark, LineView
from workbench.tui.widgets.proposal import prompted
from workbench.tui.widgets.row_list import Chooser, Piece
from workbench.tui.workers import work_on

_NAME = 16
"""Characters of the end of a run's name, which is where runs of one task differ."""
_MOST_LINES = 20_000
"""Observations of more lines are shown without marks where they differ."""
_MUTED = "$foreground 55%"


class Compared:
    """The runs, read and aligned."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.sources = [RecordedSource(open_recording(path)) for path in paths]
        self.states: list[SessionState] = [source.state for source in self.sources]
        self.failures = [Failures(state) for state in self.states]
        self.rows = align(self.states)
        self.parting: Divergence | None = first_divergence(self.states, self.rows)

    def differs(self, place: int) -> bool:
        """Whether the runs do something else in a row; also where they first part."""
        return self.rows[place].sameness != "same" or (self.parting is not None and self.parting.row == place)

    def headings(self) -> list[Content]:
        """A line for each run: what it is, and what came of it."""
        lines = []
        for letter, source in zip(LETTERS, self.sources, strict=False):
            state, found, scores = source.state, verdict(source.state), source.state.final_scores()
            started = state.started
            name = one_line((started.session if started else "") or source.name, 200)
            facts = [
                name if len(name) <= _NAME else f"…{name[1 - _NAME :]}",
                (started.model or started.agent) if started else "",
                found.exit_status or "not ended",
                f"{state.last_step} steps",
                f"best {words.number(scores.best)} {AGAINST[scores.against_baseline]}".rstrip()
                if scores.best is not None
                else "no score",
                words.money(state.cost) if state.cost else "",
                started.task if started else "",
            ]
            text = " · ".join(one_line(fact, 80) for fact in facts if fact)
            lines.append(Content.assemble((f" {letter} ", "bold $primary"), text))
        parting = self.parting.text if self.parting else "the runs are the same to their ends"
        return [*lines, Content.styled(f" {parting}", "bold $warning")]


class RunRows(Chooser):
    """The aligned steps, a column for each run."""

    compared: Compared | None = None

    def row_pieces(self, row: int, width: int) -> list[Piece]:
        compared = self.compared
        assert compared is not None
        entry = compared.rows[row]
        first = compared.parting is not None and compared.parting.row == row
        glyph, colour = (">", "error") if first else _SIGNS[entry.sameness]
        column = (width - 2) // len(entry.steps)
        pieces = [(f" {glyph}", colour)]
        for place, number in enumerate(entry.steps):
            if number is None:
                pieces.append((" " * column, ""))
                continue
            step, failed = compared.states[place].steps[number], compared.failures[place].at(number)
            sign = words.outcome(step, failed)
            score = "" if step.score is None else f" {words.number(step.score)}"
            room = max(4, column - 8 - len(score))
            text = fit(one_line(step.action.strip(), room * 2), room)
            pieces += [(f"{number:>4} ", "secondary"), (text, ""), (f" {sign.glyph or ' '}", sign.colour)]
            pieces.append((f"{score} ", "primary"))
        return pieces


_SIGNS = {"same": ("=", "secondary"), "alike": ("~", "warning"), "": (" ", "secondary")}


class CompareScreen(Screen[None]):
    """`paths`: two or more sessions, as `replay` opens them; the others are aligned to the first."""

    CSS_PATH: ClassVar[str | Path] = "compare.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_of({"compare.next": "difference(1)", "compare.previous": "difference(-1)", "compare.pair": "pair"}),
        *bindings_of({"compare.actions": "look('actions')", "compare.outputs": "look('observations')"}),
        *bindings_of({"compare.files": "look('files')", "compare.plot": "look('plot')"}),
        *bindings_of({"compare.focus": "app.focus_next", "app.help": "help"}),
        Binding("escape,q", "leave", "Leave", show=False, id="dialog.leave"),
    ]
    AUTO_FOCUS = "#rows"

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self.paths = list(paths)
        self.compared: Compared | None = None
        self.looking = "actions"
        self._pairs = list(combinations(range(len(self.paths)), 2))
        """The two runs whose files and observations are compared come first."""

    def compose(self) -> ComposeResult:
        yield Static(" reading …", id="heading", markup=False)
        self.rows = RunRows(id="rows")
        yield self.rows
        yield Static("", id="title", markup=False)
        self.texts = [LineView(id=f"text-{number}") for number in range(len(self.paths))]
        with Horizontal(id="texts"):
            yield from self.texts
        yield Static(
            keyed(
                " {lines.down} {lines.up} rows  {compare.next} {compare.previous} differences"
                "  {compare.actions} actions {compare.outputs} observations {compare.files} files {compare.plot} plot"
                + (" {compare.pair} pair" if len(self.paths) > 2 else "")
                + "  {app.help} {dialog.leave}"
            ),
            id="keys",
            markup=False,
        )

    def on_mount(self) -> None:
        work_on(self, self._read, group="read")

    def on_resize(self) -> None:
        if self.looking == "plot":
            self._show()

    async def _read(self) -> None:
        heading = self.query_one("#heading", Static)
        try:
            self.compared = self.rows.compared = await asyncio.to_thread(Compared, self.paths)
        except (RecordingError, OSError, ValueError) as error:
            said = "\n".join(f" {one_line(line, 500)}" for line in (str(error), getattr(error, "hint", "")) if line)
            heading.styles.text_wrap = "wrap"
            heading.update(Content.styled(said, "bold $error"))
            return
        heading.update(Content("\n").join(self.compared.headings()))
        self.rows.rows = self.compared.rows
        self.rows.rows_changed(0)
        self.go_to(self.compared.parting.row if self.compared.parting is not None else 0)

    # -- where we are ------------------------------------------------------------------------------------------------

    def go_to(self, row: int) -> None:
        """Put the cursor on a row, and show what was done there."""
        if self.compared is not None and self.compared.rows:
            self.rows.cursor = max(0, min(row, len(self.compared.rows) - 1))
            self._show()

    @on(RunRows.Chosen)
    def _chosen(self, message: RunRows.Chosen) -> None:
        self.go_to(message.row)

    def action_difference(self, direction: int) -> None:
        compared, here = self.compared, self.rows.cursor
        if compared is None:
            return
        order = range(here + 1, len(compared.rows)) if direction > 0 else range(here - 1, -1, -1)
        found = next((row for row in order if compared.differs(row)), None)
        if found is not None:
            self.go_to(found)

    def action_look(self, what: str) -> None:
        self.looking = what
        self._show()

    def action_pair(self) -> None:
        """The next two runs."""
        self._pairs.append(self._pairs.pop(0))
        self._show()

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen(COMPARE))

    def action_leave(self) -> None:
        self.dismiss(None)

    # -- what is shown -----------------------------------------------------------------------------------------------

    def _show(self) -> None:
        compared = self.compared
        if compared is None:
            return
        row = compared.rows[self.rows.cursor]
        names = ("–" if number is None else str(number) for number in row.steps)
        steps = " · ".join(f"{letter} {name}" for letter, name in zip(LETTERS, names, strict=False))
        of = " and ".join(LETTERS[place] for place in self._pairs[0])
        of = f" of {of}" if len(self.paths) > 2 and self.looking in ("files", "observations") else ""
        self.query_one("#title", Static).update(f" {self.looking}{of}: {steps}")
        alone = self.looking in ("files", "plot")
        for view in self.texts[1:]:
            view.display = not alone
        if alone:
            work_on(self, self._show_late, row, group="late", exclusive=True)
            return
        self.workers.cancel_group(self, "late")
        texts = [
            _text(state.steps[number] if number is not None else None, self.looking)
            for state, number in zip(compared.states, row.steps, strict=True)
        ]
        both = self.looking == "observations" and all(row.steps[place] is not None for place in self._pairs[0])
        marks = _marks(texts, *self._pairs[0]) if both else [{} for _ in texts]
        for view, lines, marked in zip(self.texts, texts, marks, strict=True):
            view.wrap = self.looking == "actions"
            view.show(lines, marks=marked)

    async def _show_late(self, row: Row) -> None:
        """What takes a while, and the whole width."""
        compared = self.compared
        assert compared is not None
        if self.looking == "plot":
            height = max(8, self.texts[0].size.height - 1)
            drawn = await asyncio.to_thread(plots, compared.states, max(60, self.size.width - 4), height)
            self.texts[0].show(list(drawn))
            return
        pair = self._pairs[0]
        last = [_until(compared.rows, self.rows.cursor, place) for place in pair]
        sources = [compared.sources[place] for place in pair]
        sides = [(source.state, source.file_bytes, step) for source, step in zip(sources, last, strict=True)]
        pairs = await asyncio.to_thread(run_differences, sides[0], sides[1])
        lines = await asyncio.to_thread(shown, pairs)
        names, steps = (" and ".join(map(str, each)) for each in ((LETTERS[place] for place in pair), last))
        nothing: list[Line] = [Content.styled(f"({names} have no file that differs, as of steps {steps})", _MUTED)]
        self.texts[0].show(lines or nothing)


def _until(rows: Sequence[Row], place: int, run: int) -> int:
    """The last step of a run up to a row."""
    return next((number for row in rows[place::-1] if (number := row.steps[run]) is not None), 0)


def _text(step: Step | None, what: str) -> list[Line]:
    """What a step said and did, or what came back."""
    if step is None:
        return [Content.styled("(no such step)", _MUTED)]
    if what == "observations":
        return list(split_lines(step.observation)) or [Content.styled("(no output)", _MUTED)]
    thought: list[Line] = [Content.styled(line, "$foreground 75%") for line in split_lines(step.thought.strip())]
    return [*thought, *([""] if thought else []), *prompted(step.action)]


def _marks(texts: Sequence[Sequence[Line]], one: int, other: int) -> list[dict[int, LineMark]]:
    """The lines that two of the texts do not have in common."""
    marks: list[dict[int, LineMark]] = [{} for _ in texts]
    a, b = ([str(line) for line in texts[place]] for place in (one, other))
    if len(a) + len(b) <= _MOST_LINES:
        for same, i, j, k, m in runs(a, b):
            if not same:
                marks[one].update(dict.fromkeys(range(i + 1, j + 1), CHANGED))
                marks[other].update(dict.fromkeys(range(k + 1, m + 1), CHANGED))
    return marks


class CompareApp(OwnApp[None]):
    """The screen on its own."""

    ENABLE_COMMAND_PALETTE = False

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self.paths = list(paths)

    def on_mount(self) -> None:
        self.push_screen(CompareScreen(self.paths), lambda _: self.exit())
