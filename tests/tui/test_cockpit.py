"""Metrics and scores on the screen: as they come, and in a replay."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runner.rig import GOOD
from tests.tui.test_workbench import opened
from workbench.runner import cockpit
from workbench.session import events as ev

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=str)


def prints(go: Path) -> str:
    """A program that prints losses, and ends once `go` is there."""
    lines = "".join(f"epoch {at}: loss={1 / at:.3f} val_loss={2 / at:.3f}\\n" for at in range(1, 9))
    return f"printf '{lines}'; until [ -e {go} ]; do sleep 0.1; done"


@SIZES
async def test_curves_are_drawn_while_it_runs_and_stay_with_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(cockpit, "_TICK", 0.01)
    go = tmp_path / "go"
    async with opened(tmp_path, [prints(go), "echo on", "submit"], size) as on:
        await on.review(1)
        await on.press("8", "s")
        await on.shows("at 8  a loss 0.125  b val_loss 0.25")
        assert on.runner.status.phase == "executing" and "Metrics · step 1" in on.text
        go.touch()
        await on.review(2)
        await on.shows("no metrics were printed in this step")
        await on.press("h")
        await on.shows("at 8  a loss 0.125  b val_loss 0.25")
        await on.press("equals_sign")
        await on.shows("Metrics · over steps")
        await on.shows("• step 1")
        await on.press("escape")
        await on.until(lambda: not on.screen.arranging.open, "closed")


async def test_the_ledger_shows_what_changed_and_goes_to_the_step(tmp_path: Path) -> None:
    async with opened(tmp_path, [GOOD, "validate", "echo '# more' >> strategy.py", "validate", "echo on"]) as on:
        await on.review(1)
        await on.press("c", "9")
        await on.until(lambda: on.state.last_step == 5 or on.runner.status.phase == "ended", "two scores")
        await on.until(lambda: on.screen.scores.rows.row_count == 2, "two lines")
        await on.shows("+1 -0 lines")
        assert [entry.recorded.step for entry in on.screen.scores.rows.rows] == [2, 4]
        await on.press("enter")
        await on.until(lambda: "# more" in on.screen.scores.change.text, "what changed")
        await on.press("k")
        await on.until(lambda: "def row_strategy" in on.screen.scores.change.text, "the first, as a whole")
        await on.press("space")
        await on.until(lambda: on.screen.shown == 2, "its step")


async def test_the_best_is_submitted_from_the_ledger(tmp_path: Path) -> None:
    actions = [GOOD, "validate", "echo 'def row_strategy(history): return 2' > strategy.py", "validate", "echo on"]
    async with opened(tmp_path, actions) as on:
        for step in range(1, 5):
            await on.review(step)
            await on.press("s")
        await on.review(5)
        best = on.state.best_score()
        assert best is not None and best.step == 2 and on.state.scores_until()[-1] is not best
        await on.press("9", "S")
        await on.shows("That of step 2 is submitted")
        await on.press("y")
        await on.until(lambda: on.runner.status.phase == "ended", "the end")
        handed_in = on.state.scores_until()[-1]
        assert (handed_in.kind, handed_in.artifact, handed_in.instead) == ("submit", best.artifact, 2)
        assert on.state.ended is not None and on.state.ended.exit_status == "submitted"


async def test_more_time_is_given_to_the_running_command(tmp_path: Path) -> None:
    go = tmp_path / "go"
    limits = ev.Limits(seconds=100.0)
    async with opened(tmp_path, [prints(go), "echo on"], limits=limits) as on:
        await on.review(1)
        await on.press("s")
        await on.until(lambda: on.runner.status.phase == "executing" and on.runner.status.time_limit, "it runs")
        await on.press("T")
        await on.shows("How much longer may the command run?")
        await on.press("ctrl+u", *"soon", "enter")
        await on.shows("'soon' is no time")
        await on.press("ctrl+u", *"5m", "enter")
        await on.until(lambda: on.state.steps[1].extended, "more time")
        [extended] = on.state.steps[1].extended
        assert pytest.approx(extended.seconds, abs=0.01) == 300 and extended.author.startswith("human:")
        assert on.state.limits.seconds is not None and on.state.limits.seconds > 390
        go.touch()
        await on.review(2)


async def test_it_runs_until_something_once(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one", "false", "echo three", "echo four"]) as on:
        await on.review(1)
        await on.press("U")
        await on.shows("Run until")
        await on.press("ctrl+u", *"kid:x", "enter")
        await on.shows("there is no field 'kid'")
        await on.press("ctrl+u", *"failure", "enter")
        await on.review(3)
        assert on.runner.state.mode == "paused" and not on.runner.status.breakpoints
        await on.press("h", "h", "U", "ctrl+u", *"1", "enter")
        await on.review(4)
