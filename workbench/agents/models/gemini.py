"""Google's Gemini, through `google-genai` if that is installed, else through `google-generativeai`.

The latter is no longer supported. It does not know thought signatures, which the newest models want back with tool
calls, nor how many tokens went into thinking. It has no asynchronous HTTP client, so it runs in a thread.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

from workbench.agents.messages import Message, Sampling, Tool, continuation, continued
from workbench.agents.models import faults
from workbench.agents.models.answer import Answer
from workbench.agents.models.base import ProviderModel, Request, until_silent
from workbench.agents.models.faults import Fault, Server
from workbench.agents.models.threaded import from_thread
from workbench.agents.models.turns import alternating, answered_calls, arguments_of, split_system
from workbench.agents.models.wire import Protocol, no_cookies, watch_requests, watched_client
from workbench.session.events import Usage

_THINKS = re.compile(r"(?:models/)?gemini-(?:2\.5|[3-9])")
_RETRY_DELAY = re.compile(r"retryDelay['\"]:\s*['\"]([0-9.]+)s")
_NO_SIGNATURE = b"skip_thought_signature_validator"
"""What to send, according to Google, for a call without a known signature: one of another model, or edited by a person.
"""
_LONGEST_CHUNK = 1 << 18
"""The most bytes of one piece of the stream. The old SDK's time grows with its square: this much takes seconds."""


def _whole(body: Any) -> list[tuple[str, Any]] | None:
    """The stream of an answer that came in one piece, or as an array of its pieces."""
    pieces = body if isinstance(body, list) else [body]
    known = all(isinstance(piece, dict) and {"candidates", "promptFeedback"} & piece.keys() for piece in pieces)
    return [("", piece) for piece in pieces] if known else None


_PROTOCOL = Protocol(_whole, only_data=True)


def has_new_sdk() -> bool:
    """Whether `google-genai` is installed."""
    try:
        return importlib.util.find_spec("google.genai") is not None
    except ModuleNotFoundError:
        return False


class GeminiModel(ProviderModel):
    """A Gemini model."""

    provider: ClassVar[str] = "gemini"
    optional = ("top_p", "temperature", "max_output_tokens", "thinking")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._new = has_new_sdk()
        self._of_thread = threading.local()

    async def _close(self, client: Any) -> None:
        if self._new:
            await client.aio.aclose()
            await self._http_client.aclose()
        else:
            client.transport.close()

    def _make_client(self) -> Any:
        return self._make_new_client() if self._new else self._make_old_client()

    async def _stream(self, client: Any, request: Request, answer: Answer) -> None:
        if self._new:
            stream = client.aio.models.generate_content_stream(**self._new_arguments(request))
        else:
            stream = self._old_stream(client, self._old_arguments(request))
        async for chunk in until_silent(stream, self._silence):
            self._take(chunk, answer)

    # google-genai

    def _make_new_client(self) -> Any:
        # It warns of each word that it does not know, onto the screen.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"google\.genai\b")
        genai: Any = importlib.import_module("google.genai")
        httpx: Any = importlib.import_module("httpx2" if importlib.util.find_spec("httpx2") else "httpx")
        self._http_client = watched_client(httpx.AsyncClient, self._silence, _PROTOCOL)
        options: dict[str, Any] = {
            "httpx_async_client": self._http_client,
            "headers": {"Accept-Encoding": "identity"},
            "timeout": int(self._silence * 1000),
        }
        if self._base_url:
            options["base_url"] = self._base_url
        return genai.Client(api_key=self._secret or "none", vertexai=False, http_options=options)

    def _new_arguments(self, request: Request) -> dict[str, Any]:
        system, contents = self._contents(request.messages)
        config: dict[str, Any] = {**self.settings(request.sampling), "automatic_function_calling": {"disable": True}}
        if _THINKS.match(self._model) and "thinking" not in self._refused:
            config["thinking_config"] = {"include_thoughts": True}  # summaries of them, which are paid for anyway
        if system:
            config["system_instruction"] = system
        if request.tools:
            declarations = [
                {"name": tool.name, "description": tool.description, "parameters_json_schema": dict(tool.parameters)}
                for tool in request.tools
            ]
            config["tools"] = [{"function_declarations": declarations}]
        return {"model": self._model, "contents": contents, "config": config}

    # google-generativeai

    def _make_old_client(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of the age of Python, onto the screen
            from google.ai import generativelanguage
            from google.api_core.client_options import ClientOptions

        options = ClientOptions(api_key=self._secret or "none")
        # The new SDK reads that variable by itself.
        if address := self._base_url or os.environ.get("GOOGLE_GEMINI_BASE_URL"):
            options.api_endpoint = address.rstrip("/")
        # Through the service client: `google.generativeai.configure` keeps one key for the whole process.
        client: Any = generativelanguage.GenerativeServiceClient(transport="rest", client_options=options)

        def on_response(response: Any, **_: Any) -> None:
            # In the thread of its call, several of which may share the session.
            self._of_thread.guard(response)
            watch_requests(response, _PROTOCOL, longest_line=_LONGEST_CHUNK)

        session = client.transport._session
        session._max_refresh_attempts = 0  # there is nothing to refresh about a key
        session.headers["Accept-Encoding"] = "identity"
        session.cookies.set_policy(no_cookies())
        session.hooks["response"] = [on_response]
        return client

    def _old_arguments(self, request: Request) -> dict[str, Any]:
        system, contents = self._contents(request.messages)
        model = self._model if "/" in self._model else f"models/{self._model}"
        arguments: dict[str, Any] = {
            "model": model,
            "contents": contents,
            "generation_config": self.settings(request.sampling),
        }
        if system:
            arguments["system_instruction"] = {"parts": [{"text": system}]}
        if request.tools:
            arguments["tools"] = [{"function_declarations": [_old_declaration(tool) for tool in request.tools]}]
        return arguments

    def _old_stream(self, client: Any, arguments: dict[str, Any]) -> AsyncIterator[Any]:
        def call(guard: Callable[[Any], None]) -> Iterator[Any]:
            self._of_thread.guard = guard
            return _until_cut(client.stream_generate_content(arguments, retry=None, timeout=self._silence))

        return from_thread(call)

    # both

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
            return [{"function_response": {"name": name, "response": {"result": message.content}}}]
        parts: list[dict[str, Any]] = [{"text": message.content}] if message.content else []
        for position, call in enumerate(message.tool_calls):
            part: dict[str, Any] = {"function_call": {"name": call.name, "args": arguments_of(call)}}
            if self._new and position == 0:  # only the first of several calls has one
                part["thought_signature"] = _signature(continued(message, self.name))
            parts.append(part)
        return parts

    def _take(self, chunk: Any, answer: Answer) -> None:
        """Take in one piece of the stream."""
        if (usage := getattr(chunk, "usage_metadata", None)) and getattr(usage, "total_token_count", None):
            answer.usage = _usage(usage)
        feedback = getattr(chunk, "prompt_feedback", None)
        if feedback and _name(getattr(feedback, "block_reason", None)) not in ("", "BLOCK_REASON_UNSPECIFIED"):
            answer.stop = "content_filter"
        for candidate in getattr(chunk, "candidates", None) or ():
            content = getattr(candidate, "content", None)
            for part in getattr(content, "parts", None) or ():
                self._take_part(part, answer)
            answer.stops(getattr(candidate, "finish_reason", None))

    def _take_part(self, part: Any, answer: Answer) -> None:
        if text := getattr(part, "text", None):
            if getattr(part, "thought", None):
                answer.add_reasoning(text)
            else:
                answer.add_text(text)
        call = getattr(part, "function_call", None)
        if not call or not call.name:
            return
        # Calls come whole.
        answer.add_call(object(), id=getattr(call, "id", None), name=call.name, arguments=_plain(call.args))
        signature = getattr(part, "thought_signature", None)
        if signature and len(answer.calls()) == 1:
            answer.continuation = continuation(self.name, base64.b64encode(signature).decode())

    def _status_fault(self, error: Exception, server: Server) -> Fault | None:
        found = _new_error(error) if self._new else _old_error(error)
        if found is None:
            return None
        status, body, headers = found
        raw = json.dumps(body, default=str) if body else ""
        if (delay := _RETRY_DELAY.search(raw)) and "retry-after" not in headers:
            headers = {**headers, "retry-after": delay[1]}
        # Google speaks of quotas for any limit; those of a day are the ones that waiting a minute does not help.
        quota = ("PerDay" in raw or "spend" in raw.lower()) if status == 429 else None
        return faults.from_status(server, status, body, headers=headers, quota=quota)


def _new_error(error: Exception) -> tuple[int, Any, dict[str, str]] | None:
    errors: Any = importlib.import_module("google.genai.errors")
    if not isinstance(error, errors.APIError):
        return None
    headers = getattr(error.response, "headers", None) or {}
    return int(error.code or 0), error.details, {name.lower(): value for name, value in headers.items()}


def _old_error(error: Exception) -> tuple[int, Any, dict[str, str]] | None:
    from google.api_core import exceptions

    if isinstance(error, exceptions.RetryError) or not isinstance(error, exceptions.GoogleAPICallError):
        return None
    response = getattr(error, "response", None)
    if response is None:
        return int(error.code or 0), str(error.message), {}
    try:
        body = response.json()
    except ValueError:
        body = response.text
    return response.status_code, body, {name.lower(): value for name, value in response.headers.items()}


def _name(value: Any) -> str:
    """The name of an enumeration's value, which may also be text, or a number that the SDK does not know."""
    return getattr(value, "name", None) or (value if isinstance(value, str) else "")


def _plain(value: Any) -> Any:
    """Arguments as plain dictionaries and lists. All numbers arrive as floats; whole ones become integers again."""
    if hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str | bytes) or value is None:
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if hasattr(value, "__iter__"):
        return [_plain(item) for item in value]
    return value


def _usage(usage: Any) -> Usage:
    sent = getattr(usage, "prompt_token_count", None) or 0
    total = getattr(usage, "total_token_count", None) or 0
    visible = getattr(usage, "candidates_token_count", None) or 0
    thought = getattr(usage, "thoughts_token_count", None)
    thought = max(0, total - sent - visible) if thought is None else thought  # the old SDK only has it in the total
    return Usage(
        input_tokens=sent,
        output_tokens=visible + thought,
        cached_tokens=getattr(usage, "cached_content_token_count", None) or 0,
        reasoning_tokens=thought,
    )


def _signature(content: Any) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (ValueError, TypeError):
        return _NO_SIGNATURE


def _old_declaration(tool: Tool) -> dict[str, Any]:
    declaration: dict[str, Any] = {"name": tool.name, "description": tool.description}
    if tool.parameters.get("properties"):  # an object without properties is refused
        declaration["parameters"] = _old_schema(tool.parameters)
    return declaration


def _old_schema(schema: Any) -> dict[str, Any]:
    """A JSON schema in the old SDK's terms: one type each, and only the basics."""
    kinds = schema.get("type", "string")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    kind = next((name for name in kinds if name != "null"), "string")
    result: dict[str, Any] = {"type_": kind.upper()}
    if "null" in kinds:
        result["nullable"] = True
    if "description" in schema:
        result["description"] = schema["description"]
    if "enum" in schema:
        result["enum"] = [str(value) for value in schema["enum"]]
        result["format_"] = "enum"
    if kind == "array":
        result["items"] = _old_schema(schema.get("items", {}))
    if kind == "object":
        result["properties"] = {name: _old_schema(value) for name, value in schema.get("properties", {}).items()}
        result["required"] = list(schema.get("required", ()))
    return result


def _until_cut(chunks: Iterator[Any]) -> Iterator[Any]:
    """Drops the SDK's complaint about a stream that is cut off: the missing end is noticed anyway."""
    try:
        yield from chunks
    except ValueError as error:
        if not str(error).startswith("Unfinished stream"):
            raise
