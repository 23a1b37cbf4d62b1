"""OpenAI's Chat Completions: OpenAI's own models, and every server that speaks the same protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from workbench.agents.messages import Message, Sampling
from workbench.agents.models.answer import Answer, words
from workbench.agents.models.base import ProviderModel, Request
from workbench.agents.models.faults import Fault, Server
from workbench.agents.models.turns import answered_calls, merged
from workbench.agents.models.usage import chat_usage, part
from workbench.agents.models.wire import ServerSaid, Value

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

        return openai.AsyncOpenAI(**self._client_options(openai.DefaultAsyncHttpxClient))

    def _open(self, client: Any, request: Request) -> Any:
        return client.chat.completions.with_streaming_response.create(**self._arguments(request))

    def _arguments(self, request: Request) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "model": self._model,
            # Beside the SDK's own argument, of which it looks through every key: tens of milliseconds for a long talk.
            "messages": (),
            "extra_body": {"messages": [self._message(one) for one in merged(answered_calls(request.messages))]},
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

    def _told(self, said: ServerSaid, server: Server) -> Fault:
        if _WANTS_REASONING.search(str(said.body)) and _REASONING not in self._refused:
            return Fault("error", f"{server.title} wants the reasoning back with the calls", refused=_REASONING)
        return super()._told(said, server)

    def _whole(self, body: Any) -> Sequence[Value] | None:
        return [body] if isinstance(body, dict) and isinstance(body.get("choices"), list) else None

    def _take(self, event: Value, answer: Answer) -> None:
        choices = event.get("choices")
        if choices is None and event.get("message") is not None:  # an error in a form of its own
            raise ServerSaid(event)
        for choice in choices or ():
            if not part(choice, "index"):  # others are answers that nobody asked for
                _take_choice(choice, answer)
        if usage := event.get("usage"):
            answer.usage = chat_usage(usage)


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
