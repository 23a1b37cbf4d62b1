"""OpenAI's Chat Completions, which most servers speak."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from workbench.agents.models.usage import chat_usage
from workbench.agents.models.wire import Value
from workbench.gateway.protocols.base import (
    Asked,
    Assembler,
    Protocol,
    Result,
    Said,
    ToolCall,
    after_model,
    event,
    number,
)
from workbench.session.prompt_view import text_of

_REASONING = ("reasoning_content", "reasoning")
"""How servers call what they show of it."""
_JOINED = ("content", "refusal", *_REASONING)
"""What comes in pieces."""


class _Assembler(Assembler):
    def take(self, event: Value) -> tuple[str, str]:
        if event.get("error"):
            self.failed = text_of(event["error"].get("message")) if isinstance(event["error"], dict) else "error"
            return "", ""
        whole = self.whole
        for name, value in event.items():
            if name not in ("choices", "object") and (value is not None or name not in whole):
                whole[name] = value
        whole["object"] = "chat.completion"
        choices: list[Value] = whole.setdefault("choices", [])
        text = reasoning = ""
        for piece in event.get("choices") or ():
            index = number(piece.get("index"))
            choice = next((each for each in choices if each["index"] == index), None)
            if choice is None:
                choice = {"index": index, "message": {"role": "assistant", "content": None}, "finish_reason": None}
                choices.append(choice)
            delta = piece.get("delta") or {}
            _merge(choice["message"], delta)
            for name, value in piece.items():
                if name not in ("index", "delta") and value is not None:
                    choice[name] = value
            if index == 0:
                text += delta.get("content") or ""
                reasoning += next((delta[name] for name in _REASONING if delta.get(name)), "")
        return text, reasoning


class Chat(Protocol):
    name: ClassVar[str] = "chat"
    provider: ClassVar[str] = "openai"
    assembler = _Assembler

    def read(self, data: Value) -> tuple[list[Any], Any, Value]:
        rest = {name: value for name, value in data.items() if name not in ("messages", "tools", "functions")}
        return list(data["messages"]), data.get("tools") or data.get("functions"), rest

    def results(self, messages: Sequence[Value]) -> list[Result]:
        return [
            Result(text_of(message.get("content")), str(message.get("tool_call_id") or ""))
            for message in after_model(messages)
        ]

    def said(self, whole: Value) -> Said:
        message = _message(whole)
        calls = tuple(
            ToolCall(
                str(call.get("id") or ""),
                str(what.get("name") or ""),
                str(what.get("arguments") or what.get("input") or ""),
            )
            for call in message.get("tool_calls") or ()
            if isinstance(what := call.get("function") or call.get("custom"), dict)
        )
        reasoning = next((message[name] for name in _REASONING if isinstance(message.get(name), str)), "")
        text = text_of(message.get("content")) or text_of(message.get("refusal"))
        usage = chat_usage(whole.get("usage"))
        return Said(text, reasoning, calls, usage, str(whole.get("id") or ""))

    def changed(self, whole: Value, text: str, calls: Sequence[ToolCall]) -> Value:
        first, *others = whole["choices"]
        before = _message(whole)
        message = {name: value for name, value in before.items() if name not in ("tool_calls", "refusal")}
        if text or before.get("content") is not None or not calls:
            message["content"] = text
        now = {call.id: call for call in calls}
        if kept := [_with(call, now[call["id"]]) for call in before.get("tool_calls") or () if call.get("id") in now]:
            message["tool_calls"] = kept
        finish = first.get("finish_reason")
        ends = "stop" if finish in ("tool_calls", "function_call") and not kept else finish
        return {**whole, "choices": [{**first, "message": message, "finish_reason": ends}, *others]}

    def written(self, text: str, calls: Sequence[ToolCall], model: str) -> Value:
        message: Value = {"role": "assistant", "content": text or None}
        if calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in calls
            ]
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
        return {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model,
            "choices": [choice],
        }

    def streamed(self, whole: Value, asked: Asked | None = None) -> list[bytes]:
        top = {name: value for name, value in whole.items() if name not in ("choices", "usage")}
        top["object"] = "chat.completion.chunk"
        pieces = []
        for choice in whole["choices"]:
            message = {name: value for name, value in choice["message"].items() if name != "tool_calls"}
            base = {"index": choice.get("index", 0), "finish_reason": None}
            pieces.append(event({**top, "choices": [{**base, "delta": message}]}))
            for place, call in enumerate(choice["message"].get("tool_calls") or ()):
                delta = {"tool_calls": [{"index": place, **call}]}
                pieces.append(event({**top, "choices": [{**base, "delta": delta}]}))
            last = {**base, "delta": {}, "finish_reason": choice.get("finish_reason")}
            pieces.append(event({**top, "choices": [last]}))
        options = asked.data.get("stream_options") if asked is not None else None
        if whole.get("usage") and isinstance(options, dict) and options.get("include_usage"):
            pieces.append(event({**top, "choices": [], "usage": whole["usage"]}))
        return [*pieces, b"data: [DONE]\n\n"]


def _merge(message: Value, delta: Value) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for piece in value or ():
                _merge_call(message.setdefault("tool_calls", []), piece)
        elif name in _JOINED and isinstance(value, str) and isinstance(message.get(name), str):
            message[name] += value
        elif value is not None or name not in message:
            message[name] = value


def _merge_call(calls: list[Value], piece: Value) -> None:
    index = number(piece.get("index"))
    if index > len(calls):
        index = len(calls)
    if index == len(calls):
        calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
    call = calls[index]
    for name, value in piece.items():
        if name in ("function", "custom") and isinstance(value, dict):
            inner = call.setdefault(name, {})
            for key, part in value.items():
                joined = key in ("arguments", "input") and isinstance(part, str)
                inner[key] = inner.get(key, "") + part if joined else part if part is not None else inner.get(key)
        elif name != "index" and value:
            call[name] = value


def _message(whole: Value) -> Value:
    choices = whole["choices"]
    message: Value = (choices[0] if choices else {}).get("message") or {}
    return message


def _with(call: Value, now: ToolCall) -> Value:
    kind = "custom" if "custom" in call and "function" not in call else "function"
    name = "input" if kind == "custom" else "arguments"
    return {**call, kind: {**call[kind], "name": now.name, name: now.arguments}}
