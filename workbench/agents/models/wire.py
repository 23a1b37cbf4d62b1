"""Answers of servers as they come over the wire: events of a stream, read from bytes that are checked piece by piece.

The SDKs make the calls. But they would read a line, an event or an error to its end, however long it is, and believe
any answer. So they hand the response over unread; reading ends at the first byte that cannot be right. This module also
notes what no SDK reports: that a stream was complete (`[DONE]`), and that a body was no stream but a complete answer or
an error.
"""

from __future__ import annotations

import functools
import importlib
import json
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal

import msgspec

Problem = Literal["html", "not_protocol", "too_long", "encoding", "redirect", "compressed"]

LONGEST_EVENT = 2 << 20
"""The most bytes of one event of a stream. The longest are tool calls that some servers send in one piece."""
LONGEST_ERROR = 1 << 20
"""The most bytes of an answer that reports an error."""
LARGEST_STREAM = 512 << 20
"""The most bytes of a stream: 128,000 tokens sent one by one are about 50 MB."""
_HEAD = 300

CONNECT_SECONDS = 20.0
"""Seconds until a connection must be established."""

Value = dict[str, Any]
"""A JSON object."""


class WireError(Exception):
    """The server's answer breaks the protocol. `head` is the beginning of what it sent."""

    def __init__(self, problem: Problem, head: bytes | bytearray = b"") -> None:
        super().__init__(problem)
        self.problem = problem
        self.head = head[:_HEAD].decode("utf-8", "replace")


class ServerSaid(Exception):
    """The server reports a failure where an answer should be; `body` is what it sent."""

    def __init__(self, body: Any, status: int = 0, headers: Mapping[str, str] | None = None) -> None:
        """`status` is that of HTTP; 0 where a stream tells of the failure."""
        super().__init__(f"HTTP {status}" if status else "the server tells of a failure")
        self.body, self.status, self.headers = body, status, headers or {}


def tells_of_failure(body: Any) -> bool:
    """Whether a JSON value from a server is an error, in any form that servers use."""
    if isinstance(body, list) and body:
        body = body[0]
    return isinstance(body, Mapping) and bool(
        body.get("error") or "error" in (body.get("object"), body.get("type"), body.get("status"))
    )


# -- events ------------------------------------------------------------------------------------------------------------


class Events(msgspec.Struct):
    """Reads server-sent events from the pieces in which they come."""

    longest: int = 32 << 20
    """The most bytes of one event."""
    _rest: bytearray = msgspec.field(default_factory=bytearray)
    _data: list[bytes] = msgspec.field(default_factory=list)
    _size: int = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that this piece completes. Raises ValueError for an event without an end."""
        self._rest += piece
        if b"\n" not in piece:
            self._check(len(self._rest))
            return []
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest
        found = []
        for line in lines:
            line = line.rstrip(b"\r")
            if not line:
                if self._data:
                    found.append(b"\n".join(self._data))
                    self._data, self._size = [], 0
            elif line.startswith(b"data:"):
                self._size += len(line)
                self._data.append(bytes(line[5:].removeprefix(b" ")))
        self._check(self._size + len(rest))
        return found

    def end(self) -> list[bytes]:
        """An event that the stream has left without its last blank line."""
        return self.feed(b"\n\n")

    def _check(self, size: int) -> None:
        if size > self.longest:
            raise ValueError(f"an event of more than {self.longest >> 20} MiB")


def is_end(data: bytes) -> bool:
    """Whether the data of an event is the mark that closes the streams of some protocols."""
    return data.strip().startswith(b"[DONE]")


def read_event(data: bytes) -> Value:
    """The object that the data of an event is. Raises ValueError and the like."""
    value = _read_value(data)
    if not isinstance(value, dict):
        raise ValueError("an event that is no object")
    return value


def _read_value(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:  # some write NaN, or half of a surrogate pair, whose other half may be in the next
        return json.loads(data)


Whole = Callable[[Any], Sequence[Value] | None]
"""The events of the stream that a complete answer in one piece would have been; None if the value is no answer. Each
provider has its own.
"""


class Body:
    """The body of an answer, read as events. A JSON value in one piece, from a server that does not stream, counts as
    the stream with the same content.
    """

    def __init__(self, whole: Whole) -> None:
        self._whole = whole
        self._head = b""
        self._events: Events | None = None
        """None until the body is known for a stream."""
        self._in_one_piece = bytearray()
        self._total = 0
        self.done = False
        """The server said that this is all."""

    def feed(self, data: bytes) -> Iterator[Value]:
        """The events that the next bytes complete. Raises WireError and ServerSaid, and what unreadable JSON raises."""
        self._total += len(data)
        self._head = (self._head + data[:_HEAD])[:_HEAD].lstrip(_BLANK)
        if self._total > LARGEST_STREAM:
            raise WireError("too_long", self._head)
        if self.done:
            return
        if self._events is None:
            data = self._begin(data)
        if self._events is not None:
            try:
                found = self._events.feed(data)
            except ValueError:
                raise WireError("too_long", self._head) from None
            yield from self._read(found)

    def _begin(self, data: bytes) -> bytes:
        """Keep what has come, until that is the beginning of a stream. Raises WireError for any other."""
        kept = self._in_one_piece
        kept += data if kept else data.lstrip(_BLANK)
        if kept.startswith(b"<"):
            raise WireError("html", kept)
        if not kept.startswith((b"{", b"[")):
            if kept.startswith(_STARTS):
                self._events = Events(LONGEST_EVENT)
                return bytes(kept)
            if not any(start.startswith(kept) for start in _STARTS):
                raise WireError("not_protocol", kept)
        elif len(kept) > LONGEST_EVENT:
            raise WireError("too_long", kept)
        return b""

    def end(self) -> Iterator[Value]:
        """The events that are left at a regular end of the body. Raises what `feed` raises."""
        if self.done:
            return
        if self._events is not None:
            yield from self._read(self._events.end())
        elif self._in_one_piece:
            try:
                body = json.loads(self._in_one_piece)
            except (ValueError, RecursionError):
                body = None
            if tells_of_failure(body):
                raise ServerSaid(body)
            events = self._whole(body)
            if events is None:
                raise WireError("not_protocol", self._in_one_piece)
            self.done = True
            yield from events

    def _read(self, found: Sequence[bytes]) -> Iterator[Value]:
        for data in found:
            if is_end(data):
                self.done = True
                return
            if data.strip():  # one without content keeps the connection open
                value = _read_value(data)
                if tells_of_failure(value):
                    raise ServerSaid(value)
                if isinstance(value, dict):  # nothing else is of any protocol
                    yield value


_BLANK = b"\xef\xbb\xbf \t\r\n"
_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""How a stream of server-sent events may begin."""


# -- responses ---------------------------------------------------------------------------------------------------------


async def _check(response: Any) -> None:
    """Checks a response of httpx (or httpx2) before the SDK sees it.

    Raises ServerSaid for a failure, and WireError for a redirect, which would carry the key elsewhere, and for a
    compressed answer, whose few bytes can expand to any size.
    """
    headers = response.headers
    if 300 <= response.status_code < 400:
        raise WireError("redirect", str(headers.get("location", "")).encode())
    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise WireError("compressed")
    headers.pop("set-cookie", None)  # SDKs write headers into their logs
    if response.status_code >= 400:
        data = await read_all(response, LONGEST_ERROR)
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            body = data.decode("utf-8", "replace")
        raise ServerSaid(body, response.status_code, dict(headers))


async def read_all(response: Any, most: int) -> bytes:
    """The whole body of a response. Raises WireError where it has more than so many bytes."""
    data = bytearray()
    async for piece in response.aiter_raw():
        data += piece
        if len(data) > most:
            raise WireError("html" if data.lstrip(_BLANK).startswith(b"<") else "too_long", data)
    return bytes(data)


@functools.cache
def _tls(library: str) -> ssl.SSLContext:
    """The library's own TLS settings. Making them takes a tenth of a second, so it happens once."""
    context: ssl.SSLContext = importlib.import_module(library).create_ssl_context()
    return context


def watched_client(kind: Any, silence: float) -> Any:
    """A client of httpx (or httpx2), of class `kind`, whose answers are checked: a failure is raised as ServerSaid. It
    follows no redirects and keeps no cookies.
    """
    library = next(cls for cls in kind.__mro__ if cls.__name__ == "AsyncClient").__module__.partition(".")[0]
    return kind(
        timeout=importlib.import_module(library).Timeout(silence, connect=CONNECT_SECONDS),
        follow_redirects=False,
        event_hooks={"response": [_check]},
        headers={"Accept-Encoding": "identity"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # none is accepted, so none is sent back
        verify=_tls(library),
    )


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and its causes."""
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
