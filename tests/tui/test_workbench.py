"""The workbench over a session that runs: a real runner, a real shell, an agent with a list of actions."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.in_memory import IN_MEMORY
from tests.runner.rig import ListAgent
from tests.tasks.quick_task import make_quick_task
from tests.tui.support import screen_text, wait_for
from workbench.agents.agent import Agent, ModelError, Proposal
from workbench.environment.assembly import Grounds
from workbench.runner.runner import Runner
from workbench.runner.start import start
from workbench.session import events as ev
from workbench.session.events import SessionEnded
from workbench.session.log import read_log
from workbench.session.spec import SessionSpec
from workbench.session.state import SessionState
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens.dialogs import ActionArea, Confirm, EditAction
from workbench.tui.source import LiveSource


class Opened:
    """The app on a live session, and what a test asks of it."""

    def __init__(self, app: WorkbenchApp, runner: Runner, pilot: Pilot[SessionEnded | None]) -> None:
        self.app, self.runner, self.pilot = app, runner, pilot
        self.state = runner.state
        self.screen = app.workbench

    async def until(self, condition: Any, what: str) -> None:
        try:
            await wait_for(self.pilot, condition, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.runner.status.phase} {self.runner.state.mode}\n{self.text}") from None

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def review(self, step: int) -> None:
        """Until this step is under review, and the screen says so."""
        await self.until(lambda: self.runner.status.phase == "review" and self.state.last_step == step, f"step {step}")
        await self.until(lambda: self.screen.steps.cursor == step, f"step {step} on the screen")

    async def shows(self, text: str) -> None:
        await self.until(lambda: text in self.text, f"on the screen: {text}")

    @property
    def text(self) -> str:
        return screen_text(self.app)


@contextlib.asynccontextmanager
async def opened(
    root: Path,
    agent: Agent | list[str] | None,
    size: tuple[int, int] = (120, 40),
    *,
    grounds: Grounds = IN_MEMORY,
    **options: Any,
) -> AsyncIterator[Opened]:
    """The workbench on a new session. It is ended when the test is over."""
    task = make_quick_task(root / "quick-task")
    options.setdefault("mode", "step")
    model = "human" if agent is None else "test:list"
    spec = SessionSpec(task=str(task.folder), model=model, unsafe_local=True, interactive=True, **options)
    acting = ListAgent(agent) if isinstance(agent, list) else agent
    runner = start(spec, root / "sessions", agent=acting, grounds=grounds)
    app = WorkbenchApp(LiveSource(runner), theme="mlgym-dark", sessions=root / "sessions")
    async with app.run_test(size=size) as pilot:
        yield Opened(app, runner, pilot)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=str)
async def test_stepping_shows_what_came_back(tmp_path: Path, size: tuple[int, int]) -> None:
    async with opened(tmp_path, ["echo one", "echo two"], size) as on:
        await on.review(1)
        await on.shows("STEP")
        await on.shows("your decision")
        assert "$ echo one" in on.text
        await on.press("s")
        await on.review(2)
        assert on.state.steps[1].observation.strip() == "one"
        await on.until(lambda: on.screen.observation.text == "one", "the observation of the step before")
        await on.shows("Observation 1 · ✓ ok")
        await on.press("enter")
        await on.until(lambda: on.state.steps[2].over, "step 2")


async def test_the_end_leaves_a_replay_and_quitting_returns_it(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one", "echo two"], mode="auto") as on:
        await on.until(lambda: on.runner.status.phase == "ended", "the end")
        await on.shows("ENDED")
        await on.until(lambda: "over and saved" in on.screen.status_bar.text, "what is said of it")
        await on.press("h")
        await on.until(lambda: on.screen.shown == 1, "the step before")
        await on.until(lambda: "echo one" in on.screen.shell_then.screen_text(), "the shell as of then")
        await on.press("s")
        await on.until(lambda: "nothing runs any more" in on.screen.status_bar.text, "the answer")
        await on.press("q")
    assert on.app.return_value is not None
    assert on.app.return_value.exit_status == "actions_exhausted"


async def test_pause_and_continue(tmp_path: Path) -> None:
    go = tmp_path / "go"
    waits = f"until [ -e {go} ]; do sleep 0.05; done"
    async with opened(tmp_path, [waits, "echo two", "echo three"], mode="auto") as on:
        await on.until(lambda: on.runner.status.phase == "executing", "the first command")
        await on.shows("p pause after it")
        await on.press("p")
        await on.until(lambda: "pause after it" not in on.text, "nothing is offered that is done")
        go.touch()
        await on.review(2)
        assert on.runner.state.mode == "paused" and on.state.steps[1].exit_code == 0
        await on.shows("PAUSED")
        await on.press("space")
        await on.until(lambda: on.runner.status.phase == "ended", "the end")
        assert [step.observation.strip() for step in on.state.steps[2:]] == ["two", "three"]


async def test_an_edited_action_runs_and_the_original_is_kept(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo bad", "echo next"]) as on:
        await on.review(1)
        await on.press("e")
        await on.until(lambda: isinstance(on.app.screen, EditAction), "the dialog")
        area = on.app.screen.query_one(ActionArea)
        assert area.text == "echo bad"
        area.text = "echo good\necho more"
        await on.press("ctrl+s")
        await on.until(lambda: on.state.current.edited, "the edit")
        await on.shows("- echo bad")
        assert "+ echo good" in on.text and on.runner.status.phase == "review"
        await on.press("enter")
        await on.review(2)
        step = on.state.steps[1]
        assert (step.proposed, step.action, step.observation) == ("echo bad", "echo good\necho more", "good\nmore\n")
        assert step.edited_by.startswith("human:")


async def test_editing_in_auto_mode_stops_the_countdown(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo bad"], mode="auto", delay=30.0) as on:
        await on.review(1)
        await on.shows("runs in")
        await on.press("e")
        await on.until(lambda: isinstance(on.app.screen, EditAction), "the dialog")
        assert on.runner.state.mode == "paused"
        await on.press("escape")
        await on.until(lambda: on.app.screen is on.screen, "the workbench")
        assert on.runner.status.phase == "review" and not on.state.current.edited


async def test_control_characters_of_an_action_are_seen_and_kept(tmp_path: Path) -> None:
    async with opened(tmp_path, ["printf '\x1b[2J\u202e'"]) as on:
        await on.review(1)
        await on.shows("␛[2J⇄")
        await on.press("e")
        await on.until(lambda: isinstance(on.app.screen, EditAction), "the dialog")
        await on.shows("␛[2J⇄")
        assert on.app.screen.query_one(ActionArea).text == "printf '\x1b[2J\u202e'"
        assert "\x1b" not in on.text


async def test_rejecting_with_a_comment(tmp_path: Path) -> None:
    async with opened(tmp_path, ["rm -rf .", "echo next"]) as on:
        await on.review(1)
        await on.press("r")
        await on.shows("Reject action 1")
        await on.press(*"not this", "enter")
        await on.review(2)
        assert on.state.steps[1].status == "rejected" and on.state.steps[1].comment == "not this"
        await on.press("h")
        await on.shows("not this")


async def test_a_message_reaches_the_agent(tmp_path: Path) -> None:
    agent = ListAgent(["echo one", "echo two"])
    async with opened(tmp_path, agent) as on:
        await on.review(1)
        await on.press("m")
        await on.shows("Tell the agent")
        await on.press(*"try harder", "enter")
        await on.until(lambda: bool(on.state.steps[1].messages), "the message")
        await on.press("s")
        await on.review(2)
        assert agent.messages == ["try harder"]


async def test_interrupting_keeps_the_session(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo before; sleep 60", "echo two"]) as on:
        await on.review(1)
        await on.press("i")
        await on.until(lambda: "no command is running, and no answer" in on.screen.status_bar.text, "the answer")
        await on.press("s")
        await on.until(lambda: on.runner.status.phase == "executing", "the command")
        await on.shows("interrupt")
        await on.press("i")
        await on.review(2)
        assert on.state.steps[1].interrupted and "before" in on.state.steps[1].observation


async def test_a_failing_model_is_said_and_can_be_asked_again(tmp_path: Path) -> None:
    async with opened(tmp_path, ListAgent([ModelError("rate_limit", "slow down"), "echo one"])) as on:
        await on.shows("rate_limit: slow down")
        assert on.runner.state.mode == "paused"
        await on.shows("try again")
        await on.press("s")
        await on.review(1)


async def test_why_a_model_failed_can_be_read_to_the_end(tmp_path: Path) -> None:
    reason = "the account's quota is used up " + "and so on " * 9 + "add credit, then try again."
    async with opened(tmp_path, ListAgent([ModelError("quota", reason), "echo one"]), (80, 24)) as on:
        await on.shows("Action 1 · there is none")
        await on.shows("quota: the account's quota")
        assert re.search(r"add\W+credit,\W+then\W+try\W+again\.", on.text)
        await on.press("c")
        await on.shows("$ echo one")
        assert "quota" not in on.text and "there is none" not in on.text


async def test_the_action_is_in_view_where_there_is_little_room(tmp_path: Path) -> None:
    class Thinking(ListAgent):
        async def propose(self, state: SessionState) -> Proposal:
            return Proposal(action="echo one\necho two", thought="\n".join(f"thought {line}" for line in range(9)))

    async with opened(tmp_path, Thinking([]), (80, 24)) as on:
        await on.review(1)
        await on.shows("$ echo one")
        await on.shows("your decision")
        on.screen.say("so many words that they do not all fit " * 4)
        await on.shows("so many words")
        await on.pilot.pause()
        assert "$ echo one" in on.text and "your decision" in on.text
        await on.press("s")
        await on.review(2)
        await on.shows("$ echo one")


async def test_an_answer_can_be_stopped(tmp_path: Path) -> None:
    agent = TalkingAgent(["echo proposed"])
    async with opened(tmp_path, agent) as on:
        await on.shows("i stop it")
        await on.press("a")
        await on.shows("the agent is still thinking")
        await on.press("i")
        await on.shows("the answer was stopped")
        assert on.runner.status.phase == "waiting" and not on.state.last_step
        agent.gate.set()
        await on.press("s")
        await on.review(1)


async def test_the_cursor_rests_while_the_session_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one", "echo two", "echo three"]) as on:
        await on.review(1)
        await on.press("s")
        await on.review(2)
        await on.press("h")
        await on.until(lambda: on.screen.shown == 1, "the step before")
        on.runner.controls.step()
        await on.until(lambda: on.state.last_step == 3, "the next step")
        await on.until(lambda: "step 1 of 3" in on.screen.status_bar.text, "the count")
        assert on.screen.shown == 1 and on.screen.observation.text == "one"
        await on.press("dollar_sign")
        await on.until(lambda: on.screen.cursor is None and on.screen.shown == 3, "following again")


async def test_take_over_and_release(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one", "echo two"]) as on:
        await on.review(1)
        await on.press("t")
        await on.until(lambda: on.screen.taken_over, "the take-over")
        await on.shows("TAKEN OVER — ctrl+] gives the shell back")
        assert on.text.count("TAKEN OVER") == 2
        terminal = on.screen.shell
        await on.until(lambda: on.app.focused is terminal and terminal.size.width > 110, "the zoomed shell")
        await on.press(*"echo mine", "enter")
        await on.until(lambda: any(step.action == "echo mine" and step.over for step in on.state.steps), "a step")
        mine = next(step for step in on.state.steps if step.action == "echo mine")
        assert mine.author.startswith("human:") and mine.observation.strip() == "mine"
        await on.press("ctrl+right_square_bracket")
        await on.until(lambda: not on.screen.taken_over and on.runner.status.phase == "review", "the agent's turn")
        assert "TAKEN OVER" not in on.text and not on.screen.has_class("-zoomed")
        await on.press("s")
        await on.until(lambda: "one\n" in [step.observation for step in on.state.steps], "a step of the agent")


async def test_in_take_over_every_key_is_the_shells(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        await on.press("t")
        await on.until(lambda: on.screen.taken_over, "the take-over")
        await on.press(*"cat -v", "enter")
        await on.until(lambda: on.runner.episode.shell.running, "the program")
        # ctrl+q and ctrl+s stop and start the terminal's output, so ctrl+q comes first.
        await on.press("ctrl+q", "ctrl+p", "escape", "f1", "tab", "q", "enter")
        await on.until(lambda: "^P^[" in on.screen.shell.screen_text(), "the keys in the shell")
        assert on.app.screen is on.screen and on.app.session_runs
        await on.press("ctrl+c")
        await on.until(lambda: not on.runner.episode.shell.running, "the prompt")
        assert on.screen.taken_over


async def test_the_terminal_of_a_take_over_has_the_size_of_the_pane(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one"], (80, 24)) as on:
        await on.review(1)
        await on.press("t")
        await on.until(lambda: on.screen.taken_over, "the take-over")
        await on.pilot.resize_terminal(100, 30)
        wanted = (97, 27)
        await on.until(lambda: on.runner.controls.take_over_size == wanted, "the size")
        await on.press(*"stty size", "enter")
        await on.until(lambda: f"{wanted[1]} {wanted[0]}" in on.screen.shell.screen_text(), "the size in the shell")


async def test_take_over_waits_for_the_running_command(tmp_path: Path) -> None:
    async with opened(tmp_path, ["sleep 60", "echo two"]) as on:
        await on.review(1)
        await on.press("s")
        await on.until(lambda: on.runner.status.phase == "executing", "the command")
        await on.press("t")
        await on.shows("you get the shell when the command is over")
        assert not on.screen.taken_over
        await on.press("i")
        await on.until(lambda: on.screen.taken_over, "the take-over")


async def test_taking_over_answers_a_command_that_waits_for_input(tmp_path: Path) -> None:
    async with opened(tmp_path, ["read -p 'Name: ' x </dev/tty; echo \"hello $x\"", "echo two"]) as on:
        await on.review(1)
        await on.press("s")
        await on.shows("bash waits for input")
        await on.press("t")
        await on.until(lambda: on.screen.taken_over, "the keys")
        await on.press(*"Ada", "enter")
        await on.until(lambda: on.runner.state.steps[1].observation == "Name: hello Ada\n", "the answer")
        await on.until(lambda: on.runner.status.phase == "human", "the shell")
        assert on.screen.taken_over


async def test_releasing_a_busy_shell_asks(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one", "echo two"]) as on:
        await on.review(1)
        await on.press("t")
        await on.until(lambda: on.screen.taken_over, "the take-over")
        await on.press(*"sleep 600", "enter")
        await on.until(lambda: on.runner.episode.shell.running, "the program")
        await on.press("ctrl+right_square_bracket")
        await on.until(lambda: isinstance(on.app.screen, Confirm), "the question")
        await on.press("n")
        await on.until(lambda: on.app.screen is on.screen, "the shell again")
        assert on.screen.taken_over
        await on.press("ctrl+right_square_bracket")
        await on.until(lambda: isinstance(on.app.screen, Confirm), "the question")
        await on.press("y")
        await on.until(lambda: not on.screen.taken_over and on.runner.status.phase == "review", "the agent's turn")


async def test_quitting_asks_then_saves(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one", "echo two"]) as on:
        await on.review(1)
        await on.press("q")
        await on.until(lambda: isinstance(on.app.screen, Confirm), "the question")
        await on.press("enter", "n")
        await on.until(lambda: on.app.screen is on.screen, "the workbench")
        await on.press("ctrl+q")
        await on.until(lambda: isinstance(on.app.screen, Confirm), "the question")
        await on.press("y")
        await on.until(lambda: on.app.return_value is not None, "the end")
    assert on.app.return_value is not None and on.app.return_value.exit_status == "interrupted"
    events, problems = read_log(on.runner.live.folder)
    assert isinstance(events[-1], SessionEnded) and problems == []


async def test_closing_the_app_in_any_way_ends_the_session(tmp_path: Path) -> None:
    async with opened(tmp_path, ["sleep 60"]) as on:
        await on.review(1)
        await on.press("s")
        await on.until(lambda: on.runner.status.phase == "executing", "the command")
        on.app.exit()
    assert on.runner.status.phase == "ended"
    assert on.state.ended is not None and on.state.ended.exit_status == "interrupted"


async def test_a_person_alone_writes_actions(tmp_path: Path) -> None:
    async with opened(tmp_path, None) as on:
        await on.until(lambda: on.runner.status.phase == "waiting", "the person's turn")
        await on.shows("your turn")
        await on.press("e")
        await on.until(lambda: isinstance(on.app.screen, EditAction), "the dialog")
        await on.press(*"echo by hand")
        await on.press("ctrl+j")
        await on.until(lambda: on.state.last_step == 1 and on.state.steps[1].over, "the step")
        await on.until(lambda: on.screen.observation.text == "by hand", "its observation")
        for key in ("s", "enter"):
            on.screen.say("")
            await on.press(key)
            await on.until(lambda: "you are the one who acts" in on.screen.status_bar.text, "the answer")


async def test_a_flood_of_events_is_drawn_in_frames(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        drawn = 0
        show_step = on.screen.show_step

        def count() -> None:
            nonlocal drawn
            drawn += 1
            show_step()

        on.screen.show_step = count  # type: ignore[method-assign]
        for number in range(2, 1002):
            on.runner.live.emit(ev.ActionProposed(step=number, author="model:test", action=f"echo {number}"))
            on.runner.live.emit(ev.ActionFinished(step=number, exit_code=0, observation=str(number)))
        await on.until(lambda: on.screen.steps.cursor == 1001, "the last of them")
        assert drawn < 20, "a thousand steps must not be drawn one by one"
        assert on.screen.steps.virtual_size.height == 1002


async def test_no_color_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(tmp_path, ["echo one"]) as on:
        await on.review(1)
        assert os.environ["NO_COLOR"] == "1"
        assert on.app.no_color


class TalkingAgent(ListAgent):
    """Says its answer piece by piece before it proposes."""

    def __init__(self, actions: list[str]) -> None:
        super().__init__(actions)
        self.gate.clear()

    async def propose(self, state: SessionState) -> Proposal:
        assert self.listener is not None
        self.listener.delta("I think that the strategy ")
        self.listener.delta("is too random.")
        self.listener.retrying("rate limit", 7)
        return await super().propose(state)


async def test_an_answer_is_shown_while_it_comes(tmp_path: Path) -> None:
    agent = TalkingAgent(["echo proposed"])
    async with opened(tmp_path, agent) as on:
        await on.shows("the strategy is too random.")
        await on.shows("Action 1 · being written")
        await on.shows("trying again in 7 s: rate limit")
        agent.gate.set()
        await on.review(1)
        await on.shows("$ echo proposed")
        assert "too random" not in on.text and "being written" not in on.text and "rate limit" not in on.text


async def test_a_score_of_ones_own_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path, ["true"]) as on:
        await on.review(1)
        await on.press("v")
        await on.until(lambda: on.state.current.scores, "a score")
        entry = on.state.current.scores[0]
        assert not entry.visible_to_agent
        await on.shows("(the agent is not told)" if entry.score is not None else entry.verdict)


async def test_a_pane_is_zoomed_right_after_going_there(tmp_path: Path) -> None:
    async with opened(tmp_path, ["true"]) as on:
        await on.review(1)
        await on.screen.action_do("pane.shell")
        await on.screen.action_do("pane.zoom")
        assert on.screen.query_one("#shell-pane").has_class("-zoomed")


async def test_nothing_runs_that_is_not_in_view(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo first", "echo second"]) as on:
        await on.review(1)
        await on.press("enter")
        await on.review(2)
        await on.press("h")
        await on.until(lambda: on.screen.shown == 1, "the step before")
        await on.press("enter")
        await on.until(lambda: on.screen.cursor is None, "the proposal in view")
        await on.shows("enter runs it")
        assert on.runner.status.phase == "review" and on.state.steps[2].status == "proposed"
        await on.press("enter")
        await on.until(lambda: on.state.steps[2].over, "the second to run")


async def test_help_is_always_in_the_key_bar(tmp_path: Path) -> None:
    async with opened(tmp_path, ["true"], size=(80, 24)) as on:
        await on.review(1)
        await on.shows("t take over")
        assert "? help" in on.text.splitlines()[-1]


async def test_a_message_about_a_command_goes_with_it(tmp_path: Path) -> None:
    async with opened(tmp_path, ["sleep 60", "true"], mode="auto") as on:
        await on.until(lambda: "executing" in str(on.screen._seen[:1]), "the command to be seen to run")
        await on.press("p")
        await on.shows("pauses when the command is over")
        await on.press("i")
        await on.review(2)
        await on.until(lambda: "interrupting" not in on.text and "pauses when" not in on.text, "the line to be free")
