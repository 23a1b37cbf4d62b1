"""The prompt pane: what a model was sent for the step under the cursor, live and in replay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.agents.scripted_chat import ScriptedChat
from tests.tasks.quick_task import make_quick_task
from tests.tui.prompted import Talk, message, prompted
from tests.tui.sessions import SessionBuilder, battle
from tests.tui.support import screen_text, wait_for
from workbench.agents.catalogue import FOLDER
from workbench.agents.config import read_agent
from workbench.agents.language_agent import LanguageAgent
from workbench.runner.start import start
from workbench.session.events import SessionEnded
from workbench.session.spec import SessionSpec
from workbench.tui.app import WorkbenchApp
from workbench.tui.source import LiveSource, RecordedSource
from workbench.tui.widgets.message_list import MessageList
from workbench.tui.widgets.prompt_view import PromptView
from workbench.tui.widgets.step_list import StepList

SIZES = [(80, 24), (120, 40), (160, 48)]


class Replay:
    """The app on a recording, and what a test asks of it."""

    def __init__(self, app: WorkbenchApp, pilot: Pilot[SessionEnded | None]) -> None:
        self.app, self.pilot = app, pilot
        self.screen = app.workbench

    @property
    def view(self) -> PromptView:
        """There once it was opened."""
        return self.screen.prompt

    async def open(self, step: int) -> None:
        """The prompt of a step."""
        await self.pilot.press("6")
        self.screen.go_to(step)
        await self.until(lambda: self.view.shown.step == step, f"the prompt of step {step}")

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def shows(self, text: str) -> None:
        await self.until(lambda: text in self.text, f"on the screen: {text}")

    async def until(self, condition: Callable[[], object], what: str) -> None:
        await wait_for(self.pilot, condition, what)

    @property
    def text(self) -> str:
        return screen_text(self.app)

    @property
    def roles(self) -> list[str]:
        return [row.change.message.role if row.change else "…" for row in self.view.messages.rows]


async def replaying(made: SessionBuilder, size: tuple[int, int]) -> AsyncIterator[Replay]:
    app = WorkbenchApp(RecordedSource(made.recording()), theme="mlgym-dark")
    async with app.run_test(size=size) as pilot:
        yield Replay(app, pilot)


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def replay(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Replay]:
    async for opened in replaying(prompted(tmp_path / "session"), request.param):
        yield opened


@pytest.fixture
async def narrow(tmp_path: Path) -> AsyncIterator[Replay]:
    async for opened in replaying(prompted(tmp_path / "session"), (80, 24)):
        yield opened


async def test_it_shows_messages_sizes_and_the_text_of_one(replay: Replay) -> None:
    await replay.open(5)
    for part in ("6 Prompt · step 5", "openai:gpt-4o · 9 messages", "temperature 0.0, max_tokens", "esc closes"):
        assert part in replay.text, part
    for part in ("2 % of the 10,000 that fit", "the provider counted 321", "tools: 30 tokens", "1 message shortened"):
        assert part in replay.view.summary_text, part
    assert replay.roles == ["tools", "system", "user", *["assistant", "user"] * 2, "user", "assistant", "user"]
    assert "⋯ over the budget of 90" in replay.text
    assert "2\n[exit code 0]" in replay.view.text, "the newest message is the one that is shown"
    await replay.press("g")
    assert replay.view.text.startswith("bash: Runs a command.")
    await replay.press("j", "j")
    assert replay.view.text == "Improve the strategy." and "message 2 · user · 21 tokens" in replay.text


async def test_it_follows_the_cursor_and_names_its_step(narrow: Replay) -> None:
    await narrow.open(5)
    await narrow.press("h")
    await narrow.until(lambda: "6 Prompt · step 4" in narrow.text, "step 4")
    assert len(narrow.view.messages.rows) == 8
    await narrow.press("h")
    await narrow.until(lambda: "Nothing was sent for step 3: ann did it" in narrow.text, "a person's step")
    await narrow.press("0")
    await narrow.until(lambda: "Nothing was sent before the first step" in narrow.text, "step 0")


async def test_what_is_new_since_the_step_before(replay: Replay) -> None:
    await replay.open(5)
    await replay.press("d")
    await replay.until(lambda: "against step 4: 2 added, 1 shortened, 7 as before" in replay.text, "the comparison")
    rows = replay.view.messages.rows
    assert [row.change.kind if row.change else row.folded for row in rows] == [4, "elided", 3, "added", "added"]
    assert replay.view.messages.cursor == 1
    assert replay.view.text.split("\n")[:3] == ["strategy.py", "notes.txt", "(2 lines of output left out)"]
    assert [mark.glyph for mark in replay.view.text_view.marks.values()] == ["-", "-", "+"]
    assert "message 4 · user · shortened · of step 1 · 35 → 42 tokens" in replay.text
    await replay.press("d")
    await replay.until(lambda: len(replay.view.messages.rows) == 10, "the whole prompt")


async def test_what_is_new_in_a_long_text_is_brought_into_view(tmp_path: Path) -> None:
    made = prompted(tmp_path / "session")
    talk = Talk(made)
    long = "\n".join(f"a line of the output that is long enough to be broken in a narrow pane {i}" for i in range(200))
    talk.send([message("system", f"{long}\nold end")])
    made.ran("ls", "")
    talk.send([message("system", f"{long}\nnew end")])
    made.ran("ls", "")
    async for replay in replaying(made, (120, 40)):
        await replay.open(7)
        await replay.press("d")
        await replay.shows("- old end")
        await replay.shows("+ new end")


async def test_the_calls_that_were_made_for_a_step(narrow: Replay) -> None:
    await narrow.open(2)
    assert "call 2 of 2 for this step: < >" in narrow.view.subtitle and len(narrow.view.messages.rows) == 7
    await narrow.press("<")
    await narrow.until(lambda: "call 1 of 2" in narrow.text, "the first call")
    assert "bad_format: it has no fenced block" in narrow.text and len(narrow.view.messages.rows) == 5
    await narrow.press("<", ">", "d")
    await narrow.until(lambda: "against step 1: 4 added, 3 as before" in narrow.text, "the comparison")


async def test_search_goes_through_the_messages(narrow: Replay) -> None:
    await narrow.open(5)
    await narrow.press("/", *"exit code", "enter")
    await narrow.until(lambda: "/exit code: 1 of 1 in message 9" in narrow.text, "the first match")
    await narrow.press("n")
    await narrow.until(lambda: "1 of 1 in message 4" in narrow.text, "round to the first message that has it")
    await narrow.press("N", "N")
    await narrow.until(lambda: "1 of 1 in message 6" in narrow.text, "and back")
    await narrow.press("/", *["backspace"] * 9, *"nowhere", "enter")
    await narrow.until(lambda: "not in this prompt: nowhere" in narrow.text, "nothing")
    assert narrow.screen.shown == 5


async def test_hostile_text_is_only_shown(narrow: Replay) -> None:
    await narrow.open(4)
    await narrow.press("k")
    await narrow.until(lambda: "marked" in narrow.view.text, "the message")
    text = narrow.text
    assert "[bold]marked[/bold]" in text and "␛[31m" in text
    assert not set(text) & set("\x1b\u202e\x9b")


async def test_escape_closes_it_and_so_do_the_panes_below(narrow: Replay) -> None:
    await narrow.open(4)
    await narrow.press("escape")
    assert not narrow.screen.arranging.open
    assert "6 Prompt" not in narrow.text and "4 Observation" in narrow.text
    assert narrow.screen.focused is narrow.screen.steps
    await narrow.press("6", "4")
    assert not narrow.screen.arranging.open and "4 Observation" in narrow.text
    await narrow.press("6", "z")
    assert "1 Steps" not in narrow.text and "6 Prompt" in narrow.text
    await narrow.press("escape")
    await narrow.until(lambda: "1 Steps" in narrow.text and "6 Prompt" not in narrow.text, "all panes")


async def test_tab_goes_round_the_panes_that_are_to_be_seen(tmp_path: Path) -> None:
    async for replay in replaying(prompted(tmp_path / "session"), (160, 48)):
        await replay.press("6", "tab")
        assert isinstance(replay.screen.focused, StepList)
        await replay.press("j", "shift+tab")
        assert isinstance(replay.screen.focused, MessageList)
        assert replay.screen.arranging.open


async def test_long_texts_scroll_from_the_list_and_can_be_copied(narrow: Replay) -> None:
    await narrow.open(1)
    view = narrow.view
    view.text_view.show("\n".join(map(str, range(500))))
    await narrow.press("ctrl+d", "pagedown")
    assert view.text_view.top_line > 8 and view.messages.cursor == 2
    await narrow.press("pageup", "ctrl+u")
    assert view.text_view.top_line == 0
    assert narrow.screen.text_to_copy().startswith("0\n1\n")


async def test_a_session_without_a_model_says_so(tmp_path: Path) -> None:
    async for replay in replaying(battle(tmp_path / "session"), (80, 24)):
        await replay.open(3)
        assert "Nothing was sent: scripted:demo has its actions ready, and no model is asked." in replay.text
        await replay.press("d", "j", "n", "escape")
        assert not replay.screen.arranging.open


async def test_a_message_that_is_lost_is_said_to_be(tmp_path: Path) -> None:
    made = prompted(tmp_path / "session")
    recording = made.recording()
    for path in (made.folder / "objects").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    app = WorkbenchApp(RecordedSource(recording))
    async with app.run_test(size=(120, 40)) as pilot:
        replay = Replay(app, pilot)
        await replay.open(5)
        assert "the text of this message is not in the recording" in replay.text
        assert "assistant" in replay.text, "what the log says of it is there"


async def test_live_it_follows_the_session(tmp_path: Path) -> None:
    task = make_quick_task(tmp_path / "task")
    chat = ScriptedChat([f"Look.\n```\n{action}\n```" for action in ("echo one", "echo two", "echo three")])
    agent = LanguageAgent(read_agent(FOLDER / "default.yaml"), chat)
    options = SessionSpec(task=str(task.folder), model="openai:x", mode="step", unsafe_local=True, interactive=True)
    runner = await asyncio.to_thread(start, options, tmp_path / "sessions", agent=agent)
    app = WorkbenchApp(LiveSource(runner))
    async with app.run_test(size=(120, 40)) as pilot:
        live = Replay(app, pilot)
        await live.until(lambda: runner.status.phase == "review" and runner.state.last_step == 1, "the first proposal")
        await live.press("6")
        await live.until(lambda: "6 Prompt · step 1" in live.text, "its prompt")
        assert live.roles == ["system", "user"]
        await live.press("enter")
        await live.until(lambda: runner.status.phase == "review" and runner.state.last_step == 2, "the second")
        await live.until(lambda: "6 Prompt · step 2" in live.text and len(live.roles) == 4, "its prompt")
        assert "one" in live.view.text
        sent = chat.asked[-1]
        assert [live.view._text_of(row.change.message) for row in live.view.messages.rows if row.change] == [
            message.content for message in sent
        ]
        await live.press("t")
        await live.until(lambda: live.screen.taken_over and "TAKEN OVER" in live.text, "the shell")
        assert live.screen.focused is live.screen.shell and "6 Prompt" not in live.text
        await live.press("ctrl+right_square_bracket")
        await live.until(lambda: "6 Prompt" in live.text, "the prompt again")
        runner.controls.stop("interrupted", "over")
        await live.until(lambda: runner.status.phase == "ended", "the end")
