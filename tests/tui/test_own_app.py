"""What every app does: a screen that goes away takes its work with it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Static
from textual.worker import Worker

from workbench.tui.own_app import OwnApp


class _Last(Static):
    """Goes when the other parts of its screen are gone and the screen's work has ended."""

    async def on_unmount(self) -> None:
        screen = self.screen
        assert isinstance(screen, _Working)
        while screen.query("#part"):  # noqa: ASYNC110  (Textual tells of neither)
            await asyncio.sleep(0)
        screen.leaving.set()
        while not screen.work.is_finished:  # noqa: ASYNC110
            await asyncio.sleep(0)


class _Working(Screen[None]):
    """`failure` is what its work raises at the end, in place of looking for a part."""

    def __init__(self, failure: Exception | None) -> None:
        super().__init__()
        self.leaving, self.failure = asyncio.Event(), failure

    def compose(self) -> ComposeResult:
        yield Static(id="part")
        yield _Last()

    def on_mount(self) -> None:
        self.work: Worker[Any] = self.run_worker(self._work())

    async def _work(self) -> None:
        await self.leaving.wait()
        if self.failure is not None:
            raise self.failure
        self.query_one("#part", Static).update("done")


@pytest.mark.parametrize("leave", ["screen", "app"])
async def test_work_that_ends_while_its_screen_goes_is_no_failure(leave: str) -> None:
    app = OwnApp[None]()
    async with app.run_test() as pilot:
        screen = _Working(None)
        await app.push_screen(screen)
        if leave == "screen":
            app.pop_screen()
            await pilot.pause()
            assert app.is_running
    assert screen.work.is_finished and app.return_code != 1


async def test_another_failure_of_work_is_one() -> None:
    app = OwnApp[None]()
    with pytest.raises(Exception, match="no such thing"):
        async with app.run_test() as pilot:
            await app.push_screen(_Working(RuntimeError("no such thing")))
            app.pop_screen()
            await pilot.pause()
    assert app.return_code == 1
