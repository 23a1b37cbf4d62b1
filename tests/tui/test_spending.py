"""Limits and approvals in the workbench."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runner.rig import ListAgent
from tests.tui.test_workbench import opened
from workbench.environment.limits import changed_limits
from workbench.session.events import Limits
from workbench.tui.limits_line import limits_line, read_limits_line
from workbench.tui.screens.dialogs import Ask


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        (Limits(steps=50, cost=4.0, tokens=2_000_000), "steps=50 cost=4 tokens=2000000"),
        (Limits(seconds=1234567.0, cost=0.12345678), "seconds=1234567 cost=0.12345678"),
        (Limits(), ""),
    ],
)
def test_a_line_says_the_limits_and_reads_back_as_them(limits: Limits, line: str) -> None:
    assert limits_line(limits) == line
    assert changed_limits(Limits(), **read_limits_line(line)) == limits


def test_a_line_as_people_write_it() -> None:
    assert read_limits_line(" cost=$5  tokens=1,000_000 ") == {"cost": 5.0, "tokens": 1_000_000}
    assert read_limits_line("cost=none steps=9 tokens=None") == {"remove": ["cost", "tokens"], "steps": 9}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("cost=lots", "'cost=lots': 'lots' is no number"),
        ("steps=1.5", "'1.5' is no number"),
        ("steps", "'' is no number"),
        ("dollars=5", "limits are steps, seconds, cost, tokens and validates"),
        ("5", "limits are steps, seconds, cost, tokens and validates"),
    ],
)
def test_what_is_no_limit_is_said(line: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_limits_line(line)
    assert says in str(caught.value)


async def test_limits_are_changed_with_a_key(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one", "echo two"], limits=Limits(steps=1, cost=4.0)) as on:
        await on.review(1)
        await on.press("u")
        await on.shows("Limits, over the whole session")
        await on.shows("steps=1 cost=4")
        await on.press(*" steps=2 cost=nan", "enter")
        await on.shows("a limit on cost")
        assert on.state.limits == Limits(steps=1, cost=4.0) and isinstance(on.app.screen, Ask)
        await on.press("ctrl+u", *"steps=2", "enter")
        await on.until(lambda: on.state.limits == Limits(steps=2, cost=4.0), "the limits")
        await on.shows("limits: steps=2 cost=4")
        await on.press("s")
        await on.review(2)


async def test_an_action_to_be_approved_waits_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("rules: [{command: '\\brm\\b', reason: it deletes}]")
    agent = ListAgent(["echo one", "rm -f x", "rm -f y", "echo four"], then="sleep 0.1")
    rules = str(tmp_path / "rules.yaml")
    async with opened(tmp_path, agent, mode="auto", delay=0.05, approve=rules) as on:
        await on.review(2)
        await on.shows("your approval: it deletes")
        await on.shows("your decision")
        await on.press("enter")
        await on.review(3)
        await on.press("r")
        await on.shows("Reject action 3")
        await on.press(*"keep", "enter")
        await on.until(lambda: on.state.last_step > 4, "the agent goes on by itself")
        await on.press("p")
    assert [step.status for step in on.state.steps[2:4]] == ["ran", "rejected"]
