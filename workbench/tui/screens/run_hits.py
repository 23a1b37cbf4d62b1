"""Where something was found in many runs: hits as they come in, each with its run and step."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import ClassVar

from rich.cells import set_cell_size
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from workbench.library.grep import Hit, grep, pattern
from workbench.session.run import Run
from workbench.text import many
from workbench.tui.actions import keyed
from workbench.tui.text import one_line
from workbench.tui.widgets.row_list import Piece, RowList
from workbench.tui.workers import work_on

_BATCH_SECONDS = 0.1
_MOST = 5000
"""Hits that are shown; whoever has more should look for something else."""


class Hits(RowList):
    """A line for each hit."""

    def row_pieces(self, row: int, width: int) -> list[Piece]:
        hit = self.rows[row]
        who = hit.model.partition(":")[2] or hit.model
        text, room = one_line(hit.text.strip(), 400), width - 52
        place = text.find(one_line(hit.match))
        if place + len(hit.match) > room:  # what was looked for is in view
            text = f"…{text[max(0, min(place - 8, len(text) - room + 1)) :]}"
        return [
            (set_cell_size(f" {one_line(hit.task)}", 20), "primary"),
            (set_cell_size(f" {one_line(who)}", 18), ""),
            (f" {hit.step:>4} {hit.where:<7} ", "secondary"),
            (text, ""),
        ]


class HitsScreen(Screen[None]):
    """Searches runs, and shows what it finds. `open_run` opens one at a step, and searches it for a text."""

    CSS_PATH: ClassVar[str | Path] = "home.tcss"
    AUTO_FOCUS = "#hits"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "leave", show=False, id="dialog.leave"),
        Binding("enter", "open", "open", show=False, id="home.open"),
    ]

    def __init__(self, query: str, runs: Sequence[Run], open_run: Callable[[Run, int, str], None]) -> None:
        super().__init__()
        self._query, self._runs, self._open_run = query, runs, open_run
        self._wanted = pattern(query)
        self.hits: list[Hit] = []
        self.over = False
        self._looked = 0
        self._stop = threading.Event()

    def compose(self) -> ComposeResult:
        self.line = Static(markup=False)
        self.list = Hits(id="hits")
        self.list.rows = self.hits
        yield self.line
        yield self.list
        yield Static(keyed(" {home.open} opens the run at that step · {dialog.leave} goes back"), markup=False)

    def on_mount(self) -> None:
        self._say()
        work_on(self, asyncio.to_thread, self._search, asyncio.get_running_loop(), exclusive=True)

    def on_unmount(self) -> None:
        self._stop.set()

    def _search(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread."""
        batch: list[Hit] = []
        told = time.monotonic()

        def tell(over: bool = False) -> None:
            nonlocal batch, told
            if over or time.monotonic() - told > _BATCH_SECONDS:
                loop.call_soon_threadsafe(self._take, batch, over)
                batch, told = [], time.monotonic()

        def each(_: Run) -> None:
            self._looked += 1
            tell()

        for hit in islice(grep(self._wanted, self._until_left(), tell=each), _MOST):
            batch.append(hit)
            tell()
        if not self._stop.is_set():
            tell(over=True)

    def _until_left(self) -> Iterator[Run]:
        for run in self._runs:
            if self._stop.is_set():
                return
            yield run

    def _take(self, batch: list[Hit], over: bool) -> None:
        first = len(self.hits)
        self.hits.extend(batch)
        self.over = over
        if self.is_mounted:
            self.list.rows_changed(first)
            self._say()

    def _say(self) -> None:
        more = " (the first)" if len(self.hits) >= _MOST else ""
        state = "" if self.over else " …"
        where = f"in {self._looked:,} of {many(len(self._runs), 'run')}"
        if self._wanted.given_up:
            where += f", {many(self._wanted.given_up, 'text')} not to the end: it takes too long on them"
        text = f" /{self._query}/  {many(len(self.hits), 'hit')}{more} {where}"
        self.line.update(Content(one_line(text + state)))

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_open(self) -> None:
        if self.hits:
            self._open(self.hits[self.list.cursor])

    def _open(self, hit: Hit) -> None:
        run = next((run for run in self._runs if run.path == hit.path), None)
        if run is not None:
            self._open_run(run, hit.step, hit.match)
