"""The dialog of breakpoints, and conditions in a replay."""

from __future__ import annotations

from pathlib import Path

from tests.library.runs import mlgym
from tests.tui.support import screen_text, wait_for
from tests.tui.test_home import browser, ready
from tests.tui.test_workbench import opened
from workbench.tui.screens.breakpoints import BreakpointsScreen


async def test_one_is_added_switched_off_and_taken_away(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one", "submit"]) as it:
        await it.review(1)
        await it.pilot.press("b")
        await wait_for(it.pilot, lambda: isinstance(it.app.screen, BreakpointsScreen), "the dialog")
        await it.pilot.press(*"kid:submit", "enter")
        await wait_for(it.pilot, lambda: "there is no field 'kid'" in screen_text(it.app), "why it is refused")
        await it.pilot.press(*["backspace"] * 10, *"kind:submit", "enter")
        await wait_for(it.pilot, lambda: len(it.runner.status.breakpoints) == 1, "the breakpoint")
        await it.pilot.press("shift+tab", "space")
        await wait_for(it.pilot, lambda: not it.runner.status.breakpoints[0].enabled, "switched off")
        await it.pilot.press("d")
        await wait_for(it.pilot, lambda: not it.runner.status.breakpoints, "taken away")
        await it.pilot.press("escape")


async def test_in_a_replay_a_condition_finds_the_next_step(tmp_path: Path) -> None:
    mlgym(tmp_path)
    app, home = browser(tmp_path)
    async with app.run_test(size=(120, 36)) as pilot:
        await ready(pilot, home)
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.screen is not home and "REPLAY" in screen_text(app), "the replay")
        await pilot.press("0", "b", *"kind:submit", "enter")
        await wait_for(pilot, lambda: "meets kind:submit: 1 of 1" in screen_text(app), "the step")
        assert app.workbench.state.steps[app.workbench.shown].action.strip() == "submit"
