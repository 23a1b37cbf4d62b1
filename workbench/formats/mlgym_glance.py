"""Runs of MLGym at a glance: their rows, without reading what lists do not show; and the metric that counts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from workbench.formats import mlgym_text as text
from workbench.formats.mlgym_file import TrajInfo, last_answer, read_results, read_run_name
from workbench.formats.reading import numbers, read_bytes, seconds
from workbench.session.events import Direction, Metric
from workbench.session.run import Run

PRIMARY_METRICS: dict[str, tuple[str, Direction]] = {
    "regressionKaggleHousePrice": ("r2", "maximize"),
    "regressionKaggleHousePriceL1": ("r2", "maximize"),
    "3SATTime": ("Time", "minimize"),
    "imageClassificationCifar10": ("accuracy", "maximize"),
    "imageClassificationCifar10L1": ("accuracy", "maximize"),
    "imageClassificationFMnist": ("accuracy", "maximize"),
    "imageCaptioningCOCO": ("BLEU Score", "maximize"),
    "languageModelingFineWeb": ("val_loss", "minimize"),
    "naturalLanguageInferenceMNLI": ("validation_accuracy", "maximize"),
    "battleOfSexes": ("Score", "maximize"),
    "prisonersDilemma": ("Score", "maximize"),
    "blotto": ("Score", "maximize"),
    "rlBreakoutMinAtar": ("Reward Mean", "maximize"),
    "rlMetaMazeMisc": ("Reward Mean", "maximize"),
    "rlMountainCarContinuous": ("Reward Mean", "maximize"),
    "rlMountainCarContinuousReinforce": ("Reward Mean", "maximize"),
    "titanicSurvival": ("accuracy", "maximize"),
}
"""Task → its primary metric and which way is better (no file of a run says so)."""

_LOWER_IS_BETTER = re.compile(r"loss|error|time|rmse|mse|mae|perplexity", re.IGNORECASE)


class _SeenStep(msgspec.Struct):
    execution_time: Any = None
    action: msgspec.Raw = msgspec.Raw(b'""')


class _Seen(msgspec.Struct):
    trajectory: list[_SeenStep]
    info: TrajInfo | None = None
    history: msgspec.Raw = msgspec.Raw(b"[]")


_VALIDATED = f'"observation": "{text.SCORED}'.encode()
_seen = msgspec.json.Decoder(_Seen)


def seen(path: Path) -> Run | None:
    """The row of a run, with its steps counted but not read; None for what needs a closer look."""
    data = read_bytes(path)
    try:
        file = _seen.decode(data)
        status = file.info and file.info.exit_status
        if file.info is not None and file.trajectory and not status:
            status = broken_off(last_answer(file.history)[1] or msgspec.json.decode(file.trajectory[-1].action))
    except (ValueError, RecursionError):
        return None
    info = file.info
    if info is None or not status or not file.trajectory:
        return None
    run, ledger = read_run_name(path.absolute().parent.name), [numbers(entry) for entry in info.score]
    metric = metric_of(run.task or path.stem, read_results(path.with_name("results.json"))[0], ledger)[0]
    if metric is None or data.count(_VALIDATED) > len(ledger):
        return None
    scores = [entry[metric.name] for entry in ledger if metric.name in entry]
    stats = numbers(info.model_stats)
    return Run(
        path=str(path), ident=path.absolute().parent.name if run.model else path.stem, format="mlgym",
        task=run.task or path.stem, agent=run.agent, model=run.model or "unknown", author="model",
        steps=len(file.trajectory), status=status, metric=metric.name, direction=metric.direction,
        baseline=metric.baseline, last=scores[-1] if scores else None,
        best=(min if metric.direction == "minimize" else max)(scores) if scores else None,
        best_split="test" if scores else "", last_split="test" if scores else "",
        cost=stats.get("task_cost", stats.get("total_cost")),
        tokens_in=int(stats.get("tokens_sent", 0)), tokens_out=int(stats.get("tokens_received", 0)),
        working=sum(seconds(step.execution_time) for step in file.trajectory),
    )  # fmt: skip


def scores_only(results: Path, changed: float = 0.0) -> Run | None:
    """The row of a run of which nothing but `results.json` is left; None where that file is another program's."""
    run = read_run_name(results.absolute().parent.name)
    read = read_results(results)[0]
    ledger = read.get("agent")
    if not run.task or not isinstance(ledger, list):
        return None
    metric = metric_of(run.task, read, ledger)[0]
    attempts = tuple(numbers(entry).get(metric.name) if metric else None for entry in ledger)
    scores = [score for score in attempts if score is not None]
    lower = metric is not None and metric.direction == "minimize"
    return Run(
        path=str(results.parent), ident=results.absolute().parent.name, format="mlgym", task=run.task, agent=run.agent,
        model=run.model, author="model", changed=changed, metric=metric.name if metric else "",
        direction="minimize" if lower else "maximize", baseline=metric.baseline if metric else None,
        best=(min if lower else max)(scores) if scores else None, last=scores[-1] if scores else None,
        attempts=attempts, whole=True, problem="its trajectory is missing: only the scores are left",
    )  # fmt: skip


def broken_off(action: str) -> str:
    """The exit status of a run that has none, after its last action."""
    return f"unknown_error ({action.strip()})"


def metric_of(task: str, results: dict[str, Any], ledger: list[Any]) -> tuple[Metric | None, list[str]]:
    """The metric that counts, and what had to be assumed for it."""
    baseline = numbers(results.get("baseline"))
    known = PRIMARY_METRICS.get(task)
    if known is not None:
        return Metric(name=known[0], direction=known[1], baseline=baseline.get(known[0])), []
    name = next(iter(baseline or numbers(next(filter(None, ledger), None))), None)
    if name is None:
        return None, []
    direction: Direction = "minimize" if _LOWER_IS_BETTER.search(name) else "maximize"
    said = f"unknown task {task}: its metric is taken to be {name!r}, to {direction}"
    return Metric(name=name, direction=direction, baseline=baseline.get(name)), [said]
