"""An answer while it is being received: text, reasoning, tool calls and usage, bounded, and whole at every moment."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.agents.messages import OnDelta, Response, StopReason, ToolCall
from workbench.agents.models.tokens import estimate_tokens
from workbench.agents.models.wire import WireError
from workbench.session.events import Usage

LONGEST_ANSWER = 16 << 20
"""Characters of text, reasoning and tool calls together."""


def part(value: Any, name: str) -> Any:
    """An attribute of what an SDK made of a piece of JSON, or an entry where it left that a dictionary; else None."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def count(value: Any, name: str) -> int:
    """A number of tokens as `part` finds it; 0 for what cannot be one: servers that only resemble a provider's say
    anything.
    """
    found = part(value, name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 1e12:
        return 0
    return int(found)


class ListenerFailed(Exception):
    """What listens to the pieces of an answer failed; the cause says how. Not the model's doing."""


@dataclass
class _Call:
    id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    arguments: dict[str, Any] | None = None


class Answer:
    """What has been received of one call so far."""

    def __init__(self, on_delta: OnDelta | None = None, on_reasoning: OnDelta | None = None) -> None:
        self._on_delta = on_delta
        self._on_reasoning = on_reasoning
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int | str, _Call] = {}
        self._characters = 0
        self.usage: Usage | None = None
        """As the provider counts it; None as long as it did not say."""
        self.stop: StopReason | None = None
        """Why the model stopped; None as long as it did not say."""
        self.continuation = ""
        """What goes back with the calls of this answer."""

    @property
    def text(self) -> str:
        """The text so far."""
        if len(self._text) > 1:
            self._text = ["".join(self._text)]
        return self._text[0] if self._text else ""

    @property
    def reasoning(self) -> str:
        """What is shown of the reasoning so far."""
        return "".join(self._reasoning)

    @property
    def characters(self) -> int:
        """Characters of everything received so far."""
        return self._characters

    def add_text(self, piece: str) -> None:
        """The next piece of text."""
        if not piece:
            return
        self._count(piece)
        self._text.append(piece)
        _tell(self._on_delta, piece)

    def add_reasoning(self, piece: str) -> None:
        """The next piece of what is shown of the reasoning."""
        if piece:
            self._count(piece)
            self._reasoning.append(piece)
            _tell(self._on_reasoning, piece)

    def add_call(self, key: int | str, *, id: str = "", name: str = "", piece: str = "") -> None:  # noqa: A002
        """The beginning of a tool call, or the next piece of its arguments (JSON text)."""
        self._count(id + name + piece)
        call = self._calls.setdefault(key, _Call(id=_new_id()))
        call.id = id or call.id
        call.name = name or call.name
        if piece:
            call.pieces.append(piece)

    def add_whole_call(self, *, id: str, name: str, arguments: dict[str, Any]) -> None:  # noqa: A002
        """A tool call that comes in one piece."""
        self._count(json.dumps(arguments, default=str))
        self._calls[len(self._calls)] = _Call(id=id or _new_id(), name=name, arguments=arguments)

    def _count(self, piece: str) -> None:
        self._characters += len(piece)
        if self._characters > LONGEST_ANSWER:
            raise WireError("too_long", self.text[:200].encode("utf-8", "replace"))

    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls so far."""
        return tuple(map(_tool_call, self._calls.values()))

    def estimated_output(self) -> int:
        """Tokens received so far, for when the provider does not say."""
        calls = sum(estimate_tokens("".join(call.pieces) or str(call.arguments)) for call in self._calls.values())
        return estimate_tokens(self.text) + estimate_tokens(self.reasoning) + calls

    def response(self, usage: Usage, attempts: int) -> Response:
        """All of it."""
        calls = self.calls()
        return Response(
            text=self.text,
            tool_calls=calls,
            reasoning=self.reasoning,
            continuation=self.continuation if calls else "",
            usage=usage,
            stop_reason=self.stop or "cancelled",
            attempts=attempts,
        )


def _tell(listener: OnDelta | None, piece: str) -> None:
    if listener is not None:
        try:
            listener(piece)
        except Exception as error:
            raise ListenerFailed from error


def _new_id() -> str:
    """For a call that a server gave none: no other call of the session has it."""
    return f"call_{uuid.uuid4().hex[:16]}"


def _tool_call(call: _Call) -> ToolCall:
    if call.arguments is not None:
        return ToolCall(id=call.id, name=call.name, arguments=call.arguments)
    raw = "".join(call.pieces)
    try:
        arguments = json.loads(raw) if raw.strip() else {}
    except (ValueError, RecursionError):
        return ToolCall(id=call.id, name=call.name, raw_arguments=raw)
    if not isinstance(arguments, dict):
        return ToolCall(id=call.id, name=call.name, raw_arguments=raw)
    return ToolCall(id=call.id, name=call.name, arguments=arguments)
