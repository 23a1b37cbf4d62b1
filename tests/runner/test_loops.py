"""Agents that repeat themselves: what counts as that, and what is done about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runner.rig import GOOD, ListAgent, driven
from workbench.agents.agent import LoopPolicy
from workbench.session import events as ev
from workbench.session.events import Event
from workbench.session.log import read_log
from workbench.session.outcome import failures
from workbench.session.repetition import repetition
from workbench.session.state import SessionState, fold

AGENT, PERSON = "model:m", "human:ada"
STRATEGY = "a" * 64


class Story:
    """Events of a session, told step by step."""

    def __init__(self) -> None:
        self.events: list[Event] = [ev.SessionStarted(format=1, task="t")]
        self.step = 0
        self.changes(object=STRATEGY)

    def ran(self, action: str, *, author: str = AGENT, exit_code: int = 0, refused: bool = False) -> Story:
        self._proposes(action, author)
        self.events.append(ev.ActionFinished(step=self.step, exit_code=exit_code, observation="", refused=refused))
        return self

    def rejected(self, action: str, by: str = PERSON) -> Story:
        self._proposes(action, AGENT)
        self.events.append(ev.ActionRejected(step=self.step, author=by))
        return self

    def changes(self, path: str = "strategy.py", object: str = "b" * 64) -> Story:  # noqa: A002
        change = ev.FileChange(path=path, kind="modified", object=object)
        self.events.append(ev.WorkspaceSnapshot(step=self.step, tree=f"tree {len(self.events)}", changes=[change]))
        return self

    def scored(self, *, name: str = "strategy.py", visible: bool = True) -> Story:
        self.events.append(
            ev.ScoreRecorded(step=self.step, artifact=STRATEGY, artifact_name=name, visible_to_agent=visible)
        )
        return self

    def edited(self, after: str) -> Story:
        event = ev.ActionEdited(step=self.step, author=PERSON, before="", after=after)
        self.events.insert(-1, event)
        return self

    def proposes(self, action: str, author: str = AGENT) -> str:
        """What is said of the next proposal."""
        self._proposes(action, author)
        return repetition(fold(self.events))

    def _proposes(self, action: str, author: str) -> None:
        self.step += 1
        self.events.append(ev.ActionProposed(step=self.step, author=author, action=action))

    def dropped(self, action: str) -> Story:
        return self.rejected(action, by="")


EDIT = "edit 1:2 strategy.py <<'END'\nx\nEND"


def test_the_same_action_in_a_row_is_counted() -> None:
    assert Story().ran("ls").proposes("ls\n") == "the same action 2 times in a row"
    assert Story().ran("ls").ran("ls").proposes("ls") == "the same action 3 times in a row"
    assert Story().rejected("rm x").proposes("rm x") == "the same action 2 times in a row"
    assert Story().rejected("curl x", by="policy:approval").proposes("curl x")


@pytest.mark.parametrize(
    "story",
    [
        Story().ran("ls").ran("pwd"),
        Story().ran("ls").ran("vim", author=PERSON),
        Story().ran("ls", author=PERSON),
        Story().ran("ls", author="model:another"),
        Story().rejected("ls", by=""),
        Story(),
    ],
    ids=["another between", "a person between", "a person's", "another model's", "dropped at a take-over", "first"],
)
def test_these_are_no_repetitions(story: Story) -> None:
    assert story.proposes("ls") == ""


def test_what_comes_again_repeats_what_it_repeated_before() -> None:
    """It is to be approved by the same rules."""
    assert Story().ran("ls").dropped("ls").proposes("ls") == "the same action 2 times in a row"
    assert Story().ran("ls").dropped("ls").ran("vim", author=PERSON).proposes("ls") == ""
    assert Story().ran("validate").scored().dropped("validate").dropped("validate").proposes("validate")
    again = Story().ran(EDIT, exit_code=1).dropped(EDIT)
    assert again.proposes(EDIT)
    assert [failure.step for failure in failures(fold(again.events)) if failure.kind == "repeat"] == [3]


def test_scrolling_goes_on_and_persons_may_repeat_themselves() -> None:
    assert Story().ran("scroll_down").proposes("scroll_down") == ""
    assert Story().ran("ls", author=PERSON).proposes("ls", PERSON) == ""
    assert repetition(SessionState()) == ""


def test_an_edit_that_failed_is_known_until_a_file_changes() -> None:
    said = "the same edit as in step 1, which failed, and no file has changed since"
    assert Story().ran(EDIT, exit_code=1).ran("ls").ran("pwd").proposes(EDIT) == said
    assert Story().ran(EDIT, refused=True).ran("ls").proposes(EDIT) == said
    assert Story().rejected(EDIT).ran("ls").proposes(EDIT) == "the same edit as in step 1, which was rejected"
    assert Story().ran(EDIT, exit_code=1).ran("make").changes("other.py").proposes(EDIT) == ""
    assert Story().ran(EDIT).ran("ls").proposes(EDIT) == "", "it was no failure"
    assert Story().ran("python3 x.py", exit_code=1).ran("ls").proposes("python3 x.py") == "", "no edit"
    assert Story().ran(EDIT, exit_code=1).edited("false").ran("ls").proposes(EDIT) == "", "something else was run"
    assert Story().rejected(EDIT, by="").ran("ls").proposes(EDIT) == ""


def test_validating_what_was_validated() -> None:
    said = "validate again, though strategy.py is as it was when it was scored in step 1"
    assert Story().ran("validate").scored().ran("ls").proposes(" validate\n") == said
    assert Story().ran("make; validate").scored().ran("touch x").changes("x").proposes("validate") == said
    assert Story().ran("validate").scored().ran("make").changes().proposes("validate") == ""
    assert Story().ran("validate").scored().ran("a").changes().ran("b").changes(object=STRATEGY).proposes("validate")
    assert Story().ran("validate").scored(visible=False).ran("ls").proposes("validate") == "", "a person's"
    assert Story().ran("ls").proposes("validate") == ""
    assert Story().ran("validate").scored().ran("ls").proposes("make && validate") == ""


def test_validating_what_is_no_single_file() -> None:
    assert Story().ran("validate").scored(name="model").ran("ls").proposes("validate")
    assert Story().ran("validate").scored(name="model").ran("make").changes("model/a").proposes("validate") == ""


class Looping(ListAgent):
    """Says what is to be done when it repeats itself."""

    def __init__(self, actions: list[str], loops: LoopPolicy) -> None:
        super().__init__(actions)
        self.loops = loops


@pytest.mark.parametrize("interactive", [True, False])
async def test_a_warning_is_a_note(tmp_path: Path, interactive: bool) -> None:
    agent = Looping([GOOD, "validate", "true", "validate", "true"], "warn")
    async with driven(tmp_path, agent, interactive=interactive) as session:
        ended = await session.ended()
    assert (ended.exit_status, ended.steps) == ("actions_exhausted", 5)
    [note] = [note for note in session.events(ev.NoteAdded) if note.step]
    assert (note.step, note.author) == (4, "")
    assert note.text.startswith("the agent repeats itself: validate again, though strategy.py is as it was")
    assert session.events(ev.MessageInjected) == []


async def test_the_agent_is_told(tmp_path: Path) -> None:
    agent = Looping(["true", "true", "false"], "tell")
    async with driven(tmp_path, agent) as session:
        await session.ended()
    said = "you repeat yourself: the same action 2 times in a row. Try something else."
    assert agent.messages == [said] == [message.text for message in session.state.steps[2].messages]


async def test_of_what_comes_again_it_is_said_once(tmp_path: Path) -> None:
    """After a take-over and after a resume."""
    first, then = (Looping(actions, "tell") for actions in ([GOOD, "validate", "validate"], ["false"]))
    async with driven(tmp_path, first, interactive=True, mode="step") as session:
        for step in (1, 2):
            await session.review(step)
            session.runner.controls.step()
        await session.review(3)
        session.runner.controls.take_over(80, 24)
        await session.phase("human")
        await session.runner.controls.hand_back()
        await session.review(4)
    async with driven(tmp_path, then, resume=session.folder) as session:
        await session.ended()
    assert [step.action for step in session.state.steps[3:]] == ["validate"] * 3 + ["false"]
    log = read_log(session.folder)[0]
    assert [event.step for event in log if isinstance(event, ev.NoteAdded) and event.step] == [3]
    assert len([event for event in log if isinstance(event, ev.MessageInjected)]) == 1


async def test_a_loop_pauses_where_somebody_watches(tmp_path: Path) -> None:
    agent = Looping(["true", "true", "false"], "pause")
    async with driven(tmp_path, agent, interactive=True) as session:
        await session.review(2)
        await session.until(lambda: session.runner.state.mode == "paused", "paused")
        change = session.events(ev.ControlChanged)[-1]
        assert (change.author, change.reason) == ("", session.runner.status.problem)
        assert "2 times in a row" in change.reason
        session.runner.controls.continue_()
        assert (await session.ended()).steps == 3


async def test_where_nobody_watches_a_pause_is_a_message(tmp_path: Path) -> None:
    agent = Looping(["true", "true", "false"], "pause")
    async with driven(tmp_path, agent) as session:
        assert (await session.ended()).steps == 3
    assert len(session.events(ev.MessageInjected)) == 1


@pytest.mark.parametrize("agent", [ListAgent(["true", "true"]), Looping(["true", "true"], "off")])
async def test_nothing_is_done_unless_the_agent_says_so(tmp_path: Path, agent: ListAgent) -> None:
    async with driven(tmp_path, agent) as session:
        await session.ended()
    assert [note for note in session.events(ev.NoteAdded) if note.step] == []
