"""Gemini's generateContent. The model stands in the path, and so does whether the answer is a stream."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from typing import Any, ClassVar

from msgspec.structs import replace

from workbench.agents.models.usage import gemini_usage
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

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
_SYSTEM = ("systemInstruction", "system_instruction")
_PATH = re.compile(r"(?P<before>.*/models/)(?P<model>[^/:]+(?:/[^/:]+)*)(?P<after>:\w+)")


class _Assembler(Assembler):
    def take(self, event: Value) -> tuple[str, str]:
        if event.get("error"):
            self.failed = text_of(event["error"].get("message")) or "error"
            return "", ""
        candidates = self.whole.get("candidates", [])
        self.whole.update(event)
        self.whole["candidates"] = candidates
        text = reasoning = ""
        for piece in event.get("candidates") or ():
            index = number(piece.get("index"))
            candidate = next((each for each in candidates if number(each.get("index")) == index), None)
            if candidate is None:
                candidate = {"index": index, "content": {"role": "model", "parts": []}}
                candidates.append(candidate)
            parts = candidate["content"]["parts"]
            for part in (piece.get("content") or {}).get("parts") or ():
                if index == 0 and "text" in part:
                    text, reasoning = (
                        (text, reasoning + part["text"]) if part.get("thought") else (text + part["text"], reasoning)
                    )
                _add(parts, part)
            candidate.update({name: value for name, value in piece.items() if name != "content"})
            if piece.get("finishReason"):
                self.done = True
        if (event.get("promptFeedback") or {}).get("blockReason"):
            self.done = True
        return text, reasoning


class Gemini(InParts):
    name: ClassVar[str] = "gemini"
    provider: ClassVar[str] = "gemini"
    assembler = _Assembler

    def model(self, data: Value, path: str) -> str:
        found = _PATH.fullmatch(path)
        return found["model"] if found is not None else ""

    def streams(self, data: Value, path: str, query: str) -> bool:
        return path.endswith(":streamGenerateContent") and "alt=sse" in query

    def at_temperature(self, asked: Asked, temperature: float) -> Asked:
        before = asked.data.get("generationConfig")
        given = {**(before if isinstance(before, dict) else {}), "temperature": temperature}
        body, settings = ({**each, "generationConfig": given} for each in (asked.data, asked.settings))
        return replace(asked, settings=settings, body=dumped(body).encode())

    def for_model(self, model: str, data: Value, path: str, body: bytes) -> tuple[str, bytes]:
        return _PATH.sub(lambda found: f"{found['before']}{model}{found['after']}", path), body

    def read(self, data: Value) -> tuple[list[Any], Any, Value]:
        system = next((data[name] for name in _SYSTEM if data.get(name)), None)
        first = [{"role": "system", **(system if isinstance(system, dict) else {"parts": system})}] if system else []
        rest = {name: value for name, value in data.items() if name not in ("contents", "tools", *_SYSTEM)}
        contents = data["contents"]
        return [*first, *(contents if isinstance(contents, list) else [contents])], data.get("tools"), rest

    def results(self, messages: Sequence[Value]) -> list[Result]:
        found = []
        for message in after_model(messages):
            for part in message.get("parts") or ():
                if told := part.get("functionResponse"):
                    response = told.get("response")
                    values = list(response.values()) if isinstance(response, dict) else []
                    one = values[0] if len(values) == 1 and isinstance(values[0], str) else dumped(response)
                    found.append(Result(one, str(told.get("id") or "")))
                else:
                    found.append(Result(text_of(part)))
        return found

    def whole(self, data: Any) -> Value:
        if not isinstance(data, list):
            return super().whole(data)
        assembler = _Assembler()
        for each in data:
            assembler.take(each)
        return assembler.whole

    def parts(self, whole: Value) -> Sequence[Value]:
        candidates = whole.get("candidates") or []
        parts: list[Value] = ((candidates[0] if candidates else {}).get("content") or {}).get("parts") or []
        return parts

    def with_parts(self, whole: Value, parts: list[Value]) -> Value:
        first, *others = whole["candidates"]
        content = {**(first.get("content") or {"role": "model"}), "parts": parts}
        return {**whole, "candidates": [{**first, "content": content}, *others]}

    def said_in(self, part: Value, place: int) -> Said:
        call = part.get("functionCall")
        if isinstance(call, dict):  # where it has no id, its place stands for it
            arguments = dumped(call.get("args") or {})
            return Said(calls=(ToolCall(str(call.get("id") or f"#{place}"), str(call["name"]), arguments),))
        if not isinstance(part.get("text"), str):
            return Said()
        return Said(reasoning=part["text"]) if part.get("thought") else Said(part["text"])

    def with_call(self, part: Value, call: ToolCall) -> Value:
        now = {"name": call.name, "args": json.loads(call.arguments)}
        return {**part, "functionCall": {**part["functionCall"], **now}}

    def with_text(self, part: Value, text: str) -> Value:
        return {**part, "text": text}

    def usage(self, whole: Value) -> Usage | None:
        return gemini_usage(whole.get("usageMetadata"))

    def written(self, text: str, calls: Sequence[ToolCall], model: str) -> Value:
        parts: list[Value] = [{"text": text}] if text or not calls else []
        parts += [{"functionCall": {"name": call.name, "args": json.loads(call.arguments)}} for call in calls]
        candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
        return {"candidates": [candidate], "modelVersion": model, "responseId": secrets.token_hex(8)}

    def streamed(self, whole: Value, asked: Asked | None = None) -> list[bytes]:
        return [event(whole)]

    def body(self, whole: Value, asked: Asked | None) -> bytes:
        return dumped(
            [whole] if asked is not None and asked.path.endswith(":streamGenerateContent") else whole
        ).encode()

    def error(self, status: int, message: str) -> Value:
        word = _STATUS.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL")
        return {"error": {"code": status, "message": message, "status": word}}


def _add(parts: list[Value], part: Value) -> None:
    """A part goes on with the last one where both are plain text."""
    alike = set(part) <= {"text", "thought"} and parts and set(parts[-1]) == set(part)
    if alike and "text" in part and parts[-1].get("thought") == part.get("thought"):
        parts[-1] = {**parts[-1], "text": parts[-1]["text"] + part["text"]}
    else:
        parts.append(dict(part))
