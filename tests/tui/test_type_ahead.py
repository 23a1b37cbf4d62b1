"""Keys that come faster than the screen follows: each reaches what the one before it opened, or does nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input, TextArea

from tests.tui.test_workbench import Opened, opened
from workbench.environment.assembly import OURS
from workbench.session.commands import Command, Outcome
from workbench.tui.screens.dialogs import ActionArea, Ask, Confirm, EditAction, Write
from workbench.tui.screens.help import HelpScreen


def burst(on: Opened, *keys: str) -> None:
    """All keys at once, before anything of them is handled."""
    for key in keys:
        on.app.post_message(events.Key(key, key if len(key) == 1 else None))


async def test_a_comment_typed_at_once_is_the_comment(tmp_path: Path) -> None:
    async with opened(tmp_path, ["rm -rf .", "echo next"]) as on:
        await on.review(1)
        burst(on, *"rno", "enter")
        await on.review(2)
        assert (on.state.steps[1].status, on.state.steps[1].comment) == ("rejected", "no")


@pytest.mark.parametrize(
    ("opens", "dialog"), [("m", Write), ("r", Write), ("e", EditAction), ("u", Ask), ("slash", Ask)], ids=str
)
async def test_what_follows_a_key_goes_to_the_dialog_that_it_opens(
    tmp_path: Path, opens: str, dialog: type[Ask | Write | EditAction]
) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        burst(on, opens, "end", *"siqcen")
        await on.until(lambda: isinstance(on.app.screen, dialog), "the dialog")

        def typed() -> str:
            fields = on.app.screen.query(ActionArea if dialog is EditAction else "TextArea, Input")
            field = fields.first() if fields else Input()
            assert isinstance(field, TextArea | Input)
            return field.text if isinstance(field, TextArea) else field.value

        await on.until(lambda: typed().endswith("siqcen"), "what was typed")
        assert on.runner.status.phase == "review"


async def test_what_was_typed_before_a_dialog_closes_does_not_act_behind_it(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        burst(on, "q")
        await on.until(lambda: isinstance(on.app.screen, Confirm), "the question")
        burst(on, "n", "enter", "s", "c", "question_mark")
        await on.until(lambda: on.app.screen is on.screen and not on.app.type_ahead.pending, "the workbench again")
        burst(on, "question_mark")
        await on.until(lambda: isinstance(on.app.screen, HelpScreen), "a key after it")
        assert on.runner.status.phase == "review" and on.state.last_step == 1


@pytest.mark.parametrize("attached", [False, True], ids=["here", "slow"])
async def test_an_edited_action_is_run_by_the_key_after_it(
    tmp_path: Path, attached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, ["echo one", "echo two"]) as on:
        if attached:  # the edit takes a while, as over a socket
            carry_out = on.screen.source.do

            async def later(command: Command) -> Outcome:
                await asyncio.sleep(0.05)
                return await carry_out(command)

            monkeypatch.setattr(on.screen.source, "do", later)
        await on.review(1)
        burst(on, "e", "end", *" more", "ctrl+s", "enter")
        await on.review(2)
        assert (on.state.steps[1].action, on.state.steps[1].status) == ("echo one more", "ran")
        burst(on, "e", "escape", "enter")
        await on.until(lambda: on.app.screen is on.screen and not on.app.type_ahead.pending, "the workbench again")
        assert on.runner.status.phase == "review", "what follows esc runs nothing"


async def test_the_key_after_an_edit_that_came_too_late_runs_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one", "echo two"]) as on:
        await on.review(1)
        await on.press("e")
        await on.until(lambda: isinstance(on.app.screen, EditAction), "the editor")
        on.runner.controls.step()
        await on.review(2)
        burst(on, "x", "ctrl+s", "enter")
        await on.shows("too late")
        await on.until(lambda: not on.app.type_ahead.pending, "all keys")
        assert on.runner.status.phase == "review" and on.state.last_step == 2


async def test_a_question_is_answered_by_the_keys_after_it(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        burst(on, "q", "y")
        await on.until(lambda: on.app.return_value is not None, "the end")


async def test_what_is_typed_after_taking_over_is_typed_into_the_shell(tmp_path: Path) -> None:
    async with opened(tmp_path, ["rm x", "echo next"], grounds=OURS) as on:
        await on.review(1)
        burst(on, "t", *"echo mine", "enter")
        await on.until(lambda: any(step.observation.strip() == "mine" for step in on.state.steps), "the command")
        assert on.screen.taken_over and [step.action for step in on.state.steps if step.exit_code == 0] == ["echo mine"]
        burst(on, "ctrl+right_square_bracket", "m", *"done", "enter")
        # The next proposal may come before it, or after it.
        await on.until(
            lambda: [each.text for step in on.state.steps for each in step.messages] == ["done"], "the message"
        )


async def test_a_paste_behind_a_key_goes_to_its_dialog(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        burst(on, "m")
        on.app.post_message(events.Paste("first line\nsecond line"))
        burst(on, "ctrl+j", *"third", "enter")
        await on.until(lambda: bool(on.state.steps[1].messages), "the message")
        assert on.state.steps[1].messages[0].text == "first line\nsecond line\nthird"


async def test_keys_before_there_is_anything_to_see_do_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        on.screen.painted = False
        burst(on, "enter", "s", "q")
        await on.pilot.pause()
        on.screen.painted = True
        burst(on, "question_mark")
        await on.until(lambda: isinstance(on.app.screen, HelpScreen), "a key that comes later")
        assert on.runner.status.phase == "review" and not isinstance(on.app.screen, Confirm)


async def test_a_wrong_limit_can_be_mended(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        burst(on, "u", "ctrl+u", *"cost=1x", "enter")
        await on.shows("'1x' is no number; the limits stay as they are")
        assert on.app.screen.query_one(Input).value == "cost=1x" and on.state.limits.cost is None
        burst(on, "backspace", "enter")
        await on.until(lambda: on.state.limits.cost == 1, "the limit")
        await on.shows("limits:")


async def test_keys_that_come_together_are_taken_in_their_order(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        await on.press("u")
        await on.until(lambda: isinstance(on.app.screen, Ask), "the dialog")
        burst(on, "ctrl+u", *"cost=12", "backspace", "backspace", "7", "enter")
        await on.until(lambda: on.state.limits.cost == 7, "the limit")
        await on.press("e")
        await on.until(lambda: isinstance(on.app.screen, EditAction), "the editor")
        burst(on, "x", "y", "backspace", "z", "home", "a", "ctrl+s")
        await on.until(lambda: on.state.current.action == "aecho onexz", "the edit")
