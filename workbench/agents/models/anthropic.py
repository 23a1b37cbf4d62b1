"""Anthropic's Messages API."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from workbench.agents.messages import Message, Sampling, continuation, continued
from workbench.agents.models import faults
from workbench.agents.models.answer import Answer, count, part
from workbench.agents.models.base import ProviderModel, Request, until_silent
from workbench.agents.models.faults import Fault, Server
from workbench.agents.models.turns import Part, alternating, answered_calls, arguments_of, split_system
from workbench.session.events import Usage

_TAKES_SAMPLING = re.compile(r"claude-(?:[123]\b|instant|(?:opus|sonnet|haiku)-4(?:-[0156]\b|-20\d{6}|$))")
"""Models that accept a temperature; those since Opus 4.7 refuse it. For other models the first call finds out."""

_TAKES_BOTH = re.compile(r"claude-(?:[123]\b|instant)")
"""Models that accept temperature and top_p together; later ones accept only one of the two."""


class AnthropicModel(ProviderModel):
    """A Claude model behind the Messages API."""

    provider: ClassVar[str] = "anthropic"
    longest_output: ClassVar[int] = 8192  # the API wants a number, and some models take no higher one
    optional = ("top_p", "temperature", "cache_control")

    def _make_client(self) -> Any:
        import anthropic

        return anthropic.AsyncAnthropic(**self._client_options(anthropic.DefaultAsyncHttpxClient, _whole))

    async def _stream(self, client: Any, request: Request, answer: Answer) -> None:
        stream = client.messages.create(**self._arguments(request))
        thinking = _Thinking()
        async for event in until_silent(stream, self._silence):
            _take(event, answer, thinking)
        answer.continuation = continuation(self.name, thinking.blocks)

    def _arguments(self, request: Request) -> dict[str, Any]:
        system, rest = split_system(answered_calls(request.messages))
        arguments: dict[str, Any] = {
            "model": self._model,
            "messages": self._messages(rest),
            "max_tokens": self._longest(request.sampling),
            "stream": True,
        }
        if system:
            arguments["system"] = [{"type": "text", "text": system, **self._cached()}]
        if request.tools:
            arguments["tools"] = [tool.declared("input_schema") for tool in request.tools]
        # Not parameters of the SDK any more, since the newest models have none of them.
        if settings := self._taken(self._sampling(request.sampling)):
            arguments["extra_body"] = settings
        return arguments

    def _sampling(self, sampling: Sampling) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        if _TAKES_SAMPLING.match(self._model) or not self._model.startswith("claude"):
            settings["temperature"] = sampling.temperature
            if sampling.temperature is None or _TAKES_BOTH.match(self._model):
                settings["top_p"] = sampling.top_p
        return settings

    def settings(self, sampling: Sampling) -> dict[str, Any]:
        return {**super().settings(sampling), "max_tokens": self._longest(sampling)}

    def _longest(self, sampling: Sampling) -> int:
        return sampling.max_output_tokens or self.longest_output

    def _cached(self) -> dict[str, Any]:
        """Marks the end of a prefix that the provider should cache."""
        return {} if "cache_control" in self._refused else {"cache_control": {"type": "ephemeral"}}

    def _messages(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """Alternating turns that begin and end with the user, with the mark for the cache."""
        stable = _last_stable(messages)
        turns = [(message.role == "assistant", self._blocks(message)) for message in messages]
        if turns and (blocks := turns[stable][1]):
            blocks[-1] |= self._cached()
        return [
            {"role": "assistant" if by_model else "user", "content": blocks}
            for by_model, blocks in alternating(turns, _text)
        ]

    def _blocks(self, message: Message) -> list[dict[str, Any]]:
        if message.role == "tool":
            return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}]
        blocks = _signed(continued(message, self.name))
        if message.content.strip():  # blocks without text are refused
            blocks.append(_text(message.content))
        for call in message.tool_calls:
            blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": arguments_of(call)})
        return blocks

    def _status_fault(self, error: Exception, server: Server) -> Fault | None:
        import anthropic

        if not isinstance(error, anthropic.APIStatusError):
            return None
        headers = error.response.headers
        return faults.from_status(server, error.status_code, error.body, text=error.message, headers=headers)


def _text(text: str) -> Part:
    return {"type": "text", "text": text}


def _signed(content: Any) -> list[dict[str, Any]]:
    """The thinking blocks in a kept continuation."""
    blocks = content if isinstance(content, list) else []
    return [dict(block) for block in blocks if isinstance(block, dict) and "thinking" in str(block.get("type"))]


def _last_stable(messages: Sequence[Message]) -> int:
    """The position of the last message that the next call will most likely repeat, together with all before it.

    A history that only grows repeats all messages. One that shortens old outputs repeats them up to the last that is
    already shortened: those after it will still change.
    """
    shortened = [position for position, message in enumerate(messages) if message.elided]
    return shortened[-1] if shortened else len(messages) - 1


class _Thinking:
    """The thinking blocks of one answer. They have to be sent back unchanged, with their signatures."""

    def __init__(self) -> None:
        self._open: dict[int, dict[str, Any]] = {}

    def begin(self, index: int, block: Any) -> None:
        if part(block, "type") == "redacted_thinking":
            self._open[index] = {"type": "redacted_thinking", "data": part(block, "data")}
        elif part(block, "type") == "thinking":
            kept = {name: part(block, name) or "" for name in ("thinking", "signature")}
            self._open[index] = {"type": "thinking", **kept}

    def add(self, index: int, field: str, piece: Any) -> None:
        if index in self._open and isinstance(piece, str):
            self._open[index][field] += piece

    @property
    def blocks(self) -> list[dict[str, Any]]:
        return [block for block in self._open.values() if block.get("signature", "signed")]


def _whole(body: Any) -> list[tuple[str, Any]] | None:
    """The stream that a complete answer in one piece would have been."""
    if not isinstance(body, dict) or not isinstance(body.get("content"), list):
        return None
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {**body, "content": []}}]
    for index, block in enumerate(body["content"]):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
    end = {"stop_reason": body.get("stop_reason"), "stop_sequence": body.get("stop_sequence")}
    events.append({"type": "message_delta", "delta": end, "usage": body.get("usage")})
    return [(event["type"], event) for event in [*events, {"type": "message_stop"}]]


def _take(event: Any, answer: Answer, thinking: _Thinking) -> None:
    """Take in one event of the stream."""
    match part(event, "type"):
        case "message_start":
            answer.usage = _usage(part(part(event, "message"), "usage"), None)
        case "content_block_start":
            block = event.content_block
            thinking.begin(event.index, block)
            if part(block, "type") == "tool_use":
                whole = part(block, "input") or None
                answer.add_call(event.index, id=part(block, "id"), name=part(block, "name"), arguments=whole)
            else:
                answer.add_content(block)
        case "content_block_delta":
            _take_delta(event.index, event.delta, answer, thinking)
        case "message_delta":
            answer.usage = _usage(part(event, "usage"), answer.usage)
            answer.stops(part(part(event, "delta"), "stop_reason"))
        case "message_stop" if answer.stop is None and answer.characters:
            answer.stops("end_turn")


def _take_delta(index: int, delta: Any, answer: Answer, thinking: _Thinking) -> None:
    match part(delta, "type"):
        case "text_delta":
            answer.add_text(part(delta, "text"))
        case "thinking_delta":
            answer.add_reasoning(part(delta, "thinking"))
            thinking.add(index, "thinking", part(delta, "thinking"))
        case "signature_delta":
            thinking.add(index, "signature", part(delta, "signature"))
        case "input_json_delta":
            answer.add_call(index, arguments=part(delta, "partial_json"))


def _usage(usage: Any, before: Usage | None) -> Usage | None:
    """The usage so far: input from the first event, output from the last, and later corrections."""
    if usage is None:
        return before
    known = before or Usage()
    earlier = {
        "cache_read_input_tokens": known.cached_tokens,
        "cache_creation_input_tokens": known.cache_write_tokens,
        "input_tokens": known.input_tokens - known.cached_tokens - known.cache_write_tokens,  # ours is the sum
    }
    read, written, plain = (
        number if part(usage, name) is None else count(usage, name) for name, number in earlier.items()
    )
    return Usage(
        input_tokens=plain + read + written,
        output_tokens=count(usage, "output_tokens"),
        cached_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=count(part(usage, "output_tokens_details"), "thinking_tokens"),
    )
