"""Getting something over HTTP for an agent: in turn, with retries, bounded in size and time, from public hosts only."""

from __future__ import annotations

import asyncio
import email.utils
import functools
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from workbench import __version__
from workbench.environment.services.addresses import BadAddress, Origin, Target, parse, resolve
from workbench.environment.services.pacing import Pacer, TooBusy

if TYPE_CHECKING:
    import httpx2

REDIRECTS = 5
ATTEMPTS = 4
"""Of one request, where the server is busy; one that cannot be reached is asked only twice."""
SILENCE = 15.0
"""Seconds that a server may say nothing."""
HEADERS = {"User-Agent": f"mlgym-tui/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
LONGEST_PAUSE = 20.0
"""A server that wants to be left alone for longer is given up for now."""


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
        import httpx2  # late: it takes a while, and few sessions ask for anything

        host = str(target.origin)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._pacer.turn(host, self._interval(target.origin))
                answer = await self._once(target, headers, most, time_limit)
            except (TooBusy, BadAddress) as error:
                raise FetchError(str(error)) from None
            except (OSError, httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
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
        """One GET. Raises FetchError, BadAddress, OSError, HTTPError, ValueError."""
        origin = target.origin
        try:
            async with asyncio.timeout(time_limit) as limit, self._client(origin) as client:
                response = await self._send(client, target, headers)
                body = bytearray()
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > most:
                        raise FetchError(f"{origin} answers with more than {most >> 20} MiB")
        except TimeoutError:
            if not limit.expired():
                raise
            raise FetchError(f"{origin} was too slow: not done within {time_limit:.0f} s") from None
        if response.headers.get("content-encoding", "identity") != "identity":
            raise FetchError(f"{origin} answers in an encoding that was not asked for")
        return _Answer(response.status_code, response.headers, bytes(body))

    def _client(self, origin: Origin) -> httpx2.AsyncClient:
        """A client for one request: without cookies, redirects, or settings of the user but the proxy."""
        import httpx2

        proxy = _proxy(origin)
        try:
            transport = httpx2.AsyncHTTPTransport(verify=_context(), trust_env=False, proxy=proxy)
        except (ValueError, ImportError, httpx2.InvalidURL):
            raise FetchError("the proxy of the environment is none that can be used (http://host:port is)") from None
        return httpx2.AsyncClient(transport=transport, trust_env=False, timeout=SILENCE)

    async def _send(self, client: httpx2.AsyncClient, target: Target, headers: Mapping[str, str]) -> httpx2.Response:
        """The beginning of an answer, of the very address that was checked: a name may resolve to another one the next
        time. Where there is a proxy, that resolves names.
        """
        import httpx2

        origin = target.origin
        request = client.build_request("GET", target.url, headers={**HEADERS, **headers})
        if _proxy(origin) is not None:
            return await client.send(request, stream=True)
        request.extensions["sni_hostname"] = origin.host  # the name that the certificate must be for
        problem: Exception = OSError("it has no address")
        for address in (await asyncio.to_thread(self._find, origin, self._trusted))[:4]:
            request.url = request.url.copy_with(host=address)  # its header Host keeps the name
            try:
                return await client.send(request, stream=True)
            except httpx2.ConnectError as error:  # a machine may have no IPv6
                problem = error
        raise problem


def _proxy(origin: Origin) -> str | None:
    if urllib.request.proxy_bypass(f"{origin.host}:{origin.port}"):
        return None
    proxies: dict[str, str] = urllib.request.getproxies()
    found = proxies.get(origin.scheme) or proxies.get("all")
    return found if not found or "://" in found else f"http://{found}"


@functools.cache
def _context() -> ssl.SSLContext:
    """What servers must prove: the certificates of the system, and those that come with certifi."""
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


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
    cause: BaseException | None = error
    while cause is not None:  # the client wraps what it met
        if isinstance(cause, socket.gaierror):
            return "its name cannot be resolved: is there a network?"
        if isinstance(cause, ssl.SSLError):
            return f"its certificate or encryption is refused: {cause.reason or cause}"
        if isinstance(cause, TimeoutError):
            return "no answer"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return f"it does not speak HTTP as it should: {type(error).__name__}"
