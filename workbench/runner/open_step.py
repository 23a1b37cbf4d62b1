"""The step in which a session was when its process ended, once it goes on."""

from __future__ import annotations

from workbench.environment.live import LiveSession
from workbench.session import events as ev
from workbench.session.state import SessionState


def close_open_step(live: LiveSession) -> None:
    """A resumed session may have died in the middle of a step: that step is over now."""
    step = live.state.current
    if step.number and step.status == "proposed" and not left_open(live.state):
        live.emit(ev.ActionRejected(step=step.number, author="", comment="the session was interrupted"))
    elif step.number and step.status == "running":
        live.emit(
            ev.ActionFinished(
                step=step.number,
                exit_code=None,
                observation="(the session ended while this command ran; what it printed is in shell.cast)",
                cwd=step.cwd,
                interrupted=True,
            )
        )


def left_open(state: SessionState) -> bool:
    """Whether the session goes on with the newest step: a proposal at which a breakpoint had stopped it, or what
    somebody wants to have run first in a fork.
    """
    parent, step = state.started.parent if state.started else None, state.current
    if step.status != "proposed" or state.mode == "human":
        return False
    forked_with = parent is not None and parent.step + 1 == step.number and step.edited
    return forked_with or step.number == state.breakpoint_hit
