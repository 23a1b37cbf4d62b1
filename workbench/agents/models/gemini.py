"""Google's Gemini, through its REST interface."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from msgspec.structs import asdict

from workbench.agents.messages import Message, Sampling, continuation, continued
from workbench.agents.models import faults
from workbench.agents.models.answer import Answer
from workbench.agents.models.base import ProviderModel, Request
from workbench.agents.models.faults import Fault, Server
from workbench.agents.models.turns import Part, alternating, answered_calls, arguments_of, split_system
from workbench.agents.models.usage import count, gemini_usage, part
from workbench.agents.models.wire import ServerSaid, Value, watched_client

ADDRESS = "https://generativelanguage.googleapis.com"
ADDRESS_VARIABLE = "GOOGLE_GEMINI_BASE_URL"
"""Google's own variable for another address."""

_THINKS = re.compile(r"(?:models/)?gemini-(?:2\.5|[3-9])")
_RETRY_DELAY = re.compile(r"retryDelay['\"]:\s*['\"]([0-9.]+)s")
_SIGNATURE = re.compile(r"[A-Za-z0-9+/_-]+=*")
_NO_SIGNATURE = base64.b64encode(b"skip_thought_signature_validator").decode()
"""What to send, according to Google, for a call without a known signature: one of another model, or edited by a person.
"""
_WIRE_NAMES = {"top_p": "topP", "max_output_tokens": "maxOutputTokens"}


class GeminiModel(ProviderModel):
    """A Gemini model."""

    provider: ClassVar[str] = "gemini"
    optional = ("top_p", "temperature", "max_output_tokens", "thinking")

    async def _close(self, client: Any) -> None:
        await client.aclose()

    def _make_client(self) -> Any:
        import httpx2

        return watched_client(httpx2.AsyncClient, self._silence)

    def _open(self, client: Any, request: Request) -> Any:
        address = (self._base_url or os.environ.get(ADDRESS_VARIABLE) or ADDRESS).rstrip("/")
        version = "" if re.search(r"/v1\w*$", address) else "/v1"
        model = quote(self._model if "/" in self._model else f"models/{self._model}")
        url = f"{address}{version}/{model}:streamGenerateContent?alt=sse"
        headers = {"x-goog-api-key": self._secret or "none", "Content-Type": "application/json"}
        body = json.dumps(self._body(request))
        return client.stream("POST", url, content=body, headers=headers)

    def _body(self, request: Request) -> dict[str, Any]:
        system, contents = self._contents(request.messages)
        settings = {_WIRE_NAMES.get(name, name): value for name, value in self.settings(request.sampling).items()}
        if _THINKS.match(self._model) and "thinking" not in self._refused:
            settings["thinkingConfig"] = {"includeThoughts": True}  # summaries of them, which are paid for anyway
        body: dict[str, Any] = {"contents": contents, "generationConfig": settings}
        if system:
            body["systemInstruction"] = {"parts": [{"text": system}]}
        if request.tools:
            body["tools"] = [
                {"functionDeclarations": [tool.declared("parametersJsonSchema") for tool in request.tools]}
            ]
        return body

    def _sampling(self, sampling: Sampling) -> dict[str, Any]:
        return asdict(sampling)  # Google's names are ours

    def _contents(self, messages: Sequence[Message]) -> tuple[str, list[dict[str, Any]]]:
        """The system text, and alternating turns that begin and end with the user."""
        system, rest = split_system(answered_calls(messages))
        names = {call.id: call.name for message in rest for call in message.tool_calls}
        turns = ((message.role == "assistant", self._parts(message, names)) for message in rest)
        return system, [
            {"role": "model" if by_model else "user", "parts": parts}
            for by_model, parts in alternating(turns, lambda text: {"text": text})
        ]

    def _parts(self, message: Message, names: dict[str, str]) -> list[dict[str, Any]]:
        if message.role == "tool":
            name = names.get(message.tool_call_id, "tool")
            return [{"functionResponse": {"name": name, "response": {"result": message.content}}}]
        parts: list[dict[str, Any]] = [{"text": message.content}] if message.content else []
        calls: list[Part] = [
            {"functionCall": {"name": call.name, "args": arguments_of(call)}} for call in message.tool_calls
        ]
        if calls:  # only the first of several calls has a signature
            calls[0]["thoughtSignature"] = _signature(continued(message, self.name))
        return parts + calls

    def _whole(self, body: Any) -> Sequence[Value] | None:
        pieces = body if isinstance(body, list) else [body]
        known = all(isinstance(piece, dict) and {"candidates", "promptFeedback"} & piece.keys() for piece in pieces)
        return pieces if known else None

    def _take(self, event: Value, answer: Answer) -> None:
        if count(usage := event.get("usageMetadata"), "totalTokenCount"):
            answer.usage = gemini_usage(usage)
        if (part(event.get("promptFeedback"), "blockReason") or _NO_REASON) != _NO_REASON:
            answer.stop = "content_filter"
        for candidate in _list(event.get("candidates")):
            for piece in _list(part(part(candidate, "content"), "parts")):
                self._take_part(piece, answer)
            answer.stops(part(candidate, "finishReason"))

    def _take_part(self, piece: Any, answer: Answer) -> None:
        (answer.add_reasoning if part(piece, "thought") else answer.add_text)(part(piece, "text"))
        call = part(piece, "functionCall")
        if not part(call, "name"):
            return
        # Calls come whole.
        answer.add_call(object(), id=part(call, "id"), name=part(call, "name"), arguments=part(call, "args") or {})
        signature = part(piece, "thoughtSignature")
        if signature and answer.called == 1:
            answer.continuation = continuation(self.name, signature)

    def _told(self, said: ServerSaid, server: Server) -> Fault:
        raw = json.dumps(said.body)
        headers = said.headers
        if (delay := _RETRY_DELAY.search(raw)) and "retry-after" not in headers:
            headers = {**headers, "retry-after": delay[1]}
        # Google speaks of quotas for any limit; those of a day are the ones that waiting a minute does not help.
        quota = ("PerDay" in raw or "spend" in raw.lower()) if said.status == 429 else None
        return faults.from_status(server, said.status, said.body, headers=headers, quota=quota)


_NO_REASON = "BLOCK_REASON_UNSPECIFIED"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _signature(content: Any) -> str:
    """The kept signature, which goes back as it came."""
    return content if isinstance(content, str) and _SIGNATURE.fullmatch(content) else _NO_SIGNATURE
