"""From rows of runs to everything that is said about them: the one function behind tables, figures and reports."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np

from workbench.analysis.behaviour import (
    Counts,
    Habits,
    action_counts,
    exit_counts,
    failed,
    grouped,
    habits,
    has_steps,
    incomplete,
)
from workbench.analysis.bootstrap import Intervals, bootstrap, inflation
from workbench.analysis.scores import (
    BASELINE,
    HONEST,
    By,
    Floats,
    Rules,
    Scores,
    Which,
    aup,
    borda,
    bradley_terry,
    competitor,
    largest_tau,
    rank_table,
    ratios,
    tabulate,
)
from workbench.session.run import Run
from workbench.text import many, visible

WHICH: tuple[Which, Which] = ("best", "last")


class Question(msgspec.Struct, frozen=True):
    """What is asked of a set of runs."""

    by: By = "model"
    models: Sequence[str] = ()
    """In this order; empty: all, sorted."""
    tasks: Sequence[str] = ()
    rules: Rules = HONEST
    without_tampered: bool = False
    """Runs that changed a protected file of their task are left out."""
    samples: int = 1000
    """Of the bootstrap; 0: no intervals."""
    seed: int = 0


class Table(msgspec.Struct, frozen=True):
    """A table with plain values; None where there is none."""

    name: str
    title: str
    columns: list[str]
    rows: list[list[Any]]
    note: str = ""


class Side(msgspec.Struct, frozen=True):
    """What follows from the best attempts, or from the last scores."""

    scores: Scores
    ratios: Floats
    """tasks × competitors, the baseline last"""
    aup: dict[str, float]
    intervals: Intervals | None
    ranks: Floats
    borda: dict[str, float]

    @property
    def strengths(self) -> dict[str, float] | None:
        """By the Bradley–Terry model; None without the library, which takes a while to load."""
        found = bradley_terry(self.ranks)
        return None if found is None else dict(zip(self.scores.competitors(), map(float, found), strict=True))


class Analysis(msgspec.Struct, frozen=True):
    """The answer."""

    question: Question
    runs: list[Run]
    left_out: dict[str, int]
    """Why → how many runs."""
    models: list[str]
    tasks: list[str]
    end: float
    """Where the profiles' axis ends: log10 of a ratio."""
    sides: dict[Which, Side]
    habits: dict[str, Habits]
    warnings: list[str] = msgspec.field(default_factory=list)
    noted: Mapping[str, Sequence[str]] = msgspec.field(default_factory=dict)
    """Path of a run → the kinds of failure that people have noted on it."""

    def named(self, run: Run) -> str:
        """Whom a run counts for."""
        return competitor(run, self.question.by)


_LARGEST = 1e100
"""Of a score: with those beyond it, neither ratios nor axes can be computed."""


def readable(run: Run) -> Run:
    """The run, with names of others' as they can stand in a table, a figure or a page, and scores to compute with."""
    names = ((name, getattr(run, name)) for name in ("task", "model", "agent", "author", "metric", "ident", "status"))
    shown: dict[str, Any] = {name: visible(text).replace("\n", " ") for name, text in names if not text.isprintable()}
    if any(map(_is_beyond, (run.best, run.last, run.baseline, *run.attempts))):
        shown |= {name: None for name in ("best", "last", "baseline") if _is_beyond(getattr(run, name))}
        shown["attempts"] = tuple(None if _is_beyond(score) else score for score in run.attempts)
    return msgspec.structs.replace(run, **shown) if shown else run


def _is_beyond(score: float | None) -> bool:
    return score is not None and not abs(score) < _LARGEST


def analyze(
    runs: Iterable[Run],
    question: Question = Question(),  # noqa: B008 (frozen)
    noted: Mapping[str, Sequence[str]] | None = None,
) -> Analysis:
    """Everything about these runs. The order in which they come changes nothing. `noted`: as in `Analysis`."""
    runs = map(readable, runs)
    left_out: Counter[str] = Counter()
    kept: list[Run] = []
    seen: set[tuple[str, str]] = set()
    for run in sorted(runs, key=lambda run: (run.task, competitor(run, question.by), run.ident, run.path)):
        if why := _left_out(run, question, seen):
            left_out[why] += 1
        else:
            kept.append(run)
    models = list(question.models) or sorted({competitor(run, question.by) for run in kept})
    tasks = list(question.tasks) or sorted({run.task for run in kept})
    attempted = Counter((run.task, competitor(run, question.by)) for run in kept)
    tables = {which: tabulate(kept, which, models, tasks, question.by) for which in WHICH}
    measured = {
        which: ratios(table.matrix(), [table.measures[task] for task in table.tasks], question.rules)
        for which, table in tables.items()
    }
    end = largest_tau(measured.values(), question.rules)
    sides = {which: _side(tables[which], measured[which], attempted, end, question) for which in WHICH}
    of_whom = grouped(kept, lambda run: competitor(run, question.by))
    shown = {name: habits(of_whom.get(name, [])) for name in models}
    warnings = _warnings(kept, question, tables["best"])
    return Analysis(question, kept, dict(left_out), models, tasks, end, sides, shown, warnings, noted or {})


def _left_out(run: Run, question: Question, seen: set[tuple[str, str]]) -> str:
    """Why a run is not counted, or nothing."""
    if run.status == "damaged":
        return "cannot be read"
    if run.live:
        return "still running"
    if not run.task:
        return "of no known task"
    if not run.metric:
        return f"of {run.task}, whose metric is unknown"
    if question.models and competitor(run, question.by) not in question.models:
        return "of other models"
    if question.tasks and run.task not in question.tasks:
        return "of other tasks"
    if question.without_tampered and run.tampered:
        return "changed a protected file"
    # The same run in two places: a copied folder has the same name, task and steps.
    fingerprint = (run.ident, f"{run.task} {run.kinds} {run.attempts}")
    if fingerprint in seen:
        return "found twice"
    seen.add(fingerprint)
    return ""


def _side(scores: Scores, table: Floats, attempted: Counter[tuple[str, str]], end: float, question: Question) -> Side:
    names = scores.competitors()

    def by_name(values: Floats) -> dict[str, float]:
        return dict(zip(names, map(float, values), strict=True))

    ranks = rank_table(scores)
    areas = aup(table, end, question.rules) if scores.tasks else np.zeros(len(names))
    intervals = None
    if question.samples and scores.tasks:
        intervals = bootstrap(scores, attempted, end, question.rules, samples=question.samples, seed=question.seed)
    return Side(scores, table, by_name(areas), intervals, ranks, by_name(borda(ranks)))


def _warnings(runs: Sequence[Run], question: Question, best: Scores) -> list[str]:
    """What a reader of the tables must know."""
    said = []
    for run in runs:
        if run.tampered:
            held = best.values.get((run.task, competitor(run, question.by)))
            top = "; its score is in the tables as the best of all its runs" if run.best == held else ""
            said.append(f"{run.ident} changed {run.tampered}, a file of the task that nobody should change{top}")
    tops = (run for run in runs if run.best == best.values.get((run.task, competitor(run, question.by))))
    near = {f"{competitor(run, question.by)} on {run.task}" for run in tops if run.against == "about"}
    if near:
        said.append(f"best is no further from the baseline than its own error explains: {', '.join(sorted(near))}")
    for run in runs:
        error = max((value for value in run.standard_errors if value), default=0.0)
        excess = inflation(error, sum(value is not None for value in run.attempts))
        if excess and run.best is not None and run.last is not None and 0 < abs(run.best - run.last) <= excess:
            said.append(
                f"{run.ident}: the best of {many(len(run.attempts), 'score')} is better than the last by less than"
                f" repeated evaluation alone explains (±{error:.3g} each)"
            )
    return said


# -- tables ------------------------------------------------------------------------------------------------------------


def tables(analysis: Analysis, names: Sequence[str] = ()) -> list[Table]:
    """All that is known, as tables, or those of these names: ranks take a second, for the library behind them."""
    noted = partial(count_table, name="noted_failures", title="Failures as people noted them")
    made: dict[str, Callable[[], Table]] = {
        **{f"{which}_scores": partial(_score_table, analysis, which) for which in WHICH},
        "aup_scores": partial(aup_table, analysis),
        **{f"{which}_ranks": partial(_rank_table, analysis, which) for which in WHICH},
        "differences": partial(_difference_table, analysis),
        "exits": partial(_exit_table, analysis),
        "actions": partial(count_table, analysis, "actions", "Actions by kind", action_counts),
        "habits": partial(_habit_table, analysis),
        **({"noted_failures": partial(noted, analysis, count=partial(_noted, analysis))} if analysis.noted else {}),
        "runs": partial(_run_table, analysis),
    }
    return [make() for name, make in made.items() if not names or name in names]


def held(analysis: Analysis) -> str:
    """How many runs the tables hold, and what was left out."""
    out = [f"{many(count, 'run')} left out ({why})" for why, count in sorted(analysis.left_out.items())]
    bare = sum(not has_steps(run) for run in analysis.runs)
    bare_text = [f"{bare} of them without steps"] if bare else []
    return "; ".join([many(len(analysis.runs), "run"), *bare_text, *out])


def _score_table(analysis: Analysis, which: Which) -> Table:
    side = analysis.sides[which]
    rows = []
    for task in side.scores.tasks:
        measure = side.scores.measures[task]
        values = [_plain(side.scores.value(task, name)) for name in analysis.models]
        rows.append([task, measure.metric, "max" if measure.maximize else "min", measure.baseline, *values])
    title = "Best attempt" if which == "best" else "Best submission"
    runs = Counter((run.task, analysis.named(run)) for run in analysis.runs)
    many_runs = max(runs.values(), default=0)
    note = f"The best over at most {many(many_runs, 'run')} of each; {held(analysis)}."
    return Table(f"{which}_scores", title, ["task_id", "metric", "direction", BASELINE, *analysis.models], rows, note)


def aup_table(analysis: Analysis) -> Table:
    columns = ["model"]
    for which in WHICH:
        columns += [f"{which}_aup", f"{which}_low", f"{which}_high"]
    rows: list[list[Any]] = []
    for name in [*analysis.models, BASELINE]:
        row: list[Any] = [name]
        for which in WHICH:
            side = analysis.sides[which]
            interval = side.intervals.aup.get(name) if side.intervals else None
            row += [side.aup[name], *(interval or (None, None))]
        rows.append(row)
    note = (
        f"Area under the performance profile up to ratio 10^{analysis.end:g};"
        " areas of other sets of models or tasks cannot be compared. Intervals: 95 %, bootstrap over runs."
    )
    return Table("aup_scores", "Area under the performance profile (AUP)", columns, rows, note)


def _rank_table(analysis: Analysis, which: Which) -> Table:
    side = analysis.sides[which]
    names, strengths = side.scores.competitors(), side.strengths
    rows: list[list[Any]] = [
        [name, float(side.ranks[:, place].mean()) if side.scores.tasks else None, side.borda[name],
         strengths[name] if strengths else None]
        for place, name in enumerate(names)
    ]  # fmt: skip
    rows.sort(key=lambda row: (math.inf if row[1] is None else row[1], row[0]))
    lacking = "" if strengths else " For the strengths, install mlgym-tui[analysis] (choix)."
    note = "Equal scores, and all that are missing, share their mean rank." + lacking
    return Table(f"{which}_ranks", f"Ranks ({which})", ["model", "mean_rank", "borda", "bradley_terry"], rows, note)


def _difference_table(analysis: Analysis) -> Table:
    rows: list[list[Any]] = []
    side = analysis.sides["best"]
    for (one, other), (low, high) in side.intervals.differences.items() if side.intervals else ():
        rows.append([one, other, side.aup[one] - side.aup[other], low, high, not low <= 0 <= high])
    note = "AUP (best) of the first less that of the second; an interval without zero is a difference beyond luck."
    return Table(
        "differences", "Differences", ["model", "other", "difference", "low", "high", "beyond_luck"], rows, note
    )


def _exit_table(analysis: Analysis) -> Table:
    by_name = grouped(analysis.runs, analysis.named)
    total = list(exit_counts(run for run in analysis.runs if has_steps(run)))
    rows: list[list[Any]] = []
    for name in analysis.models:
        runs = [run for run in by_name.get(name, []) if has_steps(run)]
        counts = exit_counts(runs)
        rows.append(
            [name, len(runs), sum(map(failed, runs)), sum(map(incomplete, runs)), *(counts.get(c, 0) for c in total)]
        )
    note = (
        "failed: nothing was scored; incomplete: scored, but neither submitted nor out of steps. A run may be of two."
    )
    return Table("exits", "How runs ended", ["model", "runs", "failed", "incomplete", *total], rows, note)


def count_table(analysis: Analysis, name: str, title: str, count: Callable[[Iterable[Run]], Counts]) -> Table:
    """What is counted of the runs of each model."""
    by_name = grouped(analysis.runs, analysis.named)
    kinds = list(count(analysis.runs))
    counts = {model: count(by_name.get(model, [])) for model in analysis.models}
    rows: list[list[Any]] = [[model, *(found.get(kind, 0) for kind in kinds)] for model, found in counts.items()]
    return Table(name, title, ["model", *kinds], rows)


def _noted(analysis: Analysis, runs: Iterable[Run]) -> Counts:
    return dict(sorted(Counter(kind for run in runs for kind in analysis.noted.get(run.path, ())).items()))


def _habit_table(analysis: Analysis) -> Table:
    columns = ["model", "runs", "steps", "first_validate", "validates_per_improvement", "submitted_below_best",
               "edits", "edits_refused", "repeats", "recovered", "tampered"]  # fmt: skip
    rows = [[name, *(getattr(found, column) for column in columns[1:])] for name, found in analysis.habits.items()]
    note = "recovered: share of failed steps after which the next did not fail."
    return Table("habits", "Habits", columns, rows, note)


def _run_table(analysis: Analysis) -> Table:
    columns = ["model", "task", "run", "status", "category", "steps", "best", "against_baseline", "last", "scores",
               "cost", "tampered", "path"]  # fmt: skip
    rows = [
        [analysis.named(run), run.task, run.ident, run.status, run.category, run.steps, run.best, run.against,
         run.last, len(run.attempts), run.cost, run.tampered, visible(run.path)]
        for run in analysis.runs
    ]  # fmt: skip
    return Table("runs", "Runs", columns, rows)


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
