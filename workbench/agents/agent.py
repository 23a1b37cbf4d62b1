"""What an agent is to the runner: it reads the session so far and proposes an action."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from workbench.agents.messages import ChatModel, Sampling
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


class Listener(Protocol):
    """Told what happens while an agent proposes. Called on the event loop; must not block or raise."""

    def delta(self, text: str) -> None:
        """A piece of the answer, as it arrives. The pieces of a new attempt follow `attempted`."""

    def reasoning(self, text: str) -> None:
        """A piece of the reasoning before the answer, where the provider shows it."""

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


@runtime_checkable
class Equipped(Protocol):
    """An agent that says which agent commands it wants. Memory and literature are off for those that do not."""

    @property
    def commands(self) -> Sequence[str]: ...


@runtime_checkable
class Changeable(Protocol):
    """An agent around a chat model: between two calls that may become another, and be sampled differently.

    It can also be asked again for a step that is under review: each answer is drawn anew.
    """

    sampling: Sampling

    def use(self, chat: ChatModel) -> ChatModel:
        """Ask another model from here on; returns the one asked so far, to be closed."""
        ...


@runtime_checkable
class Telling(Protocol):
    """An agent that says whether its model learns that a person changed its proposal, where the person does not say."""

    @property
    def tells_edits(self) -> bool: ...


LoopPolicy = Literal["warn", "tell", "pause", "off"]
"""What is done about an agent that repeats itself: a note in the log, that and a message to the agent, or a pause."""


@runtime_checkable
class Repetitive(Protocol):
    """An agent that says what is to be done when it repeats itself. Nothing is done about others."""

    @property
    def loops(self) -> LoopPolicy: ...


@runtime_checkable
class Commenting(Protocol):
    """An agent that may have a remark for the log about a step that is over."""

    def comment(self, state: SessionState) -> str: ...


@runtime_checkable
class Linted(Protocol):
    """An agent that says what its edits of Python files are to meet. Others are warned."""

    @property
    def lint(self) -> LintPolicy: ...


class ModelError(Exception):
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


def with_place(error: BaseException) -> str:
    """An error of somebody's code, with the line that it came from: the innermost that is no library's."""
    own = outside = ""
    for frame in traceback.extract_tb(error.__traceback__):
        outside = f" ({frame.filename}, line {frame.lineno})" if not frame.filename.startswith("<frozen") else outside
        if not frame.filename.startswith(("<frozen", _STANDARD)) and "site-packages" not in frame.filename:
            own = outside
    return f"{type(error).__name__}: {error}{own or outside}"
