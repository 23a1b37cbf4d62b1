"""The stream of a blocking SDK, read in a thread so that the event loop never waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from workbench.agents.models.wire import WireError


class _Stopped(Exception):
    """Nobody waits for the answer any longer."""


async def from_thread(call: Callable[[Callable[[Any], None]], Iterator[Any]]) -> AsyncIterator[Any]:
    """The items of the iterator that `call` makes, which runs in a thread and produces one item at a time on demand.

    `call` gets a function to register the response of each request: if the consumer stops early, its socket is shut
    down, and so the thread ends.
    """
    loop = asyncio.get_running_loop()
    asked = threading.Semaphore(0)
    stopped = threading.Event()
    responses: list[Any] = []
    arrived: asyncio.Queue[tuple[Any, BaseException | None, bool]] = asyncio.Queue()

    def guard(response: Any) -> None:
        responses.append(response)
        if stopped.is_set():
            raise _Stopped

    def tell(item: Any, error: BaseException | None, last: bool) -> None:
        if not stopped.is_set():
            loop.call_soon_threadsafe(arrived.put_nowait, (item, error, last))

    def run() -> None:
        try:
            asked.acquire()
            for item in call(guard):
                tell(item, None, False)
                asked.acquire()
                if stopped.is_set():
                    return
            tell(None, None, True)
        except BaseException as error:
            tell(None, error, True)
        finally:
            for response in responses:
                response.close()

    threading.Thread(target=run, name="model", daemon=True).start()
    try:
        while True:
            asked.release()
            item, error, last = await arrived.get()
            if error is not None:
                raise error if isinstance(error, Exception) else WireError("not_protocol")
            if last:
                return
            yield item
    finally:
        stopped.set()
        asked.release()
        for response in responses:
            shut_down = getattr(response.raw, "shutdown", None)
            if shut_down is not None:
                try:
                    shut_down()
                except Exception:
                    continue  # it was closed already
