"""What the protocols have in common. Nothing is translated: a request and an answer are read here, and an answer that a
person has changed is written again, in the protocol that it came in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec.structs import replace

from workbench.agents.models.wire import Value
from workbench.session.events import Usage
from workbench.session.plain import read_json


class ToolCall(msgspec.Struct, frozen=True):
    """A call that a model asks for."""

    id: str
    name: str
    arguments: str
    """As the model wrote them: mostly JSON."""


class Said(msgspec.Struct, frozen=True):
    """What an answer says, whatever its protocol."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    """Without a cost."""
    id: str = ""


class Result(msgspec.Struct, frozen=True):
    """What a request tells of an action before it."""

    text: str
    call_id: str = ""
    """Empty where it names no call of a tool: it is about the answer before it."""


class Asked(msgspec.Struct, frozen=True):
    """A request for an answer."""

    protocol: Protocol
    path: str
    """Below the address of the provider's API, without a version: `/chat/completions`."""
    query: str
    headers: tuple[tuple[str, str], ...]
    """Without those that are for one connection alone, and without the key."""
    body: bytes
    data: Value
    model: str
    stream: bool
    messages: tuple[str, ...]
    """As they were sent, each as a JSON object; what is sent beside them as the system's words is the first."""
    tools: str
    """As they were sent, as JSON; empty without any."""
    settings: Value
    """All that was sent besides."""


class Assembler(ABC):
    """Puts a stream of events together to the whole answer that it amounts to."""

    def __init__(self) -> None:
        self.whole: Value = {}
        self.done = False
        """The stream has said that the answer is complete."""
        self.failed = ""
        """What the server says of the failure that it reports within the stream."""

    @abstractmethod
    def take(self, event: Value) -> tuple[str, str]:
        """The next event. Returns what it adds to text and reasoning. May raise what wrong types raise."""

    def end(self) -> None:
        """The mark that closes the streams of some protocols."""
        self.done = True


class Protocol(ABC):
    """One protocol. All methods may raise TypeError, KeyError and the like for what is not of its form."""

    name: ClassVar[str]
    provider: ClassVar[str]
    assembler: ClassVar[type[Assembler]]
    """For the stream of one answer."""

    @abstractmethod
    def read(self, data: Value) -> tuple[list[Any], Any, Value]:
        """The messages of a request, its tools, and the rest."""

    @abstractmethod
    def results(self, messages: Sequence[Value]) -> list[Result]:
        """What the messages after the last answer of the model say."""

    @abstractmethod
    def said(self, whole: Value) -> Said:
        """What a whole answer says."""

    @abstractmethod
    def changed(self, whole: Value, text: str, calls: Sequence[ToolCall]) -> Value:
        """The answer with another text, and with these of its calls (known by their ids) as they are here."""

    @abstractmethod
    def written(self, text: str, calls: Sequence[ToolCall], model: str) -> Value:
        """A whole answer that nobody gave yet."""

    @abstractmethod
    def streamed(self, whole: Value, asked: Asked | None = None) -> list[bytes]:
        """The stream that amounts to a whole answer."""

    def error(self, status: int, message: str) -> Value:
        """The body of a failure; OpenAI's form, unless the protocol has another."""
        kind = "invalid_request_error" if 400 <= status < 500 else "server_error"
        return {"error": {"message": message, "type": kind, "param": None, "code": None}}

    def error_event(self, body: Value) -> bytes:
        """A failure within a stream, whose body it would be otherwise."""
        return event(body)

    def body(self, whole: Value, asked: Asked | None) -> bytes:
        """The body that amounts to a whole answer, where no stream is wanted."""
        return dumped(whole).encode()

    def model(self, data: Value, path: str) -> str:
        """The model that a request names."""
        return str(data.get("model") or "")

    def streams(self, data: Value, path: str, query: str) -> bool:
        """Whether it wants a stream of events."""
        return data.get("stream") is True

    def at_temperature(self, asked: Asked, temperature: float) -> Asked:
        """The same request at another temperature."""
        body = dumped({**read_json(asked.body), "temperature": temperature}).encode()
        return replace(asked, settings={**asked.settings, "temperature": temperature}, body=body)

    def for_model(self, model: str, data: Value, path: str, body: bytes) -> tuple[str, bytes]:
        """Path and body of the same request to another model."""
        return path, dumped({**read_json(body), "model": model}).encode()

    def whole(self, data: Any) -> Value:
        """The body of an answer that is no stream. Raises TypeError for what is none."""
        if not isinstance(data, dict):
            raise TypeError("not an object")
        return data


class InParts(Protocol):
    """One whose answers are lists of parts: texts, reasoning and calls."""

    joint: ClassVar[str] = ""
    """Between two texts."""

    @abstractmethod
    def parts(self, whole: Value) -> Sequence[Value]:
        """Those of a whole answer."""

    @abstractmethod
    def with_parts(self, whole: Value, parts: list[Value]) -> Value:
        """The answer with these in their place."""

    @abstractmethod
    def said_in(self, part: Value, place: int) -> Said:
        """What a part says; nothing where it is of another kind."""

    @abstractmethod
    def with_call(self, part: Value, call: ToolCall) -> Value:
        """A part that is a call, as that is now."""

    @abstractmethod
    def with_text(self, part: Value, text: str) -> Value:
        """A part (empty: a new one) with this text."""

    @abstractmethod
    def usage(self, whole: Value) -> Usage | None:
        """What the answer says of its tokens."""

    def said(self, whole: Value) -> Said:
        found = [self.said_in(part, place) for place, part in enumerate(self.parts(whole))]
        return Said(
            text=self.joint.join(each.text for each in found if each.text),
            reasoning="\n\n".join(each.reasoning for each in found if each.reasoning),
            calls=tuple(call for each in found for call in each.calls),
            usage=self.usage(whole),
            id=str(whole.get("id") or whole.get("responseId") or ""),
        )

    def changed(self, whole: Value, text: str, calls: Sequence[ToolCall]) -> Value:
        """Another text stands in the place of the first one, else before the calls."""
        known, same = {call.id: call for call in calls}, text == self.said(whole).text
        left = "" if same else text
        parts, first_call = list[Value](), None
        for place, part in enumerate(self.parts(whole)):
            before = self.said_in(part, place)
            if before.calls:
                if (call := known.get(before.calls[0].id)) is not None:
                    first_call = len(parts) if first_call is None else first_call
                    parts.append(self.with_call(part, call))
            elif same or not before.text:
                parts.append(part)
            elif left:
                parts.append(self.with_text(part, left))
                left = ""
        if left:
            parts.insert(len(parts) if first_call is None else first_call, self.with_text({}, left))
        return self.with_parts(whole, parts)


def by_model(message: Value) -> bool:
    """Whether a message of a request, in any protocol, is of the model."""
    return message.get("role") in ("assistant", "model") or str(message.get("type")).endswith("_call")


def after_model(messages: Sequence[Value]) -> Iterator[Value]:
    """The messages after the last answer of the model, without those of the system."""
    last = max((i for i, message in enumerate(messages) if by_model(message)), default=-1)
    return (each for each in messages[last + 1 :] if each.get("role") not in ("system", "developer"))


def event(data: Value, name: str = "") -> bytes:
    """One event of a stream."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {dumped(data)}\n\n".encode()


def dumped(value: Any) -> str:
    """JSON on one line, as clients mostly write it. A number that is none is null."""
    return msgspec.json.encode(value).decode()


def number(value: Any) -> int:
    """A count of tokens; 0 where it is none."""
    return value if isinstance(value, int) and 0 <= value < 1 << 40 else 0
