"""Receives the requests for memory and literature: checks, counts, times and logs them (`tool.used`), and passes them
on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from workbench.environment.live import LiveSession
from workbench.session import events as ev

MOST_IN_A_STEP = 20
"""The most requests that are served in one step: a loop in the background must not fill the log or the disk."""
ANSWER_SECONDS = 150.0
"""How long a request may take, waiting for rate limits included."""
LOGGED_CHARACTERS = 2000
"""Characters of a query or a note in the log; the step's action and observation hold the whole text."""
_ANSWER_CHARACTERS = 100_000


class Refused(Exception):
    """A request that cannot be served. `str()` is one or a few sentences fit for the agent."""


class Request(msgspec.Struct, frozen=True):
    """A well-formed request: what comes from inside a sandbox may have any shape."""

    query: str
    number: int | None
    session: str
    step: int
    author: str
    """As the step is signed; empty if that is not known yet."""


class Reply(msgspec.Struct, frozen=True):
    """What the agent reads, and what the log says of it."""

    text: str
    results: int = 0
    source: str = ""
    cached: bool = False
    ok: bool = True
    """False: nothing was found, and the command fails with exit code 1."""
    message: str = ""
    """A remark for the log."""


Service = Callable[[Request], Awaitable[Reply]]
"""Serves one agent command. Raises Refused."""


class ServiceDesk:
    """The services of one session. Secrets are removed from every query, since it is stored or sent to a server."""

    def __init__(self, services: Mapping[str, Service], live: LiveSession) -> None:
        self._services = dict(services)
        self._live = live
        self._running: set[asyncio.Task[Reply]] = set()
        self._asked_for = 0
        self._closed = False

    def begin_step(self) -> None:
        """Reset the count of requests."""
        self._asked_for = 0

    def cancel(self) -> None:
        """Cancel the requests that are being served; their commands get an answer that says so."""
        for task in tuple(self._running):
            task.cancel()

    def close(self) -> None:
        """The session is over: nothing more is served, nor logged."""
        self._closed = True
        self.cancel()

    async def answer(self, name: str, message: Mapping[str, Any], step: int) -> dict[str, Any]:
        """The answer to the agent command `name`. Never raises, but for its own cancellation."""
        service = self._services.get(name)
        if self._closed:
            return refusal("the session is over")
        if service is None:
            return refusal(f"{name} is not switched on in this session: go on without it", 2)
        if self._asked_for >= MOST_IN_A_STEP:
            return refusal(f"there were {MOST_IN_A_STEP} such requests in this step already; go on in the next one")
        self._asked_for += 1
        began = time.monotonic()
        query = message.get("text" if name == "memory_write" else "query")
        query = self._live.redactor.text(query) if isinstance(query, str) else ""
        steps, number = self._live.state.steps, _number(message.get("number"))
        author = steps[step].author if 0 <= step < len(steps) else ""
        reply = await self._serve(service, Request(query, number, self._live.folder.name, step, author))
        if self._closed:
            return refusal("the session is over")
        self._live.emit(
            ev.ToolUsed(
                step=step,
                tool=name,
                query=query[:LOGGED_CHARACTERS],
                results=reply.results,
                source=reply.source,
                cached=reply.cached,
                ok=reply.ok,
                message=reply.message or ("" if reply.ok else reply.text[:LOGGED_CHARACTERS]),
                duration=round(time.monotonic() - began, 6),
            )
        )
        return {"ok": reply.ok, "text": reply.text[:_ANSWER_CHARACTERS], "exit_code": 0 if reply.ok else 1}

    async def _serve(self, service: Service, request: Request) -> Reply:
        task = asyncio.ensure_future(service(request))
        self._running.add(task)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await task
        except Refused as error:
            return Reply(str(error), ok=False)
        except TimeoutError:
            return Reply(f"there was no answer within {ANSWER_SECONDS:.0f} s; go on without it", ok=False)
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if this is not None and this.cancelling():
                raise
            return Reply("the request was stopped", ok=False)
        except OSError as error:
            return Reply(f"the host cannot do it now: {error.strerror or error}; go on without it", ok=False)
        finally:
            self._running.discard(task)


def _number(value: object) -> int | None:
    """A small whole number above zero, else None. The value is compared, not converted: it may have any number of
    digits.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value < 10**6 else None


def refusal(text: str, exit_code: int = 1) -> dict[str, Any]:
    """The answer to a request that is not served."""
    return {"ok": False, "text": text, "exit_code": exit_code}
