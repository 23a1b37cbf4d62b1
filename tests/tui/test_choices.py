"""What a person does about a model's proposals in the workbench: edits, alternatives, another model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from textual.widgets import Input

from tests.agents.models.dialects import OPENAI, AnthropicDialect, Dialect
from tests.agents.models.server import Server, serving
from tests.runner.chat import asked, make_agent, said
from tests.tui.support import screen_text, shows, wait_for
from tests.tui.test_workbench import Opened, opened
from workbench.session import events as ev
from workbench.session.recording import Recording
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens.alternatives import Alternatives, Wish, read_wish
from workbench.tui.screens.dialogs import EditAction, ThoughtArea
from workbench.tui.screens.model_dialog import ChangeModel, known_like
from workbench.tui.source import RecordedSource

both = pytest.mark.parametrize("dialect", [OPENAI, AnthropicDialect()], ids=lambda dialect: dialect.name)
sizes = pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=str)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no proxy and no `.env` of the machine."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "MLGYM_MODEL_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as local:
        yield local


async def dialog(on: Opened, kind: type[object]) -> None:
    await on.until(lambda: isinstance(on.app.screen, kind), kind.__name__)


async def gone(on: Opened) -> None:
    await on.until(lambda: on.app.screen is on.screen, "the dialog is gone")


# -- edits -------------------------------------------------------------------------------------------------------------


@sizes
async def test_thought_and_action_are_edited_and_the_model_is_not_told(
    tmp_path: Path, server: Server, size: tuple[int, int]
) -> None:
    server.answers(said(OPENAI, "echo one", "A thought."), said(OPENAI, "submit"))
    async with opened(tmp_path, make_agent(OPENAI, server), size) as on:
        await on.review(1)
        await on.press("e")
        await dialog(on, EditAction)
        await on.shows("The model is told")
        await on.press(*" two", "shift+tab")
        await on.until(lambda: isinstance(on.app.focused, ThoughtArea), "the thought")
        await on.press(*"Now: ")
        await on.press("ctrl+t")
        await on.shows("The model is not told")
        await on.press("ctrl+s")
        await gone(on)
        step = on.state.steps[1]
        assert (step.action, step.thought, step.edit_told) == ("echo one two", "Now: A thought.", False)
        await on.shows("edited, not told")
        await on.shows("Now: A thought.")
        await on.press("e")
        await dialog(on, EditAction)
        await on.shows("The model is not told")
        await on.press("escape")
        await gone(on)
        await on.press("enter")
        await on.review(2)
    assert "Now: A thought." in asked(server) and "A person changed" not in asked(server)


async def test_the_choice_is_not_offered_where_nobody_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        await on.press("e")
        await dialog(on, EditAction)
        assert "The model" not in on.text
        await on.press("ctrl+t", "ctrl+s")
        await gone(on)
        assert on.state.steps[1].edit_told is None
        for key, says in (("a", "has but one answer"), ("M", "asks no model")):
            await on.press(key)
            await on.until(lambda says=says: says in on.screen.status_bar.text, says)


# -- alternatives ------------------------------------------------------------------------------------------------------


def test_a_wish_as_people_write_it() -> None:
    assert read_wish("") == Wish(3, None)
    assert read_wish(" 5  t=0.5") == Wish(5, 0.5)
    assert read_wish("temperature=1 2") == Wish(2, 1.0)
    for line in ("many", "3 temp=1", "t=warm", "2.5"):
        with pytest.raises(ValueError, match=r"as in 3 temperature=0\.7"):
            read_wish(line)


@both
@sizes
async def test_one_of_the_alternatives_is_taken(
    tmp_path: Path, server: Server, dialect: Dialect, size: tuple[int, int]
) -> None:
    server.answers(
        said(dialect, "echo one", "First."),
        said(dialect, "echo two", "Second."),
        said(dialect, "echo three", "Third."),
        said(dialect, "submit"),
    )
    async with opened(tmp_path, make_agent(dialect, server), size) as on:
        await on.review(1)
        await on.press("a")
        await on.shows("How many alternatives for step 1?")
        await on.press("home", "delete", "2", "enter")
        await dialog(on, Alternatives)
        for text in ("First.", "echo one", "Second.", "echo two", "Third.", "your choice", "1,000+50"):
            await on.shows(text)
        assert on.runner.status.phase == "review" and on.state.steps[1].action == "echo one"
        await on.press("j", "j", "enter")
        await gone(on)
        assert on.state.steps[1].action == "echo three"
        await on.shows("alternative 2 of 2")
        await on.press("a")
        await dialog(on, Alternatives)
        await on.press("1")
        await gone(on)
        assert on.state.steps[1].action == "echo two"
        await on.press("enter")
        await on.review(2)
    assert [call.body["temperature"] for call in server.calls] == [0.0, 0.7, 0.7, 0.0]
    assert on.state.steps[1].observation.strip() == "two"


async def test_asking_is_stopped_while_an_answer_streams_and_one_is_edited(tmp_path: Path, server: Server) -> None:
    server.answers(
        said(OPENAI, "echo one"),
        said(OPENAI, "echo two"),
        OPENAI.answer("I was about to ", "say more", hold_before=2),
    )
    async with opened(tmp_path, make_agent(OPENAI, server)) as on:
        await on.review(1)
        await on.press("a")
        await on.shows("How many alternatives")
        await on.press("enter")
        await on.shows("I was about to")
        await on.shows("asking for 2 of 3")
        await on.press("escape")
        await on.shows("your choice")
        await on.shows("(nothing that could be run)")
        await on.press("2")  # cannot be taken
        await on.press("down", "e")
        await dialog(on, EditAction)
        await on.press(*" more", "ctrl+s")
        await gone(on)
        step = on.state.steps[1]
        assert (step.proposed, step.action, step.chosen) == ("echo two", "echo two more", 1)
        await on.press("a")
        await dialog(on, Alternatives)
        await on.press("escape")
        await gone(on)
        assert step.action == "echo two more", "left as it was"


async def test_a_replay_shows_what_there_was_to_choose_from(tmp_path: Path) -> None:
    events: list[ev.Event] = [
        ev.SessionStarted(format=1, task="t", model="openai:m", seq=0, elapsed=0.0),
        ev.ActionProposed(step=1, author="model:m", action="echo one", seq=1, elapsed=1.0),
        ev.ModelResponded(text="x", alternative=1, usage=ev.Usage(input_tokens=7, output_tokens=3, cost=0.5)),
        ev.ActionSampled(step=1, alternative=1, author="model:m", action="echo two", thought="Or \x1b[2J two."),
        ev.ActionChosen(step=1, alternative=1, author="human:ann"),
        ev.ActionStarted(step=1, author="model:m", action="echo two", seq=5, elapsed=2.0),
        ev.ActionFinished(step=1, exit_code=0, observation="two", seq=6, elapsed=3.0),
    ]
    app = WorkbenchApp(RecordedSource(Recording(events, "mlgym-tui", tmp_path / "events.jsonl")))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("a")
        for said in ("what there was to choose from", "echo one", "echo two", "$0.50", "· taken"):
            await wait_for(pilot, partial(shows, app, said), said)
        assert "\x1b" not in screen_text(app)
        await pilot.press("0", "enter", "a", "escape")
        await wait_for(pilot, lambda: app.screen is app.workbench, "nothing can be taken")


# -- another model -----------------------------------------------------------------------------------------------------


def test_known_models_for_what_was_typed() -> None:
    assert "openai:gpt-4o" in known_like("openai:gpt-4o")[:1]
    assert all(name.startswith("anthropic:") for name in known_like("anthropic:"))
    assert "openai:gpt-4o" in known_like("gtp-4o")
    assert known_like("a model that nobody knows 123") == []


@sizes
async def test_another_model_from_here_on(tmp_path: Path, server: Server, size: tuple[int, int]) -> None:
    server.answers(said(OPENAI, "echo one"), said(OPENAI, "echo two"))
    async with opened(tmp_path, make_agent(OPENAI, server), size) as on:
        await on.review(1)
        await on.press("M")
        await dialog(on, ChangeModel)
        await on.shows("$2.5 in, $10 out per million tokens")
        model, server_field = (on.app.screen.query_one(name, Input) for name in ("#model", "#server"))
        await on.press("end", "o", "enter")
        await on.shows("did you mean openai:gpt-4o?")
        model.value = "opnai:gpt-4o"
        await on.press("enter")
        await on.shows("there is no provider 'opnai'")
        model.value = "anthropic:claude-sonnet-4-6"
        await on.press("enter")
        await on.shows("ANTHROPIC_API_KEY")
        assert on.state.agent_change is None, "nothing is changed yet"
        model.value, server_field.value = "openai:new-one", f"{server.url}/v1"
        await on.press("tab", "end", "backspace", *"0.5", "enter")
        await gone(on)
        change = on.state.agent_change
        assert change is not None and (change.model, change.temperature) == ("openai:new-one", 0.5)
        await on.shows("openai:new-one t=0.5")
        await on.press("enter")
        await on.review(2)
        await on.shows("⇄")
    assert on.state.steps[2].author == "model:new-one"
    assert server.calls[-1].body["model"] == "new-one" and server.calls[-1].body["temperature"] == 0.5


async def test_a_limit_is_removed_with_a_word(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one"], limits=ev.Limits(steps=1, cost=4.0)) as on:
        await on.review(1)
        await on.press("u")
        await on.shows("cost=none removes one")
        await on.press(*" cost=none", "enter")
        await on.until(lambda: on.state.limits == ev.Limits(steps=1), "the limit is gone")
        await on.shows("limits: steps=1")


async def test_a_long_alternative_is_read_to_its_end(tmp_path: Path, server: Server) -> None:
    long = "\n".join(f"echo line-{number}" for number in range(40))
    server.answers(said(OPENAI, "echo one"), said(OPENAI, long))
    async with opened(tmp_path, make_agent(OPENAI, server), (80, 24)) as on:
        await on.review(1)
        assert on.runner.controls.resample(1)
        await on.until(lambda: len(on.state.steps[1].alternatives) == 2, "the alternative")
        await on.press("a")
        await on.shows("line-0")
        await on.press("j")
        await on.until(lambda: on.app.screen.selected == 1, "it is selected")  # type: ignore[attr-defined]
        assert "line-39" not in on.text
        await on.press(*["pagedown"] * 8)
        await on.shows("line-39")


async def test_the_editor_keeps_the_choice_of_who_is_told(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers(said(OPENAI, "echo one", "A thought."))
    async with opened(tmp_path, make_agent(OPENAI, server)) as on:
        await on.review(1)
        assert on.runner.controls.edit("echo two", thought="Another.", told=False)
        monkeypatch.setattr(on.screen.steering, "_in_editor", lambda action: f"{action} and more")
        await on.press("E")
        step = on.state.steps[1]
        await on.until(lambda: step.action == "echo two and more", "the edit")
        assert (step.thought, step.edit_told) == ("Another.", False)
