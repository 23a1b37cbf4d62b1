"""How far scores and AUP would differ with other runs: percentile bootstrap over the runs of each model and task.

Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13. Runs are drawn with replacement within each
model and task, so that each sample has as many as there were; a run without a score can be drawn too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from workbench.analysis.scores import BASELINE, HONEST, Floats, Rules, Scores, aup, ratios

Interval = tuple[float, float]


class Intervals(msgspec.Struct, frozen=True):
    """95 % intervals; of a model and task with fewer than two runs there is none."""

    scores: dict[tuple[str, str], Interval]
    """(task, model)"""
    aup: dict[str, Interval]
    differences: dict[tuple[str, str], Interval]
    """(model, other) → AUP of the first less that of the second. One that does not hold zero is a difference."""


def bootstrap(
    scores: Scores,
    attempted: Mapping[tuple[str, str], int],
    end: float,
    rules: Rules = HONEST,
    *,
    samples: int = 1000,
    seed: int = 0,
) -> Intervals:
    """`attempted`: (task, model) → runs, those without a score among them. `end`: the axis, as in `largest_tau`."""
    random = np.random.default_rng(seed)
    names = scores.competitors()
    drawn = np.empty((samples, len(scores.tasks), len(names)))
    cells: dict[tuple[str, str], Interval] = {}
    for row, task in enumerate(scores.tasks):
        measure = scores.measures[task]
        for column, name in enumerate(names):
            known = scores.runs.get((task, name), [])
            runs = max(attempted.get((task, name), 0), len(known))
            if name == BASELINE or runs < 2 or not known:
                drawn[:, row, column] = scores.value(task, name)
                continue
            worst = -np.inf if measure.maximize else np.inf
            values = np.array([*known, *[worst] * (runs - len(known))])
            picked = values[random.integers(runs, size=(samples, runs))]
            best = (picked.max if measure.maximize else picked.min)(axis=1)
            drawn[:, row, column] = np.where(np.isfinite(best), best, np.nan)
            if (found := _interval(drawn[:, row, column])) is not None:
                cells[task, name] = found
    areas = aup(ratios(drawn, [scores.measures[task] for task in scores.tasks], rules), end, rules)
    by_name: dict[str, Floats] = {name: areas[:, column] for column, name in enumerate(names)}
    several = _with_several(scores.models, attempted)
    return Intervals(
        cells,
        {name: found for name in several if (found := _interval(by_name[name])) is not None},
        {
            (one, other): found
            for i, one in enumerate(scores.models)
            for other in scores.models[i + 1 :]
            if one in several or other in several
            if (found := _interval(by_name[one] - by_name[other])) is not None
        },
    )


def _with_several(models: Iterable[str], attempted: Mapping[tuple[str, str], int]) -> set[str]:
    """Models that have more than one run of some task: of the others nothing is known about other runs."""
    return {model for (_, model), runs in attempted.items() if runs > 1} & set(models)


def _interval(values: Floats) -> Interval | None:
    known = values[np.isfinite(values)]
    if not known.size:
        return None
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)


def inflation(standard_error: float, attempts: int) -> float:
    """By how much the best of `attempts` scores of one submission exceeds its true score, where an evaluation
    that draws anew each time has this standard error: the expected largest of so many normal variables (Blom, 1958).
    """
    if attempts < 2 or standard_error <= 0:
        return 0.0
    from statistics import NormalDist

    return standard_error * NormalDist().inv_cdf((attempts - 0.375) / (attempts + 0.25))
