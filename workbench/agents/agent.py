"""What an agent is to the runner: it reads the session so far and proposes an action."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from workbench.session.events import Usage
from workbench.session.state import SessionState


@dataclass(frozen=True)
class Proposal:
    """One proposed action, and what it took to get it."""

    action: str
    thought: str = ""
    response: str = ""
    """The raw answer of the model; empty when the policy made the action itself."""
    prompt: tuple[str, ...] = field(default=())
    """The messages sent, as JSON, in order."""
    usage: Usage | None = None
    attempt: int = 1


class ModelError(Exception):
    """A model call that gave nothing to run. `cause` is one of those of the event `model.failed`."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class ActionsExhausted(Exception):
    """The list of actions that is replayed has come to its end."""


class Agent(Protocol):
    """Proposes actions. `propose` may be cancelled at any moment and asked again."""

    name: str
    """Name of the agent (its configuration)."""
    model: str
    """`provider:name`."""
    author: str
    """How its steps are signed: `model:<name>` or `policy:<name>`."""
    trusted: bool
    """True for what ships with the workbench: its commands may run without a protecting sandbox."""

    async def propose(self, state: SessionState) -> Proposal:
        """The next action.

        Raises ModelError when there is none, ActionsExhausted at the end of a replayed list.
        """
