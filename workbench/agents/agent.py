"""What an agent is to the runner: it reads the session so far and proposes an action."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from workbench.session.events import Limits, Usage
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
    """Which answer it was: those before it could not be used."""
    latency: float | None = None
    """Seconds that the answer took; None where nobody measured."""
    remark: str = ""
    """What the model is to be told about its answer with the outcome; for `action.proposed`."""


@dataclass(frozen=True)
class Attempt:
    """An answer that became no proposal: malformed, filtered, or cut short."""

    response: str
    """As much as was received."""
    cause: str
    """bad_format | cancelled | one of the causes of ModelError."""
    reason: str
    """What the model was told, or what happened."""
    prompt: tuple[str, ...] = ()
    """The messages sent, as JSON, in order."""
    usage: Usage | None = None
    """None where the provider had not said it yet."""
    number: int = 1
    latency: float = 0.0


class Listener(Protocol):
    """Told what happens while an agent proposes. Called on the event loop; must not block or raise."""

    def delta(self, text: str) -> None:
        """A piece of the answer, as it arrives. The pieces of a new attempt follow `attempted`."""

    def retrying(self, reason: str, seconds: float) -> None:
        """The call failed, and is tried again in so many seconds."""

    def attempted(self, attempt: Attempt) -> None:
        """An answer became no proposal. It was paid for all the same: log it at once."""


@runtime_checkable
class Observable(Protocol):
    """An agent that can be listened to."""

    listener: Listener | None


@runtime_checkable
class Closable(Protocol):
    """An agent that holds connections."""

    async def close(self) -> None:
        """Let go of them."""


@runtime_checkable
class Configured(Protocol):
    """An agent whose configuration says what it may spend and how much of a file it sees."""

    @property
    def limits(self) -> Limits: ...

    @property
    def window(self) -> int: ...


LoopPolicy = Literal["warn", "tell", "pause", "off"]
"""What is done about an agent that repeats itself: a note in the log, that and a message to the agent, or a pause."""


@runtime_checkable
class Repetitive(Protocol):
    """An agent that says what is to be done when it repeats itself. Nothing is done about others."""

    @property
    def loops(self) -> LoopPolicy: ...


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
