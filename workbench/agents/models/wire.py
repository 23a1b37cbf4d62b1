"""Bounds on what a server may send. A stream is read piece by piece and must be what it claims to be.

The SDKs read a line, an event or an error to its end, however long that is, and take any answer for the protocol's.
So the bytes are looked at on their way to the SDK, and reading ends at the first that cannot be right.
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import importlib
import ssl
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any, Literal

Problem = Literal["html", "not_protocol", "too_long", "encoding", "redirect", "compressed"]

LONGEST_LINE = 2 << 20
"""Bytes of one event of a stream. A tool call that some servers send whole is the longest there is."""
LONGEST_ERROR = 1 << 20
"""Bytes of an answer that tells of an error."""
LARGEST_STREAM = 512 << 20
"""Bytes of a whole stream: 128,000 tokens sent one by one are about 50 MB."""
_HEAD = 300

CONNECT_SECONDS = 20.0
"""Seconds until a connection has to be there."""


_opened: ContextVar[list[Any] | None] = ContextVar("opened", default=None)


@contextlib.asynccontextmanager
async def closing_connections() -> AsyncIterator[None]:
    """Closes the responses that a call inside opens: a stream that is left early is not closed by every SDK."""
    responses: list[Any] = []
    token = _opened.set(responses)
    try:
        yield
    finally:
        _opened.reset(token)
        for response in responses:
            with contextlib.suppress(Exception):
                await response.aclose()


class WireError(Exception):
    """The server answers, but not what it should. `head` is the beginning of what it sent."""

    def __init__(self, problem: Problem, head: bytes = b"") -> None:
        super().__init__(problem)
        self.problem = problem
        self.head = head[:_HEAD].decode("utf-8", "replace")


class Gauge:
    """Watches the bytes of one answer. `starts` is how the protocol may begin; empty for an answer of any kind."""

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
        """The next bytes; as text, but for an answer of failure. Raises WireError when they cannot be right."""
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


SSE = (b"data:", b"event:", b"id:", b"retry:", b":")
"""How a stream of server-sent events begins."""


def check_headers(status: int, headers: Any) -> None:
    """Raises WireError for a redirect, which would carry the key elsewhere, and for a compressed answer, of which a
    few bytes can become any number.
    """
    if 300 <= status < 400:
        raise WireError("redirect", str(headers.get("location", "")).encode())
    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise WireError("compressed")


def watch(response: Any, starts: tuple[bytes, ...] = SSE) -> None:
    """Puts a gauge on a response of httpx (or httpx2) before its body is read."""
    if (opened := _opened.get()) is not None:
        opened.append(response)
    check_headers(response.status_code, response.headers)
    httpx: Any = importlib.import_module(type(response).__module__.partition(".")[0])
    gauge = Gauge(response.status_code, starts)
    inner = response.stream

    class Watched(httpx.AsyncByteStream):  # type: ignore[misc]  # of the library that the SDK uses
        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for data in inner:
                gauge.see(data)
                yield data

        async def aclose(self) -> None:
            await inner.aclose()

    response.stream = Watched()


@functools.cache
def _tls(library: str) -> ssl.SSLContext:
    """The library's own TLS settings, made once: it takes a tenth of a second."""
    context: ssl.SSLContext = importlib.import_module(library).create_ssl_context()
    return context


def watched_client(kind: Any, silence: float, starts: tuple[bytes, ...] = SSE) -> Any:
    """A client of httpx (or httpx2), of class `kind`, whose answers are watched; it follows no redirects."""

    async def on_response(response: Any) -> None:
        watch(response, starts)

    library = next(cls for cls in kind.__mro__ if cls.__name__ == "AsyncClient").__module__.partition(".")[0]
    return kind(
        timeout=importlib.import_module(library).Timeout(silence, connect=CONNECT_SECONDS),
        follow_redirects=False,
        event_hooks={"response": [on_response]},
        headers={"Accept-Encoding": "identity"},
        verify=_tls(library),
    )


def watch_requests(response: Any, starts: tuple[bytes, ...], longest_line: int) -> None:
    """Puts a gauge on a streamed response of requests before its body is read, and decodes it as UTF-8."""
    check_headers(response.status_code, response.headers)
    gauge = Gauge(response.status_code, starts, longest_line)
    read = response.iter_content

    def pieces(chunk_size: int | None = 1, decode_unicode: bool = False) -> Iterator[bytes | str]:
        for data in read(chunk_size=4096 if chunk_size in (None, 1) else chunk_size):
            text = gauge.see(data)
            if not decode_unicode:
                yield data
            elif text:
                yield text

    response.iter_content = pieces


def wire_error(error: BaseException | None) -> WireError | None:
    """The WireError that caused `error`, if one did."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, WireError):
            return error
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None
