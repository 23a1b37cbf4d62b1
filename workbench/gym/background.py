"""An event loop in a thread of its own, for callers that are not async."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class ForeignProcess(RuntimeError):
    """The loop was made in another process; its thread does not exist after a fork."""


class BackgroundLoop:
    """Runs coroutines, one at a time, and waits for each. The processes of a sandbox end with the thread that started
    them, so all of them are started by this loop's thread, whichever thread calls.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(_Workers(thread_name_prefix="mlgym-work"))
        self._thread = threading.Thread(target=self._loop.run_forever, name="mlgym-loop", daemon=True)
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether this is the process that made it."""
        return os.getpid() == self._process

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`. An exception that comes while waiting (KeyboardInterrupt) cancels it, and is raised
        when it has ended.

        Raises what `work` raises, and ForeignProcess.
        """
        if not self.is_here:
            work.close()
            raise ForeignProcess("this environment was made in another process: make one in this process")
        task: asyncio.Task[T] | None = None

        async def noted() -> T:
            nonlocal task
            task = asyncio.current_task()
            return await work

        async def ended() -> None:
            if task is not None:
                task.cancel()
                await asyncio.wait({task})

        future = asyncio.run_coroutine_threadsafe(noted(), self._loop)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                asyncio.run_coroutine_threadsafe(ended(), self._loop).result()
            raise

    def close(self) -> None:
        """End the loop, what still runs in it, and its threads. Can be called twice."""
        if not self.is_here or self._loop.is_closed():
            return
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    # Not `shutdown_default_executor`: it starts a thread, which cannot be had any more when Python is ending.
    loop._default_executor.shutdown(wait=True)  # type: ignore[attr-defined]


class _Workers(ThreadPoolExecutor):
    """A pool of threads. While Python is shutting down and no thread can be started, work is done in the caller's
    thread.
    """

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        try:
            return super().submit(fn, *args, **kwargs)
        except RuntimeError:
            done: Future[T] = Future()
            try:
                done.set_result(fn(*args, **kwargs))
            except Exception as error:
                done.set_exception(error)
            return done
