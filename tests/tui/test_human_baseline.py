"""What a person who is the agent sees and is asked."""

from __future__ import annotations

from pathlib import Path

from tests.runner.rig import GOOD
from tests.tui.test_workbench import opened
from workbench.session.events import Limits

BAD = "printf 'def row_strategy(history):\\n    return 1\\n' > strategy.py"


async def test_a_question_is_answered_by_a_word_whatever_else_is_typed(tmp_path: Path) -> None:
    async with opened(tmp_path, None, mode="human") as on:
        await on.until(lambda: on.runner.status.phase == "human", "the shell")
        on.runner.controls.send_keys(f"{GOOD}; validate\n".encode())
        await on.until(lambda: len(on.state.steps) > 1 and on.state.steps[1].over, "a score")
        on.runner.controls.send_keys(f"{BAD}; submit\n".encode())
        await on.shows("yes or no")
        assert "that of step 1 scored" in on.text
        await on.press("y", "n", "enter")
        await on.shows("type yes or no")
        assert not on.runner.episode.submitted and on.runner.status.question
        await on.press("escape", "backspace", "backspace", *"yes", "enter")
        await on.until(lambda: on.runner.status.phase == "ended", "the end")
        assert on.state.scores_until()[-1].instead == 1


async def test_a_pause_says_that_the_clock_stands_still_and_why(tmp_path: Path) -> None:
    async with opened(tmp_path, None, mode="human", limits=Limits(validates=3)) as on:
        await on.until(lambda: on.runner.status.phase == "human", "the shell")
        assert "clock stopped" not in on.text
        await on.shows("validated 0/3")
        await on.press("ctrl+right_square_bracket")
        await on.shows("clock stopped")
        await on.press("P")
        await on.shows("Why is there a pause?")
        await on.press(*"lunch", "enter")
        await on.shows("clock stopped: lunch")


async def test_no_score_is_on_the_screen_of_a_blind_session(tmp_path: Path) -> None:
    async with opened(tmp_path, None, mode="human", blind=True) as on:
        await on.until(lambda: on.runner.status.phase == "human", "the shell")
        await on.press("ctrl+right_square_bracket")
        await on.until(lambda: on.runner.status.phase == "waiting", "a pause")
        await on.press("v")
        await on.until(lambda: on.state.sealed, "a score")
        await on.shows("scores are hidden until the end")
        assert f"{on.state.sealed[0].score:.3f}" not in on.text
