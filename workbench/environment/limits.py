"""Limits on what a session may spend, checked before each model call, and how a session ends when one is reached."""

from __future__ import annotations

import math
from collections.abc import Collection

import msgspec

from workbench.session.events import Limits, ScoreRecorded
from workbench.session.state import SessionState


def exceeded(state: SessionState, working_seconds: float, *, human: bool) -> tuple[str, str] | None:
    """MLGym's name for the limit that is reached, and the reason in words; None when none is.

    An agent's limit counts its own steps (`SessionState.agent_steps`); where a person is the agent (`human`), all.
    """
    limits = state.limits
    if limits.steps is not None:
        taken = state.last_step if human else state.agent_steps
        if taken >= limits.steps:
            return "max_steps", f"the limit of {limits.steps} step{'s' * (limits.steps != 1)} is reached"
    if limits.seconds is not None and working_seconds >= limits.seconds:
        return "max_time", f"the limit of {limits.seconds:g} s is reached"
    if limits.cost is not None and state.cost >= limits.cost:
        return "exit_cost", f"the limit of ${limits.cost:g} is reached"
    if limits.tokens is not None and state.unpriced_tokens >= limits.tokens:
        return "exit_cost", f"the limit of {limits.tokens:,} tokens (the price is unknown) is reached"
    return None


def changed_limits(limits: Limits, remove: Collection[str] = (), **changes: float | None) -> Limits:
    """`limits` with those that are given, and without those to be removed.

    Raises ValueError for one that is no finite number over 0.
    """
    limits = msgspec.structs.replace(limits, **dict.fromkeys(remove))
    given = {name: value for name, value in changes.items() if value is not None}
    for name, value in given.items():
        if not math.isfinite(value) or value <= 0:
            raise ValueError(f"a limit on {name} must be a number over 0, and not {value:g}")
    return msgspec.structs.replace(limits, **given)


def autosubmission(cause: str, score: ScoreRecorded) -> str:
    """The exit status of a session that was ended by `cause` and scored as it was, as MLGym names it."""
    if score.verdict == "ok":
        return f"autosubmission ({cause})"
    return f"submission_not_found ({cause})" if score.verdict == "missing" else f"evaluation_format_error ({cause})"
