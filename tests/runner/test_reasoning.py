"""What models show of their reasoning: kept with the answer, sent back to those that want it, and to nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents.models.dialects import ANTHROPIC, GEMINI, OPENAI, Dialect
from tests.agents.models.server import Reply, Server, serving, sse
from tests.runner.chat import SIGNATURE, asked, called, every, make_agent, said, talking, thoughtful
from tests.runner.rig import driven
from workbench.runner.forking import Heir, make_fork
from workbench.session import events as ev

THOUGHT = "I look first, then I leap."

SIGNING = [ANTHROPIC, GEMINI]
signing = pytest.mark.parametrize("dialect", SIGNING, ids=str)
"""The providers that sign it, and want it back with the call that it led to."""


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no proxy and no `.env` of the machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as local:
        yield local


@pytest.mark.parametrize("dialect", [OPENAI, *SIGNING], ids=str)
async def test_it_is_kept_with_the_answer_and_is_no_part_of_it(
    tmp_path: Path, server: Server, dialect: Dialect
) -> None:
    server.answers(thoughtful(dialect, THOUGHT, "bash", command="ls"), called(dialect, "submit"))
    async with talking(tmp_path, dialect, server, "tool-calls") as session:
        assert (await session.ended()).exit_status == "submitted"
    first, second = session.events(ev.ModelResponded)
    assert (first.reasoning, second.reasoning) == (THOUGHT, "")
    assert THOUGHT not in first.text
    step = session.state.steps[1]
    assert (step.answer.reasoning, step.thought, step.action) == (THOUGHT, "", "ls")
    assert session.state.steps[2].answer.reasoning == ""


@signing
async def test_signed_reasoning_goes_back_with_its_call_also_after_a_resume(
    tmp_path: Path, server: Server, dialect: Dialect
) -> None:
    server.answers(thoughtful(dialect, THOUGHT, "bash", command="ls"), called(dialect, "bash", command="true"))
    async with talking(tmp_path, dialect, server, "tool-calls", interactive=True) as session:
        await session.over(1)
        await session.until(lambda: len(server.calls) > 1, "the second call")
        session.runner.controls.stop()
    assert SIGNATURE in asked(server, 1)
    server.answers(called(dialect, "submit"))
    before = len(server.calls)
    agent = make_agent(dialect, server, "tool-calls")
    async with driven(tmp_path, agent, resume=session.folder) as resumed:
        assert (await resumed.ended()).exit_status == "submitted"
    assert SIGNATURE in asked(server, before)
    if dialect is ANTHROPIC:
        blocks = server.calls[before].body["messages"][1]["content"]
        assert blocks[0] == {"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE}
        assert blocks[1]["type"] == "tool_use"


@signing
async def test_a_proposal_that_nobody_judged_is_there_again_with_its_edit_and_reasoning(
    tmp_path: Path, server: Server, dialect: Dialect
) -> None:
    """After a take-over and after a resume. Nothing is paid for twice."""
    server.answers(thoughtful(dialect, THOUGHT, "bash", command="ls"))
    options: dict[str, Any] = {"interactive": True, "mode": "step"}
    async with talking(tmp_path, dialect, server, "tool-calls", **options) as session:
        await session.review(1)
        session.runner.controls.take_over(80, 24)
        await session.phase("human")
        await session.runner.controls.hand_back()
        await session.review(2)
        session.runner.controls.edit("ls -a", told=True)
    async with talking(tmp_path, dialect, server, "tool-calls", **options, resume=session.folder) as session:
        await session.review(3)
        step = session.state.steps[3]
        assert (step.proposed, step.action, step.edit_told) == ("ls", "ls -a", True)
        assert step.answer.reasoning == THOUGHT and step.answer.continuation
        assert len(server.calls) == 1 and session.state.cost == session.state.steps[3].spending.cost
        server.answers(called(dialect, "submit"))
        session.runner.controls.step()
        await session.review(4)
    assert asked(server).count(SIGNATURE) == 1 and "ls -a" in asked(server), "it is one turn of the model's"
    assert "was not run" not in asked(server)


@signing
async def test_another_model_is_not_sent_it(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(thoughtful(dialect, THOUGHT, "bash", command="ls"), called(dialect, "submit"))
    async with talking(tmp_path, dialect, server, "tool-calls", interactive=True, mode="step") as session:
        await session.review(1)
        model = "claude-opus-4-5" if dialect is ANTHROPIC else "gemini-3-flash-preview"
        other = make_agent(dialect, server, "tool-calls", model)
        session.runner.agent.use(other.chat)  # type: ignore[union-attr]
        session.runner.controls.run_proposal()
        await session.review(2)
        assert SIGNATURE not in asked(server) and THOUGHT not in asked(server)


async def test_another_model_makes_a_proposal_of_its_own(tmp_path: Path, server: Server) -> None:
    server.answers(said(OPENAI, "echo one"), said(OPENAI, "echo two"))
    async with talking(tmp_path, OPENAI, server, interactive=True, mode="step") as session:
        await session.review(1)
    other = make_agent(OPENAI, server, "default", "another")
    async with driven(tmp_path, other, resume=session.folder, interactive=True, mode="step") as session:
        await session.review(2)
        assert session.state.steps[2].action == "echo two" and len(server.calls) == 2


async def test_another_model_that_goes_on_in_a_fork_makes_a_proposal_of_its_own(tmp_path: Path, server: Server) -> None:
    server.answers(said(OPENAI, "echo one"), said(OPENAI, "echo two"))
    async with talking(tmp_path, OPENAI, server, interactive=True, mode="step") as session:
        await session.review(1)
    made = make_fork(session.folder, 1, tmp_path, Heir("openai:another"))
    other = make_agent(OPENAI, server, "default", "another")
    async with driven(tmp_path, other, resume=made.session, interactive=True, mode="step") as fork:
        await fork.review(2)
        assert (fork.state.steps[2].author, fork.state.steps[2].action) == ("model:another", "echo two")
    again = make_fork(session.folder, 1, tmp_path)
    async with talking(tmp_path, OPENAI, server, interactive=True, mode="step", resume=again.session) as fork:
        await fork.review(2)
        assert fork.state.steps[2].action == "echo one" and len(server.calls) == 2


@pytest.mark.parametrize(("agent", "own"), [("minimal", True), ("default", False)])
async def test_another_agent_that_goes_on_in_a_fork_makes_a_proposal_of_its_own(
    tmp_path: Path, server: Server, agent: str, own: bool
) -> None:
    """Of the same model; at its own temperature, also once the fork is resumed."""
    server.answers(said(OPENAI, "echo one"), *([said(OPENAI, "echo two")] if own else []))
    async with talking(tmp_path, OPENAI, server, interactive=True, mode="step") as session:
        await session.review(1)
    made = make_fork(session.folder, 1, tmp_path, Heir(agent=agent))
    for step in (2, 3):
        going = make_agent(OPENAI, server, agent)
        temperature = going.sampling.temperature
        async with driven(tmp_path, going, resume=made.session, interactive=True, mode="step") as fork:
            await fork.review(step)
            assert fork.state.steps[step].action == ("echo two" if own else "echo one")
            assert going.sampling.temperature == temperature is not None
    assert len(server.calls) == 1 + own
    changes = [step.agent_change.agent for step in fork.state.steps if step.agent_change is not None]
    assert changes == ([agent] if own else [])


@signing
async def test_a_call_that_a_person_changed_has_none(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(thoughtful(dialect, THOUGHT, "bash", command="ls"), called(dialect, "submit"))
    async with talking(tmp_path, dialect, server, "tool-calls", interactive=True, mode="step") as session:
        await session.review(1)
        session.runner.controls.edit("pwd", told=False)
        session.runner.controls.run_proposal()
        await session.review(2)
    assert "pwd" in asked(server) and SIGNATURE not in asked(server) and THOUGHT not in asked(server)


@every
async def test_without_tools_nothing_goes_back(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    """Also from a server that tells of its reasoning beside a plain answer."""
    answer = said(dialect, "ls")
    if dialect is OPENAI:
        answer = Reply([*sse(OPENAI.chunk({"reasoning": THOUGHT}), done=False), *answer.pieces])
    server.answers(answer, said(dialect, "submit"))
    async with talking(tmp_path, dialect, server) as session:
        await session.ended()
    assert all(event.continuation == "" for event in session.events(ev.ModelResponded))
    assert THOUGHT not in asked(server)
    if dialect is OPENAI:
        assert session.state.steps[1].answer.reasoning == THOUGHT


@pytest.mark.parametrize(
    "complaint",
    [
        "The `reasoning_content` in the thinking mode must be passed back to the API.",
        "Missing `reasoning_content` field in the assistant message at message index 2.",
    ],
)
async def test_a_compatible_server_that_insists_on_it_gets_it(tmp_path: Path, server: Server, complaint: str) -> None:
    server.answers(
        thoughtful(OPENAI, THOUGHT, "bash", command="ls"),
        OPENAI.fails(400, complaint),
        called(OPENAI, "bash", command="pwd"),
        called(OPENAI, "submit"),
    )
    async with talking(tmp_path, OPENAI, server, "tool-calls") as session:
        assert (await session.ended()).exit_status == "submitted"
    assert session.events(ev.ModelFailed) == []
    assert "reasoning_content" not in asked(server, 1)
    sent = [message.get("reasoning_content") for message in server.calls[3].body["messages"] if "tool_calls" in message]
    assert sent == [THOUGHT, ""], "of every turn with a call, the empty one too"


@signing
async def test_an_unusable_call_goes_back_with_its_reasoning(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(thoughtful(dialect, THOUGHT, "bash", order="ls"), called(dialect, "submit"))
    async with talking(tmp_path, dialect, server, "tool-calls") as session:
        assert (await session.ended()).exit_status == "submitted"
    assert SIGNATURE in asked(server, 1)
    assert [event.reasoning for event in session.events(ev.ModelResponded)] == [THOUGHT, ""]
    assert session.state.steps[1].answer.reasoning == "", "it was not the answer that was run"
