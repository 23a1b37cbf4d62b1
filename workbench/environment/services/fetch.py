"""HTTP requests on behalf of an agent: paced, retried, limited in size and time, and sent to public hosts only."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import socket
import ssl
import time
import urllib.request
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import msgspec

from workbench import __version__
from workbench.agents.models.faults import retry_after
from workbench.environment.services.addresses import BadAddress, Origin, Target, parse, resolve
from workbench.session.files import lock

if TYPE_CHECKING:
    import httpx2

REDIRECTS = 5
ATTEMPTS = 4
"""Attempts at one request while the server is busy. A server that cannot be reached is tried only twice."""
SILENCE = 15.0
"""Seconds that a server may stay silent."""
HEADERS = {"User-Agent": f"mlgym-tui/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
LONGEST_PAUSE = 20.0
"""Seconds. A server that asks for a longer pause is given up for now."""


class FetchError(Exception):
    """The request failed. `str()` says why, in words for an agent."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status, if the server answered."""


class _Answer(msgspec.Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Fetcher(msgspec.Struct, frozen=True):
    """Sends requests. `trusted` servers were named by the user: they may be private, and on any port. `intervals` are
    the seconds between two requests to a host, by the end of its name; the default is one second.
    """

    pacer: Pacer
    trusted: Collection[Origin] = ()
    intervals: Mapping[str, float] = msgspec.field(default_factory=dict)
    find: Callable[[Origin, Collection[Origin]], list[str]] = resolve

    async def get(
        self,
        url: str,
        *,
        most: int,
        time_limit: float,
        headers: Mapping[str, str] | None = None,
        may_go: Callable[[str], bool] = lambda host: True,
    ) -> bytes:
        """The body at an address, of at most `most` bytes, within `time_limit` seconds net of waiting for turns.

        `headers` go to the first server alone; redirects only to hosts that `may_go`. Raises FetchError.
        """
        first: Origin | None = None
        for _ in range(REDIRECTS + 1):
            try:
                target = parse(url, self.trusted)
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
            return answer.body
        raise FetchError(f"{first} sends us around in a circle")

    async def _patiently(self, target: Target, headers: Mapping[str, str], most: int, time_limit: float) -> _Answer:
        """One request, made again while the server is busy. Raises FetchError."""
        import httpx2  # late: it takes a while, and few sessions ask for anything

        host = str(target.origin)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self.pacer.turn(host, self._interval(target.origin))
                answer = await self._once(target, headers, most, time_limit)
            except (TooBusy, BadAddress) as error:
                raise FetchError(str(error)) from None
            except (OSError, httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
                if attempt >= 2:
                    raise FetchError(f"{host} cannot be reached ({_reason(error)})") from None
                await self.pacer.sleep(1.0)
                continue
            if answer.status != 429 and answer.status < 500:
                return answer
            pause = retry_after(answer.headers)
            wanted = 2.0 ** (attempt - 1) if pause is None else pause
            if pause is not None:
                await self.pacer.postpone(host, pause)
            if attempt == ATTEMPTS or wanted > LONGEST_PAUSE:
                wait = f"; it wants to be left alone for {wanted:.0f} s" if wanted > LONGEST_PAUSE else ""
                busy = "too many requests" if answer.status == 429 else f"status {answer.status}"
                raise FetchError(f"{host} is busy ({busy}){wait}", answer.status)
            if pause is None:
                await self.pacer.sleep(wanted)
        raise AssertionError("the loop returns or raises")

    def _interval(self, origin: Origin) -> float:
        name = str(origin)
        for end, seconds in self.intervals.items():
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
        """The response, from exactly the address that was checked: the name may resolve to another one the next time. A
        proxy resolves names itself.
        """
        import httpx2

        origin = target.origin
        request = client.build_request("GET", target.url, headers={**HEADERS, **headers})
        if _proxy(origin) is not None:
            return await client.send(request, stream=True)
        request.extensions["sni_hostname"] = origin.host  # the name that the certificate must be for
        problem: Exception = OSError("it has no address")
        for address in (await asyncio.to_thread(self.find, origin, self.trusted))[:4]:
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
    """The authorities that are trusted: those of the system, and those that come with certifi."""
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


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


# -- turns -------------------------------------------------------------------------------------------------------------

_LONGEST_WAIT = 60.0
_SANE = 600.0
"""A slot further ahead comes from a clock that was wrong."""


class TooBusy(Exception):
    """The next turn is too far away. `str()` says so."""


class Pacer:
    """Hands out turns. They are recorded in files in `folder`, which several processes share."""

    def __init__(
        self,
        folder: Path,
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`now` in seconds since the epoch: a monotonic clock means nothing to another process."""
        self._folder = folder
        self._now = now
        self.sleep = sleep
        self._free: dict[str, float] = {}

    async def turn(self, host: str, interval: float) -> None:
        """Wait until this host may be asked; the next one may `interval` seconds later. Raises TooBusy."""
        slot = await asyncio.to_thread(self._reserve, host, interval)
        delay = slot - self._now()
        if delay > 0:
            await self.sleep(delay)

    async def postpone(self, host: str, seconds: float) -> None:
        """Let no session ask the host for this many seconds."""
        until = self._now() + min(seconds, _LONGEST_WAIT)
        await asyncio.to_thread(self._change, host, lambda free: max(free, until))

    def _reserve(self, host: str, interval: float) -> float:
        now = self._now()

        def next_but_one(free: float) -> float:
            slot = max(now, free)
            if slot - now > _LONGEST_WAIT:
                raise TooBusy(f"too many requests to {host} are waiting; try again later")
            return slot + interval

        return self._change(host, next_but_one) - interval

    def _change(self, host: str, change: Callable[[float], float]) -> float:
        """Replace the time at which the host may be asked again by the result of `change`."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = self._folder / re.sub(r"[^a-z0-9.-]", "_", host)
            with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+") as stream:
                lock(stream, wait=True)
                free = change(self._sane(stream.read(64)))
                stream.seek(0)
                stream.write(f"{free:.6f}")
                stream.truncate()
        except OSError:  # a folder that cannot be written to: this process keeps its own distance
            free = self._free[host] = change(self._free.get(host, 0.0))
        return free

    def _sane(self, text: str) -> float:
        try:
            free = float(text)
        except ValueError:
            return 0.0
        return free if free < self._now() + _SANE else 0.0
