"""What the runner knows of an agent: it reads the session so far and proposes an action."""

from __future__ import annotations

import os
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from workbench.agents.messages import ChatModel, Sampling
from workbench.errors import WorkbenchError
from workbench.sandbox.commands import LintPolicy
from workbench.session.events import Limits, Usage
from workbench.session.state import SessionState

_STANDARD = os.path.dirname(os.__file__) + os.sep
"""The folder of Python's standard library."""


@dataclass(frozen=True)
class Prompt:
    """What a model was sent, as the log keeps it."""

    messages: tuple[str, ...] = ()
    """Each as a JSON object with `role`, `content`, and perhaps `tool_calls`, `tool_call_id`, `step`, `elided`."""
    tokens: tuple[int, ...] = ()
    """Estimated tokens of each message; empty where nobody counted."""
    budget: int | None = None
    """The most tokens that the messages may have; None if there is no limit."""
    tools: str = ""
    """Schemas of the tools offered, as JSON; empty without any."""
    tool_tokens: int = 0
    settings: Mapping[str, Any] | None = None
    """The sampling settings that were sent, by the provider's own names; None if they are not known."""


NO_PROMPT = Prompt()


@dataclass(frozen=True)
class Proposal:
    """One proposed action, and the model call that produced it."""

    action: str
    thought: str = ""
    response: str = ""
    """The raw answer of the model; empty when the policy made the action itself."""
    prompt: Prompt = NO_PROMPT
    usage: Usage | None = None
    attempt: int = 1
    """The number of the answer, from 1: the earlier ones could not be used."""
    latency: float | None = None
    """Seconds until the answer was complete; None if nobody measured."""
    remark: str = ""
    """What the model is told about its answer together with the outcome; logged in `action.proposed`."""
    reasoning: str = ""
    """The reasoning before the answer, as far as the provider shows it."""
    continuation: str = ""
    """What the model wants sent back with this action in later calls, unread; logged in `model.responded`."""


@dataclass(frozen=True)
class Attempt:
    """A call that gave no proposal: malformed, filtered, cut short, or not answered at all."""

    response: str
    """As much as was received. If nothing was, it is empty and `usage` is None."""
    cause: str
    """bad_format | cancelled | one of the causes of ModelError."""
    reason: str
    """What the model was told, or what happened."""
    prompt: Prompt = NO_PROMPT
    usage: Usage | None = None
    """None if the provider had not reported it yet."""
    number: int = 1
    latency: float = 0.0
    reasoning: str = ""
    again: bool = False
    """The agent asks the model again by itself; nobody has to decide."""


class Listener:
    """Told what happens while an agent proposes. Called on the event loop; must not block or raise."""

    def delta(self, text: str) -> None:
        """A piece of the answer, as it arrives. The pieces of a new attempt follow `attempted`."""

    def reasoning(self, text: str) -> None:
        """A piece of the reasoning before the answer, where the provider shows it."""

    def retrying(self, reason: str, seconds: float) -> None:
        """The call failed, and the agent tries again in so many seconds."""

    def attempted(self, attempt: Attempt) -> None:
        """An answer gave no proposal. It costs money all the same: log it at once."""


LoopPolicy = Literal["warn", "tell", "pause", "off"]
"""What happens when an agent repeats itself: a note in the log, a note and a message to the agent, or a pause."""


class ModelError(WorkbenchError):
    """A model call that gave no action. `cause` is one of the causes of the event `model.failed`."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class ActionsExhausted(Exception):
    """The replayed list of actions has come to its end.

    `cause` says why the recorded session was scored although its agent had not submitted; empty if it was not.
    """

    def __init__(self, message: str, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause


class Agent(ABC):
    """Proposes actions. A subclass gives `name`, `model`, `author` and `propose`; the rest has defaults."""

    name: str
    """Name of the agent (its configuration)."""
    model: str
    """`provider:name`."""
    author: str
    """How its steps are signed: `model:<name>` or `policy:<name>`."""
    trusted: bool = False
    """True for the agents of the package: their commands may run without a protecting sandbox."""

    listener: Listener = Listener()
    """Set by the runner."""
    limits: Limits | None = None
    """What a session may spend unless its user says otherwise; None without a configuration."""
    window: int | None = None
    """Lines of the file window; None leaves it to the user and to the workbench."""
    commands: Sequence[str] = ()
    """The agent commands that it wants; naming one of memory or literature switches that service on."""
    lint: LintPolicy = "warn"
    """What happens to an edit of a Python file that introduces undefined names."""
    loops: LoopPolicy = "off"
    """What happens when it repeats itself."""
    as_mlgym: bool = False
    """Its actions were written for MLGym, whose commands are a little different."""

    asks_model: bool = False
    """It asks a chat model and has `sampling` and `use`: the user can change the model between two calls, and ask for
    alternatives to a proposal.
    """
    sampling: Sampling = Sampling()
    """How answers are drawn."""
    tells_edits: bool | None = None
    """Whether its model learns that a person edited its proposal, unless that person decides; None if there is no model
    to tell.
    """

    @abstractmethod
    async def propose(self, state: SessionState) -> Proposal:
        """The next action. May be cancelled at any moment, and asked again.

        Raises ModelError when there is none, ActionsExhausted at the end of a replayed list.
        """

    def use(self, chat: ChatModel) -> ChatModel:
        """Ask another model from here on; returns the one asked so far, to be closed."""
        raise NotImplementedError

    def comment(self, state: SessionState) -> str:
        """A remark for the log about the step that is over; empty for none."""
        return ""

    async def close(self) -> None:  # noqa: B027  # most have nothing to close
        """Close the connections, if there are any."""


class AdaptedAgent(Agent):
    """An object of another class that has what an agent must have. Attributes that it lacks have the defaults."""

    def __init__(self, adapted: Any) -> None:
        object.__setattr__(self, "_adapted", adapted)
        if hasattr(adapted, "use") and hasattr(adapted, "sampling"):
            object.__setattr__(self, "asks_model", True)

    def __getattribute__(self, name: str) -> Any:
        adapted = object.__getattribute__(self, "_adapted")
        own = name.startswith("__") or not hasattr(adapted, name)
        return object.__getattribute__(self, name) if own else getattr(adapted, name)

    def __setattr__(self, name: str, value: Any) -> None:
        adapted = object.__getattribute__(self, "_adapted")
        if hasattr(adapted, name):
            setattr(adapted, name, value)
        else:
            object.__setattr__(self, name, value)

    async def propose(self, state: SessionState) -> Proposal:
        proposal: Proposal = await object.__getattribute__(self, "_adapted").propose(state)
        return proposal


def with_place(error: BaseException) -> str:
    """An error in a user's code, with its file and line: the innermost frame that belongs to no library."""
    own = outside = ""
    for frame in traceback.extract_tb(error.__traceback__):
        outside = f" ({frame.filename}, line {frame.lineno})" if not frame.filename.startswith("<frozen") else outside
        if not frame.filename.startswith(("<frozen", _STANDARD)) and "site-packages" not in frame.filename:
            own = outside
    return f"{type(error).__name__}: {error}{own or outside}"
