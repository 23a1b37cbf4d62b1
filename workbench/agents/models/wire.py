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
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
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


_opened: ContextVar[list[tuple[Any, Body]] | None] = ContextVar("opened", default=None)
"""The responses that the call in this context has opened, and their bodies."""


@contextlib.asynccontextmanager
async def closing_connections() -> AsyncIterator[list[tuple[Any, Body]]]:
    """Closes the responses that are opened inside: not every SDK closes a stream that is left early."""
    opened: list[tuple[Any, Body]] = []
    token = _opened.set(opened)
    try:
        yield opened
    finally:
        _opened.reset(token)
        for response, _ in opened:
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


Whole = Callable[[Any], Sequence[tuple[str, Any]] | None]
"""The events (name and data) of the stream that a complete answer in one piece would have been; None if the value is
no answer. Each provider has its own.
"""


class Body:
    """The body of a response on its way to an SDK, which gets it in pieces after each was checked.

    Of an answer it gets a stream of events without lines that confuse SDKs, in whole lines. A JSON value in one piece,
    from a server that does not stream, becomes a stream with the same content.
    """

    def __init__(self, status: int, whole: Whole | None) -> None:
        """Without `whole` the body may be anything, and passes unchanged; so does the report of a failure."""
        self._failed = status >= 400
        self._whole = None if self._failed else whole
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._head = b""
        self._begun = self._whole is None
        self._in_one_piece: bool | None = None
        self._rest = b""
        self._line_length = 0
        self._total = 0
        self.done = False
        """The server said that this is all."""

    def pass_on(self, data: bytes) -> bytes:
        """The part of the next bytes that the SDK gets. Raises WireError if they cannot be right."""
        self._check(data)
        if self._whole is None:
            return data
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
        if self._whole is None:
            return b""
        if not self._in_one_piece:
            return self._line(self._rest)[:-1]
        try:
            body = json.loads(self._rest)
        except (ValueError, RecursionError):
            body = None
        if tells_of_failure(body):
            raise ServerSaid(body)
        events = self._whole(body)
        if events is None:
            raise WireError("not_protocol", self._rest)
        self.done = True
        lines = [f"{f'event: {name}' if name else ''}\ndata: {json.dumps(data)}\n\n".lstrip() for name, data in events]
        return "".join(lines).encode()

    def _line(self, line: bytes) -> bytes:
        name, _, value = line.partition(b":")
        if name == b"data":
            self.done = self.done or value.strip().startswith(b"[DONE]")
            return b"data: " + value.removeprefix(b" ") + b"\n"
        return b"" if not name and line.strip() else line + b"\n"

    def _check(self, data: bytes) -> None:
        self._total += len(data)
        if len(self._head) < _HEAD:
            self._head += data[: _HEAD - len(self._head)]
        if self._failed:
            if self._total > LONGEST_ERROR:
                raise WireError("html" if self._is_html() else "too_long", self._head)
            return
        if not self._begun:
            self._look_at_beginning()
        last = data.rfind(b"\n")
        self._line_length = self._line_length + len(data) if last < 0 else len(data) - last - 1
        if self._line_length > LONGEST_LINE or self._total > LARGEST_STREAM:
            raise WireError("too_long", self._head)
        try:
            self._decoder.decode(data)
        except UnicodeDecodeError:
            raise WireError("encoding") from None

    def _is_html(self) -> bool:
        return self._head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")

    def _look_at_beginning(self) -> None:
        beginning = self._head.lstrip(b" \t\r\n")
        if not beginning:
            return
        if self._is_html():
            raise WireError("html", self._head)
        self._begun = beginning.startswith(_STARTS)
        begins_so = any(start.startswith(beginning) for start in _STARTS)
        if not self._begun and (len(self._head) >= _HEAD or not begins_so):
            raise WireError("not_protocol", self._head)


_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":", b"{", b"[")
"""How a stream of server-sent events, or an answer in one piece, may begin."""


def watch(response: Any, whole: Whole | None) -> None:
    """Checks a response of httpx (or httpx2) before the SDK reads its body.

    Raises WireError for a redirect, which would carry the key elsewhere, and for a compressed answer, whose few bytes
    can expand to any size.
    """
    headers = response.headers
    if 300 <= response.status_code < 400:
        raise WireError("redirect", str(headers.get("location", "")).encode())
    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise WireError("compressed")
    headers.pop("set-cookie", None)  # SDKs write headers into their logs
    httpx: Any = importlib.import_module(type(response).__module__.partition(".")[0])
    body = Body(response.status_code, whole)
    if (opened := _opened.get()) is not None:
        opened.append((response, body))
    inner = response.stream

    class Watched(httpx.AsyncByteStream):  # type: ignore[misc]  # of the library that the SDK uses
        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for data in inner:
                if passed := body.pass_on(data):
                    yield passed
            if passed := body.end():
                yield passed

        async def aclose(self) -> None:
            await inner.aclose()

    response.stream = Watched()


@functools.cache
def _tls(library: str) -> ssl.SSLContext:
    """The library's own TLS settings. Making them takes a tenth of a second, so it happens once."""
    context: ssl.SSLContext = importlib.import_module(library).create_ssl_context()
    return context


def watched_client(kind: Any, silence: float, whole: Whole | None = None) -> Any:
    """A client of httpx (or httpx2), of class `kind`, whose answers are checked. It follows no redirects and keeps no
    cookies.
    """

    async def on_response(response: Any) -> None:
        watch(response, whole)

    library = next(cls for cls in kind.__mro__ if cls.__name__ == "AsyncClient").__module__.partition(".")[0]
    return kind(
        timeout=importlib.import_module(library).Timeout(silence, connect=CONNECT_SECONDS),
        follow_redirects=False,
        event_hooks={"response": [on_response]},
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
