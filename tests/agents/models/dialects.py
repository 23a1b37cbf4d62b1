"""What each provider's server says, in its own protocol, and the adapter that is to understand it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tests.agents.models.server import Reply, Server, failure, named, sse
from workbench.agents.models.anthropic import AnthropicModel
from workbench.agents.models.base import ProviderModel, Retries
from workbench.agents.models.gemini import GeminiModel
from workbench.agents.models.keys import Key
from workbench.agents.models.openai import OpenAIModel

SECRET = "sk-test-0123456789abcdef"
QUICK = Retries(most=2, first=0.002, longest=0.01, patience=5.0)


class Dialect:
    """One provider."""

    name = ""
    model = ""
    kind: type[ProviderModel]
    path = ""
    """What the base URL ends in."""
    variable = ""
    keep_alive = b": still here\n\n"
    """What may come between events, and means nothing."""

    def __str__(self) -> str:
        return self.name

    def make(self, server: Server | str, model: str = "", **options: Any) -> ProviderModel:
        """The adapter, talking to that server as if it were the provider's own."""
        url = server if isinstance(server, str) else server.url
        model = model or self.model
        options = {"retries": QUICK, "silence": 60.0, "price_name": f"{self.name}:{model}", **options}
        key = Key(self.variable, "the environment", SECRET)
        return self.kind(model, key=key, base_url=url + self.path, **options)

    def pieces(self, *texts: str, stop: bool = True, usage: bool = True) -> list[bytes]:
        """The stream of an answer: 1000 tokens in, 400 of them cached, 50 out, 20 of them reasoning."""
        raise NotImplementedError

    def answer(self, *texts: str, **options: Any) -> Reply:
        """A whole answer."""
        return Reply(self.pieces(*texts), **options)

    def ends(self, text: str, reason: str) -> Reply:
        """An answer that ends for a reason, in the provider's word."""
        raise NotImplementedError

    def whole(self, text: str) -> Any:
        """The body of an answer in one piece, from a server that does not stream."""
        raise NotImplementedError

    filtered = ""
    """What it says when the content filter stops an answer."""

    def refusal(self) -> Reply:
        """The content filter stops the answer."""
        return self.ends("I was", self.filtered)

    def error(self, status: int, message: str, code: str = "") -> Any:
        """The body of a failure."""
        raise NotImplementedError

    def fails(self, status: int, message: str, code: str = "", **headers: str) -> Reply:
        """A failure."""
        return failure(status, self.error(status, message, code), **headers)


class OpenAIDialect(Dialect):
    name, model, kind, path, variable = "openai", "gpt-4o", OpenAIModel, "/v1", "OPENAI_API_KEY"

    @staticmethod
    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}

    usage: ClassVar[dict[str, Any]] = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "choices": [],
        "usage": {
            "prompt_tokens": 1000,
            "completion_tokens": 50,
            "total_tokens": 1050,
            "prompt_tokens_details": {"cached_tokens": 400},
            "completion_tokens_details": {"reasoning_tokens": 20},
        },
    }

    def pieces(self, *texts: str, stop: bool = True, usage: bool = True) -> list[bytes]:
        events = [self.chunk({"role": "assistant", "content": ""}), *(self.chunk({"content": text}) for text in texts)]
        events += [self.chunk({}, "stop")] if stop else []
        events += [self.usage] if usage else []
        return sse(*events, done=stop)

    filtered = "content_filter"

    def ends(self, text: str, reason: str) -> Reply:
        return Reply(sse(self.chunk({"content": text}), self.chunk({}, reason)))

    def whole(self, text: str) -> Any:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return {**self.usage, "object": "chat.completion", "choices": [choice]}

    def error(self, status: int, message: str, code: str = "") -> Any:
        return {"error": {"message": message, "type": "some_error", "param": None, "code": code or None}}


class AnthropicDialect(Dialect):
    name, model, kind, variable = "anthropic", "claude-sonnet-4-6", AnthropicModel, "ANTHROPIC_API_KEY"

    @staticmethod
    def start() -> dict[str, Any]:
        usage = {
            "input_tokens": 500,
            "cache_read_input_tokens": 400,
            "cache_creation_input_tokens": 100,
            "output_tokens": 1,
        }
        message = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
        return {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None}}

    @staticmethod
    def block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"type": "content_block_start", "index": index, "content_block": block},
            *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": index},
        ]

    @staticmethod
    def end(reason: str = "end_turn") -> list[dict[str, Any]]:
        usage = {"output_tokens": 50, "output_tokens_details": {"thinking_tokens": 20}}
        delta = {"stop_reason": reason, "stop_sequence": None}
        return [{"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]

    def pieces(self, *texts: str, stop: bool = True, usage: bool = True) -> list[bytes]:
        deltas = [{"type": "text_delta", "text": text} for text in texts]
        block = self.block(0, {"type": "text", "text": ""}, *deltas)
        return named(self.start(), {"type": "ping"}, *block, *(self.end() if stop else []))

    filtered = "refusal"

    def ends(self, text: str, reason: str) -> Reply:
        block = self.block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": text})
        return Reply(named(self.start(), *block, *self.end(reason)))

    def whole(self, text: str) -> Any:
        message = self.start()["message"]
        usage = {**message["usage"], "output_tokens": 50}
        return {**message, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "usage": usage}

    def error(self, status: int, message: str, code: str = "") -> Any:
        return {"type": "error", "error": {"type": code or "some_error", "message": message}}


class GeminiDialect(Dialect):
    name, model, kind, variable = "gemini", "gemini-2.5-pro", GeminiModel, "GEMINI_API_KEY"
    usage: ClassVar[dict[str, Any]] = {
        "promptTokenCount": 1000,
        "cachedContentTokenCount": 400,
        "candidatesTokenCount": 30,
        "totalTokenCount": 1050,
    }

    @staticmethod
    def chunk(*parts: dict[str, Any], finish: str = "", **more: Any) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        return {"candidates": [candidate], **more}

    def stream(self, chunks: Sequence[dict[str, Any]]) -> list[bytes]:
        return sse(*chunks, done=False)

    def pieces(self, *texts: str, stop: bool = True, usage: bool = True) -> list[bytes]:
        chunks = [self.chunk({"text": text}) for text in texts]
        if stop:
            chunks.append(self.chunk(finish="STOP", **({"usageMetadata": self.usage} if usage else {})))
        return self.stream(chunks)

    filtered = "SAFETY"

    def ends(self, text: str, reason: str) -> Reply:
        return Reply(self.stream([self.chunk({"text": text}), self.chunk(finish=reason)]))

    def whole(self, text: str) -> Any:
        return self.chunk({"text": text}, finish="STOP", usageMetadata=self.usage)

    def error(self, status: int, message: str, code: str = "") -> Any:
        return {"error": {"code": status, "message": message, "status": code or "UNKNOWN"}}


OPENAI, ANTHROPIC, GEMINI = OpenAIDialect(), AnthropicDialect(), GeminiDialect()
PROVIDERS: tuple[Dialect, ...] = (OPENAI, ANTHROPIC, GEMINI)
