"""The clients that providers publish, unchanged, as an agent program uses them: by the variables that it is given."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tests.agents.models.dialects import AnthropicDialect, GeminiDialect, OpenAIDialect
from tests.agents.models.server import Reply, named
from tests.gateway.rig import whole
from workbench.gateway.protocols.base import ToolCall
from workbench.gateway.protocols.gemini import Gemini
from workbench.gateway.protocols.messages import Messages
from workbench.gateway.protocols.responses import Responses

TOOL = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}


@dataclass
class Got:
    """What a client made of an answer."""

    text: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    """Names and arguments."""


class Client:
    """One client of one protocol. `ask` makes a call by the variables in the environment."""

    name: ClassVar[str]
    provider: ClassVar[str]

    def __str__(self) -> str:
        return self.name

    def ask(self, words: str, *, stream: bool = False, timeout: float = 60.0) -> Got:
        raise NotImplementedError

    def reply(self, text: str, call: dict[str, Any] | None = None, *, stream: bool = False) -> Reply:
        """What the server of the model answers."""
        raise NotImplementedError


class Chat(Client):
    name, provider = "openai-chat", "openai"

    def ask(self, words: str, *, stream: bool = False, timeout: float = 60.0) -> Got:
        import openai

        client = openai.OpenAI(timeout=timeout, max_retries=0)
        given: dict[str, Any] = {"model": "m-1", "messages": [{"role": "user", "content": words}]}
        if not stream:
            message = client.chat.completions.create(**given).choices[0].message
            calls = [(c.function.name, c.function.arguments) for c in message.tool_calls or () if c.type == "function"]
            return _got(message.content or "", calls)
        text, found = "", dict[int, list[str]]()
        for chunk in client.chat.completions.create(**given, stream=True):
            for choice in chunk.choices:
                text += choice.delta.content or ""
                for piece in choice.delta.tool_calls or ():
                    each = found.setdefault(piece.index, ["", ""])
                    assert piece.function is not None
                    each[0] += piece.function.name or ""
                    each[1] += piece.function.arguments or ""
        return _got(text, [(name, arguments) for name, arguments in found.values()])

    def reply(self, text: str, call: dict[str, Any] | None = None, *, stream: bool = False) -> Reply:
        dialect = OpenAIDialect()
        if not stream:
            body = dialect.whole(text)
            if call is not None:
                message = body["choices"][0]["message"]
                message["tool_calls"] = [_function(call)]
            return whole(body)
        if call is None:
            return dialect.answer(*text.split(" "))
        half = len(_dumped(call)) // 2
        first, second = _dumped(call)[:half], _dumped(call)[half:]
        begun = {**_function(call), "index": 0, "function": {"name": "bash", "arguments": first}}
        pieces = dialect.pieces(text, stop=False, usage=False)
        from tests.agents.models.server import sse

        pieces += sse(
            dialect.chunk({"tool_calls": [begun]}),
            dialect.chunk({"tool_calls": [{"index": 0, "function": {"arguments": second}}]}),
            dialect.chunk({}, "tool_calls"),
        )
        return Reply(pieces)


class OpenAIResponses(Client):
    name, provider = "openai-responses", "openai"

    def ask(self, words: str, *, stream: bool = False, timeout: float = 60.0) -> Got:
        import openai

        client = openai.OpenAI(timeout=timeout, max_retries=0)
        given: dict[str, Any] = {"model": "m-1", "input": words}
        if not stream:
            answer = client.responses.create(**given)
        else:
            pieces = ""
            for event in client.responses.create(**given, stream=True):
                if event.type == "response.output_text.delta":
                    pieces += event.delta
                if event.type == "response.completed":
                    answer = event.response
            assert pieces == answer.output_text
        calls = [(item.name, item.arguments) for item in answer.output if item.type == "function_call"]
        return _got(answer.output_text, calls)

    def reply(self, text: str, call: dict[str, Any] | None = None, *, stream: bool = False) -> Reply:
        protocol = Responses()
        calls = [] if call is None else [ToolCall("call_1", "bash", _dumped(call))]
        body = protocol.written(text, calls, "m-1")
        return Reply(protocol.streamed(body)) if stream else whole(body)


class AnthropicMessages(Client):
    name, provider = "anthropic", "anthropic"

    def ask(self, words: str, *, stream: bool = False, timeout: float = 60.0) -> Got:
        import anthropic

        client = anthropic.Anthropic(timeout=timeout, max_retries=0)
        given: dict[str, Any] = {
            "model": "m-1",
            "max_tokens": 100,
            "messages": [{"role": "user", "content": words}],
            "tools": [{"name": "bash", "input_schema": TOOL}],
        }
        if stream:
            with client.messages.stream(**given) as events:
                message: Any = events.get_final_message()
        else:
            message = client.messages.create(**given)
        text = "".join(block.text for block in message.content if block.type == "text")
        return Got(text, [(block.name, block.input) for block in message.content if block.type == "tool_use"])

    def reply(self, text: str, call: dict[str, Any] | None = None, *, stream: bool = False) -> Reply:
        dialect = AnthropicDialect()
        if not stream:
            calls = [] if call is None else [ToolCall("toolu_1", "bash", _dumped(call))]
            return whole(Messages().written(text, calls, "m-1"))
        if call is None:
            return dialect.answer(*text.split(" "))
        opened = {"type": "tool_use", "id": "toolu_1", "name": "bash", "input": {}}
        half = len(_dumped(call)) // 2
        deltas = [_dumped(call)[:half], _dumped(call)[half:]]
        return Reply(
            named(
                dialect.start(),
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
                {"type": "content_block_stop", "index": 0},
                {"type": "content_block_start", "index": 1, "content_block": opened},
                *(
                    {
                        "type": "content_block_delta",
                        "index": 1,
                        "delta": {"type": "input_json_delta", "partial_json": delta},
                    }
                    for delta in deltas
                ),
                {"type": "content_block_stop", "index": 1},
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": "tool_use", "stop_sequence": None},
                    "usage": {"output_tokens": 9},
                },
                {"type": "message_stop"},
            )
        )


class GoogleGenai(Client):
    name, provider = "google-genai", "gemini"

    def ask(self, words: str, *, stream: bool = False, timeout: float = 60.0) -> Got:
        from google import genai

        client = genai.Client(http_options={"timeout": int(timeout * 1000)})
        parts = []
        if stream:
            for chunk in client.models.generate_content_stream(model="m-1", contents=words):
                for candidate in chunk.candidates or ():
                    parts += (candidate.content.parts or []) if candidate.content else []
        else:
            answer = client.models.generate_content(model="m-1", contents=words)
            assert answer.candidates and answer.candidates[0].content
            parts = answer.candidates[0].content.parts or []
        calls = [(part.function_call.name or "", part.function_call.args) for part in parts if part.function_call]
        return Got("".join(part.text or "" for part in parts), calls)

    def reply(self, text: str, call: dict[str, Any] | None = None, *, stream: bool = False) -> Reply:
        calls = [] if call is None else [ToolCall("", "bash", _dumped(call))]
        body = Gemini().written(text, calls, "m-1")
        if not stream:
            return whole(body)
        if call is None:
            return GeminiDialect().answer(*text.split(" "))
        return Reply([f"data: {_dumped(body)}\r\n\r\n".encode()])


CLIENTS = (Chat(), OpenAIResponses(), AnthropicMessages(), GoogleGenai())


@contextmanager
def variables(env: Mapping[str, str]) -> Iterator[None]:
    """The environment of an agent program, for a while."""
    before = dict(os.environ)
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _dumped(value: Any) -> str:
    import json

    return json.dumps(value)


def _function(call: dict[str, Any]) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": "bash", "arguments": _dumped(call)}}


def _got(text: str, calls: list[tuple[str, str]]) -> Got:
    import json

    return Got(text, [(name, json.loads(arguments)) for name, arguments in calls])
