"""A list of runs as somebody looks at it: filtered, sorted, in groups, forks below what they were forked from."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from copy import copy
from typing import Literal, NamedTuple

import msgspec

from workbench.library.columns import COLUMNS, FIELDS, fields_of
from workbench.library.filter import Filter, parse
from workbench.library.notes import NONE, Notes
from workbench.session.run import Run
from workbench.text import many, number

Grouping = Literal["", "task", "model"]
GROUPINGS: tuple[Grouping, ...] = ("", "task", "model")
_MOST_LEVELS = 20


class Row(msgspec.Struct, frozen=True, gc=False):
    """A line of the list: a run, or the heading of a group."""

    run: Run | None
    text: str = ""
    """Of a heading."""
    group: str = ""
    """What the runs of a group have in common."""
    level: int = 0
    """How many forks it is away from a run that is none."""


class TaskStanding(NamedTuple):
    """How runs of a task stand."""

    task: str
    runs: int
    metric: str
    """What most of them are scored by; best and baseline are of those."""
    baseline: float | None
    people: Run | None
    """The best of people, and of models; None where none was scored."""
    models: Run | None


class Listing:
    """The runs that are known, and how they are looked at."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        """By their paths."""
        self.notes: dict[str, Notes] = {}
        self.filter: Filter = parse("")
        self.column = "age"
        self.backwards = False
        self.grouping: Grouping = ""
        self.folded: frozenset[str] = frozenset()
        """Groups of which only the heading is shown."""
        self.found: list[Run] = []
        """The runs that meet the filter as of the last `rows`, in their order; also those of folded groups."""
        self.live = 0
        """How many of all are driven now."""
        self._rows: list[Row] | None = None

    def another(self) -> Listing:
        """The same once more, to be changed while this one is shown."""
        return copy(self)

    def become(self, other: Listing) -> None:
        """Be as `another` came to be."""
        self.__dict__.update(other.__dict__)

    def put(self, runs: Iterable[Run]) -> None:
        """Runs that are new, or different from before."""
        self.runs = {**self.runs, **{run.path: run for run in runs}}
        self._rows = None

    def hold(self, runs: dict[str, Run], notes: dict[str, Notes]) -> None:
        """These runs, by their paths, and no others."""
        self.runs, self.notes = runs, notes
        self._rows = None

    def note(self, path: str, notes: Notes) -> None:
        """The notes on a run are others."""
        self.notes = {**self.notes, path: notes}
        self._rows = None

    def group_by(self, grouping: Grouping) -> None:
        """Put runs that are alike in this together."""
        self.grouping, self.folded = grouping, frozenset()
        self._rows = None

    def fold(self, groups: frozenset[str]) -> None:
        """Show only the headings of these groups; where all of them are folded, their runs again."""
        self.folded = self.folded - groups if groups <= self.folded else self.folded | groups
        self._rows = None

    def look_for(self, text: str) -> None:
        """Show what meets a filter. Raises FilterError, and shows what was shown before."""
        self.filter = parse(text, FIELDS)
        self._rows = None

    def sort_by(self, column: str) -> None:
        """Sort by a column; by the one that it is sorted by, the other way round."""
        self.backwards = not self.backwards if column == self.column else False
        self.column = column
        self._rows = None

    @property
    def rows(self) -> list[Row]:
        """The lines, from the top."""
        if self._rows is None:
            runs = self._nested(self._sorted(self._matching()))
            self.found = [row.run for row in runs if row.run is not None]
            self.live = sum(run.live for run in self.runs.values())
            self._rows = self._grouped(runs) if self.grouping else runs
        return self._rows

    def neighbour(self, path: str, offset: int) -> Run | None:
        """The run so many lines below or above another; None at the ends."""
        runs = [row.run for row in self.rows if row.run is not None]
        here = next((place for place, run in enumerate(runs) if run.path == path), None)
        wanted = -1 if here is None else here + offset
        return runs[wanted] if 0 <= wanted < len(runs) else None

    def standings(self) -> dict[str, TaskStanding]:
        """How the runs of each task stand, by the task's id."""
        by_task: dict[str, list[Run]] = {}
        for run in self.runs.values():
            if run.task:
                by_task.setdefault(run.task, []).append(run)
        return {task: _standing(task, runs) for task, runs in by_task.items()}

    def _matching(self) -> list[Run]:
        if not self.filter.text.strip():
            return list(self.runs.values())
        matches, notes = self.filter.matches, self.notes
        return [run for path, run in self.runs.items() if matches(fields_of(run, notes.get(path, NONE)))]

    def _sorted(self, runs: list[Run]) -> list[Run]:
        column = next(each for each in COLUMNS if each.name == self.column)
        keys = list(map(column.key, runs))
        known = [place for place, key in enumerate(keys) if key is not None]
        known.sort(key=keys.__getitem__, reverse=column.descending != self.backwards)
        unknown = [run for run, key in zip(runs, keys, strict=True) if key is None] if len(known) < len(runs) else []
        return [*map(runs.__getitem__, known), *unknown]

    def _nested(self, runs: list[Run]) -> list[Row]:
        """Forks below the run that they were forked from, where it is in the list."""
        forks: dict[str, list[Run]] = {}
        if any(run.parent for run in runs):
            idents = {run.ident for run in runs}
            for run in runs:
                parent = run.parent.rstrip("/").rpartition("/")[2]
                if parent in idents and parent != run.ident:
                    forks.setdefault(parent, []).append(run)
        if not forks:
            return list(map(Row, runs))
        below = {run.path for found in forks.values() for run in found}
        rows: list[Row] = []

        def add(run: Run, level: int) -> None:
            rows.append(Row(run, level=level))
            if level < _MOST_LEVELS:
                for fork in forks.pop(run.ident, ()):
                    add(fork, level + 1)

        for run in runs:
            if run.path not in below:
                add(run, 0)
        rest = {row.run.path for row in rows if row.run is not None}
        return rows + [Row(run) for run in runs if run.path not in rest]  # a damaged log: forks of each other

    def _grouped(self, rows: list[Row]) -> list[Row]:
        groups: dict[str, list[Row]] = {}
        for row in rows:
            groups.setdefault(self.group_of(row), []).append(row)
        lines = []
        for group in sorted(groups, key=str.casefold):
            lines.append(Row(None, _heading(group, [row.run for row in groups[group] if row.run]), group))
            lines += [] if group in self.folded else groups[group]
        return lines

    def group_of(self, row: Row) -> str:
        """Of a heading its own group, of a run that which it belongs to."""
        return row.group if row.run is None else row.run.task if self.grouping == "task" else row.run.model


def _standing(task: str, runs: list[Run]) -> TaskStanding:
    metric = statistics.mode(run.metric for run in runs)
    alike = [run for run in runs if run.metric == metric]
    return TaskStanding(
        task,
        len(runs),
        metric,
        next((run.baseline for run in alike if run.baseline is not None), None),
        best_of(run for run in alike if run.author == "human"),
        best_of(run for run in alike if run.author == "model"),
    )


def best_of(runs: Iterable[Run]) -> Run | None:
    """The run of a task that got furthest."""
    scored = [run for run in runs if run.best is not None]
    if not scored:
        return None
    choose = min if scored[0].direction == "minimize" else max
    return choose(scored, key=lambda run: run.best or 0.0)


def _heading(group: str, runs: list[Run]) -> str:
    parts = [group or "not known", many(len(runs), "run")]
    submitted = sum(run.category == "Success" for run in runs)
    parts.append(f"{submitted:,} submitted")
    best = best_of(runs) if len({(run.task, run.metric) for run in runs}) == 1 else None
    if best is not None:
        parts.append(f"best {number(best.best)}")
    if runs:
        parts.append(f"median {many(statistics.median(run.steps for run in runs), 'step')}")
    return " · ".join(parts)
