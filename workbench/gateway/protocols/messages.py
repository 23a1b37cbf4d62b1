"""Anthropic's Messages."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any, ClassVar

from workbench.agents.models.usage import messages_usage
from workbench.agents.models.wire import Value
from workbench.gateway.protocols.base import (
    Asked,
    Assembler,
    InParts,
    Result,
    Said,
    ToolCall,
    after_model,
    dumped,
    event,
    number,
)
from workbench.session.events import Usage
from workbench.session.prompt_view import text_of

_ERRORS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class _Assembler(Assembler):
    def __init__(self) -> None:
        super().__init__()
        self._input: dict[int, str] = {}
        """Arguments of calls, as far as they have come."""

    def take(self, event: Value) -> tuple[str, str]:
        kind = event.get("type")
        if kind == "message_start":
            self.whole = {**event["message"], "content": []}
        elif kind == "content_block_start":
            self.whole["content"].append(dict(event["content_block"]))
        elif kind == "content_block_delta":
            return self._delta(number(event["index"]), event["delta"])
        elif kind == "content_block_stop":
            index = number(event["index"])
            if given := self._input.pop(index, ""):
                self.whole["content"][index]["input"] = json.loads(given)
        elif kind == "message_delta":
            self.whole.update(event.get("delta") or {})
            usage = {name: value for name, value in (event.get("usage") or {}).items() if value is not None}
            self.whole["usage"] = {**(self.whole.get("usage") or {}), **usage}
        elif kind == "message_stop":
            self.done = True
        elif kind == "error":
            self.failed = text_of((event.get("error") or {}).get("message")) or "error"
        return "", ""

    def _delta(self, index: int, delta: Value) -> tuple[str, str]:
        block = self.whole["content"][index]
        kind = delta.get("type")
        if kind == "text_delta":
            block["text"] = block.get("text", "") + delta["text"]
            return delta["text"], ""
        if kind == "thinking_delta":
            block["thinking"] = block.get("thinking", "") + delta["thinking"]
            return "", delta["thinking"]
        if kind == "input_json_delta":
            self._input[index] = self._input.get(index, "") + delta["partial_json"]
        elif kind == "signature_delta":
            block["signature"] = block.get("signature", "") + delta["signature"]
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
        return "", ""


class Messages(InParts):
    name: ClassVar[str] = "messages"
    provider: ClassVar[str] = "anthropic"
    assembler = _Assembler

    def read(self, data: Value) -> tuple[list[Any], Any, Value]:
        system = data.get("system")
        first = [{"role": "system", "content": system}] if system else []
        rest = {name: value for name, value in data.items() if name not in ("messages", "tools", "system")}
        return [*first, *data["messages"]], data.get("tools"), rest

    def results(self, messages: Sequence[Value]) -> list[Result]:
        found = []
        for message in after_model(messages):
            content = message.get("content")
            for block in content if isinstance(content, list) else [content]:
                if isinstance(block, dict) and block.get("type") == "tool_result":
                    found.append(Result(text_of(block.get("content")), str(block.get("tool_use_id") or "")))
                else:
                    found.append(Result(text_of(block)))
        return found

    def parts(self, whole: Value) -> Sequence[Value]:
        blocks: list[Value] = whole["content"]
        return blocks

    def with_parts(self, whole: Value, parts: list[Value]) -> Value:
        called = any(block.get("type") == "tool_use" for block in parts)
        stop = whole.get("stop_reason")
        return {**whole, "content": parts, "stop_reason": "end_turn" if stop == "tool_use" and not called else stop}

    def said_in(self, part: Value, place: int) -> Said:
        match part.get("type"):
            case "text":
                return Said(text=part["text"])
            case "thinking":
                return Said(reasoning=str(part.get("thinking", "")))
            case "tool_use":
                return Said(calls=(ToolCall(str(part["id"]), str(part["name"]), dumped(part.get("input"))),))
        return Said()

    def with_call(self, part: Value, call: ToolCall) -> Value:
        return {**part, "name": call.name, "input": json.loads(call.arguments)}

    def with_text(self, part: Value, text: str) -> Value:
        return {**part, "type": "text", "text": text}

    def usage(self, whole: Value) -> Usage | None:
        return messages_usage(whole.get("usage"))

    def written(self, text: str, calls: Sequence[ToolCall], model: str) -> Value:
        said = [self.with_text({}, text)] if text else []
        return {
            "id": f"msg_{secrets.token_hex(12)}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [
                *said,
                *(
                    {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)}
                    for call in calls
                ),
            ],
            "stop_reason": "tool_use" if calls else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }

    def streamed(self, whole: Value, asked: Asked | None = None) -> list[bytes]:
        begun = {**whole, "content": [], "stop_reason": None, "stop_sequence": None}
        events: list[Value] = [{"type": "message_start", "message": begun}]
        for index, block in enumerate(whole["content"]):
            first, deltas = _opened(block)
            events.append({"type": "content_block_start", "index": index, "content_block": first})
            events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
            events.append({"type": "content_block_stop", "index": index})
        ends = {name: whole.get(name) for name in ("stop_reason", "stop_sequence")}
        events.append({"type": "message_delta", "delta": ends, "usage": whole.get("usage") or {"output_tokens": 0}})
        events.append({"type": "message_stop"})
        return [event(each, each["type"]) for each in events]

    def error(self, status: int, message: str) -> Value:
        kind = _ERRORS.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}

    def error_event(self, body: Value) -> bytes:
        return event(body, "error")


def _opened(block: Value) -> tuple[Value, list[Value]]:
    """A block as it begins, and what follows of it."""
    kind = block.get("type")
    if kind == "text":
        return {**block, "text": ""}, [{"type": "text_delta", "text": block["text"]}]
    if kind == "tool_use":
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": dumped(block.get("input"))}]
    if kind == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": block.get("thinking", "")}]
        if block.get("signature"):
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {**block, "thinking": "", "signature": ""}, deltas
    return block, []
