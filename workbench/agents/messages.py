"""Messages to a chat model and its answers, in one form for all providers."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from workbench.session.events import Usage

Role = Literal["system", "user", "assistant", "tool"]

StopReason = Literal["stop", "length", "tool_calls", "content_filter", "cancelled", "failed", "other"]


class ToolCall(msgspec.Struct, frozen=True):
    """A call that a model asked for."""

    id: str
    name: str
    arguments: Mapping[str, Any] = msgspec.field(default_factory=dict)
    raw_arguments: str = ""
    """As the model wrote them, if they are no JSON object."""


class Tool(msgspec.Struct, frozen=True):
    """A tool offered to a model; `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]

    def declared(self, schema: str = "parameters") -> dict[str, Any]:
        """The tool as providers want it; they differ in their name for the schema."""
        return {"name": self.name, "description": self.description, schema: dict(self.parameters)}


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """In an assistant's message."""
    tool_call_id: str = ""
    """In a tool's message: the call that it answers."""
    step: int | None = None
    """The step that it belongs to; None if it belongs to no step."""
    elided: str = ""
    """Why part of it was left out; empty if nothing was."""
    output: tuple[int, int] = (0, 0)
    """The span of `content` that a command printed, which a history processor may leave out. Not sent."""
    reasoning: str = ""
    """In an assistant's message with a call: the reasoning before it. Sent only to servers that insist on it."""
    continuation: str = ""
    """In an assistant's message with a call: `Response.continuation`."""


class Sampling(msgspec.Struct, frozen=True):
    """How an answer is sampled. None leaves a setting to the provider; a model that refuses one is not sent it."""

    temperature: float | None = 0.0
    top_p: float | None = 0.95
    max_output_tokens: int | None = 4096


class Response(msgspec.Struct, frozen=True):
    """A complete answer, or as much as was received if `stop_reason` is `cancelled`.

    Reasoning that the model wrote into `text` is moved to `reasoning`.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    """The model's reasoning, as far as the provider shows it."""
    continuation: str = ""
    """What this model wants sent back, unchanged, with its call (signed reasoning); see `continuation`."""
    usage: Usage = msgspec.field(default_factory=Usage)
    stop_reason: StopReason = "stop"
    attempts: int = 1

    def __post_init__(self) -> None:
        from workbench.agents.thinking import split_thinking

        thought, text = split_thinking(self.text)
        if text != self.text:
            msgspec.structs.force_setattr(self, "text", text)
            msgspec.structs.force_setattr(
                self, "reasoning", "\n\n".join(part for part in (self.reasoning, thought) if part)
            )


def continuation(model: str, content: Any) -> str:
    """What `model` (`provider:name`) wants sent back with a call, as text to be logged; empty for nothing."""
    return json.dumps({"model": model, "content": content}) if content else ""


def continued(message: Message, model: str) -> Any:
    """The content of a message's continuation if it is from that model, since no other understands it; else None."""
    if not message.continuation or not message.tool_calls:
        return None
    try:
        kept = json.loads(message.continuation)
        return kept["content"] if kept["model"] == model else None
    except (ValueError, TypeError, KeyError):  # from a log that somebody else wrote
        return None


OnDelta = Callable[[str], None]
"""Called with each piece of text or of reasoning as it arrives."""

OnRetry = Callable[[str, float], None]
"""Called when a call is tried again: the reason, and the seconds until then."""


class ChatModel(ABC):
    """A provider's model. `respond` may be cancelled at any moment; `partial` returns what was received by then."""

    name: str
    """`provider:name`."""

    @abstractmethod
    async def respond(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] = (),
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
        on_delta: OnDelta | None = None,
        on_reasoning: OnDelta | None = None,
        on_retry: OnRetry | None = None,
    ) -> Response:
        """One answer.

        Raises ModelError with cause auth, rate_limit, context_length, content_filter, quota, network or error.
        """

    @abstractmethod
    def partial(self) -> Response:
        """What the current or last call has received so far; usage that the provider has not reported is estimated."""

    @abstractmethod
    def worst_case(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), sampling: Sampling | None = None
    ) -> float | None:
        """The most that one such call can cost, in dollars; None when the price is unknown."""

    @abstractmethod
    def settings(self, sampling: Sampling) -> dict[str, Any]:
        """The sampling settings that are sent, by the provider's own names; none that the model is known to refuse."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connections."""
