"""The reward of a step. Any function of an `Outcome` can take the place of `improvement`."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from workbench.session.events import Metric, ScoreRecorded


class Outcome(msgspec.Struct, frozen=True):
    """What a reward may depend on."""

    metric: Metric
    """The primary metric: its name, which way is better, and the baseline, where one is known."""
    before: float | None
    """The last score before this step; None where there was none."""
    scores: tuple[ScoreRecorded, ...]
    """Evaluations of this step, failed ones too (their `score` is None)."""
    exit_code: int | None
    """None if the command had none because it was killed with its shell, or the sandbox was lost."""
    refused: bool
    """Bash could not parse the action: nothing was run."""
    terminated: bool
    truncated: bool
    steps: int
    """The number of steps so far, including this one."""


Reward = Callable[[Outcome], float]
NEXT_TO_ZERO = 1e-9
"""A baseline of this size is as good as 0."""


def improvement(outcome: Outcome) -> float:
    """How much better the last score is than the one before it; the first, than the baseline. 0 for a step without one.

    In units of the baseline's size, so that tasks are comparable; in those of the metric where the baseline is 0 or
    unknown (then 0 stands for it). Over an episode the rewards add up to the improvement of its last score on the
    baseline, however often it was validated.
    """
    after = next((entry.score for entry in reversed(outcome.scores) if entry.score is not None), None)
    if after is None:
        return 0.0
    baseline = outcome.metric.baseline or 0.0
    before = baseline if outcome.before is None else outcome.before
    better = after - before if outcome.metric.direction == "maximize" else before - after
    return better / (abs(baseline) if abs(baseline) > NEXT_TO_ZERO else 1.0)
