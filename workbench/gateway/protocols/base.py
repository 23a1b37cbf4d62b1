"""What the protocols have in common. Nothing is translated: a request and an answer are read here, and an answer that a
person has changed is written again, in the protocol that it came in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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
    model: str = ""
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


def rearranged(
    parts: Sequence[Value],
    calls: Mapping[int, str],
    texts: Collection[int],
    text: str | None,
    now: Sequence[ToolCall],
    with_call: Callable[[Value, ToolCall], Value],
    with_text: Callable[[Value, str], Value],
) -> list[Value]:
    """Parts of an answer with another text (None: the same) in the place of the first one, else before the calls, and
    with those of its calls that are there `now`. `calls` has their ids by place, `texts` the places of its texts.
    """
    known, found, first_call = {call.id: call for call in now}, list[Value](), None
    for place, part in enumerate(parts):
        if place in calls:
            if calls[place] in known:
                first_call = len(found) if first_call is None else first_call
                found.append(with_call(part, known[calls[place]]))
        elif text is None or place not in texts:
            found.append(part)
        elif place == min(texts) and text:
            found.append(with_text(part, text))
    if text and not texts:
        found.insert(len(found) if first_call is None else first_call, with_text({}, text))
    return found


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


def text_of(content: Any) -> str:
    """The text of a message's content, in any of the forms that the protocols know."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        for name in ("text", "content", "output", "refusal"):
            if isinstance(content.get(name), str | list):
                return text_of(content[name])
        return f"({content['type']})" if isinstance(content.get("type"), str) else ""
    if isinstance(content, Iterable):
        return "\n".join(filter(None, map(text_of, content)))
    return ""


def number(value: Any) -> int:
    """A count of tokens; 0 where it is none."""
    return value if isinstance(value, int) and 0 <= value < 1 << 40 else 0
