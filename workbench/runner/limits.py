"""Limits on what a session may spend, checked before the next model call is paid for."""

from __future__ import annotations

from workbench.session.state import SessionState


def exceeded(state: SessionState, working_seconds: float, *, human: bool) -> tuple[str, str] | None:
    """Exit status and reason when a limit is reached, else None.

    Steps that a person typed in a take-over do not count against an agent's limit; where a person is the agent
    (`human`) they do.
    """
    limits = state.limits
    if limits.steps is not None:
        taken = sum(human or not step.author.startswith("human:") for step in state.steps[1:])
        if taken >= limits.steps:
            return "max_steps", f"the limit of {limits.steps} steps is reached"
    if limits.seconds is not None and working_seconds >= limits.seconds:
        return "max_time", f"the limit of {limits.seconds:g} s is reached"
    if limits.cost is not None and state.cost >= limits.cost:
        return "max_cost", f"the limit of ${limits.cost:g} is reached"
    return None
