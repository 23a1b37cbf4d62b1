"""Anthropic's Messages API."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from workbench.agents.messages import Message, Sampling, continuation, continued
from workbench.agents.models.answer import Answer
from workbench.agents.models.base import ProviderModel, Request
from workbench.agents.models.turns import Part, alternating, answered_calls, arguments_of, split_system
from workbench.agents.models.usage import messages_usage, part
from workbench.agents.models.wire import Value

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

        return anthropic.AsyncAnthropic(**self._client_options(anthropic.DefaultAsyncHttpxClient))

    def _open(self, client: Any, request: Request) -> Any:
        return client.messages.with_streaming_response.create(**self._arguments(request))

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

    def _whole(self, body: Any) -> Sequence[Value] | None:
        if not isinstance(body, dict) or not isinstance(body.get("content"), list):
            return None
        end = {"stop_reason": body.get("stop_reason")}
        return [
            {"type": "message_start", "message": body},
            *(
                {"type": "content_block_start", "index": index, "content_block": block}
                for index, block in enumerate(body["content"])
            ),
            {"type": "message_delta", "delta": end, "usage": body.get("usage")},
            {"type": "message_stop"},
        ]

    def _take(self, event: Value, answer: Answer) -> None:
        index = event.get("index")
        match event.get("type"):
            case "message_start":
                answer.usage = messages_usage(part(event.get("message"), "usage"))
            case "content_block_start":
                block: Any = event.get("content_block")
                if part(block, "type") in ("thinking", "redacted_thinking"):
                    answer.kept[index] = dict(block)
                if part(block, "type") == "tool_use":
                    whole = part(block, "input") or None
                    answer.add_call(index, id=part(block, "id"), name=part(block, "name"), arguments=whole)
                else:
                    answer.add_content(block)
            case "content_block_delta":
                _take_delta(index, event.get("delta"), answer)
            case "message_delta":
                answer.usage = messages_usage(event.get("usage"), answer.usage)
                answer.stops(part(event.get("delta"), "stop_reason"))
                signed = [block for block in answer.kept.values() if block.get("signature") or "data" in block]
                answer.continuation = continuation(self.name, signed)
            case "message_stop" if answer.stop is None and answer.characters:
                answer.stops("end_turn")


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


def _take_delta(index: Any, delta: Any, answer: Answer) -> None:
    """Take in one piece of a block. Thinking has to be sent back unchanged, with its signature."""
    match part(delta, "type"):
        case "text_delta":
            answer.add_text(part(delta, "text"))
        case "input_json_delta":
            answer.add_call(index, arguments=part(delta, "partial_json"))
        case "thinking_delta":
            answer.add_reasoning(part(delta, "thinking"))
            answer.keep(index, "thinking", part(delta, "thinking"))
        case "signature_delta":
            answer.keep(index, "signature", part(delta, "signature"))
