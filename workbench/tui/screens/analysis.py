"""Models and tasks compared: profiles, and a table from which every number leads to its runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import ClassVar

from msgspec.structs import replace
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import DataTable, OptionList, Static

from workbench.analysis.output import cell
from workbench.analysis.plot import plot_profiles
from workbench.analysis.scores import Which, competitor
from workbench.analysis.summary import Analysis, Question, analyze, held
from workbench.analysis.training import MOST, Curves, apart, curves_of, names_of, plot_curves
from workbench.library.index import runs
from workbench.session.run import Run
from workbench.text import many
from workbench.tui.actions import ANALYSIS, bindings_of, keyed
from workbench.tui.screens.help import HelpScreen
from workbench.tui.text import one_line
from workbench.tui.workers import work_on

_SAMPLES = 200
"""Of the bootstrap: enough for two digits, and quick."""
_AUP = "AUP"
_ACTIONS = ("which", "model", "task", "curves", "metric", "all", "tampered")
_REST_SECONDS = 0.15
_LOW = 18
"""Lines of a screen below which the profiles are left out."""


class AnalysisScreen(Screen[None]):
    """`folders`: where the runs are; `only`: the paths of those that count. `open_run` opens one at a step."""

    CSS_PATH: ClassVar[str | Path] = "analysis.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_of({f"analysis.{name}": name for name in _ACTIONS}),
        *bindings_of({"app.help": "help"}),
        Binding("escape,q", "leave", "Leave", show=False, id="dialog.leave"),
    ]
    AUTO_FOCUS = "DataTable"

    def __init__(
        self, folders: Sequence[Path], open_run: Callable[[Run, int], None], only: Collection[str] | None = None
    ) -> None:
        super().__init__()
        self._folders, self._open_run, self._only = list(folders), open_run, only
        self._runs: list[Run] = []
        self._listed: list[Run] = []
        self._question = Question(samples=_SAMPLES)
        self.which: Which = "best"
        self.analysis: Analysis | None = None
        self._curves: dict[str, Curves] | None = None
        """Of the runs that the cursor was on, by their paths; None: the profiles are shown."""
        self._metric = 0
        """Which of their metrics."""

    def compose(self) -> ComposeResult:
        yield Static(" reading …", id="heading", markup=False)
        yield Static("", id="profile", markup=False)
        self.table: DataTable[Text] = DataTable(cursor_type="cell", zebra_stripes=True, fixed_columns=1)
        yield self.table
        self.list = OptionList(id="runs", markup=False)
        yield self.list
        yield Static(
            keyed(
                " enter runs  {analysis.which} best/last  {analysis.model} model  {analysis.task} task"
                "  {analysis.curves} curves  {analysis.all} all  {analysis.tampered} tampered  {app.help}"
            ),
            id="keys",
            markup=False,
        )

    def on_mount(self) -> None:
        work_on(self, self._read, group="read")

    def on_resize(self) -> None:
        self._draw()

    async def _read(self) -> None:
        heading = self.query_one("#heading", Static)

        def read() -> list[Run]:
            found = []
            for run in runs(self._folders, whole=True):
                if self._only is None or run.path in self._only:
                    found.append(run)
                if len(found) % 50 == 0:
                    self.app.call_from_thread(heading.update, f" reading: {len(found)} runs …")
            return found

        self._runs = await asyncio.to_thread(read)
        await self._analyze()

    async def _analyze(self) -> None:
        self.analysis = await asyncio.to_thread(analyze, self._runs, self._question)
        self._show()

    # -- what is shown -------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        analysis = self.analysis
        if analysis is None:
            return
        lines = [held(analysis)]
        if analysis.warnings:
            lines.append(f"{many(len(analysis.warnings), 'warning')}: {analysis.warnings[0]}")
        if not analysis.runs:
            lines.append("nothing can be compared: run something, or open home on a folder with runs")
        self.query_one("#heading", Static).update("\n".join(one_line(line, self.size.width - 2) for line in lines))
        side = analysis.sides[self.which]
        place = self.table.cursor_coordinate
        self.table.clear(columns=True)
        first = f"task ({self.which})"
        widest = max(len(first), *(len(one_line(task, 30)) for task in side.scores.tasks), len(_AUP))
        # Told, and not measured by the table: what is added in one go may be drawn before that.
        self.table.add_column(first, key="task", width=widest)
        for name in [*analysis.models, "baseline"]:
            self.table.add_column(Text(one_line(name, 24), justify="right"), key=name)
        if side.scores.tasks:
            self.table.add_row(
                Text(_AUP), *(Text(cell(side.aup[name]), "bold", justify="right") for name in side.scores.competitors())
            )
        for task in side.scores.tasks:
            values = [side.scores.value(task, name) for name in side.scores.competitors()]
            known = [value for value in values if value == value]
            best = (max if side.scores.measures[task].maximize else min)(known) if known else None
            self.table.add_row(
                Text(one_line(task, 30)),
                *(Text(cell(value) + (" ◆" if value == best else ""), justify="right") for value in values),
            )
        if self.table.row_count:
            self.table.move_cursor(row=min(place.row, self.table.row_count - 1), column=max(1, place.column))
        self._draw()

    def _draw(self) -> None:
        profile = self.query_one("#profile", Static)
        profile.display = self.size.height >= _LOW or self._curves is not None
        analysis = self.analysis
        if analysis is None or not profile.display or not analysis.sides[self.which].scores.tasks:
            return
        width, height = self.size.width - 2, profile.size.height or self.size.height // 2 - 3
        work_on(self, self._draw_late, analysis, width, height, group="draw", exclusive=True)

    async def _draw_late(self, analysis: Analysis, width: int, height: int) -> None:
        known = self._curves
        if known is None:
            drawn = await asyncio.to_thread(plot_profiles, analysis, self.which, width, height)
        else:
            self.query_one("#profile", Static).update("reading …")
            await asyncio.sleep(_REST_SECONDS)  # until the cursor stands still
            drawn = await asyncio.to_thread(self._training, known, self._behind(), width, height)
        self.query_one("#profile", Static).update(drawn)

    def _training(self, known: dict[str, Curves], runs: Sequence[Run], width: int, height: int) -> str:
        """In a thread: the curves of runs, and whose they are."""
        shown = runs[:MOST]
        for run in shown:
            if run.path not in known:
                known[run.path] = curves_of(run)
        idents = apart([run.ident for run in shown])
        found = [
            (one_line(f"{competitor(run)} {ident}", 80), known[run.path])
            for run, ident in zip(shown, idents, strict=True)
        ]
        of = ", ".join(filter(None, reversed(self._under_cursor))) or "all runs"
        if len(runs) > MOST:
            of += f": the first {MOST} of {many(len(runs), 'run')}"
        names = names_of(curves for _, curves in found)
        if not names:
            return f"{one_line(of, width)}\nno program of these runs printed a metric more than once"
        place = self._metric % len(names)
        head = f"{of}: metric {place + 1} of {len(names)}"
        return f"{one_line(head, width)}\n{plot_curves(found, names[place], width, height - 1)}"

    # -- what can be done ----------------------------------------------------------------------------------------------

    @property
    def _under_cursor(self) -> tuple[str, str]:
        """Task and competitor; empty for the row of AUP, and for the column of names."""
        analysis = self.analysis
        if analysis is None or not self.table.row_count:
            return "", ""
        row, column = self.table.cursor_coordinate
        tasks = ["", *analysis.sides[self.which].scores.tasks]
        names = ["", *analysis.models, "baseline"]
        return tasks[row], names[column]

    def _behind(self) -> list[Run]:
        """The runs behind the number under the cursor."""
        task, name = self._under_cursor
        analysis = self.analysis
        return [] if analysis is None else [
            run for run in analysis.runs
            if (not task or run.task == task) and (not name or competitor(run, analysis.question.by) == name)
        ]  # fmt: skip

    @on(DataTable.CellHighlighted)
    def _moved(self) -> None:
        if self._curves is not None:
            self._draw()

    def action_curves(self) -> None:
        self._curves = {} if self._curves is None else None
        self._draw()

    def action_metric(self) -> None:
        self._metric += 1
        self._draw()

    @on(DataTable.CellSelected)
    def _list_runs(self) -> None:
        task, name = self._under_cursor
        if self.analysis is None:
            return
        self._listed = self._behind()
        if not self._listed:
            self.notify(f"{name or task} has no run", title="analysis")
            return
        lower = {run.task for run in self._listed if run.direction == "minimize"}
        self._listed.sort(key=lambda run: (run.best is None, (run.best or 0) * (1 if run.task in lower else -1)))
        self.list.clear_options()
        self.list.add_options([_line(run) for run in self._listed])
        self.add_class("-runs")
        self.list.highlighted = 0
        self.list.focus()

    @on(OptionList.OptionSelected)
    def _open(self, message: OptionList.OptionSelected) -> None:
        run = self._listed[message.option_index]
        self._open_run(run, _step_of_best(run))

    def action_which(self) -> None:
        self.which = "last" if self.which == "best" else "best"
        self._show()

    async def _ask(self, question: Question) -> None:
        self._question = question
        await self._analyze()

    async def action_model(self) -> None:
        analysis, (_, name) = self.analysis, self._under_cursor
        if analysis is not None and name in analysis.models and len(analysis.models) > 1:
            await self._ask(replace(self._question, models=[each for each in analysis.models if each != name]))

    async def action_task(self) -> None:
        analysis, (task, _) = self.analysis, self._under_cursor
        if analysis is not None and task and len(analysis.tasks) > 1:
            await self._ask(replace(self._question, tasks=[each for each in analysis.tasks if each != task]))

    async def action_all(self) -> None:
        await self._ask(Question(samples=_SAMPLES))

    async def action_tampered(self) -> None:
        await self._ask(replace(self._question, without_tampered=not self._question.without_tampered))

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen(ANALYSIS))

    def action_leave(self) -> None:
        if self.has_class("-runs"):
            self.remove_class("-runs")
            self.table.focus()
        else:
            self.dismiss(None)


def _line(run: Run) -> str:
    tampered = f"  changed {run.tampered}" if run.tampered else ""
    scores = f"best {cell(run.best)}  last {cell(run.last)}"
    return one_line(
        f"{run.task}  {competitor(run)}  {run.status}  {run.steps} steps  {scores}{tampered}  {run.ident}", 300
    )


def _step_of_best(run: Run) -> int:
    """The step at which its best score came; 0 where it has none."""
    return next((step for step, score in zip(run.scored_at, run.attempts, strict=False) if score == run.best), 0)
