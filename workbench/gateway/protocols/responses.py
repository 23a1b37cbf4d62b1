"""OpenAI's Responses."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from workbench.agents.models.usage import responses_usage
from workbench.agents.models.wire import Value
from workbench.gateway.protocols.base import (
    Asked,
    Assembler,
    InParts,
    Result,
    Said,
    ToolCall,
    by_model,
    dumped,
    event,
    number,
)
from workbench.session.events import Usage
from workbench.session.prompt_view import text_of

_CALLS = {"function_call": "arguments", "custom_tool_call": "input", "local_shell_call": "action"}
"""Items that are calls of a client's tools, and where each has what it is called with."""
_TEXTS = ("output_text", "refusal")


class _Assembler(Assembler):
    def __init__(self) -> None:
        super().__init__()
        self._items: dict[int, Value] = {}

    def take(self, event: Value) -> tuple[str, str]:
        kind = str(event.get("type"))
        if kind in ("response.completed", "response.incomplete"):
            self.whole = dict(event["response"])
            if not self.whole.get("output"):
                self.whole["output"] = [self._items[place] for place in sorted(self._items)]
            self.done = True
        elif kind == "response.failed":
            self.failed = text_of((event["response"].get("error") or {}).get("message")) or "error"
        elif kind == "error":
            self.failed = text_of(event.get("message")) or "error"
        elif kind == "response.output_item.done":
            self._items[number(event.get("output_index"))] = event["item"]
        elif kind == "response.output_text.delta":
            return str(event["delta"]), ""
        elif kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            return "", str(event["delta"])
        elif kind == "response.created":
            self.whole = dict(event["response"])
        return "", ""


class Responses(InParts):
    name: ClassVar[str] = "responses"
    provider: ClassVar[str] = "openai"
    assembler = _Assembler
    joint = "\n"

    def read(self, data: Value) -> tuple[list[Any], Any, Value]:
        given, system = data.get("input") or [], data.get("instructions")
        first = [{"role": "system", "content": system}] if system else []
        messages = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
        rest = {name: value for name, value in data.items() if name not in ("input", "tools", "instructions")}
        return [*first, *messages], data.get("tools"), rest

    def results(self, messages: Sequence[Value]) -> list[Result]:
        last = max((place for place, item in enumerate(messages) if by_model(item)), default=-1)
        found = []
        for place, item in enumerate(messages):
            if str(item.get("type")).endswith("_output"):
                found.append(Result(text_of(item.get("output")), str(item.get("call_id") or item.get("id") or "")))
            elif place > last and item.get("role") == "user":
                found.append(Result(text_of(item.get("content"))))
        return found

    def parts(self, whole: Value) -> Sequence[Value]:
        items: list[Value] = whole["output"]
        return items

    def with_parts(self, whole: Value, parts: list[Value]) -> Value:
        return {**whole, "output": parts}

    def said_in(self, part: Value, place: int) -> Said:
        kind = part.get("type")
        if kind == "message":
            return Said("\n".join(text_of(each) for each in part["content"] if each.get("type") in _TEXTS))
        if kind == "reasoning":
            return Said(reasoning="\n\n".join(map(text_of, part.get("summary") or ())))
        if kind not in _CALLS:
            return Said()
        given = part.get(_CALLS[kind])
        call = ToolCall(
            str(part.get("call_id") or part.get("id") or ""),
            str(part.get("name") or kind.removesuffix("_call")),
            given if isinstance(given, str) else dumped(given),
        )
        return Said(calls=(call,))

    def with_call(self, part: Value, call: ToolCall) -> Value:
        place = _CALLS[part["type"]]
        given = call.arguments if isinstance(part.get(place), str) else json.loads(call.arguments)
        return {**part, place: given, **({"name": call.name} if "name" in part else {})}

    def with_text(self, part: Value, text: str) -> Value:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        new = {"type": "message", "id": f"msg_{secrets.token_hex(12)}", "role": "assistant", "status": "completed"}
        return {**new, **part, "content": content}

    def usage(self, whole: Value) -> Usage | None:
        return responses_usage(whole.get("usage"))

    def written(self, text: str, calls: Sequence[ToolCall], model: str) -> Value:
        items = [self.with_text({}, text)] if text else []
        items += [
            {
                "type": "function_call",
                "id": f"fc_{secrets.token_hex(12)}",
                "call_id": call.id,
                "name": call.name,
                "arguments": call.arguments,
                "status": "completed",
            }
            for call in calls
        ]
        return {
            "id": f"resp_{secrets.token_hex(12)}",
            "object": "response",
            "created_at": int(time.time()),
            "status": "completed",
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "model": model,
            "output": items,
            "parallel_tool_calls": True,
            "temperature": None,
            "tool_choice": "auto",
            "tools": [],
            "top_p": None,
            "usage": None,
        }

    def streamed(self, whole: Value, asked: Asked | None = None) -> list[bytes]:
        begun = {**whole, "output": [], "status": "in_progress", "usage": None}
        events: list[Value] = [{"type": f"response.{what}", "response": begun} for what in ("created", "in_progress")]
        for place, item in enumerate(whole["output"]):
            events += [{"output_index": place, **each} for each in _item_events(item)]
        status = str(whole.get("status") or "completed")
        ends = status if status in ("completed", "incomplete", "failed") else "completed"
        events.append({"type": f"response.{ends}", "response": whole})
        return [event({"sequence_number": n, **each}, each["type"]) for n, each in enumerate(events)]

    def error_event(self, body: Value) -> bytes:
        error = body.get("error") or {}
        what = {"type": "error", "code": error.get("type"), "message": error.get("message"), "param": None}
        return event({**what, "sequence_number": 0}, "error")


def _item_events(item: Value) -> list[Value]:
    """What a stream says of one item of the output."""
    kind, name = item.get("type"), item.get("id")
    begun, inner = {**item, "status": "in_progress"}, list[Value]()
    if kind == "message":
        begun["content"] = []
        for place, part in enumerate(item["content"]):
            base = {"item_id": name, "content_index": place}
            text, what = text_of(part), "refusal" if part.get("type") == "refusal" else "output_text"
            empty = {**part, "refusal" if what == "refusal" else "text": ""}
            done = {"refusal": text} if what == "refusal" else {"text": text, "logprobs": []}
            more: Value = {} if what == "refusal" else {"logprobs": []}
            inner += [
                {"type": "response.content_part.added", **base, "part": empty},
                {"type": f"response.{what}.delta", **base, "delta": text, **more},
                {"type": f"response.{what}.done", **base, **done},
                {"type": "response.content_part.done", **base, "part": part},
            ]
    elif kind in ("function_call", "custom_tool_call"):
        given = _CALLS[kind]
        what = "function_call_arguments" if kind == "function_call" else "custom_tool_call_input"
        begun[given] = ""
        inner += [
            {"type": f"response.{what}.delta", "item_id": name, "delta": item[given]},
            {"type": f"response.{what}.done", "item_id": name, "name": item.get("name"), given: item[given]},
        ]
    elif kind == "reasoning":
        begun = item
    added = {"type": "response.output_item.added", "item": begun}
    return [added, *inner, {"type": "response.output_item.done", "item": item}]
