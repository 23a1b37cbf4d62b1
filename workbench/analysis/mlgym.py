"""MLGym's published tables, to the digit: its order, its rounding, its counts.

Where MLGym counts otherwise than we do by default is in `MLGYM` (the rules of scores) and here. Prices are those that
its cost figure was drawn with.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from workbench.analysis.behaviour import (
    action_counts,
    action_counts_by_step,
    categories,
    exit_counts,
    failed,
    grouped,
    has_steps,
    incomplete,
)
from workbench.analysis.scores import BASELINE, MLGYM
from workbench.analysis.summary import Analysis, Question, Table, analyze, readable
from workbench.session.run import Run

TASKS = (
    "regressionKaggleHousePrice", "3SATTime", "imageClassificationCifar10", "imageClassificationFMnist",
    "imageCaptioningCOCO", "languageModelingFineWeb", "naturalLanguageInferenceMNLI", "battleOfSexes",
    "prisonersDilemma", "blotto", "rlBreakoutMinAtar", "rlMetaMazeMisc", "rlMountainCarContinuous",
)  # fmt: skip
"""In the order of its tables."""

PRICES = {
    "gpt4o2": (2.5, 10.0),
    "gpt-o3-mini": (1.1, 4.4),
    "gpt-o1": (15.0, 60.0),
    "deepseek-r1": (0.55, 2.19),
    "llama3-405b-tools": (3.5, 3.5),
    "llama4-17b-16": (0.1, 0.3),
    "llama4-17b-128": (0.19, 0.65),
    "claude-35-sonnet-new": (3.0, 15.0),
    "claude-37-sonnet": (3.0, 15.0),
    "gemini-15-pro": (1.25, 5.0),
    "gemini-20-flash-thinking": (0.1, 0.4),
    "gemini-25-pro": (1.25, 10.0),
}
"""Model, in the order of its tables → US dollars for a million tokens sent, and received."""

_NUMBER = re.compile(r"(\d+)$")


def question(models: Sequence[str] = (), tasks: Sequence[str] = (), runs: Iterable[Run] = ()) -> Question:
    """What its analysis asks: its rules, models and tasks in its order, no intervals."""
    found = {run.model for run in runs}
    found_tasks = {run.task for run in runs}
    return Question(
        models=models or [*(m for m in PRICES if m in found), *sorted(found - set(PRICES))],
        tasks=tasks or [*(t for t in TASKS if t in found_tasks), *sorted(found_tasks - set(TASKS))],
        rules=MLGYM,
        samples=0,
    )


def published(
    runs: Iterable[Run], models: Sequence[str] = (), tasks: Sequence[str] = ()
) -> tuple[Analysis, list[Table]]:
    """The analysis, and its tables as MLGym writes them: scores to three digits, best and last; AUP; runs."""
    runs = list(map(readable, runs))
    analysis = analyze(runs, question(models, tasks, runs))
    return analysis, [_scores(analysis, "best"), _scores(analysis, "last"), _aup(analysis), _runs(analysis)]


def _scores(analysis: Analysis, which: Any) -> Table:
    scores = analysis.sides[which].scores
    rows: list[list[Any]] = []
    for task in scores.tasks:
        measure = scores.measures[task]
        # Its models' scores are numbers of numpy, its baselines are Python's: the two round differently.
        values = [float(np.round(scores.value(task, name), 3)) for name in analysis.models]
        baseline = None if measure.baseline is None else round(measure.baseline, 3)
        shown = [None if np.isnan(value) else value for value in values]
        rows.append([task, measure.metric, "max" if measure.maximize else "min", baseline, *shown])
    return Table(f"{which}_scores", which, ["task_id", "metric", "direction", BASELINE, *analysis.models], rows)


def _aup(analysis: Analysis) -> Table:
    rows = [
        [name, *(float(np.round(analysis.sides[which].aup[name], 3)) for which in ("best", "last"))]
        for name in [*analysis.models, BASELINE]
    ]
    return Table("aup_scores", "AUP", ["model", "best_aup", "last_aup"], rows)


def _runs(analysis: Analysis) -> Table:
    columns = ["model", "task", "run", "exit_status_effective", "categories", "steps", "failed", "incomplete",
               "traj_bytes", "n_scores"]  # fmt: skip
    rows = []
    for run in sorted(analysis.runs, key=lambda run: (run.model, run.task, run.ident)):
        known = has_steps(run)
        rows.append([
            run.model, run.task, _number(run), run.status if known else None,
            "|".join(categories(run)) if known else None, len(run.kinds) if known else None,
            int(failed(run)), int(incomplete(run)) if known else None, run.size if known else None, len(run.attempts),
        ])  # fmt: skip
    return Table("runs", "Runs", columns, rows)


def _number(run: Run) -> int | str:
    """The number of the run, which stands at the end of its folder's name."""
    found = _NUMBER.search(run.ident)
    return int(found[1]) if found else run.ident


def behaviour(analysis: Analysis) -> dict[str, Any]:
    """Its counts of exits and actions. Runs of which no trajectory is left are in the counts that say so only."""
    known = [run for run in analysis.runs if has_steps(run)]
    by_model, by_task = _in_order(known, analysis.models, "model"), _in_order(known, analysis.tasks, "task")
    all_by_model = _in_order(analysis.runs, analysis.models, "model")
    all_by_task = _in_order(analysis.runs, analysis.tasks, "task")

    def number(groups: dict[str, list[Run]], what: Callable[[Run], bool]) -> dict[str, int]:
        return {name: sum(map(what, runs)) for name, runs in groups.items()}

    return {
        "scope": f"{len(analysis.models)} models x {len(analysis.tasks)} tasks; folders without a trajectory are"
        " skipped for exit and action counts",
        "exit_status_raw": dict(Counter(run.status for run in known).most_common()),
        "exit_category_total": exit_counts(known),
        "exit_category_per_model": {name: exit_counts(runs) for name, runs in by_model.items()},
        "exit_category_per_task": {name: exit_counts(runs) for name, runs in by_task.items()},
        "failed_per_model": number(by_model, failed),
        "failed_per_model_including_runs_without_traj": number(all_by_model, failed),
        "incomplete_per_model": number(by_model, incomplete),
        "failed_per_task": number(by_task, failed),
        "failed_per_task_including_runs_without_traj": number(all_by_task, failed),
        "incomplete_per_task": number(by_task, incomplete),
        "actions_total": action_counts(known),
        "actions_per_model": {name: action_counts(runs) for name, runs in by_model.items()},
        "actions_per_task": {name: action_counts(runs) for name, runs in by_task.items()},
        "actions_per_step": {str(step): counts for step, counts in action_counts_by_step(known).items()},
        "avg_cost_usd_per_model": {
            name: fmean(cost for run in runs if (cost := listed_cost(run)) is not None)
            for name, runs in by_model.items()
            if any(listed_cost(run) is not None for run in runs)
        },
        "avg_tokens_sent": {name: fmean(run.tokens_in or 0 for run in runs) for name, runs in by_model.items() if runs},
        "avg_tokens_received": {
            name: fmean(run.tokens_out or 0 for run in runs) for name, runs in by_model.items() if runs
        },
        "runs_without_traj": sorted(Path(run.path).name for run in analysis.runs if not has_steps(run)),
    }


def listed_cost(run: Run) -> float | None:
    """US dollars by the prices above; what a run itself recorded is by another table."""
    if run.model not in PRICES or run.tokens_in is None:
        return None
    sent, received = PRICES[run.model]
    return (run.tokens_in * sent + (run.tokens_out or 0) * received) / 1e6


def _in_order(runs: Iterable[Run], names: Sequence[str], what: str) -> dict[str, list[Run]]:
    found = grouped(runs, lambda run: str(getattr(run, what)))
    return {name: found.get(name, []) for name in names}
