"""What is done beside the screen leaves nothing behind when it is no longer asked for."""

from __future__ import annotations

import ast
import gc
import warnings
from pathlib import Path

from textual.app import App

import workbench.tui
from tests.tui.support import wait_for
from workbench.tui.workers import work_on


async def test_a_worker_that_never_begins_is_no_coroutine_that_was_never_awaited() -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        done.append(number)

    app = App[None]()
    with warnings.catch_warnings(record=True) as said:
        async with app.run_test() as pilot:
            work_on(app, work, 1, exclusive=True)
            work_on(app, work, 2, exclusive=True)
            await wait_for(pilot, lambda: done, "the second")
            work_on(app, work, 3)
            app.workers.cancel_all()
        gc.collect()
    assert done == [2]
    assert not [str(each.message) for each in said if "never awaited" in str(each.message)]


def test_all_workers_are_given_functions() -> None:
    folder = Path(workbench.tui.__file__).parent
    found = {
        file.name
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "run_worker"
    }
    assert found == {"workers.py"}
