"""Breakpoints: where a session stops, or what it does, when a condition holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runner.rig import GOOD, ListAgent, driven
from workbench.library.filter import FilterError
from workbench.library.moments import FIELDS, condition, fields_of, needs_outcome, read_breakpoint, written
from workbench.session import commands as do
from workbench.session import events as ev
from workbench.session.commands import Breakpoint
from workbench.session.state import fold

ACTIONS = ["echo one", "false", "echo two", "submit"]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("kind:submit", Breakpoint(when="kind:submit")),
        ("once exit!=0 => notify", Breakpoint(when="exit!=0", once=True, then="notify")),
        ("ignore 3 command:ls", Breakpoint(when="command:ls", ignore=3)),
        ("worse:* => tell think again", Breakpoint(when="worse:*", then="tell", text="think again")),
    ],
)
def test_a_breakpoint_is_read_as_it_is_written(text: str, read: Breakpoint) -> None:
    assert read_breakpoint(text) == read and written(read) == text


@pytest.mark.parametrize(
    "text", ["", "=> stop", "exit!=0 => explode", "x => tell", "x => stop now", "kid:submit", "a ("]
)
def test_what_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(FilterError):
        read_breakpoint(text)


def test_a_field_alone_is_refused_for_it_would_never_be_met() -> None:
    with pytest.raises(FilterError, match=r'kind alone would be .*kind:WORD, .* the word "kind"'):
        read_breakpoint("kind edit")
    with pytest.raises(FilterError, match="exit alone"):
        condition("command:ls and not (exit)")
    assert read_breakpoint('"timeout" or edit').when == '"timeout" or edit'


def test_every_field_is_known_or_unknown_of_any_step() -> None:
    events: list[ev.Event] = [
        ev.SessionStarted(format=1, task="t"),
        ev.ActionProposed(step=1, author="m", action="cat data/x"),
    ]
    state = fold(events)
    before = {name: fields_of(state, state.steps[1])(name) for name in FIELDS}
    assert before["kind"] == "bash" and before["command"] == "cat" and before["exit"] is None
    assert condition("file:data").matches(fields_of(state, state.steps[1]))
    finished = ev.ActionFinished(step=1, exit_code=1, observation="Traceback (most recent call last)\nValueError: x")
    after = fold([*events, ev.ActionStarted(step=1, author="m", action="cat data/x"), finished])
    fields = fields_of(after, after.steps[1])
    assert fields("exit") == 1.0 and "traceback" in str(fields("failure")) and fields("worse") is None
    assert needs_outcome(condition("exit!=0")) and not needs_outcome(condition("kind:submit"))


async def test_nobody_there_it_stops_and_goes_on_from_the_very_proposal(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(ACTIONS), breakpoints=("action:two",)) as session:
        ended = await session.ended()
        assert (ended.exit_status, ended.reason) == ("breakpoint", "action:two")
        assert [hit.step for hit in session.events(ev.BreakpointHit)] == [3]
        assert session.state.current.status == "proposed" and not session.state.current.over
    async with driven(tmp_path, ListAgent(["submit"]), resume=session.folder, breakpoints=("action:two",)) as again:
        assert (await again.ended()).exit_status == "submitted"
        assert [step.action for step in again.state.steps[1:]] == ACTIONS
        assert again.state.steps[3].observation == "two\n"


async def test_an_outcome_stops_it_after_the_step(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(ACTIONS), breakpoints=("exit!=0",)) as session:
        assert (await session.ended()).exit_status == "breakpoint"
        assert session.state.last_step == 2 and session.state.current.exit_code == 1


async def test_a_person_finds_it_paused_with_the_reason(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(ACTIONS), breakpoints=("command:false",), interactive=True) as session:
        await session.review(2)
        assert session.state.mode == "paused" and session.runner.status.problem == "breakpoint: command:false"
        assert [each.hits for each in session.runner.status.breakpoints] == [1]
        session.runner.controls.continue_()
        assert (await session.ended()).exit_status == "submitted"


async def test_hits_are_ignored_counted_and_one_shot_ones_go(tmp_path: Path) -> None:
    given = ("once command:echo => notify", "ignore 1 command:echo => tell stop echoing")
    async with driven(tmp_path, ListAgent(ACTIONS), breakpoints=given) as session:
        await session.ended()
        assert [hit.step for hit in session.events(ev.BreakpointHit)] == [1, 3]
        assert [message.text for message in session.events(ev.MessageInjected)] == ["stop echoing"]
        [left] = session.runner.status.breakpoints
        assert left.hits == 2


async def test_they_can_be_changed_while_it_runs_and_switched_off(tmp_path: Path) -> None:
    agent = ListAgent(ACTIONS)
    agent.gate.clear()
    async with driven(tmp_path, agent, breakpoints=("command:echo",), interactive=True) as session:
        await session.phase("proposing")
        off = [Breakpoint(when="command:echo", enabled=False), Breakpoint(when="kind:submit", then="ask")]
        assert (await session.runner.controls.do(do.SetBreakpoints(off))).done
        wrong = await session.runner.controls.do(do.SetBreakpoints([Breakpoint(when="kid:submit")]))
        assert not wrong.done and "kind" in wrong.problem
        agent.gate.set()
        await session.review(4)
        assert session.runner.status.asking == "breakpoint: kind:submit" and session.state.mode == "auto"
        session.runner.controls.run_proposal()
        assert (await session.ended()).exit_status == "submitted"


async def test_a_score_at_a_breakpoint_is_for_the_person_alone(tmp_path: Path) -> None:
    async with driven(
        tmp_path, ListAgent([GOOD, "echo on", "submit"]), breakpoints=("command:echo => score",)
    ) as session:
        await session.ended()
        await session.until(lambda: len(session.events(ev.ScoreRecorded)) >= 2, "both scores")
        assert {score.visible_to_agent for score in session.events(ev.ScoreRecorded)} == {True, False}
