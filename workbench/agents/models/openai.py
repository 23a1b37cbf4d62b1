"""OpenAI's Chat Completions: OpenAI's own models, and every server that speaks the same protocol."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

from workbench.agents.messages import Message, Sampling
from workbench.agents.models import faults
from workbench.agents.models.answer import Answer, count, part, words
from workbench.agents.models.base import ProviderModel, Request, until_silent
from workbench.agents.models.faults import Fault, Server
from workbench.agents.models.turns import answered_calls, merged
from workbench.agents.models.wire import ServerSaid, tells_of_failure
from workbench.session.events import Usage

_KNOWN_TO_REFUSE_SAMPLING = re.compile(r"(o\d|gpt-5(?!-chat|\.)|gpt-6|codex)")
"""Reasoning models that accept neither temperature nor top_p. For other models the first call finds out."""

_WANTS_REASONING = re.compile(r"reasoning_content.{0,60}(?:passed back|missing)|missing.{0,20}reasoning_content", re.I)
"""DeepSeek and similar servers want the reasoning of all turns with calls sent back; others refuse or ignore it."""

_REASONING = "a call without reasoning_content"
"""What those servers refuse."""


class OpenAIModel(ProviderModel):
    """A model behind Chat Completions."""

    provider: ClassVar[str] = "openai"
    optional = ("stream_options", "temperature", "top_p", "max_completion_tokens", "max_tokens")

    def _make_client(self) -> Any:
        import openai

        return openai.AsyncOpenAI(**self._client_options(openai.DefaultAsyncHttpxClient, _whole))

    async def _stream(self, client: Any, request: Request, answer: Answer) -> None:
        stream = client.chat.completions.create(**self._arguments(request))
        async for chunk in until_silent(stream, self._silence):
            _take(chunk, answer)

    def _arguments(self, request: Request) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "model": self._model,
            "messages": [self._message(message) for message in merged(answered_calls(request.messages))],
            "stream": True,
            **self._taken({"stream_options": {"include_usage": True}, **self._sampling(request.sampling)}),
        }
        if request.tools:
            arguments["tools"] = [{"type": "function", "function": tool.declared()} for tool in request.tools]
        return arguments

    def _sampling(self, sampling: Sampling) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        if not _KNOWN_TO_REFUSE_SAMPLING.match(self._model):
            settings["temperature"] = sampling.temperature
            settings["top_p"] = sampling.top_p
        # OpenAI's own models all take the new name; many other servers only know the old one.
        names = ["max_tokens", "max_completion_tokens"]
        for limit in names if self._base_url else reversed(names):
            if limit not in self._refused:
                return {**settings, limit: sampling.max_output_tokens}
        return settings

    def _message(self, message: Message) -> dict[str, Any]:
        if message.role == "tool":
            return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content}
        if not message.tool_calls:
            return {"role": message.role, "content": message.content}
        reasoning = {"reasoning_content": message.reasoning} if _REASONING in self._refused else {}
        return {
            **reasoning,
            "role": message.role,
            "content": message.content or None,
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {
                        "name": call.name,
                        "arguments": call.raw_arguments or json.dumps(dict(call.arguments)),
                    },
                }
                for call in message.tool_calls
            ],
        }

    def _status_fault(self, error: Exception, server: Server) -> Fault | None:
        import openai

        if not isinstance(error, openai.APIError) or isinstance(error, openai.APIConnectionError):
            return None
        response = getattr(error, "response", None)  # there is none when it is told in the middle of the stream
        if _WANTS_REASONING.search(str(error.body or error.message)) and _REASONING not in self._refused:
            return Fault("error", f"{server.title} wants the reasoning back with the calls", refused=_REASONING)
        return faults.from_status(
            server,
            getattr(error, "status_code", 0),
            error.body,
            text=error.message,
            code=error.code or "",
            headers=None if response is None else response.headers,
            setting=error.param or "",
        )


def _whole(body: Any) -> list[tuple[str, Any]] | None:
    """The stream that a complete answer in one piece would have been."""
    return [("", body)] if isinstance(body, dict) and isinstance(body.get("choices"), list) else None


def _take(chunk: Any, answer: Answer) -> None:
    """Take in one event of the stream. Servers that only resemble OpenAI leave out almost anything."""
    names = ("error", "object", "type", "status", "message", "code")
    said = {name: value for name in names if (value := part(chunk, name)) is not None}
    choices = part(chunk, "choices")
    if tells_of_failure(said) or ("message" in said and choices is None):  # in a form that the SDK does not know
        raise ServerSaid(said)
    for choice in choices or ():
        if not part(choice, "index"):  # others are answers that nobody asked for
            _take_choice(choice, answer)
    if usage := getattr(chunk, "usage", None):
        answer.usage = _usage(usage)


def _take_choice(choice: Any, answer: Answer) -> None:
    if error := part(choice, "error"):
        raise ServerSaid({"error": error})
    delta = part(choice, "delta") or (None if answer.characters else part(choice, "message"))
    thoughts = (words(part(delta, name)) for name in ("reasoning_content", "reasoning", "reasoning_details"))
    answer.add_reasoning(next((thought for pair in thoughts if (thought := "".join(pair))), ""))
    for name in ("content", "refusal"):
        answer.add_content(part(delta, name))
    calls = part(delta, "tool_calls") or ()
    for position, call in enumerate(calls if isinstance(calls, list) else [calls]):
        function, index = part(call, "function"), part(call, "index")
        answer.add_call(
            position if index is None else index,
            id=part(call, "id"),
            name=part(function, "name"),
            arguments=part(function, "arguments"),
        )
    answer.stops(part(choice, "finish_reason"))


def _usage(usage: Any) -> Usage:
    sent = part(usage, "prompt_tokens_details")
    made = part(usage, "completion_tokens_details")
    whole = count(usage, "prompt_tokens")
    cached = min(whole, count(sent, "cached_tokens"))
    return Usage(
        input_tokens=whole,
        output_tokens=count(usage, "completion_tokens"),
        cached_tokens=cached,
        cache_write_tokens=min(whole - cached, count(sent, "cache_write_tokens")),
        reasoning_tokens=count(made, "reasoning_tokens"),
    )
