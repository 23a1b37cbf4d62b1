"""Steps that were left: the one that was open when a process ended, and a proposal that a take-over dropped."""

from __future__ import annotations

from workbench.agents.agent import Agent, Proposal
from workbench.agents.remote import RemoteAgent
from workbench.environment.live import LiveSession
from workbench.session import events as ev
from workbench.session.state import SessionState, Step


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


def dropped_by(agent: Agent, state: SessionState) -> Step | None:
    """What the agent proposed last, where nobody judged it. None of another agent's, from which it may have a fork, and
    of an agent program's answers, which only that program can carry out.
    """
    dropped = state.dropped_proposal
    if dropped is None or isinstance(agent, RemoteAgent):
        return dropped
    return dropped if dropped.author == agent.author and dropped.answered is None else None


def proposed_again(dropped: Step) -> Proposal:
    """What a take-over dropped, as it was before a person edited it."""
    return Proposal(dropped.proposed, dropped.proposed_thought, remark=dropped.remark, author=dropped.author)


def edit_again(live: LiveSession, dropped: Step, number: int, user: str) -> None:
    """What is proposed once more is as the person had changed it."""
    step = live.state.steps[number]
    if not dropped.edited and (dropped.thought, dropped.action) == (step.thought, step.action):
        return
    rethought = dropped.thought != step.thought
    live.emit(
        ev.ActionEdited(
            step=number,
            author=dropped.edited_by or user,
            before=step.action,
            after=dropped.action,
            thought_before=step.thought if rethought else None,
            thought_after=dropped.thought if rethought else None,
            told=dropped.edit_told,
        )
    )
