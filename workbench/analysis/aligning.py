"""Runs side by side: their steps aligned by what they did, and where they first part. Pure functions over states."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from workbench.formats.comparing import normalised
from workbench.library.curves import is_loss
from workbench.library.training import split_of
from workbench.plotting import beside
from workbench.session.diff import runs
from workbench.session.state import SessionState, Step

Span = tuple[bool, int, int, int, int]
Sameness = Literal["same", "alike", ""]


class Row(NamedTuple):
    """Steps that belong together, one of each run; None where a run has none."""

    steps: tuple[int | None, ...]
    sameness: Sameness = ""
    """The same action, or the same command on the same thing; empty where a run is alone."""


class Divergence(NamedTuple):
    """Where runs first part."""

    row: int
    steps: tuple[int | None, ...]
    what: Literal["action", "outcome", "end"]

    @property
    def text(self) -> str:
        """In words."""
        steps = " and ".join("–" if number is None else str(number) for number in self.steps)
        return f"first difference, in steps {steps}: {_PARTINGS[self.what]}"


_PARTINGS = {
    "action": "they do something else",
    "outcome": "the same action comes out differently",
    "end": "one of them is over",
}


_RANGE = re.compile(r"-.*|\d*:?\d*")


def align(states: Sequence[SessionState]) -> list[Row]:
    """The steps of all runs in rows: those of each other run beside those of the first that did the same."""
    first, others = states[0], states[1:]
    matched = [dict(_pairs(first, other)) for other in others]
    done = [1] * len(others)
    rows: list[Row] = []

    def alone(place: int, until: int) -> None:
        """The steps of another run that no step of the first belongs to."""
        for number in range(done[place], until):
            steps: list[int | None] = [None] * len(states)
            steps[place + 1] = number
            rows.append(Row(tuple(steps)))
        done[place] = max(done[place], until)

    for step in first.steps[1:]:
        partners = [pairs.get(step.number) for pairs in matched]
        for place, number in enumerate(partners):
            if number is not None:
                alone(place, number)
                done[place] = number + 1
        rows.append(Row((step.number, *partners), _sameness(states, (step.number, *partners))))
    for place, other in enumerate(others):
        alone(place, len(other.steps))
    return rows


def first_divergence(states: Sequence[SessionState], rows: Sequence[Row]) -> Divergence | None:
    """The first row in which the runs are not the same; None where they are the same to their ends."""
    for place, row in enumerate(rows):
        steps = [state.steps[number] for state, number in zip(states, row.steps, strict=True) if number is not None]
        if len(steps) < len(row.steps):
            ended = any(_over(place, rows, run) for run in range(len(states)))
            return Divergence(place, row.steps, "end" if ended else "action")
        if row.sameness != "same":
            return Divergence(place, row.steps, "action")
        if not all(_same_outcome(steps[0], step) for step in steps[1:]):
            return Divergence(place, row.steps, "outcome")
    return None


def _over(place: int, rows: Sequence[Row], run: int) -> bool:
    return all(row.steps[run] is None for row in rows[place:])


def _pairs(a: SessionState, b: SessionState) -> list[tuple[int, int]]:
    """Steps of two runs that did the same; between them, those that did the like of it."""
    one, other = ([_exact(state, step) for step in state.steps[1:]] for state in (a, b))
    rough_one, rough_other = ([_rough(step) for step in state.steps[1:]] for state in (a, b))
    pairs: list[tuple[int, int]] = []
    for same, i, j, k, m in _joined(runs(one, other)):
        if same:
            pairs += zip(range(i + 1, j + 1), range(k + 1, m + 1), strict=True)
            continue
        for like, p, q, r, s in runs(rough_one[i:j], rough_other[k:m]):
            if like:
                pairs += zip(range(i + p + 1, i + q + 1), range(k + r + 1, k + s + 1), strict=True)
    return pairs


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """The same spans, where two neighbours that are not the same are one."""
    before: Span | None = None
    for span in spans:
        same, i, j, k, m = span
        if (i, k) == (j, m):
            continue
        if before is not None and not same and not before[0]:
            before = (False, before[1], j, before[3], m)
            continue
        if before is not None:
            yield before
        before = span
    if before is not None:
        yield before


def _exact(state: SessionState, step: Step) -> str:
    """What was done, wherever the workspace is."""
    text = step.action.strip().replace(f"{state.workspace}/", "")
    return "\n".join(line.rstrip() for line in text.split("\n"))


def _rough(step: Step) -> str:
    """The command, and what it is about: its first word that is no option and no range, else the file that is open."""
    words = step.action.split("\n", 1)[0].split()[:8]
    if words and "(" in words[0]:
        return words[0].partition("(")[0]  # a call of a tool
    if not words:
        return ""
    about = next((word.strip("\"'") for word in words[1:] if not _RANGE.fullmatch(word)), "")
    if not about and step.window is not None:
        about = step.window.path
    return f"{words[0]} {about.rpartition('/')[2]}"


def _sameness(states: Sequence[SessionState], steps: Sequence[int | None]) -> Sameness:
    keys = {
        _exact(state, state.steps[number]) for state, number in zip(states, steps, strict=True) if number is not None
    }
    if sum(number is not None for number in steps) < 2:
        return ""
    return "same" if len(keys) == 1 else "alike"


def _same_outcome(one: Step, other: Step) -> bool:
    if None not in (one.exit_code, other.exit_code) and one.exit_code != other.exit_code:
        return False
    if one.score != other.score:
        return False
    if one.observation == other.observation:
        return True
    return normalised(one.observation, one.action) == normalised(other.observation, other.action)


class Course(NamedTuple):
    """How a run went, step after step."""

    scores: list[tuple[float, float]]
    """(step, score)"""
    times: list[tuple[float, float]]
    """(step, minutes of work until then)"""
    costs: list[tuple[float, float]]
    """(step, US dollars until then); empty where the log does not say."""
    printed: dict[str, list[tuple[float, float]]]
    """By metric that programs printed: (step, its last value there)."""


_NARROWEST = 25
"""Columns of a plot."""
LETTERS = "ABCDEFGHI"
"""What the runs are called, in order; so many can be compared at once."""


def plots(states: Sequence[SessionState], width: int, height: int = 10) -> list[str]:
    """Scores, time, cost and what was printed of a metric, of all runs over their steps, as rows of text."""
    courses = dict(zip(LETTERS, map(course, states), strict=False))
    drawn = {
        "score": {letter: each.scores for letter, each in courses.items()},
        "minutes": {letter: each.times for letter, each in courses.items()},
        "US dollars": {letter: each.costs for letter, each in courses.items()},
    }
    if metric := _main_metric(courses.values()):
        drawn[metric] = {letter: each.printed.get(metric, []) for letter, each in courses.items()}
    titles, in_a_row = list(drawn), max(1, width // _NARROWEST)
    rows = [titles[first : first + in_a_row] for first in range(0, len(titles), in_a_row)]
    return [line for row in rows for line in beside({title: drawn[title] for title in row}, width, height)]


def _main_metric(courses: Iterable[Course]) -> str:
    """The metric that most runs printed, of a validation rather than of training, a loss rather than another."""
    printed = Counter(name for each in courses for name in each.printed)
    return max(printed, key=lambda name: (printed[name], split_of(name) == "val", is_loss(name), name), default="")


def course(state: SessionState) -> Course:
    """Scores, time, cost and printed metrics over the steps of a run."""
    split = state.standing().split
    scores = [
        (float(entry.step), entry.score)
        for entry in state.scores_until()
        if entry.score is not None and entry.split == split
    ]
    spent = 0.0
    times: list[tuple[float, float]] = []
    costs: list[tuple[float, float]] = []
    printed: dict[str, list[tuple[float, float]]] = {}
    for step in state.steps[1:]:
        spent += step.spending.cost
        times.append((float(step.number), (step.finished or step.started) / 60))
        costs.append((float(step.number), spent))
        for metric in step.metrics:
            if (last := next((value for value in reversed(metric.values) if value is not None), None)) is not None:
                printed.setdefault(metric.name, []).append((float(step.number), last))
    return Course(scores, times, costs if spent else [], printed)
