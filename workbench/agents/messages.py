"""What goes to a chat model and what comes back, in one form for all providers."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from workbench.agents.thinking import split_thinking
from workbench.session.events import Usage

Role = Literal["system", "user", "assistant", "tool"]

StopReason = Literal["stop", "length", "tool_calls", "content_filter", "cancelled", "failed", "other"]


@dataclass(frozen=True)
class ToolCall:
    """A call that a model asked for."""

    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    raw_arguments: str = ""
    """As the model wrote them, where they are not a JSON object."""


@dataclass(frozen=True)
class Tool:
    """A tool offered to a model; `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Message:
    """One message of a conversation."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant's message."""
    tool_call_id: str = ""
    """Of a tool's message: which call it answers."""
    step: int | None = None
    """The step it tells of; None for what belongs to none."""
    elided: str = ""
    """Why part of it was left out; empty when nothing was."""
    output: tuple[int, int] = (0, 0)
    """Span of `content` that a command printed: what a history processor may leave out. Not sent."""
    reasoning: str = ""
    """Of an assistant's message with a call: the reasoning before it. Only servers that insist on it are sent it."""
    continuation: str = ""
    """Of an assistant's message with a call: `Response.continuation`."""


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn. None leaves it to the provider; models that refuse a setting are not sent it."""

    temperature: float | None = 0.0
    top_p: float | None = 0.95
    max_output_tokens: int | None = 4096


@dataclass(frozen=True)
class Response:
    """A whole answer, or as much as was received when `stop_reason` is `cancelled`.

    Reasoning that stands in the text it is made with becomes part of `reasoning`.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    """What the provider shows of the model's reasoning."""
    continuation: str = ""
    """What this model wants back, unchanged, with the call that it made (signed reasoning); see `continuation`."""
    usage: Usage = field(default_factory=Usage)
    stop_reason: StopReason = "stop"
    attempts: int = 1

    def __post_init__(self) -> None:
        thought, text = split_thinking(self.text)
        if text != self.text:
            object.__setattr__(self, "text", text)
            object.__setattr__(self, "reasoning", "\n\n".join(part for part in (self.reasoning, thought) if part))


def continuation(model: str, content: Any) -> str:
    """What `model` (`provider:name`) wants back with a call, as a text to be kept; empty for none."""
    return json.dumps({"model": model, "content": content}) if content else ""


def continued(message: Message, model: str) -> Any:
    """The content of a message's continuation, if it is of that model: no other understands it. Else None."""
    if not message.continuation or not message.tool_calls:
        return None
    try:
        kept = json.loads(message.continuation)
        return kept["content"] if kept["model"] == model else None
    except (ValueError, TypeError, KeyError):  # from a log that somebody else wrote
        return None


OnDelta = Callable[[str], None]
"""Given each piece of text, or of reasoning, as it arrives."""

OnRetry = Callable[[str, float], None]
"""Told why a call is tried again, and after how many seconds."""


class ChatModel(ABC):
    """A provider's model. `respond` may be cancelled at any moment; `partial` has what was received by then."""

    name: str
    """`provider:name`."""

    @abstractmethod
    async def respond(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        sampling: Sampling = Sampling(),  # frozen
        on_delta: OnDelta | None = None,
        on_reasoning: OnDelta | None = None,
        on_retry: OnRetry | None = None,
    ) -> Response:
        """One answer.

        Raises ModelError with cause auth, rate_limit, context_length, content_filter, quota, network or error.
        """

    @abstractmethod
    def partial(self) -> Response:
        """What the call that runs, or ran last, has received so far; its usage is estimated where it is not known."""

    @abstractmethod
    def worst_case(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), sampling: Sampling | None = None
    ) -> float | None:
        """The most that one such call can cost, in dollars; None when the price is unknown."""

    @abstractmethod
    def settings(self, sampling: Sampling) -> dict[str, Any]:
        """Sampling as it is sent, by the provider's own names, without what the model is known to refuse."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connections."""
