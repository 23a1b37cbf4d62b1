"""What the runner knows of an agent: it reads the session so far and proposes an action."""

from __future__ import annotations

import os
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from workbench.agents.messages import ChatModel, Sampling
from workbench.errors import WorkbenchError
from workbench.sandbox.commands import LintPolicy
from workbench.session.events import Limits, Usage
from workbench.session.state import SessionState

if TYPE_CHECKING:
    from workbench.sandbox.base import Sandbox

_STANDARD = os.path.dirname(os.__file__) + os.sep
"""The folder of Python's standard library."""


class Prompt(msgspec.Struct, frozen=True):
    """What a model was sent, as the log keeps it."""

    messages: tuple[str, ...] = ()
    """Each as a JSON object with `role`, `content`, and perhaps `tool_calls`, `tool_call_id`, `step`, `elided`."""
    tokens: tuple[int, ...] = ()
    """Estimated tokens of each message; empty if they were not counted."""
    budget: int | None = None
    """The most tokens that the messages may have; None if there is no limit."""
    tools: str = ""
    """Schemas of the tools offered, as JSON; empty without any."""
    tool_tokens: int = 0
    settings: Mapping[str, Any] | None = None
    """The sampling settings that were sent, by the provider's own names; None if they are not known."""


NO_PROMPT = Prompt()


class Proposal(msgspec.Struct, frozen=True):
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
    """Seconds until the answer was complete; None if they were not measured."""
    remark: str = ""
    """What the model is told about its answer together with the outcome; logged in `action.proposed`."""
    reasoning: str = ""
    """The reasoning before the answer, as far as the provider shows it."""
    continuation: str = ""
    """What the model wants sent back with this action in later calls, unread; logged in `model.responded`."""
    answer: int | None = None
    """The number of the event `model.responded` that it is from, where that is in the log already."""
    conversation: str = ""
    """Of several that the agent has with its model."""
    author: str = ""
    """Whose it is, where that is not the agent's own."""


class Attempt(msgspec.Struct, frozen=True):
    """A model call that led to no proposal: its answer was malformed, filtered or cut short, or never came."""

    response: str
    """The part of the answer that was received. If nothing was, it is empty and `usage` is None."""
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
    """The agent asks the model again by itself; the user does not have to decide."""


class Listener:
    """Follows an agent while it works on a proposal. Its methods run on the event loop and must not block or raise."""

    alternative: int = 0
    """Which alternative to the proposal under review is asked for; 0 for a proposal."""

    def delta(self, text: str) -> None:
        """A piece of the answer, as it arrives. The pieces of a new attempt follow `attempted`."""

    def reasoning(self, text: str) -> None:
        """A piece of the reasoning before the answer, where the provider shows it."""

    def retrying(self, reason: str, seconds: float) -> None:
        """The call failed; the agent tries again after this many seconds."""

    def attempted(self, attempt: Attempt) -> None:
        """An answer led to no proposal. It still costs money, so it is logged at once."""


LoopPolicy = Literal["warn", "tell", "pause", "off"]
"""What happens when an agent repeats itself: a note in the log, a note and a message to the agent, or a pause."""


class ModelError(WorkbenchError):
    """A model call that produced no action. `cause` is one of the causes of the event `model.failed`."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class ActionsExhausted(Exception):
    """There will be no more actions: a replayed list has come to its end, or a program has ended.

    With a `cause`, as MLGym names it, what is there is submitted.
    """

    def __init__(self, message: str, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause


class Closing(Protocol):
    """What answered until another model took its place."""

    name: str

    async def close(self) -> None:
        """Close the connections."""


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
    """Lines of the file window; None if the user or the workbench decides."""
    commands: Sequence[str] = ()
    """The agent commands that it wants; naming one of memory or literature switches that service on."""
    lint: LintPolicy = "warn"
    """What happens to an edit of a Python file that introduces undefined names."""
    loops: LoopPolicy = "off"
    """What happens when it repeats itself."""
    submit: Literal["last", "best"] = "last"
    """What a submission is that is worse than the best that was validated: as it is, or that one instead."""
    as_mlgym: bool = False
    """Its actions were written for MLGym, whose commands differ slightly."""

    asks_model: bool = False
    """It asks a chat model and has `sampling` and `use`: the user can change the model between two calls, and ask for
    alternatives to a proposal.
    """
    sampling: Sampling = Sampling()
    """How answers are sampled."""
    tells_edits: bool | None = None
    """Whether the model is told that a person edited its proposal. That person may decide otherwise. None if the agent
    has no model.
    """

    mounts: Mapping[Path, str] = {}
    """What the sandbox must show of this machine for an agent that runs in it: host path → path inside, read-only."""

    @property
    def replayed(self) -> bool | None:
        """Whether all that a recording has was asked again, and nothing else; None where none is replayed."""
        return None

    async def enter(  # noqa: B027  # most stay outside
        self, sandbox: Sandbox, state: SessionState, show: Callable[[bytes], None]
    ) -> None:
        """The sandbox is up: an agent that runs in it starts, and has what it prints shown. Called once, before the
        first proposal. Raises SandboxError.
        """

    @abstractmethod
    async def propose(self, state: SessionState) -> Proposal:
        """The next action. The call may be cancelled at any moment, and repeated. Raises ModelError when there is none,
        ActionsExhausted at the end of a replayed list.
        """

    def use(self, chat: ChatModel) -> Closing:
        """Use another model from now on. Returns what answered before, which the caller closes."""
        raise NotImplementedError

    def check_model(self, chat: ChatModel) -> None:  # noqa: B027  # most take any
        """Raises ModelError, in a sentence, where it cannot use that model."""

    def comment(self, state: SessionState) -> str:
        """A remark for the log about the step that is over; empty for none."""
        return ""

    async def close(self) -> None:  # noqa: B027  # most have nothing to close
        """Close the connections, if there are any."""


def with_place(error: BaseException) -> str:
    """An error in a user's code, with its file and line: the innermost frame that belongs to no library."""
    own = outside = ""
    for frame in traceback.extract_tb(error.__traceback__):
        outside = f" ({frame.filename}, line {frame.lineno})" if not frame.filename.startswith("<frozen") else outside
        if not frame.filename.startswith(("<frozen", _STANDARD)) and "site-packages" not in frame.filename:
            own = outside
    return f"{type(error).__name__}: {error}{own or outside}"
