"""What failed is read to its end and again; what is worse than the baseline does not look like a success."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runner.rig import ListAgent
from tests.tui.sessions import SessionBuilder
from tests.tui.support import screen_text, wait_for
from tests.tui.test_workbench import opened
from workbench.agents.agent import ModelError
from workbench.cli.output import standing
from workbench.session import events as ev
from workbench.session.state import fold
from workbench.tui import words
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens.help import message_lines
from workbench.tui.source import RecordedSource
from workbench.tui.widgets.status_bar import StatusBar

REASON = "the sandbox is gone: " + "its host was restarted and " * 6 + "start the session anew."


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=str)
async def test_a_long_message_is_shown_to_its_end_and_can_be_read_again(tmp_path: Path, size: tuple[int, int]) -> None:
    async with opened(tmp_path, ["echo one"], size) as on:
        await on.review(1)
        on.screen.say(REASON)
        await on.until(lambda: on.screen.status_bar.size.height > 1, "rows for the message")
        shown = on.text.splitlines()[: on.screen.status_bar.size.height]
        assert " ".join(line.strip() for line in shown[1:]) == REASON and "STEP" in shown[0]
        on.screen.say("saving …")
        await on.until(lambda: on.screen.status_bar.size.height == 1 and "saving …" in on.text, "the line alone")
        await on.press("exclamation_mark")
        await on.shows("the sandbox is gone")
        assert "start the session anew." in " ".join(line.strip(" │▁▂▃▄▅▆▇") for line in on.text.splitlines())


async def test_a_failed_call_can_be_read_again_when_the_session_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path, ListAgent([ModelError("quota", "the month is over"), "echo one"])) as on:
        await on.shows("quota: the month is over")
        await on.press("s")
        await on.review(1)
        await on.press("exclamation_mark")
        await on.shows("quota: the month is over")


def replay(tmp_path: Path, score: float, before: float | None = None) -> WorkbenchApp:
    made = SessionBuilder(tmp_path / "s")
    for value in (before, score):
        if value is not None:
            made.ran("validate", f"Score: {value}")
            made.score(value)
    made.end()
    return WorkbenchApp(RecordedSource(made.recording()))


@pytest.mark.parametrize(("score", "before", "worse"), [(0.9, None, True), (0.9, 0.8, True), (1.2, 1.1, False)])
async def test_a_score_worse_than_the_baseline_says_so(
    tmp_path: Path, score: float, before: float | None, worse: bool
) -> None:
    app = replay(tmp_path, score, before)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("dollar_sign")
        await wait_for(pilot, lambda: f"{score:.3f}" in app.workbench.observation.text, "the score")
        await wait_for(
            pilot,
            lambda: f"best {score:.3f} {'worse than' if worse else 'beats'} the baseline" in screen_text(app),
            "the status",
        )
        assert ("worse than the baseline" in app.workbench.query_one(StatusBar).text) == worse
        assert ("worse than the baseline" in app.workbench.observation.text) == worse
        assert ("worse than the baseline" in standing(app.workbench.state.final_scores())) == worse
        entry = app.workbench.state.scores_until()[-1]
        colour = "warning" if worse else "success"
        assert words.score_change(app.workbench.state, entry, before or 1.0227).colour == colour


async def test_the_time_bar_names_the_outcome_beside_the_position(tmp_path: Path) -> None:
    made = SessionBuilder(tmp_path / "s")
    made.ran("true")
    made.ran("false", exit_code=1)
    made.end()
    app = WorkbenchApp(RecordedSource(made.recording()))
    async with app.run_test(size=(80, 24)) as pilot:
        for key, said in (("0", "0/2 start"), ("l", "1/2 ✓ ok"), ("l", "2/2 ✗ exit 1")):
            await pilot.press(key)
            await wait_for(pilot, lambda said=said: said in screen_text(app), said)  # type: ignore[misc]
        assert "worked " in screen_text(app) and " at 0:0" in screen_text(app)


@pytest.mark.parametrize("key", ["6", "escape"])
@pytest.mark.parametrize("pane", ["1", "3", "6"])
async def test_the_prompt_closes_wherever_the_focus_is(tmp_path: Path, key: str, pane: str) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        await on.press("6")
        await on.until(lambda: on.screen.arranging.open, "the prompt")
        if pane != "6":
            await on.press(pane)
        await on.press(key)
        await on.until(lambda: not on.screen.arranging.open, "the panes")
        assert on.app.focused is not None


async def test_what_is_read_stays_while_the_agent_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path, ["seq 200", "echo two", "echo three"]) as on:
        await on.review(1)
        await on.press("s")
        await on.review(2)
        await on.until(lambda: on.screen.observation.line_count == 200, "the observation")
        await on.press("4", "ctrl+d", "j")
        view = on.screen.observation
        top = view.scroll_offset.y
        assert top > 1
        on.runner.controls.step()
        await on.review(3)
        await on.shows("Observation 1 ·")
        assert view.scroll_offset.y == top and view.line_count == 200
        await on.press("g")
        await on.until(lambda: view.text == "two", "the newest again")


async def test_each_step_is_shown_where_it_was_left(tmp_path: Path) -> None:
    made = SessionBuilder(tmp_path / "s")
    for number in (1, 2):
        made.ran(f"seq {number}", "\n".join(f"{number} {line}" for line in range(200)))
    made.end()
    app = WorkbenchApp(RecordedSource(made.recording()))
    async with app.run_test(size=(80, 24)) as pilot:
        view = app.workbench.observation
        await wait_for(pilot, lambda: view.text.startswith("1 0"), "step 1")
        await pilot.press("4", "ctrl+d", "l")
        await wait_for(pilot, lambda: view.text.startswith("2 0"), "step 2")
        assert view.scroll_offset.y == 0
        await pilot.press("h")
        await wait_for(pilot, lambda: view.text.startswith("1 0") and view.scroll_offset.y > 0, "step 1 as it was left")


async def test_why_an_edit_was_refused_is_read_to_its_end(tmp_path: Path) -> None:
    made = SessionBuilder(tmp_path / "s")
    made.ran("ls -l", "a " * 100)
    made.ran(
        "edit 1:2", f"The edit was not applied: {'the name is not defined, and ' * 4}nothing was changed.", exit_code=1
    )
    made.end()
    app = WorkbenchApp(RecordedSource(made.recording()))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: "a a a" in screen_text(app), "step 1")
        assert not app.workbench.observation.wrap
        await pilot.press("l")
        await wait_for(pilot, lambda: "nothing was changed." in screen_text(app), "the end of the sentence")


async def test_steps_that_failed_are_among_what_failed(tmp_path: Path) -> None:
    made = SessionBuilder(tmp_path / "s")
    made.ran("python3 train.py", "Traceback (most recent call last)\nValueError: no rows", exit_code=1)
    made.ran("ls", "")
    made.end()
    unused = ev.ScoreRecorded(step=0, kind="autosubmit", verdict="missing", message="no file")
    said = "\n".join(str(line) for line in message_lines(fold([*made.recording().events, unused]), []))
    assert "step 0, autosubmit: missing: no file" in said, "a run that ended before its first step"
    assert "step 1, traceback: ValueError: no rows" in said and "step 2" not in said
