"""Home: all runs below some folders, and the tasks, in one table each. From here sessions are opened and started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Input, Static

from workbench import config
from workbench.errors import WorkbenchError
from workbench.library import notes as library
from workbench.library.columns import COLUMNS, fit
from workbench.library.filter import FilterError
from workbench.library.listing import GROUPINGS, Listing
from workbench.session.run import Run
from workbench.session.socket import ViewKind
from workbench.text import many
from workbench.tui.actions import ACTIONS, BY_ID, HOME, LOOK_ONLY, home_bindings, key_of, keyed
from workbench.tui.screens.finding import Finding
from workbench.tui.screens.noting import Noting
from workbench.tui.screens.view import Ground, fault_in
from workbench.tui.source import SessionSource, source_of
from workbench.tui.text import one_line
from workbench.tui.widgets.key_bar import KeyBar
from workbench.tui.widgets.run_table import Header, RunTable, Table, TaskTable
from workbench.tui.widgets.status_bar import Part, StatusBar
from workbench.tui.workers import work_on

_BAR = ("app.help", "app.quit")
_MOST_MARKED = 9


class HomeScreen(Ground):
    """The browser of runs and tasks."""

    CSS_PATH: ClassVar[str | Path] = "home.tcss"
    BINDINGS: ClassVar[list[BindingType]] = home_bindings()
    AUTO_FOCUS = "#runs"

    def __init__(self, folders: Sequence[Path], *, own: bool = True) -> None:
        """`own`: they are the user's own sessions."""
        super().__init__()
        self.folders = list(folders)
        self._own = own
        self.listing = Listing()
        self.finding = Finding(self.folders, self.listing, self.show)
        self.noting = Noting(self, self.finding, lambda: None if self.on_tasks else self.table.run)
        self.marked: list[str] = []
        """Paths of the runs to compare."""
        self._query = ""

    @property
    def _owner(self) -> Any:
        """The app, as it is known to those that it does not import."""
        return self.app

    def compose(self) -> ComposeResult:
        self.status_bar = StatusBar(id="status")
        self.filter = Input(placeholder="task:blotto status:format score>1.2 or /text/", id="filter", compact=True)
        self.table = RunTable(self.listing, self.marked, id="runs")
        self.tasks = TaskTable(id="tasks")
        self.header, self.tasks_header = Header(self.table.header), Header(self.tasks.header)
        self.header.id, self.tasks_header.id = "runs-header", "tasks-header"
        self.about = Static(id="about", markup=False)
        self.key_bar = KeyBar(id="key-bar")
        yield self.status_bar
        yield self.filter
        yield self.header
        yield self.table
        yield self.tasks_header
        yield self.tasks
        yield Static(id="empty", markup=False)
        yield self.about
        yield self.key_bar

    def on_mount(self) -> None:
        ours = [action for action in ACTIONS if action.bar and (action.group == HOME or action.id in _BAR)]
        self.key_bar.show(sorted(ours, key=lambda action: action.bar))
        self._look()
        self.set_interval(1.0, self._tick, name="clock")
        self.show()
        self.call_after_refresh(setattr, self, "painted", True)

    def on_unmount(self) -> None:
        self.finding.stop()

    def _look(self) -> None:
        work_on(self, self.finding.look, group="look", exclusive=True)

    # -- showing -----------------------------------------------------------------------------------------------------

    @property
    def on_tasks(self) -> bool:
        """The tasks are shown, not the runs."""
        return self.has_class("-tasks")

    def show(self) -> None:
        """Draw the list, after it has changed."""
        if not self.is_mounted:
            return
        self.table.show_rows()
        self.header.refresh()
        empty = not self.listing.rows and not self.on_tasks
        self.set_class(empty, "-empty")
        if empty:
            self.query_one("#empty", Static).update(self._nothing())
        self._show_about()
        self.show_status()

    def _nothing(self) -> str:
        if self.finding.reading:
            return "reading …"
        if self.listing.runs:
            return f"none of {many(len(self.listing.runs), 'run')} meets the filter; {key_of('home.leave')} shows all"
        where = ", ".join(map(str, self.folders))
        if self._own:
            return (
                f"There are no sessions yet in {where}.\n\n"
                f"{key_of('home.tasks'):<8} goes to the tasks: {key_of('home.new')} starts one\n"
                f"{key_of('app.quit'):<8} leaves; `mlgym-tui run battleOfSexes` starts one, too, "
                "and `mlgym-tui tour` shows a recorded one\n\n"
                "`mlgym-tui home DIR` shows the runs below any folder, ours and other programs'."
            )
        what = "Sessions of mlgym-tui and the files that `replay` opens are shown here."
        return f"There are no runs below {where}.\n\n{what}"

    def show_status(self) -> None:
        """Draw the status line."""
        listing = self.listing
        if not self.is_mounted:
            return
        parts = [Part("HOME", "bold $background on $primary", 0)]
        if self.said:
            parts.append(Part(one_line(self.said), "bold $warning", 1, flexible=True))
        if self.on_tasks:
            parts.append(Part(many(self.tasks.row_count, "task"), "$foreground", 2))
        else:
            total = many(len(listing.runs), "run")
            parts.append(
                Part(f"{len(listing.found):,} of {total}" if listing.filter.text.strip() else total, "$foreground", 2)
            )
        if self.finding.reading:
            parts.append(Part("reading …", "$warning", 3))
        if listing.live:
            parts.append(Part(f"● {listing.live} live", "$success", 4))
        if self.marked:
            parts.append(Part(f"◆ {len(self.marked)} marked", "$warning", 4))
        if listing.grouping:
            parts.append(Part(f"by {listing.grouping}", "$foreground 75%", 5))
        parts.append(Part(", ".join(map(str, self.folders)), "$foreground 55%", 6, flexible=True))
        self.status_bar.show(parts)

    @on(Table.Moved)
    def _show_about(self) -> None:
        """What is under the cursor, below the table."""
        if self.on_tasks:
            task = self.tasks.line
            known = keyed("{home.new} starts it, {home.open} tells what it asks for")
            self.about.update("" if task is None else known if task.known else "not on this machine")
            return
        run = self.table.run
        if run is None:
            self.about.update("")
            return
        noted = self.listing.notes.get(run.path, library.NONE)
        rating = noted.rating
        second = [
            f"fork of {run.parent}, step {run.parent_step}" if run.parent else "",
            run.status,
            run.model,
            f"{run.metric}, to {run.direction}" if run.metric else "",
            run.problem,
        ]
        second += [f"{rating:g}/5" if rating is not None else "", *(f"#{tag}" for tag in noted.values("tag"))]
        second += [*noted.values("failure"), *noted.values("comment"), *run.caveats]
        path = fit(one_line(run.path, 5000), self.size.width - 2, keep_end=True)
        self.about.update(f"{path}\n{one_line(' · '.join(filter(None, second)), 1000)}")

    def _tick(self) -> None:
        if self.app.screen is not self:
            return
        self.show_status()
        if self.finding.due:
            self._look()

    def text_to_copy(self) -> str:
        return self.table.run.path if self.table.run is not None else ""

    # -- what the keys do --------------------------------------------------------------------------------------------

    async def action_do(self, action_id: str) -> None:
        """Do an action of the registry."""
        room, _, name = action_id.partition(".")
        if BY_ID[action_id].writes and self._owner.look_only:
            self.say(LOOK_ONLY)
            return
        if room == "app":
            self._owner.do(name)
        else:
            doing = getattr(self.noting, name, None) or getattr(self, f"_do_{name}")
            done = doing()
            if done is not None:
                await done

    @on(Table.Opened)
    async def _do_open(self) -> None:
        rows = self.listing.rows
        if self.on_tasks:
            self._do_task()
        elif self.table.cursor < len(rows) and rows[self.table.cursor].run is None:
            await self._do_fold()
        elif self.table.run is not None:
            self.open_run(self.table.run)

    def open_run(self, run: Run, step: int | None = None, search: str = "") -> None:
        """Open a run, at a step, and search it from there."""
        work_on(self, self._open, run, step, search, group="open", exclusive=True)

    async def _open(self, run: Run, step: int | None, search: str) -> None:
        if run.status == "damaged" and run.problem:
            self.say(f"it cannot be opened: {run.problem}")
            return
        self.say("opening …", 60)
        try:
            kind: ViewKind = "browser" if self.app.is_web else "terminal"
            source = await asyncio.to_thread(
                source_of, Path(run.path), live=run.live, kind=kind, look_only=self._owner.look_only
            )
        except (WorkbenchError, OSError) as error:
            self._owner.ground_say(f"it cannot be opened: {error}")
            return
        self.unsay()
        self.show_status()
        self.table.go_to(run.path)
        await self._owner.open(source, step=step, search=search)

    def open_neighbour(self, offset: int) -> None:
        """Open the run so many below the one that is open."""
        run = self.listing.neighbour(self.table.run_before, offset)
        if run is None:
            self._owner.ground_say(f"this is the {'last' if offset > 0 else 'first'} run of the list")
        else:
            self.open_run(run)

    def _do_filter(self) -> None:
        self.add_class("-filtering")
        self.set_focus(self.filter)

    def _do_leave(self) -> None:
        if self.filter.value:
            self.filter.value = ""
        self.remove_class("-filtering")
        self.set_focus(self.table)

    @on(Input.Changed, "#filter")
    async def _filtered(self, event: Input.Changed) -> None:
        if event.value != self.filter.value:
            return  # somebody types on
        self.unsay()
        try:
            await self.finding.change(lambda listing: listing.look_for(event.value))
        except FilterError as error:
            self.say(str(error), 60)

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self.set_class(bool(self.filter.value), "-filtering")
        self.set_focus(self.table)

    async def _do_sort(self, offset: int = 1) -> None:
        names = [column.name for column in COLUMNS]
        wanted = names[(names.index(self.listing.column) + offset) % len(names)]
        self.say(f"sorted by {wanted}")
        await self.finding.change(lambda listing: listing.sort_by(wanted))

    async def _do_sort_back(self) -> None:
        await self._do_sort(-1)

    async def _do_reverse(self) -> None:
        await self.finding.change(lambda listing: listing.sort_by(listing.column))

    async def _do_group(self) -> None:
        wanted = GROUPINGS[(GROUPINGS.index(self.listing.grouping) + 1) % len(GROUPINGS)]
        await self.finding.change(lambda listing: listing.group_by(wanted))
        if self.table.run is None:
            self.table.action_move(1)  # from the first heading to the run below

    async def _do_fold(self) -> None:
        rows = self.listing.rows
        if self.listing.grouping and self.table.cursor < len(rows):
            group = self.listing.group_of(rows[self.table.cursor])
            await self._fold(frozenset({group}))
            rows = self.listing.rows  # the last run of the group may have gone meanwhile
            places = (place for place, row in enumerate(rows) if row.run is None and row.group == group)
            self.table.cursor = next(places, self.table.cursor)
        else:
            self.say(keyed("{home.group} puts the runs in groups, which {home.fold} folds"))

    async def _do_fold_all(self) -> None:
        await self._fold(frozenset(row.group for row in self.listing.rows if row.run is None))

    async def _fold(self, groups: frozenset[str]) -> None:
        await self.finding.change(lambda listing: listing.fold(groups))

    def _do_refresh(self) -> None:
        self._look()
        self.say("looking again")

    def _do_mark(self) -> None:
        run = self.table.run
        if run is None:
            return
        if run.path in self.marked:
            self.marked.remove(run.path)
        else:
            self.marked.append(run.path)
            del self.marked[:-_MOST_MARKED]
            if len(self.marked) > 1:
                self.say(keyed(f"{len(self.marked)} are marked: {{home.compare}} compares them"))
        self.table.refresh()
        self.show_status()

    def _do_compare(self) -> None:
        if len(self.marked) < 2:
            self.say(keyed("{home.mark} marks the runs to compare: two or more"))
        else:
            from workbench.tui.screens.compare import CompareScreen

            self.app.push_screen(CompareScreen([Path(path) for path in self.marked]))

    def _do_analysis(self) -> None:
        from workbench.tui.screens.analysis import AnalysisScreen

        opened: Callable[[Run, int], None] = self.open_run
        filtered = bool(self.listing.filter.text.strip())
        only = frozenset(run.path for run in self.listing.found) if filtered else None
        self.app.push_screen(AnalysisScreen(self.folders, opened, only))

    # -- tasks -------------------------------------------------------------------------------------------------------

    def _do_tasks(self) -> None:
        if self.on_tasks:
            self.remove_class("-tasks")
            self.set_focus(self.table)
            self.show()
        else:
            self.remove_class("-empty")
            self.add_class("-tasks")
            self.set_focus(self.tasks)
            work_on(self, self._show_tasks, group="tasks", exclusive=True)

    async def _show_tasks(self) -> None:
        from workbench.tui.screens.tasks import task_lines

        lines = await asyncio.to_thread(task_lines, self.listing)
        self.tasks.show_tasks(lines)
        self.tasks_header.refresh()
        self._show_about()
        self.show_status()

    @property
    def _meant(self) -> str:
        """The task under the cursor, or of the run there."""
        if self.on_tasks:
            return self.tasks.line.standing.task if self.tasks.line is not None else ""
        return self.table.run.task if self.table.run is not None else ""

    def _do_task(self) -> None:
        from workbench.tui.screens.help import Reading
        from workbench.tui.screens.tasks import about_task

        task = self._meant
        if task:
            self.app.push_screen(Reading(one_line(task), about_task(task, self.listing)))

    def _do_new(self) -> None:
        task = self._meant
        if task:
            title = f"Start {one_line(task)}: with which model?"
            hint = "scripted:demo, human, openai:NAME, anthropic:NAME, …"
            self.ask(title, hint, self._begin, value=config.settings().model or "scripted:demo", bottom=True)

    def _begin(self, model: str) -> None:
        work_on(self, self._start, self._meant, model.strip(), group="open", exclusive=True)

    async def _start(self, task: str, model: str) -> None:
        from workbench.tui.screens.tasks import start_task

        self.say(f"starting {task} …", 3600)
        try:
            source: SessionSource = await asyncio.to_thread(start_task, task, model, self._owner.sessions)
        except (WorkbenchError, OSError) as error:
            self.say(f"it cannot be started: {error}", 60)
            return
        self.unsay()
        await self._owner.open(source)

    # -- search ------------------------------------------------------------------------------------------------------

    def _do_search(self) -> None:
        title, hint = "Search in these runs", "a regular expression"
        self.ask(title, hint, self._search, value=self._query, bottom=True, check=_checked)

    def _search(self, query: str) -> None:
        from workbench.tui.screens.run_hits import HitsScreen

        if query:
            self._query = query
            self.app.push_screen(HitsScreen(query, self.listing.found, self.open_run))


async def _checked(query: str) -> str:
    from workbench.library.grep import pattern

    return fault_in(pattern, query)
