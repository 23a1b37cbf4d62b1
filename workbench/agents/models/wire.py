"""Limits on what a server may send: a stream is checked piece by piece before the SDK reads it.

The SDKs read a line, an event or an error to its end, however long it is, and believe any answer. So the bytes are
checked on their way to the SDK, and reading ends at the first that cannot be right. This module also notes what no SDK
reports: that a stream was complete (`[DONE]`), and that a body was no stream but a complete answer or an error.
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import importlib
import itertools
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal

Problem = Literal["html", "not_protocol", "too_long", "encoding", "redirect", "compressed"]

LONGEST_LINE = 2 << 20
"""The most bytes of one event of a stream. The longest are tool calls that some servers send in one piece."""
LONGEST_ERROR = 1 << 20
"""The most bytes of an answer that reports an error."""
LARGEST_STREAM = 512 << 20
"""The most bytes of a stream: 128,000 tokens sent one by one are about 50 MB."""
_HEAD = 300

CONNECT_SECONDS = 20.0
"""Seconds until a connection must be established."""


@dataclass
class Opened:
    """The responses that a call has opened."""

    responses: list[Any] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """The server said that this is all."""
        return any(body.done for body in self.bodies)


_opened: ContextVar[Opened | None] = ContextVar("opened", default=None)


@contextlib.asynccontextmanager
async def closing_connections() -> AsyncIterator[Opened]:
    """Closes the responses that are opened inside: not every SDK closes a stream that is left early."""
    opened = Opened()
    token = _opened.set(opened)
    try:
        yield opened
    finally:
        _opened.reset(token)
        for response in opened.responses:
            with contextlib.suppress(Exception):
                await response.aclose()


class WireError(Exception):
    """The server's answer breaks the protocol. `head` is the beginning of what it sent."""

    def __init__(self, problem: Problem, head: bytes = b"") -> None:
        super().__init__(problem)
        self.problem = problem
        self.head = head[:_HEAD].decode("utf-8", "replace")


class ServerSaid(Exception):
    """The server reports a failure where an answer should be; `body` is what it sent."""

    def __init__(self, body: Any) -> None:
        super().__init__("the server tells of a failure")
        self.body = body


def tells_of_failure(body: Any) -> bool:
    """Whether a JSON value from a server is an error, in any form that servers use."""
    if isinstance(body, list) and body:
        body = body[0]
    return isinstance(body, Mapping) and bool(
        body.get("error") or "error" in (body.get("object"), body.get("type"), body.get("status"))
    )


@dataclass(frozen=True)
class Protocol:
    """How a provider's answers are sent."""

    whole: Callable[[Any], Sequence[tuple[str, Any]] | None]
    """The events (name and data) of the stream that a complete answer in one piece would have been; None if the value
    is no answer.
    """
    only_data: bool = False
    """The SDK understands only the data lines of a stream of events."""


def in_one_piece(data: bytes, protocol: Protocol) -> Sequence[tuple[str, Any]]:
    """The events of an answer that came as one JSON value. Raises ServerSaid for an error, else WireError."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if tells_of_failure(body):
        raise ServerSaid(body)
    events = protocol.whole(body)
    if events is None:
        raise WireError("not_protocol", data)
    return events


class Body:
    """An answer on its way to an SDK: a stream of events without lines that confuse SDKs. A JSON value in one piece,
    from a server that does not stream, becomes a stream with the same content.
    """

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._in_one_piece: bool | None = None
        self._rest = b""
        self.done = False
        """The server said that this is all."""

    def pass_on(self, data: bytes) -> bytes:
        """The part of the next bytes that the SDK gets."""
        self._rest += data
        if self._in_one_piece is None:
            self._rest = self._rest.lstrip(b"\xef\xbb\xbf \t\r\n")
            if not self._rest:
                return b""
            self._in_one_piece = self._rest[:1] in (b"{", b"[")
        if self._in_one_piece:
            if len(self._rest) > LONGEST_LINE:
                raise WireError("too_long", self._rest)
            return b""
        *lines, self._rest = self._rest.split(b"\n")
        return b"".join(map(self._line, lines))

    def end(self) -> bytes:
        """What the SDK gets at a regular end of the body. Raises WireError and ServerSaid."""
        if not self._in_one_piece:
            return self._line(self._rest)[:-1]
        events = in_one_piece(self._rest, self._protocol)
        self.done = True
        lines = [f"{f'event: {name}' if name else ''}\ndata: {json.dumps(data)}\n\n".lstrip() for name, data in events]
        return "".join(lines).encode()

    def _line(self, line: bytes) -> bytes:
        name, _, value = line.partition(b":")
        if name == b"data":
            ends = value.strip().startswith(b"[DONE]")
            self.done = self.done or ends
            return b"" if ends and self._protocol.only_data else b"data: " + value.removeprefix(b" ") + b"\n"
        foreign = not name or self._protocol.only_data
        return b"" if foreign and line.strip() else line + b"\n"


class Gauge:
    """Checks the bytes of one answer. `starts` is how the protocol may begin; empty if the answer may be anything."""

    def __init__(self, status: int, starts: tuple[bytes, ...] = (), longest_line: int = LONGEST_LINE) -> None:
        self._longest_line = longest_line
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._failed = status >= 400
        self._starts = () if self._failed else starts
        self._head = b""
        self._begun = False
        self._line = 0
        self.total = 0

    def see(self, data: bytes) -> str:
        """Check the next bytes; returns them as text, but for an answer of failure. Raises WireError if they cannot be
        right.
        """
        self.total += len(data)
        if len(self._head) < _HEAD:
            self._head += data[: _HEAD - len(self._head)]
        if self._failed:
            if self.total > LONGEST_ERROR:
                raise WireError("html" if self._is_html() else "too_long", self._head)
            return ""
        if not self._begun:
            self._look_at_beginning()
        last = data.rfind(b"\n")
        self._line = self._line + len(data) if last < 0 else len(data) - last - 1
        if self._line > self._longest_line or self.total > LARGEST_STREAM:
            raise WireError("too_long", self._head)
        try:
            return self._decoder.decode(data)
        except UnicodeDecodeError:
            raise WireError("encoding") from None

    def _is_html(self) -> bool:
        return self._head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")

    def _look_at_beginning(self) -> None:
        beginning = self._head.lstrip(b" \t\r\n")
        if not self._starts or not beginning:
            return
        if self._is_html():
            raise WireError("html", self._head)
        if any(beginning.startswith(start) for start in self._starts):
            self._begun = True
        elif len(self._head) >= _HEAD or not any(start.startswith(beginning) for start in self._starts):
            raise WireError("not_protocol", self._head)


STARTS = (b"data:", b"event:", b"id:", b"retry:", b":", b"{", b"[")
"""How a stream of server-sent events, or an answer in one piece, may begin."""


def check_headers(status: int, headers: Any) -> None:
    """Raises WireError for a redirect, which would carry the key elsewhere, and for a compressed answer, whose few
    bytes can expand to any size.
    """
    if 300 <= status < 400:
        raise WireError("redirect", str(headers.get("location", "")).encode())
    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise WireError("compressed")


def watch(response: Any, protocol: Protocol | None) -> None:
    """Checks the body of a response of httpx (or httpx2) before the SDK reads it. Without a protocol it may be
    anything.
    """
    opened = _opened.get()
    check_headers(response.status_code, response.headers)
    response.headers.pop("set-cookie", None)  # SDKs write headers into their logs
    httpx: Any = importlib.import_module(type(response).__module__.partition(".")[0])
    gauge = Gauge(response.status_code, STARTS if protocol else ())
    body = Body(protocol) if protocol and response.status_code < 400 else None
    if opened is not None:
        opened.responses.append(response)
        opened.bodies += [body] if body else []
    inner = response.stream

    class Watched(httpx.AsyncByteStream):  # type: ignore[misc]  # of the library that the SDK uses
        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for data in inner:
                gauge.see(data)
                if passed := data if body is None else body.pass_on(data):
                    yield passed
            if body is not None and (passed := body.end()):
                yield passed

        async def aclose(self) -> None:
            await inner.aclose()

    response.stream = Watched()


@functools.cache
def _tls(library: str) -> ssl.SSLContext:
    """The library's own TLS settings. Making them takes a tenth of a second, so it happens once."""
    context: ssl.SSLContext = importlib.import_module(library).create_ssl_context()
    return context


def no_cookies() -> DefaultCookiePolicy:
    """A policy that accepts no cookies and so sends none back."""
    return DefaultCookiePolicy(allowed_domains=())


def watched_client(kind: Any, silence: float, protocol: Protocol | None = None) -> Any:
    """A client of httpx (or httpx2), of class `kind`, whose answers are checked. It follows no redirects and keeps no
    cookies.
    """

    async def on_response(response: Any) -> None:
        watch(response, protocol)

    library = next(cls for cls in kind.__mro__ if cls.__name__ == "AsyncClient").__module__.partition(".")[0]
    return kind(
        timeout=importlib.import_module(library).Timeout(silence, connect=CONNECT_SECONDS),
        follow_redirects=False,
        event_hooks={"response": [on_response]},
        headers={"Accept-Encoding": "identity"},
        cookies=CookieJar(no_cookies()),
        verify=_tls(library),
    )


def watch_requests(response: Any, protocol: Protocol, longest_line: int) -> None:
    """Like `watch`, for a streamed response of requests whose SDK reads an array of values as it comes, as UTF-8."""
    check_headers(response.status_code, response.headers)
    gauge = Gauge(response.status_code, (b"[", b"{"), longest_line)
    read = response.iter_content

    def pieces(chunk_size: int | None = 1, decode_unicode: bool = False) -> Iterator[bytes | str]:
        seen = ((data, gauge.see(data)) for data in read(chunk_size=4096 if chunk_size in (None, 1) else chunk_size))
        if not decode_unicode:
            yield from (data for data, _ in seen)
            return
        texts = _without_halves(text for _, text in seen)
        head = ""
        for text in texts:
            head += text
            if len(head.strip()) > len('[{"error"') + 20:
                break
        if _NO_ARRAY.match(head):
            head += "".join(texts)
            in_one_piece(head.encode(), protocol)
            yield f"[{head}]"
            return
        yield from filter(None, itertools.chain((head,), texts))

    response.iter_content = pieces


# How an answer in one piece begins, or an error, where an array of the pieces of an answer was asked for.
_NO_ARRAY = re.compile(r'\s*(?:\{|\[\s*\{\s*"error")')

_ESCAPES = re.compile(
    r"(?P<fine>\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_UNFINISHED = re.compile(r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,4}(?:\\(?:u[0-9a-fA-F]{0,4})?)?)?)$")


def _without_halves(texts: Iterator[str]) -> Iterator[str]:
    """Pieces of JSON without lone halves of a surrogate pair, which protobuf refuses."""
    held = ""
    for text in texts:
        text = held + text
        found = _UNFINISHED.search(text, max(0, len(text) - 100))
        held = found[1] if found else ""
        yield _ESCAPES.sub(lambda escape: escape["fine"] or "\\ufffd", text.removesuffix(held))
    if held:
        yield held


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and its causes."""
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
