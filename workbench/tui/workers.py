"""Workers: what the screens do beside what they show."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from textual.dom import DOMNode


def work_on(
    node: DOMNode,
    what: Callable[..., Coroutine[Any, Any, object]],
    *arguments: object,
    group: str = "default",
    exclusive: bool = False,
) -> None:
    """Have a worker of `node` call a function. It is no coroutine that is handed over: of one whose worker is cancelled
    before it begins, Python says that it was never awaited.
    """
    work: Any = partial(what, *arguments)
    node.run_worker(work, group=group, exclusive=exclusive)
