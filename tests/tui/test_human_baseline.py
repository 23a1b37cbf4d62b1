"""What a person who is the agent sees and is asked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.runner.rig import GOOD
from tests.tui.test_workbench import Opened, opened
from workbench.session.events import Limits
from workbench.tui.words import number

BAD = "printf 'def row_strategy(history):\\n    return 1\\n' > strategy.py"


def status_line(on: Opened) -> str:
    return on.text.splitlines()[0]


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
        await on.shows("5 YOUR SHELL — ctrl+] pauses")
        assert "TAKEN OVER" not in on.text
        await on.shows("validated 0/3")
        await on.press("ctrl+right_square_bracket")
        await on.shows("clock stopped")
        await on.press("P")
        await on.shows("Why is there a pause?")
        await on.press(*"lunch", "enter")
        await on.shows("clock stopped: lunch")


@pytest.mark.parametrize("columns", [80, 120])
async def test_there_is_room_for_score_and_clock(tmp_path: Path, columns: int) -> None:
    limits = Limits(seconds=4 * 3600.0, validates=3)
    async with opened(tmp_path, None, (columns, 24), mode="human", limits=limits) as on:
        await on.until(lambda: on.runner.status.phase == "human", "the shell")
        await on.until(lambda: "no score yet" in status_line(on), "no score")
        on.runner.controls.send_keys(f"{GOOD}; validate\n".encode())
        await on.until(lambda: on.state.final_scores().best, "a score")
        best = f"best {number(on.state.final_scores().best or 0.0)}"
        # "(!)": the score has a caveat, which is said where there is room.
        await on.until(lambda: re.search(rf"{best} .*│ \d:\d\d/4:00:00 │.* ! UNPROTECTED", status_line(on)), "both")
        assert "ctrl+]" in status_line(on) and ("step 1" in status_line(on)) == (columns > 80)
        await on.press("ctrl+right_square_bracket")
        await on.until(lambda: re.search(rf"{best} .*worked \S+/4:00:00, clock stopped", status_line(on)), "both again")


async def test_no_score_is_on_the_screen_of_a_blind_session(tmp_path: Path) -> None:
    async with opened(tmp_path, None, mode="human", blind=True) as on:
        await on.until(lambda: on.runner.status.phase == "human", "the shell")
        await on.press("ctrl+right_square_bracket")
        await on.until(lambda: on.runner.status.phase == "waiting", "a pause")
        await on.press("v")
        await on.until(lambda: on.state.sealed, "a score")
        await on.shows("scores are hidden until the end")
        assert f"{on.state.sealed[0].score:.3f}" not in on.text
