"""A recording that failed opens at its verdict; keys go through what failed, was scored or changed a file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.tui.sessions import SessionBuilder
from tests.tui.support import screen_text, wait_for
from tests.tui.test_workbench import opened
from workbench.agents.agent import Agent, Attempt, Proposal
from workbench.session import events as ev
from workbench.session.state import SessionState
from workbench.tui import words
from workbench.tui.app import WorkbenchApp
from workbench.tui.source import RecordedSource
from workbench.tui.widgets.row_list import RowList

TRACEBACK = "Traceback (most recent call last):\n  File \"train.py\", line 1\nKeyError: 'lr'\n"


def failed(folder: Path, status: str = "autosubmission (exit_format)") -> WorkbenchApp:
    made = SessionBuilder(folder)
    made.ran("ls", "train.py")
    made.ran("validate", "Score: 1.2")
    made.score(1.2)
    made.ran("python train.py", TRACEBACK, exit_code=1)
    made.ran("python train.py", TRACEBACK, exit_code=1)
    made.ran("validate", "Score: 1.1")
    made.score(1.1)
    made.ran("true", "")
    made.add(ev.ModelResponded(text="I think\nwe are done", model="m"))
    made.add(ev.ModelFailed(cause="bad_format", message="it has no fenced block"))
    made.end(status)
    return WorkbenchApp(RecordedSource(made.recording()))


def test_every_sign_has_its_colour_in_the_lists() -> None:
    tables = [value for value in vars(words).values() if isinstance(value, dict)]
    signs = [each for value in (vars(words), *tables) for each in value.values() if isinstance(each, words.Sign)]
    assert words.ENDED in signs and words.FAILED["exit"] in signs
    assert {f"row-list--{sign.colour}" for sign in signs} <= RowList.COMPONENT_CLASSES


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=str)
async def test_a_failed_recording_opens_at_its_verdict(tmp_path: Path, size: tuple[int, int]) -> None:
    app = failed(tmp_path / "s")
    async with app.run_test(size=size) as pilot:
        await wait_for(pilot, lambda: "7 Verdict · Format" in screen_text(app), "the verdict")
        text = screen_text(app)
        assert app.workbench.shown == 6
        assert "its answer held no action" in " ".join(text.replace("│", " ").split())
        assert "step 3" in text and "W step 3" in text
        assert "we are done" in text, "the last answer stands below the verdict"
        await pilot.press("W")
        await wait_for(pilot, lambda: app.workbench.shown == 3 and "Verdict" not in screen_text(app), "step 3")
        await pilot.press("dollar_sign")
        await wait_for(pilot, lambda: "Verdict" in screen_text(app), "the verdict again")
        await pilot.press("7")
        await wait_for(pilot, lambda: app.focused is app.workbench.verdict, "the focus")
        await pilot.press("V")
        await wait_for(pilot, lambda: "Verdict" not in screen_text(app), "the last step without it")
        await pilot.press("V", "4")
        await wait_for(pilot, lambda: app.focused is app.workbench.observation, "the observation")
        await wait_for(pilot, lambda: app.workbench.observation.size.height > 0, "it has room")


async def test_a_submitted_recording_opens_at_its_beginning_and_has_a_verdict_when_asked(tmp_path: Path) -> None:
    app = failed(tmp_path / "s", "submitted")
    async with app.run_test(size=(120, 40)) as pilot:
        assert app.workbench.shown == 1
        await pilot.press("V")
        await wait_for(pilot, lambda: "its work was submitted" in screen_text(app), "the verdict")


async def test_keys_go_through_failures_and_scores(tmp_path: Path) -> None:
    app = failed(tmp_path / "s")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("0")
        for key, step in zip("xxxXoOo", (3, 4, 5, 4, 5, 2, 5), strict=True):
            await pilot.press(key)
            await wait_for(pilot, lambda step=step: app.workbench.shown == step, f"{key}: step {step}")  # type: ignore[misc]
        await pilot.press("x")
        await wait_for(pilot, lambda: "no failure after step 5" in screen_text(app), "that there is no other")


async def test_marks_stand_in_the_list_and_in_the_observation(tmp_path: Path) -> None:
    app = failed(tmp_path / "s")
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.press("4", "h", "h")
        await wait_for(pilot, lambda: app.workbench.shown == 4, "step 4")
        await wait_for(pilot, lambda: "✗ KeyError: 'lr'" in screen_text(app), "what was raised")
        assert "↺ python train.py" in screen_text(app)
        assert "the same action 2 times in a row" in screen_text(app)


async def test_what_a_step_changed_is_shown_with_old_and_new_lines(tmp_path: Path) -> None:
    made = SessionBuilder(tmp_path / "s")
    made.ran("edit", "")
    made.snapshot("strategy.py", "import x\n\n\ndef row_strategy(history):\n    return 7\n")
    made.ran("ls", "")
    made.end()
    app = WorkbenchApp(RecordedSource(made.recording()))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("d")
        await wait_for(pilot, lambda: "Changes of step 1" in screen_text(app), "the title")
        await wait_for(pilot, lambda: "      1 + import x" in screen_text(app), "the new line")
        await pilot.press("l")
        await wait_for(pilot, lambda: "changed no file" in screen_text(app), "the next step")
        await pilot.press("d")
        await wait_for(pilot, lambda: "2 strategy.py" in screen_text(app), "the file window")
        await pilot.press("F")
        await wait_for(pilot, lambda: app.workbench.shown == 1, "the step that changed a file")


async def test_an_answer_that_could_not_be_parsed_is_an_attempt_of_its_step(tmp_path: Path) -> None:
    made = SessionBuilder(tmp_path / "s")
    made.add(ev.ModelResponded(text="let me\nthink", model="m"))
    made.add(ev.ModelFailed(cause="bad_format", message="it has no fenced block"))
    made.ran("ls", "")
    made.add(ev.ModelResponded(text="no idea", model="m"))
    made.add(ev.ModelFailed(cause="bad_format", message="it is no command"))
    made.end("submitted")
    app = WorkbenchApp(RecordedSource(made.recording()))
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: "↻ ls" in screen_text(app), "the mark in the list")
        text = screen_text(app)
        assert "Answer 1, bad_format: it has no fenced" in text and "│ think" in text
        assert "2 ↻ 1 answer without an action: it is" in text
        await pilot.press("end")
        await pilot.pause()
        assert app.workbench.shown == 1


class Stammerer(Agent):
    """Its first answer cannot be parsed; then it waits, and proposes."""

    name, model, author, trusted = "stammerer", "test:stammerer", "model:stammerer", True

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def propose(self, state: SessionState) -> Proposal:
        assert self.listener is not None
        self.listener.attempted(Attempt("let me think", "bad_format", "it has no fenced block", again=True))
        await self.gate.wait()
        return Proposal("ls -la", "So I look.", response="raw", attempt=2)


async def test_a_live_answer_that_could_not_be_parsed_is_seen_at_once(tmp_path: Path) -> None:
    agent = Stammerer()
    async with opened(tmp_path, agent, (120, 40)) as on:
        await on.shows("1 ↻ 1 answer without an action")
        await on.shows("│ let me think")
        agent.gate.set()
        await on.review(1)
        await on.shows("↻ ls -la")
        await on.shows("│ let me think")
