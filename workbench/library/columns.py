"""What a list of runs shows of each, what it can be sorted by, and the fields that a filter asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from workbench.library.filter import Fields, Value
from workbench.library.notes import NONE, Notes
from workbench.session.events import Against
from workbench.session.run import Run
from workbench.text import age, cell_width, clock, number

_GAP = 2
_LEAST = 8
"""Columns of the terminal to which a column of texts is cut at most."""


class Column(NamedTuple):
    """One thing about a run."""

    name: str
    text: Callable[[Run], str]
    key: Callable[[Run], Any]
    """What it is sorted by; None goes last."""
    rank: int
    """What is left out first where there is no room: the highest; nothing below 0."""
    right: bool = False
    least: int = 0
    """Columns of the terminal to which it may be cut; 0: it may not."""
    descending: bool = False
    """What comes first when it is sorted by this."""


def _task(run: Run) -> str:
    sample = run.ident.partition("#")[2]  # of a file of several
    return f"{run.task or run.ident} {sample}".rstrip()


def _who(run: Run) -> str:
    return "a person" if run.author == "human" else run.model.partition(":")[2] or run.model or run.agent or "–"


def _status(run: Run) -> str:
    return "● live" if run.live else run.category.replace("Evaluation|", "Eval|") or run.status


def score(value: float | None) -> str:
    """A score, in as much room as scores have that mean something."""
    return number(value) if value is None or abs(value) < 1e6 else f"{value:.3g}"


def _best(run: Run) -> str:
    mixed = run.best is not None and run.best_split != run.last_split
    return f"{run.best_split} {score(run.best)}" if mixed else score(run.best)


SIGNS: dict[Against, str] = {"": "", "better": "+", "about": "=", "worse": "-"}
"""By a sign, how the best stands to the baseline."""


def _cost(run: Run) -> str:
    return "–" if run.cost is None else f"${run.cost:.2f}"


COLUMNS: tuple[Column, ...] = (
    Column("task", _task, lambda run: run.task.casefold(), 1, least=14),
    Column("who", _who, lambda run: _who(run).casefold(), 2, least=14),
    Column("steps", lambda run: str(run.steps), lambda run: run.steps, 5, True, descending=True),
    Column("status", _status, lambda run: _status(run).casefold(), 3, least=12),
    Column("best", lambda run: f"{_best(run)} {SIGNS[run.against]:1}", lambda run: run.best, 4, True, descending=True),
    Column("last", lambda run: score(run.last), lambda run: run.last, 8, True, descending=True),
    Column("baseline", lambda run: score(run.baseline), lambda run: run.baseline, 10, True, descending=True),
    Column("cost", _cost, lambda run: run.cost, 9, True, descending=True),
    Column("worked", lambda run: clock(run.working), lambda run: run.working, 7, True, descending=True),
    Column("age", lambda run: age(run.age), lambda run: -run.changed, 6, True),
)


def text_columns(
    names: Sequence[str], *, right: Sequence[int] = (), cut: Sequence[int] = (), drop: Sequence[int] = ()
) -> list[Column]:
    """Of a table of texts. Those in `right` are aligned to the right. Where there is too little room, those in `cut`
    are cut, and where that is not enough, those in `drop` are left out, the first ones first.
    """
    ranks = {place: rank for rank, place in enumerate(reversed(drop))}
    return [
        Column(name, str, str, ranks.get(place, -1), place in right, least=_LEAST if place in cut else 0)
        for place, name in enumerate(names)
    ]


def width_of(text: str) -> int:
    """Columns of a terminal that a text takes."""
    return len(text) if text.isascii() else sum(map(cell_width, text))


def fit(text: str, width: int, *, right: bool = False, keep_end: bool = False) -> str:
    """The text in so many columns: cut, or padded."""
    wide = width_of(text)
    if wide > width:
        text = text[::-1] if keep_end else text
        while text and wide > width - 1:
            wide -= cell_width(text[-1])
            text = text[:-1]
        text = f"…{text[::-1]}" if keep_end else f"{text}…"
        wide += 1
    pad = " " * (width - wide)
    return pad + text if right else text + pad


def fitting(rows: Sequence[Sequence[str]], columns: Sequence[Column], width: int) -> list[tuple[int, int]]:
    """Which columns have room in `width`, by their places, and how wide each is."""
    widths = [max(len(each.name), *(width_of(row[place]) for row in rows), 0) for place, each in enumerate(columns)]
    least = [min(widest, each.least or widest) for widest, each in zip(widths, columns, strict=True)]
    chosen = sorted(range(len(columns)), key=lambda place: columns[place].rank)
    while (
        columns[chosen[-1]].rank >= 0
        and len(chosen) > 1
        and sum(least[place] + _GAP for place in chosen) - _GAP > width
    ):
        chosen.pop()
    spare = width - sum(least[place] + _GAP for place in chosen) + _GAP
    found = {}
    for place in chosen:
        more = max(0, min(widths[place] - least[place], spare))
        found[place], spare = least[place] + more, spare - more
    return [(place, found[place]) for place in sorted(found)]


def table_lines(
    rows: Sequence[Sequence[str]], columns: Sequence[Column], width: int, *, keep_ends: bool = False
) -> Iterator[str]:
    """Rows below the names of their columns; `keep_ends`: the first column is cut at its front."""
    chosen = fitting(rows, columns, width)
    for row in ([column.name for column in columns], *rows):
        cells = (fit(row[at], most, right=columns[at].right, keep_end=keep_ends and not at) for at, most in chosen)
        yield (" " * _GAP).join(cells).rstrip()


_IN_THE_ROW = (
    "task", "agent", "model", "category", "format", "path", "steps", "best", "last", "baseline", "gain", "against",
    "metric", "cost", "working", "age", "started", "parent", "problem",
)  # fmt: skip


def _of_the_row(name: str) -> Callable[[Run, Notes], Value]:
    read = attrgetter(name)
    return lambda run, notes: read(run)


FIELDS: dict[str, Callable[[Run, Notes], Value]] = {
    **{name: _of_the_row(name) for name in _IN_THE_ROW},
    "by": lambda run, notes: run.author,
    # MLGym's word for whatever could not be scored; no answer of the model had the wrong format.
    "status": lambda run, notes: (run.category, run.status.replace("evaluation_format_error", "evaluation_error")),
    "id": lambda run, notes: run.ident,
    "score": lambda run, notes: run.best,
    "tokens": lambda run, notes: None if run.tokens_in is None else run.tokens_in + (run.tokens_out or 0),
    "live": lambda run, notes: "yes" if run.live else "no",
    "tag": lambda run, notes: notes.values("tag"),
    "star": lambda run, notes: "yes" if notes.starred else "no",
    "rating": lambda run, notes: notes.rating,
    "failure": lambda run, notes: notes.values("failure"),
    "comment": lambda run, notes: notes.values("comment"),
}
"""What a filter may ask of a run."""
NOTED = frozenset({"tag", "star", "rating", "failure", "comment"})
"""Those of them that are notes."""


def fields_of(run: Run, notes: Notes = NONE) -> Fields:
    """The fields of a run, for a filter."""

    def field(name: str) -> Value:
        if name:
            return FIELDS[name](run, notes)
        return " ".join((run.task, run.agent, run.model, run.author, run.status, run.category, run.ident, run.format))

    return field
