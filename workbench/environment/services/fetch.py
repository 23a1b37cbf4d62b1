"""Getting something over HTTP for an agent: in turn, with retries, bounded in size and time, from public hosts only."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import http.client
import socket
import ssl
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from workbench import __version__
from workbench.environment.services.addresses import BadAddress, Origin, Target, parse, resolve
from workbench.environment.services.pacing import Pacer, TooBusy

REDIRECTS = 5
ATTEMPTS = 4
"""Of one request, where the server is busy; one that cannot be reached is asked only twice."""
SILENCE = 15.0
"""Seconds that a server may say nothing."""
LONGEST_PAUSE = 20.0
"""A server that wants to be left alone for longer is given up for now."""
_CHUNK = 64 << 10


class FetchError(Exception):
    """Nothing was got. `str()` says why, in words fit for an agent."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
        """What the server answered, if it did."""


@dataclass(frozen=True)
class Fetched:
    """What a server answered."""

    url: str
    """Where it came from in the end."""
    body: bytes
    content_type: str


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Fetcher:
    """Asks servers. `trusted` are those that the user named: they may be private, and on any port.

    `intervals` are the seconds between two requests to a host, by the end of its name; others are asked once a second.
    """

    def __init__(
        self,
        pacer: Pacer,
        *,
        trusted: Collection[Origin] = (),
        intervals: Mapping[str, float] | None = None,
        find: Callable[[Origin, Collection[Origin]], list[str]] = resolve,
    ) -> None:
        self._pacer = pacer
        self._trusted = trusted
        self._intervals = intervals or {}
        self._find = find

    async def get(
        self,
        url: str,
        *,
        most: int,
        time_limit: float,
        headers: Mapping[str, str] | None = None,
        may_go: Callable[[str], bool] = lambda host: True,
    ) -> Fetched:
        """The body at an address, of at most `most` bytes, within `time_limit` seconds net of waiting for turns.

        `headers` go to the first server alone; redirects only to hosts that `may_go`. Raises FetchError.
        """
        first: Origin | None = None
        for _ in range(REDIRECTS + 1):
            try:
                target = parse(url, self._trusted)
            except BadAddress as error:
                raise FetchError(str(error)) from None
            if first is not None and target.origin != first:
                headers = None
                if not may_go(target.origin.host):
                    raise FetchError(f"{first} sends us on to {target.origin}, which is not asked")
            first = first or target.origin
            answer = await self._patiently(target, headers or {}, most, time_limit)
            if answer.status in (301, 302, 303, 307, 308) and answer.headers.get("location"):
                url = urljoin(target.url, answer.headers["location"])
                continue
            if answer.status != 200:
                raise FetchError(f"{target.origin} answers with status {answer.status}", answer.status)
            return Fetched(target.url, answer.body, answer.headers.get("content-type", ""))
        raise FetchError(f"{first} sends us around in a circle")

    async def _patiently(self, target: Target, headers: Mapping[str, str], most: int, time_limit: float) -> _Answer:
        """One request, made again while the server is busy. Raises FetchError."""
        host = str(target.origin)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._pacer.turn(host, self._interval(target.origin))
                answer = await self._once(target, headers, most, time_limit)
            except TooBusy as error:
                raise FetchError(str(error)) from None
            except BadAddress as error:
                raise FetchError(str(error)) from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                if attempt >= 2:
                    raise FetchError(f"{host} cannot be reached ({_reason(error)})") from None
                await self._pacer.sleep(1.0)
                continue
            if answer.status != 429 and answer.status < 500:
                return answer
            pause = _retry_after(answer.headers.get("retry-after", ""))
            wanted = 2.0 ** (attempt - 1) if pause is None else pause
            if pause is not None:
                await self._pacer.postpone(host, pause)
            if attempt == ATTEMPTS or wanted > LONGEST_PAUSE:
                wait = f"; it wants to be left alone for {wanted:.0f} s" if wanted > LONGEST_PAUSE else ""
                busy = "too many requests" if answer.status == 429 else f"status {answer.status}"
                raise FetchError(f"{host} is busy ({busy}){wait}", answer.status)
            if pause is None:
                await self._pacer.sleep(wanted)
        raise AssertionError("the loop returns or raises")

    def _interval(self, origin: Origin) -> float:
        name = str(origin)
        for end, seconds in self._intervals.items():
            if name == end or name.endswith(f".{end}"):
                return seconds
        return 1.0

    async def _once(self, target: Target, headers: Mapping[str, str], most: int, time_limit: float) -> _Answer:
        request = _Request(target, headers, most, self._trusted, self._find)
        try:
            async with asyncio.timeout(time_limit) as limit:
                return await asyncio.shield(asyncio.to_thread(request.run))
        except TimeoutError:
            if not limit.expired():
                raise
            raise FetchError(f"{target.origin} was too slow: not done within {time_limit:.0f} s") from None
        finally:
            request.end()


class _Request:
    """One GET, in a thread, which `end` ends from another."""

    def __init__(
        self,
        target: Target,
        headers: Mapping[str, str],
        most: int,
        trusted: Collection[Origin],
        find: Callable[[Origin, Collection[Origin]], list[str]],
    ) -> None:
        self._target = target
        self._headers = {
            "User-Agent": f"mlgym-tui/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
            **headers,
        }
        self._most = most
        self._trusted = trusted
        self._find = find
        self._socket: socket.socket | None = None
        self._ended = False

    def run(self) -> _Answer:
        """Raises FetchError, BadAddress, OSError, HTTPException, ValueError."""
        path = self._target.path
        proxy = _proxy(self._target.origin)
        if proxy is None:
            connection = self._direct()
        else:
            connection, path = self._through(proxy)
        self._socket = connection.sock  # the connection itself forgets it before the body is read
        try:
            self._go_on()
            connection.request("GET", path, headers=self._headers)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            if headers.get("content-encoding", "identity") != "identity":
                raise FetchError(f"{self._target.origin} answers in an encoding that was not asked for")
            return _Answer(response.status, headers, self._body(response))
        finally:
            connection.close()

    def end(self) -> None:
        """Whatever the thread waits for fails now."""
        self._ended = True
        if self._socket is not None:
            with contextlib.suppress(OSError, ValueError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _go_on(self) -> None:
        if self._ended:
            raise ConnectionAbortedError("not wanted any more")

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        parts, size = [], 0
        while piece := response.read(_CHUNK):
            size += len(piece)
            if size > self._most:
                raise FetchError(f"{self._target.origin} answers with more than {self._most >> 20} MiB")
            parts.append(piece)
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        return b"".join(parts)

    def _direct(self) -> http.client.HTTPConnection:
        """To the very address that was checked: a name may resolve to another one the next time."""
        origin = self._target.origin
        sock: socket.socket | None = None
        problem: OSError = OSError("it has no address")
        for address in self._find(origin, self._trusted)[:4]:
            self._go_on()
            try:
                sock = socket.create_connection((address, origin.port), SILENCE)
                break
            except OSError as error:
                problem = error
        if sock is None:
            raise problem
        connection: http.client.HTTPConnection
        if origin.scheme == "https":
            connection = http.client.HTTPSConnection(origin.host, origin.port, context=_context())
            try:
                sock = _context().wrap_socket(sock, server_hostname=origin.host)
            except BaseException:
                sock.close()
                raise
        else:
            connection = http.client.HTTPConnection(origin.host, origin.port)
        connection.sock = sock
        return connection

    def _through(self, proxy: str) -> tuple[http.client.HTTPConnection, str]:
        """By way of the user's proxy, which is the one that resolves names then."""
        origin = self._target.origin
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        if parts.scheme != "http" or not parts.hostname:
            raise FetchError("the proxy of the environment is none that can be used (http://host:port is)")
        permit = {}
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            permit = {"Proxy-Authorization": f"Basic {b64encode(login.encode()).decode()}"}
        port = parts.port or 80
        if origin.scheme == "https":
            connection = http.client.HTTPSConnection(parts.hostname, port, timeout=SILENCE, context=_context())
            connection.set_tunnel(origin.host, origin.port, permit)
            connection.connect()
            return connection, self._target.path
        self._headers.update(permit)
        plain = http.client.HTTPConnection(parts.hostname, port, timeout=SILENCE)
        plain.connect()
        return plain, self._target.url


def _proxy(origin: Origin) -> str | None:
    if urllib.request.proxy_bypass(f"{origin.host}:{origin.port}"):
        return None
    proxies: dict[str, Any] = urllib.request.getproxies()
    found = proxies.get(origin.scheme) or proxies.get("all")
    return str(found) if found else None


_made: list[ssl.SSLContext] = []


def _context() -> ssl.SSLContext:
    """What servers must prove: the certificates of the system, and those that come with certifi where it is there."""
    if not _made:
        context = ssl.create_default_context()
        with contextlib.suppress(ImportError, OSError):
            import certifi

            context.load_verify_locations(certifi.where())
        _made.append(context)
    return _made[0]


def _retry_after(text: str) -> float | None:
    """Seconds; the header has a number of them, or a date."""
    if text.isascii() and text.strip().isdigit() and len(text) < 10:
        return float(text)
    try:
        when = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError, IndexError):
        return None
    return max(0.0, when - time.time())


def _reason(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved: is there a network?"
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, ssl.SSLError):
        return f"its certificate or encryption is refused: {error.reason or error}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"it does not speak HTTP as it should: {type(error).__name__}"
