"""Disturbs whatever order of events nobody promised, as a busy machine does: `make test ARGS="-p tests.jitter"`.

What a descriptor has is told later, timers are late, threads begin and end late, and now and then the whole loop stands
still. A test that fails here and nowhere else waits for one
thing and looks at another. `JITTER=n` disturbs in another way.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from typing import Any

_SEED = os.environ.get("JITTER", "0")
_chance = random.Random(_SEED)


def _late(share: float, longest: float = 0.5) -> float:
    """Seconds: mostly none, seldom many."""
    return longest * _chance.random() ** 6 if _chance.random() < share else 0.0


def pytest_runtest_setup(item: Any) -> None:
    """Each test is disturbed in the same way, whichever ran before."""
    _chance.seed(_SEED + item.nodeid)


def pytest_configure() -> None:
    """Disturb the event loop and its threads."""
    loop: Any = asyncio.SelectorEventLoop
    process_events, call_at, run_in_executor = loop._process_events, loop.call_at, loop.run_in_executor

    def some_events(self: Any, events: list[Any]) -> None:
        if stall := _late(0.003, 0.2):
            time.sleep(stall)
        process_events(self, [event for event in events if _chance.random() > 0.3])  # the others are told again

    def late_call(self: Any, when: float, *args: Any, **options: Any) -> asyncio.TimerHandle:
        timer: asyncio.TimerHandle = call_at(self, when + _late(0.2), *args, **options)
        return timer

    def late_thread(self: Any, executor: Any, call: Callable[..., Any], *args: Any) -> Any:
        before, after = _late(0.5), _late(0.5)

        def called() -> Any:
            time.sleep(before)
            try:
                return call(*args)
            finally:
                time.sleep(after)

        return run_in_executor(self, executor, called)

    loop._process_events, loop.call_at, loop.run_in_executor = some_events, late_call, late_thread
