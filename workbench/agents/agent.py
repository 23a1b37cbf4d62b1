"""What an agent is to the runner: it reads the session so far and proposes an action."""

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
"""Where Python's own modules are."""


@dataclass(frozen=True)
class Prompt:
    """What a model was sent, as the log keeps it."""

    messages: tuple[str, ...] = ()
    """Each as a JSON object with `role`, `content`, and perhaps `tool_calls`, `tool_call_id`, `step`, `elided`."""
    tokens: tuple[int, ...] = ()
    """Of each message, estimated; empty where nobody counted."""
    budget: int | None = None
    """The most tokens that the messages may have; None where nothing limits them."""
    tools: str = ""
    """Schemas of the tools offered, as JSON; empty without any."""
    tool_tokens: int = 0
    settings: Mapping[str, Any] | None = None
    """Sampling as it was sent, by the provider's own names; None where that is not known."""


NO_PROMPT = Prompt()


@dataclass(frozen=True)
class Proposal:
    """One proposed action, and what it took to get it."""

    action: str
    thought: str = ""
    response: str = ""
    """The raw answer of the model; empty when the policy made the action itself."""
    prompt: Prompt = NO_PROMPT
    usage: Usage | None = None
    attempt: int = 1
    """Which answer it was: those before it could not be used."""
    latency: float | None = None
    """Seconds that the answer took; None where nobody measured."""
    remark: str = ""
    """What the model is to be told about its answer with the outcome; for `action.proposed`."""
    reasoning: str = ""
    """What the provider shows of the reasoning before the answer."""
    continuation: str = ""
    """What the model wants back with the account of this action, unread; for `model.responded`."""


@dataclass(frozen=True)
class Attempt:
    """A call that gave no proposal: malformed, filtered, cut short, or not answered at all."""

    response: str
    """As much as was received; empty, and `usage` None, where nothing was."""
    cause: str
    """bad_format | cancelled | one of the causes of ModelError."""
    reason: str
    """What the model was told, or what happened."""
    prompt: Prompt = NO_PROMPT
    usage: Usage | None = None
    """None where the provider had not said it yet."""
    number: int = 1
    latency: float = 0.0
    reasoning: str = ""
    again: bool = False
    """The model is asked again without anybody having to decide."""


class Listener:
    """Told what happens while an agent proposes. Called on the event loop; must not block or raise."""

    def delta(self, text: str) -> None:
        """A piece of the answer, as it arrives. The pieces of a new attempt follow `attempted`."""

    def reasoning(self, text: str) -> None:
        """A piece of the reasoning before the answer, where the provider shows it."""

    def retrying(self, reason: str, seconds: float) -> None:
        """The call failed, and is tried again in so many seconds."""

    def attempted(self, attempt: Attempt) -> None:
        """An answer became no proposal. It was paid for all the same: log it at once."""


LoopPolicy = Literal["warn", "tell", "pause", "off"]
"""What is done about an agent that repeats itself: a note in the log, that and a message to the agent, or a pause."""


class ModelError(WorkbenchError):
    """A model call that gave nothing to run. `cause` is one of those of the event `model.failed`."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class ActionsExhausted(Exception):
    """The list of actions that is replayed has come to its end.

    `cause` is why the recorded session was scored then, without its agent having submitted; empty where it was not.
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
    """True for what ships with the workbench: its commands may run without a protecting sandbox."""

    listener: Listener = Listener()
    """Set by the runner."""
    limits: Limits | None = None
    """What a session may spend unless its user says otherwise; None without a configuration."""
    window: int | None = None
    """Lines of the file window; None leaves it to the user and to the workbench."""
    commands: Sequence[str] = ()
    """The agent commands that it wants: memory and literature are switched on by that."""
    lint: LintPolicy = "warn"
    """What is done about an edit of a Python file that brings in names which are not defined."""
    loops: LoopPolicy = "off"
    """What is done when it repeats itself."""
    as_mlgym: bool = False
    """Its actions were written for MLGym, whose commands are a little different."""

    asks_model: bool = False
    """It asks a chat model, and has `sampling` and `use`: the model can be changed between two calls, and asked for
    alternatives to a proposal.
    """
    sampling: Sampling = Sampling()
    """How answers are drawn."""
    tells_edits: bool | None = None
    """Whether its model learns that a person changed its proposal, where the person does not say; None: no model does.
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
    """An object that is no `Agent` but has what one must have. Whatever else it has counts as well."""

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
    """An error of somebody's code, with the line that it came from: the innermost that is no library's."""
    own = outside = ""
    for frame in traceback.extract_tb(error.__traceback__):
        outside = f" ({frame.filename}, line {frame.lineno})" if not frame.filename.startswith("<frozen") else outside
        if not frame.filename.startswith(("<frozen", _STANDARD)) and "site-packages" not in frame.filename:
            own = outside
    return f"{type(error).__name__}: {error}{own or outside}"
