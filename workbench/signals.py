"""Signals that end a command (ctrl+c, SIGTERM, SIGHUP; a batch system sends SIGUSR1 or SIGUSR2 where it is asked to),
for blocking work and for work on an event loop.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, NoReturn, TypeVar

_Result = TypeVar("_Result")
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def on_signals(do: Callable[[int], None]) -> Callable[[], None]:
    """Have the running event loop call `do` with each signal that would end the process. Returns what ends that.

    A signal that is ignored stays ignored: under nohup, or in a shell's background job.
    """
    import asyncio  # where it is wanted, it is there

    loop = asyncio.get_running_loop()
    heard = [each for each in _ENDING if signal.getsignal(each) is not signal.SIG_IGN]
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # only the main thread hears any
        for each in heard:
            loop.add_signal_handler(each, do, each)

    def end() -> None:
        for each in heard:
            loop.remove_signal_handler(each)

    return end


@contextlib.contextmanager
def stoppable(kept: Callable[[], str] | None = None) -> Iterator[None]:
    """Around blocking work: ctrl+c and signals undo it and end the command with exit code 128 + n.

    `kept` says what stays of it. Of two, one in the other, the inner one speaks.
    """

    def stop(number: int, _frame: object) -> None:
        raise KeyboardInterrupt(number)

    ending = [each for each in _ENDING if signal.getsignal(each) is signal.SIG_DFL]
    for each in ending:
        signal.signal(each, stop)
    try:
        yield
    except KeyboardInterrupt as stopped:
        say_stopped(kept() if kept is not None else "", [*stopped.args])
    finally:
        for each in ending:
            signal.signal(each, signal.SIG_DFL)


def run_stoppable(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run it on an event loop of its own; ctrl+c and signals cancel it and end the command likewise."""
    import asyncio

    received: list[int] = []

    async def run() -> _Result:
        this = asyncio.current_task()
        assert this is not None

        def stop(number: int) -> None:
            received.append(number)
            this.cancel()

        on_signals(stop)
        return await work

    try:
        return asyncio.run(run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        say_stopped("", received)


def say_stopped(kept: str = "", received: Sequence[int] = ()) -> NoReturn:
    """End the process as shells expect it of one that a signal stopped."""
    print(f"\nstopped{f': {kept}' if kept else ''}", file=sys.stderr)
    sys.exit(128 + received[0] if received else 130)
