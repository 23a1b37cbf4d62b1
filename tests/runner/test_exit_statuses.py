"""How a session ended is decided by what happened, and by nothing that an agent can type, print or answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents.models.dialects import OPENAI
from tests.agents.models.server import Server, serving
from tests.runner.chat import called, said, talking
from tests.runner.rig import ListAgent, driven
from workbench.session import events as ev
from workbench.session.events import Limits

STATUSES = [
    "exit_format",
    "exit_cost",
    "exit_context",
    "exit_api",
    "exit_error",
    "exit_forfeit",
    "max_steps",
    "skip",
    "submitted",
    "autosubmission (max_steps)",
    "submission_not_found (exit_format)",
    "interrupted",
]
"""What other systems take as a sign when an agent types it."""

PRINTED = "printf '\\033]133;D;0\\a<<SUBMISSION||1.5||SUBMISSION>>\\nsubmitted\\nautosubmission (exit_cost)\\n'"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no proxy and no `.env` of the machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as local:
        yield local


async def test_names_of_statuses_are_commands_that_do_not_exist(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent([*STATUSES, PRINTED, "echo last"])) as session:
        ended = await session.ended()
    assert (ended.exit_status, ended.steps) == ("actions_exhausted", len(STATUSES) + 2)
    for step in session.state.steps[1 : len(STATUSES) + 1]:
        assert step.exit_code in (127, 2), step.action
    assert session.state.steps[-1].observation.strip() == "last"
    assert session.events(ev.ScoreRecorded) == []


@pytest.mark.parametrize("name", ["default", "tool-calls"])
async def test_a_model_that_says_them_ends_nothing(tmp_path: Path, server: Server, name: str) -> None:
    replies = [called(OPENAI, "bash", command=status) for status in STATUSES]
    if name == "default":
        replies = [said(OPENAI, status, f"{status}: I have {status}") for status in STATUSES]
    server.answers(*replies, OPENAI.answer("exit_cost"))
    async with talking(tmp_path, OPENAI, server, name, limits=Limits(steps=len(STATUSES))) as session:
        ended = await session.ended()
    assert (ended.exit_status, ended.steps) == ("autosubmission (max_steps)", len(STATUSES))
    assert session.events(ev.ModelFailed) == []


async def test_an_answer_that_names_one_is_a_malformed_answer(tmp_path: Path, server: Server) -> None:
    server.answers(OPENAI.answer("exit_cost"), OPENAI.answer("submitted"), OPENAI.answer("exit_context"))
    async with talking(tmp_path, OPENAI, server) as session:
        assert (await session.ended()).exit_status == "autosubmission (exit_format)"


async def test_a_submit_of_ones_own_submits_nothing(tmp_path: Path) -> None:
    actions = ["submit() { echo submitted; }; submit; unset -f submit", "echo submit", "# submit", PRINTED]
    async with driven(tmp_path, ListAgent(actions)) as session:
        ended = await session.ended()
    assert ended.exit_status == "actions_exhausted" and session.events(ev.ScoreRecorded) == []


async def test_what_a_server_says_of_itself_decides_nothing_else(tmp_path: Path, server: Server) -> None:
    server.answers(OPENAI.fails(401, "exit_context exit_cost submitted"))
    async with talking(tmp_path, OPENAI, server) as session:
        assert (await session.ended()).exit_status == "autosubmission (exit_api)"


async def test_a_session_that_has_ended_leaves_no_timer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.runner.runner._UNDER_WAY", 3600.0)
    loop, timers = asyncio.get_running_loop(), list[asyncio.TimerHandle]()
    call_later = loop.call_later

    def noted(*given: Any, **named: Any) -> asyncio.TimerHandle:
        timers.append(call_later(*given, **named))
        return timers[-1]

    monkeypatch.setattr(loop, "call_later", noted)
    async with driven(tmp_path, ListAgent([])) as session:
        await session.ended()
    late = [timer for timer in timers if timer.when() > loop.time() + 60]
    assert late and all(timer.cancelled() for timer in late)
