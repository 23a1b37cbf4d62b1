"""What agents did: how runs ended, which kinds of action they took and when, and their habits. Counts over rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median

import msgspec

from workbench.session.kinds import NAMES
from workbench.session.run import Run

Counts = dict[str, int]
Key = Callable[[Run], str]


def categories(run: Run) -> list[str]:
    """How the run ended; it can be of two categories."""
    return run.category.split("|") if run.category else []


def failed(run: Run) -> bool:
    """Nothing of it was scored."""
    return not run.attempts


def incomplete(run: Run) -> bool:
    """Something was scored, but the run neither submitted nor used up its steps."""
    return bool(run.attempts) and not {"Success", "Max Steps"} & set(categories(run))


def has_steps(run: Run) -> bool:
    """False where only the scores of a run are left."""
    return bool(run.kinds)


def exit_counts(runs: Iterable[Run]) -> Counts:
    """Categories of exits; a run can count in two, so they may sum to more than there are runs."""
    return _sorted(Counter(category for run in runs for category in categories(run)))


def action_counts(runs: Iterable[Run]) -> Counts:
    """Steps by kind of action."""
    return _sorted(Counter(NAMES[letter] for run in runs for letter in run.kinds))


def action_counts_by_step(runs: Iterable[Run]) -> dict[int, Counts]:
    """Number of the step, from 1 → kinds of action that were taken there."""
    found: dict[int, Counter[str]] = {}
    for run in runs:
        for number, letter in enumerate(run.kinds, 1):
            found.setdefault(number, Counter())[NAMES[letter]] += 1
    return {number: _sorted(found[number]) for number in sorted(found)}


def grouped(runs: Iterable[Run], key: Key) -> dict[str, list[Run]]:
    """Runs by a name, in the order of the names."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(key(run), []).append(run)
    return {name: found[name] for name in sorted(found)}


class Habits(msgspec.Struct, frozen=True):
    """How somebody works, over a number of runs. None: there is nothing to take it from."""

    runs: int
    steps: int
    first_validate: float | None
    """Median number of the first validate's step."""
    validates_per_improvement: float | None
    """Scored validates for each that beat all before it."""
    submitted_below_best: int
    """Runs whose last score is worse than their best."""
    edits_refused: int
    edits: int
    repeats: int
    """Steps that repeat the action before."""
    recovered: float | None
    """Share of failures after which the next step did not fail."""
    seconds_by_kind: dict[str, float]
    """Mean seconds of a command, by kind of action."""
    failures: Counts
    """Kind of failure → how often, as `workbench.session.outcome` names them."""
    tampered: int
    """Runs that changed a file of the task which nobody should change."""


def habits(runs: Sequence[Run]) -> Habits:
    """The habits that these runs show."""
    kinds = Counter(kind for run in runs for _, kind in run.failures)
    firsts = [first for run in runs if (first := run.kinds.find("A")) >= 0]
    validates, improvements = 0, 0
    for run in runs:
        best: float | None = None
        for score in run.attempts:
            validates += 1
            if score is not None and (best is None or _better(run, score, best)):
                best = score
                improvements += 1
    return Habits(
        runs=len(runs),
        steps=sum(len(run.kinds) for run in runs),
        first_validate=median(firsts) + 1 if firsts else None,
        validates_per_improvement=validates / improvements if improvements else None,
        submitted_below_best=sum(
            run.best is not None and run.last is not None and _better(run, run.best, run.last) for run in runs
        ),
        edits_refused=kinds["refused"],
        edits=sum(run.kinds.count("E") for run in runs),
        repeats=kinds["repeat"],
        recovered=_recovered(runs),
        seconds_by_kind=_seconds_by_kind(runs),
        failures=_sorted(kinds),
        tampered=sum(bool(run.tampered) for run in runs),
    )


def _better(run: Run, a: float, b: float) -> bool:
    return a < b if run.direction == "minimize" else a > b


def _recovered(runs: Iterable[Run]) -> float | None:
    outcomes = []
    for run in runs:
        failing = {step for step, _ in run.failures}
        outcomes += [step + 1 not in failing for step in failing if 0 < step < len(run.kinds)]
    return fmean(outcomes) if outcomes else None


def _seconds_by_kind(runs: Iterable[Run]) -> dict[str, float]:
    spent: dict[str, list[float]] = {}
    for run in runs:
        for letter, seconds in zip(run.kinds, run.seconds, strict=False):
            spent.setdefault(NAMES[letter], []).append(seconds)
    return {name: fmean(spent[name]) for name in sorted(spent)}


def _sorted(counts: Counter[str]) -> Counts:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
