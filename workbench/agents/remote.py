"""An agent that carries its actions out itself, where the workbench does not reach: a session lets each of them go, and
learns what came of it when the agent asks its model again.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import msgspec

from workbench.agents.agent import Agent, Prompt
from workbench.session.events import Usage
from workbench.session.state import Step


class ModelCall(msgspec.Struct, frozen=True):
    """A call that the agent made of its model, and what came back, for the log."""

    prompt: Prompt
    model: str
    """`provider:name`, as it was asked."""
    author: str
    conversation: str
    protocol: str
    relation: str = ""
    text: str = ""
    reasoning: str = ""
    usage: Usage | None = None
    latency: float = 0.0
    body: bytes = b""
    """The answer as its server sent it."""
    media: str = ""
    """The type of that content."""
    alternative: int = 0
    """As which alternative to the proposal under review."""
    sent: int | None = None
    """The number of its `prompt.sent`, where that is in the log already."""


class Host:
    """What the session does for such an agent. The runner gives the agent its own; this one does nothing."""

    def holds(self) -> bool:
        """Whether a person, or a rule, may hold an answer back that is on its way."""
        return False

    def closed(self) -> bool:
        """Whether the model must not be asked now: a person has the shell, or nobody has said yet how to go on."""
        return False

    def reached(self, pending: int) -> str:
        """The limit that is reached with so many calls under way, in words; empty where none is."""
        return ""

    def under_way(self, calls: int) -> None:
        """So many calls of the model have no answer yet."""

    def asks(self, text: str) -> bool:
        """Tell a person what to do now. False where nobody is there."""
        return False

    def draft(self, text: str, reasoning: str) -> None:
        """What has come of the answer so far that a person looks at."""

    def drafted(self, call: ModelCall) -> int:
        """Log a call whose answer takes its time, with what came of that since the last time. Returns the number of the
        event `prompt.sent`.
        """
        return -1

    def answered(self, call: ModelCall) -> int:
        """Log a call and its answer, at once. Returns the number of the event `model.responded`."""
        return -1

    def failed(self, call: ModelCall, cause: str, message: str) -> None:
        """Log a call of which nothing came that could be used."""

    async def over(self, step: int, observation: str, details: Mapping[str, Any]) -> None:
        """The agent has told what came of a step's action. `details` are fields of `action.finished`."""

    def wake(self) -> None:
        """The agent has ended, or told something: the session looks again."""

    def stop(self, status: str, reason: str) -> None:
        """End the session."""

    async def hand_over(self, reason: str) -> bool:
        """Pause the session, and wait until a person has it go on. False where nobody is there."""
        return False

    def runs(self, programs: str) -> None:
        """What runs of it beside the shell."""

    def note(self, text: str) -> None:
        """A remark for the log."""


class RemoteAgent(Agent):
    """See the module. `Proposal.answer` says from which answer a proposal is."""

    host: Host = Host()

    @abstractmethod
    def proposed(self, step: int) -> bool:
        """The newest proposal is a step of this number. Returns whether it had to be let go already."""

    @abstractmethod
    def release(self, step: Step) -> None:
        """Let the action of a step go, as it stands after review."""

    @abstractmethod
    def reject(self, step: Step) -> None:
        """The action of a step must not run: somebody said so, or it was dropped (`Step.dropped`)."""

    @abstractmethod
    def check(self, step: Step, thought: str, action: str) -> None:
        """Raises ValueError, in a sentence, where the answer of a step cannot say this."""

    @abstractmethod
    def interrupt(self) -> bool:
        """Break off the model's work on calls that have no answer yet; what came of it is logged. Their clients wait
        on, but for those that have some of an answer. False where there are none.
        """

    @abstractmethod
    def answer(self, thought: str, action: str, author: str) -> bool:
        """A person's answer, in the model's place, to the oldest call that waits for one. False where none does. Raises
        ValueError, in a sentence, where no answer can say this.
        """

    @abstractmethod
    async def changed(self) -> None:
        """Until the session may go on otherwise than before, or for a moment."""

    @property
    @abstractmethod
    def outstanding(self) -> bool:
        """Whether it has actions of which it has not told yet what came of them."""

    @abstractmethod
    async def stop(self) -> None:
        """The session ends: break calls off that are under way. What came of them is logged."""
