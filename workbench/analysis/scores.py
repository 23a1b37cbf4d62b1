"""The score of each model on each task, and what follows from it: ratios, performance profiles, AUP, ranks.

Definitions: Dolan and Moré, "Benchmarking optimization software with performance profiles" (2002); Nathani et al.,
"MLGym" (arXiv 2502.14499), section 6. Where the honest definition differs from MLGym's is a field of `Rules`;
`docs/analysis.md` says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from workbench.session.run import Run

Which = Literal["best", "last"]
Floats = NDArray[np.float64]
BASELINE = "baseline"


class Rules(msgspec.Struct, frozen=True):
    """What may be decided either way."""

    epsilon: float = 0.05
    """An infeasible or missing score costs this much more than the worst feasible ratio of its task."""
    negative_is_infeasible: bool = False
    """MLGym: a score below zero never counts, whatever the metric."""
    missing_is_feasible: bool = False
    """MLGym: a model without a score counts as feasible where feasible models are counted; its ratio is the penalty."""
    ratio_of_negatives: bool = False
    """MLGym: the quotient of two scores, whatever their signs. Else tasks that have scores below or at zero compare by
    the distance to the best, in units of the distance between the best and the baseline.
    """
    points: int | None = None
    """MLGym: the area is a left Riemann sum over so many points. Else it is exact."""
    whole_ratios: bool = False
    """MLGym: the largest ratio is rounded up before the end of the axis is taken from it."""
    largest_tau: float | None = None
    """log10 of the largest ratio on the axis; None: as large as the data ask for, rounded up to a tenth."""


HONEST = Rules()
MLGYM = Rules(
    negative_is_infeasible=True, missing_is_feasible=True, ratio_of_negatives=True, points=500, whole_ratios=True
)


class Measure(msgspec.Struct, frozen=True):
    """The metric that counts for a task."""

    metric: str
    maximize: bool
    baseline: float | None

    def better(self, a: float, b: float) -> bool:
        """Whether score `a` beats score `b`."""
        return a > b if self.maximize else a < b


class Scores(msgspec.Struct, frozen=True):
    """One table: a score for each task and competitor."""

    which: Which
    tasks: list[str]
    models: list[str]
    """The competitors: models, agents or people."""
    measures: dict[str, Measure]
    values: dict[tuple[str, str], float]
    """(task, model) → score; absent where no run of the model has one."""
    runs: dict[tuple[str, str], list[float]] = msgspec.field(default_factory=dict)
    """(task, model) → the score of each run that has one."""

    def value(self, task: str, model: str) -> float:
        """NaN where there is none."""
        if model == BASELINE:
            baseline = self.measures[task].baseline
            return math.nan if baseline is None else baseline
        return self.values.get((task, model), math.nan)

    def competitors(self) -> list[str]:
        """The models, then the baseline."""
        return [*self.models, BASELINE]

    def matrix(self) -> Floats:
        """Scores, tasks × competitors (the baseline last); NaN where there is none."""
        names = self.competitors()
        values = [[self.value(task, name) for name in names] for task in self.tasks]
        return np.array(values, dtype=float).reshape(len(self.tasks), len(names))


By = Literal["model", "agent", "person"]


def competitor(run: Run, by: By = "model") -> str:
    """Whom a run counts for."""
    person = run.model.partition(":")[2] or run.model if run.author == "human" else ""
    if by == "agent":
        return run.agent or run.model
    return person or run.model or run.agent


def tabulate(
    runs: Iterable[Run], which: Which, models: Sequence[str], tasks: Sequence[str], by: By = "model"
) -> Scores:
    """The best over the runs of each model and task: of their best attempts, or of their last scores.

    A task's baseline is the first that a run knows, in the order of the models. Runs of tasks whose metric is unknown
    are left out.
    """
    place = {name: i for i, name in enumerate(models)}
    kept = sorted(
        (run for run in runs if run.metric and run.task in tasks and competitor(run, by) in place),
        key=lambda run: (place[competitor(run, by)], run.ident, run.path),
    )
    measures: dict[str, Measure] = {}
    found: dict[tuple[str, str], list[float]] = {}
    for run in kept:
        known = measures.get(run.task)
        if known is None or known.baseline is None:
            measures[run.task] = Measure(run.metric, run.direction != "minimize", finite(run.baseline))
        score = finite(run.best if which == "best" else run.last)
        if score is not None:
            found.setdefault((run.task, competitor(run, by)), []).append(score)
    values = {
        (task, model): (max if measures[task].maximize else min)(scores) for (task, model), scores in found.items()
    }
    return Scores(which, [task for task in tasks if task in measures], list(models), measures, values, found)


def finite(value: float | None) -> float | None:
    """A number that can be compared, else None."""
    return value if value is not None and math.isfinite(value) else None


# -- profiles and their area -------------------------------------------------------------------------------------------


def ratios(values: Floats, measures: Sequence[Measure], rules: Rules = HONEST) -> Floats:
    """How much worse than the best each score is: 1 for the best, never below.

    `values`: (…, tasks, competitors), NaN where a score is missing; any axes before are kept (bootstrap samples).
    A score that is worse than the baseline is infeasible. It gets, as a missing one does, (1 + epsilon) × the worst
    feasible ratio of its task.
    """
    result = np.empty_like(values)
    for index, measure in enumerate(measures):
        result[..., index, :] = _task_ratios(values[..., index, :], measure, rules)
    return result


def feasible(scores: Floats, measure: Measure, rules: Rules = HONEST) -> NDArray[np.bool_]:
    """Which scores of a task count. A baseline that is itself infeasible (MLGym's rule of signs) is among those."""
    with np.errstate(invalid="ignore"):
        good = np.isfinite(scores)
        if rules.negative_is_infeasible:
            good &= scores >= 0
        if measure.baseline is not None:
            good &= (scores >= measure.baseline) if measure.maximize else (scores <= measure.baseline)
    return good


def _task_ratios(scores: Floats, measure: Measure, rules: Rules) -> Floats:
    good = feasible(scores, measure, rules)
    masked = np.where(good, scores, -np.inf if measure.maximize else np.inf)
    best = (masked.max if measure.maximize else masked.min)(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = best / scores if measure.maximize else scores / best
        if not rules.ratio_of_negatives:
            lowest = np.where(good, scores, np.inf).min(axis=-1, keepdims=True)
            quotient = np.where(lowest > 0, quotient, _by_distance(scores, best, masked, good, measure))
        quotient = np.where(good, quotient, -np.inf)
    worst = quotient.max(axis=-1, keepdims=True)
    worst = np.where(np.isfinite(worst), worst, 1.0)  # nobody is feasible: all are alike
    return np.where(good & np.isfinite(quotient), quotient, (1 + rules.epsilon) * worst)


def _by_distance(scores: Floats, best: Floats, masked: Floats, good: NDArray[np.bool_], measure: Measure) -> Floats:
    """1 for the best, 2 for the baseline (or, where there is none, the worst feasible score)."""
    if measure.baseline is not None:
        far = np.full_like(best, measure.baseline)
    else:
        others = np.where(good, scores, np.inf if measure.maximize else -np.inf)
        far = (others.min if measure.maximize else others.max)(axis=-1, keepdims=True)
    scale = np.abs(best - far)
    return np.asarray(1 + np.abs(best - scores) / np.where(scale > 0, scale, 1.0))


def largest_tau(tables: Iterable[Floats], rules: Rules = HONEST) -> float:
    """Where the axis of a profile ends, as log10 of a ratio: the smallest tenth from which all profiles are 1.

    `tables`: ratios of all tables that share the axis (best and last).
    """
    if rules.largest_tau is not None:
        return rules.largest_tau
    largest = max((float(np.max(table)) for table in tables if table.size), default=1.0)
    if rules.whole_ratios:
        largest = math.ceil(largest)
    return max(0.1, math.ceil(round(math.log10(max(largest, 1.0)) * 10, 9)) / 10)


def profile(of: Floats, tau: Floats) -> Floats:
    """The fraction of tasks whose ratio is at most 10^tau. `of`: ratios of one competitor; as many values as `tau`."""
    logs = np.sort(np.log10(of))
    return np.asarray(np.searchsorted(logs, tau, side="right") / max(1, len(logs)))


def aup(table: Floats, end: float, rules: Rules = HONEST) -> Floats:
    """Area under the profile of each competitor, from ratio 1 to 10^`end`, over log10 of the ratio.

    `table`: (…, tasks, competitors); the result has the tasks' axis taken away. Exact by default: a profile is a
    staircase, so each task adds `end` - log10(ratio). With `rules.points`: the left Riemann sum over such a grid.
    """
    logs = np.log10(table)
    if rules.points is None:
        return np.asarray(np.clip(end - logs, 0, None).mean(axis=-2))
    grid = np.linspace(0.0, end, rules.points)
    width = end / (rules.points - 1)
    # Points from which a task counts, the last one left out, as in a left sum.
    counted = (rules.points - 1) - np.searchsorted(grid[:-1], logs, side="left")
    return np.asarray((counted * width).mean(axis=-2))


# -- ranks -------------------------------------------------------------------------------------------------------------


def rank_table(scores: Scores) -> Floats:
    """The rank of each competitor on each task, 1 the best: tasks × competitors. Equal scores share the mean of their
    ranks, and so do those without a score, at the end.
    """
    values = scores.matrix()
    result = np.empty_like(values)
    for row, task in enumerate(scores.tasks):
        measure = scores.measures[task]
        keys = np.where(np.isfinite(values[row]), -values[row] if measure.maximize else values[row], np.inf)
        order = np.sort(keys)
        first = np.searchsorted(order, keys, side="left")
        last = np.searchsorted(order, keys, side="right")
        result[row] = (first + 1 + last) / 2
    return result


def borda(table: Floats) -> Floats:
    """Borda counts of a table of ranks: each task gives a competitor as many points as stand behind it."""
    return np.asarray((table.shape[1] - table).sum(axis=0))


def bradley_terry(table: Floats) -> Floats | None:
    """Strengths by the Bradley–Terry model, from who is ahead of whom on each task; their logarithms sum to zero. None
    where the library `choix` (extra `analysis`) is not installed. A small prior keeps one that always wins finite.
    """
    try:
        import choix
    except ImportError:
        return None
    wins = [(a, b) for ranks in table for a, rank in enumerate(ranks) for b, other in enumerate(ranks) if rank < other]
    if not wins:
        return np.zeros(table.shape[1])
    return np.asarray(choix.ilsr_pairwise(table.shape[1], wins, alpha=0.01), dtype=float)
