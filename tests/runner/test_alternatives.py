"""Alternatives to a proposal, edits of thoughts, and another model from here on: whole sessions through the SDKs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.agents.models.dialects import OPENAI, AnthropicDialect, Dialect
from tests.agents.models.server import Server, serving
from tests.runner.chat import BILL, asked, called, make_agent, said, talking
from tests.runner.rig import GOOD, Driven, ListAgent, driven
from workbench.agents.agent import ModelError
from workbench.cli import main
from workbench.runner.agents import StartError
from workbench.runner.start import start
from workbench.session import events as ev
from workbench.session.events import Limits
from workbench.session.spec import SessionSpec

ANTHROPIC = AnthropicDialect()
both = pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC], ids=lambda dialect: dialect.name)
told_or_not = pytest.mark.parametrize("told", [True, False], ids=["told", "not-told"])


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no proxy and no `.env` of the machine."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "MLGYM_MODEL_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as local:
        yield local


STEPPING: dict[str, Any] = {"interactive": True, "mode": "step"}


async def drawn(session: Driven, alternatives: int) -> None:
    """Until so many alternatives are there, and none is on its way."""
    sampler = session.runner.controls.sampler
    assert sampler is not None
    await session.until(
        lambda: not sampler.running and len(session.state.current.alternatives) == alternatives + 1,
        f"{alternatives} alternatives",
    )


def words_sent(server: Server) -> str:
    """Everything in the last call, as the model reads it."""
    return json.dumps(server.calls[-1].body, ensure_ascii=False).replace("\\n", "\n").replace('\\"', '"')


def calls_are_paired(server: Server) -> None:
    """Every call of a tool in what was last sent is answered by the message after it, and nothing else is."""
    messages = server.calls[-1].body["messages"]
    open_calls: list[str] = []
    answered = 0
    for message in messages:
        content = message.get("content")
        blocks = content if isinstance(content, list) else []
        results = [block["tool_use_id"] for block in blocks if block.get("type") == "tool_result"]
        results += [message["tool_call_id"]] if message["role"] == "tool" else []
        assert results == open_calls[: len(results)] and (results or not open_calls)
        open_calls = open_calls[len(results) :]
        answered += len(results)
        open_calls += [block["id"] for block in blocks if block.get("type") == "tool_use"]
        open_calls += [call["id"] for call in message.get("tool_calls") or ()]
    assert not open_calls and answered


# -- alternatives ------------------------------------------------------------------------------------------------------


@both
async def test_one_of_three_is_chosen_and_becomes_the_models_own_turn(
    tmp_path: Path, server: Server, dialect: Dialect
) -> None:
    server.answers(
        said(dialect, "echo one", "First."),
        said(dialect, "echo two", "Second."),
        said(dialect, "echo three", "Third."),
        said(dialect, "echo four", "Fourth."),
        said(dialect, "submit"),
    )
    async with talking(tmp_path, dialect, server, **STEPPING) as session:
        await session.review(1)
        assert session.runner.controls.resample(3, temperature=0.9)
        assert not session.runner.controls.resample(1), "one sampling at a time"
        await drawn(session, 3)
        step = session.state.steps[1]
        assert [item.action for item in step.alternatives.values()] == [
            "echo one",
            "echo two",
            "echo three",
            "echo four",
        ]
        assert [item.spending.cost for item in step.alternatives.values()] == [pytest.approx(BILL[dialect.name])] * 4
        assert {item.temperature for number, item in step.alternatives.items() if number} == {0.9}
        assert step.spending.cost == session.state.cost == pytest.approx(4 * BILL[dialect.name])
        assert step.action == "echo one" and session.runner.status.phase == "review", (
            "nothing is chosen, and nothing runs"
        )
        assert not session.runner.controls.choose(7)
        assert session.runner.controls.choose(2)
        assert (step.action, step.thought, step.chosen, step.edited) == ("echo three", "Third.", 2, False)
        session.runner.controls.step()
        await session.over(1)
        await session.review(2)
        session.runner.controls.step()
        ended = await session.ended()
    assert ended.exit_status == "submitted"
    assert session.state.steps[1].observation.strip() == "three"
    assert session.state.steps[2].spending.cost == pytest.approx(BILL[dialect.name])
    sampled = [call.body.get("temperature") for call in server.calls]
    assert sampled == [0.0, 0.9, 0.9, 0.9, 0.0]
    prompts = {re.sub(r"\$[\d.]+ *\.\)", "", asked(server, call).partition('"messages"')[2]) for call in (1, 2, 3)}
    assert len({prompt[: prompt.index("]")] for prompt in prompts}) == 1, "all were asked the same"
    text = asked(server)
    assert "echo three" in text and "Third." in text
    assert "echo one" not in text and "echo two" not in text and "A person" not in text


@both
async def test_alternatives_of_tool_calls(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(
        called(dialect, "bash", command="echo one"),
        called(dialect, "open", path="strategy.py"),
        called(dialect, "bash", command="echo three"),
        called(dialect, "submit"),
    )
    async with talking(tmp_path, dialect, server, "tool-calls", **STEPPING) as session:
        await session.review(1)
        assert session.runner.controls.resample(2)
        await drawn(session, 2)
        assert session.runner.controls.choose(1)
        session.runner.controls.step()
        await session.review(2)
        calls_are_paired(server)
        assert "echo one" not in words_sent(server) and "strategy.py" in words_sent(server)


@both
async def test_what_was_first_can_be_taken_back_and_edited(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(said(dialect, "echo one"), said(dialect, "echo two"), said(dialect, "submit"))
    async with talking(tmp_path, dialect, server, **STEPPING) as session:
        await session.review(1)
        session.runner.controls.resample(1)
        await drawn(session, 1)
        assert session.runner.controls.choose(1) and session.runner.controls.edit("echo 2.5", told=True)
        assert session.runner.controls.choose(0)
        step = session.state.steps[1]
        assert (step.action, step.edited, step.chosen) == ("echo one", False, 0)
        assert session.runner.controls.choose(1) and session.runner.controls.edit("echo 2.7", told=True)
        session.runner.controls.step()
        await session.review(2)
    text = words_sent(server)
    assert "echo two" in text and "What was run instead:\n$ echo 2.7" in text and "echo one" not in text


@both
async def test_malformed_alternatives_are_paid_for_and_the_next_is_asked(
    tmp_path: Path, server: Server, dialect: Dialect
) -> None:
    async with driven(tmp_path, make_agent(dialect, server, format_attempts=1), **STEPPING) as session:
        server.answers(said(dialect, "echo one"), dialect.answer("I would rather talk."), said(dialect, "echo three"))
        await session.review(1)
        session.runner.controls.resample(2)
        await drawn(session, 2)
        alternatives = session.state.steps[1].alternatives
        assert [item.action for item in alternatives.values()] == ["echo one", None, "echo three"]
        assert alternatives[1].spending.cost == pytest.approx(BILL[dialect.name])
        assert not session.runner.controls.choose(1), "there is nothing to run in it"
        assert [event.cause for event in session.events(ev.ModelFailed)][:1] == ["bad_format"]


@both
async def test_stopping_keeps_what_came_and_what_it_cost(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(
        said(dialect, "echo one"),
        said(dialect, "echo two"),
        dialect.answer("I was about to ", "say more", hold_before=3 if dialect is OPENAI else 4),
        said(dialect, "submit"),
    )
    async with talking(tmp_path, dialect, server, **STEPPING) as session:
        await session.review(1)
        session.runner.controls.resample(3)
        await session.until(lambda: "I was about to" in session.runner.status.draft, "the second one streams")
        session.runner.controls.stop_sampling()
        await drawn(session, 2)
        step = session.state.steps[1]
        assert [item.action for item in step.alternatives.values()] == ["echo one", "echo two", None]
        assert step.alternatives[2].spending.output_tokens > 0, "what was received is paid for"
        answers = session.events(ev.ModelResponded)
        assert [answer.alternative for answer in answers] == [0, 1, 2] and "I was about to" in answers[-1].text
        assert session.runner.status.phase == "review" and step.status == "proposed"
        session.runner.controls.step()
        await session.review(2)
        assert session.state.steps[1].action == "echo one"


async def test_running_or_ending_breaks_the_sampling_off(tmp_path: Path, server: Server) -> None:
    server.answers(said(OPENAI, "echo one"), OPENAI.answer("I was about to ", "say more", hold_before=2))
    async with talking(tmp_path, OPENAI, server, **STEPPING) as session:
        await session.review(1)
        session.runner.controls.resample(2)
        await asyncio.wait_for(server.held.wait(), 5)
        session.runner.controls.stop()
        ended = await session.ended()
    events = [event.name for event in session.seen]
    assert ended.exit_status == "stopped" and events[-1] == "session.ended"
    assert events.count("model.responded") == 2, "the answer that was cut is in the log, before the end"


async def test_each_alternative_is_checked_against_the_limit_first(tmp_path: Path, server: Server) -> None:
    server.answers(said(OPENAI, "echo one"))
    agent = make_agent(OPENAI, server)
    async with driven(tmp_path, agent, limits=Limits(cost=1.0), **STEPPING) as session:
        await session.review(1)
        session.runner.controls.change_limits(cost=session.state.cost + 0.087)  # its worst case is eight cents and some
        assert session.runner.controls.resample(3)
        sampler = session.runner.controls.sampler
        assert sampler is not None
        await session.until(lambda: not sampler.running, "it gives up")
        assert 1 < len(server.calls) < 4 and "limit" in session.runner.status.sampling.problem
        assert session.events(ev.ModelFailed)[-1].cause == "cost_limit"
        assert session.runner.status.phase == "review" and session.state.cost <= (session.state.limits.cost or 0)


async def test_who_drives_by_itself_waits_for_the_choice(tmp_path: Path, server: Server) -> None:
    server.answers(said(OPENAI, "echo one"), said(OPENAI, "echo two"), said(OPENAI, "submit"))
    async with talking(tmp_path, OPENAI, server, interactive=True, mode="auto", delay=30.0) as session:
        await session.review(1)
        assert session.runner.controls.resample(1)
        assert session.runner.state.mode == "paused"
        await drawn(session, 1)
        for count in (0, 21):
            with pytest.raises(ValueError, match="from 1 to 20"):
                session.runner.controls.resample(count)
        with pytest.raises(ValueError, match="from 0 to 2"):
            session.runner.controls.resample(1, temperature=3.0)


async def test_an_agent_with_one_answer_has_no_alternatives(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo one"]), **STEPPING) as session:
        await session.review(1)
        assert not session.runner.controls.resample(2) and not session.runner.controls.choose(1)
        with pytest.raises(ModelError, match="asks no model"):
            session.runner.controls.change_model("openai:gpt-4o")


# -- thoughts ----------------------------------------------------------------------------------------------------------


@both
@told_or_not
@pytest.mark.parametrize("name", ["default", "tool-calls"])
async def test_an_edited_thought_and_what_the_model_sees_of_it(
    tmp_path: Path, server: Server, dialect: Dialect, name: str, told: bool
) -> None:
    if name == "default":
        server.answers(said(dialect, "echo one", "A thought."), said(dialect, "submit"))
    else:
        server.answers(called(dialect, "bash", command="echo one"), called(dialect, "submit"))
    async with talking(tmp_path, dialect, server, name, **STEPPING) as session:
        await session.review(1)
        assert session.runner.controls.edit("echo two", thought="Better: two.", told=told)
        step = session.state.steps[1]
        assert (step.thought, step.proposed_thought, step.proposed) == ("Better: two.", "A thought.", "echo one")
        session.runner.controls.step()
        await session.review(2)
    [edited] = session.events(ev.ActionEdited)
    assert (edited.before, edited.after, edited.thought_before, edited.thought_after, edited.told) == (
        "echo one",
        "echo two",
        "A thought.",
        "Better: two.",
        told,
    )
    text = words_sent(server)
    assert ("A person changed your thought" in text) is told
    assert ("What was run instead:\n$ echo two" in text) is told
    assert ("echo one" in text and "A thought." in text) is told
    assert "Better: two." in text
    if name == "tool-calls":
        calls_are_paired(server)


@told_or_not
async def test_a_thought_alone_is_edited(tmp_path: Path, server: Server, told: bool) -> None:
    server.answers(said(OPENAI, "echo one", "A thought."), said(OPENAI, "submit"))
    async with talking(tmp_path, OPENAI, server, **STEPPING) as session:
        await session.review(1)
        assert session.runner.controls.edit("echo one", thought="", told=told)
        session.runner.controls.step()
        await session.review(2)
    text = words_sent(server)
    assert "changed your action" not in text
    assert ("It says nothing now." in text) is told and ("A thought." in text) is told


async def test_an_edit_back_to_the_original_is_nothing_to_tell(tmp_path: Path, server: Server) -> None:
    server.answers(said(OPENAI, "echo one"), said(OPENAI, "submit"))
    async with talking(tmp_path, OPENAI, server, **STEPPING) as session:
        await session.review(1)
        assert session.runner.controls.edit("echo two", told=True) and session.runner.controls.edit(
            "echo one", told=True
        )
        session.runner.controls.step()
        await session.review(2)
    assert "A person changed" not in words_sent(server)


# -- another model -----------------------------------------------------------------------------------------------------


def server_of(dialect: Dialect, server: Server) -> str:
    return server.url + dialect.path


@both
async def test_another_model_from_here_on(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    other = ANTHROPIC if dialect is OPENAI else OPENAI
    server.answers(said(dialect, "echo one"), said(other, "echo two"), said(other, "submit"))
    async with talking(tmp_path, dialect, server, **STEPPING) as session:
        await session.review(1)
        session.runner.controls.change_model(
            f"{other.name}:new-one", base_url=server_of(other, server), temperature=0.5
        )
        [changed] = session.events(ev.AgentChanged)
        assert (changed.model, changed.temperature) == (f"{other.name}:new-one", 0.5)
        assert changed.author.startswith("human:") and session.state.model == f"{other.name}:new-one"
        session.runner.controls.step()
        await session.review(2)
        step = session.state.steps[2]
        assert step.author == "model:new-one" and step.agent_change == changed
        assert session.state.steps[1].author == f"model:{dialect.model}"
        assert session.state.steps[1].agent_change is None
        body = server.calls[1].body
        assert (body["model"], body["temperature"]) == ("new-one", 0.5)
        assert "echo one" in asked(server), "what was before is in its history"
        session.runner.controls.stop()
        await session.ended()
    assert session.state.spending_by["model:new-one"].unpriced_tokens > 0

    # It is kept over a resume; another may be asked for then, and a temperature.
    agent = start(SessionSpec(unsafe_local=True, interactive=True), resume=session.folder)
    assert agent.agent is not None and agent.agent.model == f"{other.name}:new-one"
    assert agent.agent.sampling.temperature == 0.5
    agent.live.close()
    options = SessionSpec(
        task="", unsafe_local=True, model=f"{other.name}:newer", temperature=1.0, mode="step", interactive=True
    )
    again = Driven(start(options, resume=session.folder))
    await again.review(3)
    assert again.state.steps[3].author == "model:newer"
    body = server.calls[2].body
    assert (body["model"], body["temperature"]) == ("newer", 1.0)
    again.runner.controls.stop()
    await again.ended()


async def test_what_cannot_be_is_said_and_changes_nothing(tmp_path: Path, server: Server) -> None:
    server.answers(said(OPENAI, "echo one"))
    async with talking(tmp_path, OPENAI, server, **STEPPING) as session:
        await session.review(1)
        for model, says in (
            ("opnai:gpt-4o", "there is no provider 'opnai'"),
            ("gpt-4o", "did you mean openai:gpt-4o"),
            ("anthropic:claude-sonnet-4-6", "ANTHROPIC_API_KEY"),
        ):
            with pytest.raises(ModelError, match=says):
                session.runner.controls.change_model(model)
        with pytest.raises(ValueError, match="from 0 to 2"):
            session.runner.controls.change_model("openai:gpt-4o", temperature=7)
        session.runner.controls.change_model("openai:gpt-4o", temperature=0.0)
        assert session.events(ev.AgentChanged) == [] and session.state.model == "openai:gpt-4o"


async def test_a_temperature_alone_keeps_the_model_and_its_price(tmp_path: Path, server: Server) -> None:
    server.answers(said(OPENAI, "echo one"), said(OPENAI, "submit"))
    async with talking(tmp_path, OPENAI, server, **STEPPING) as session:
        await session.review(1)
        session.runner.controls.change_model("openai:gpt-4o", temperature=0.7)
        session.runner.controls.step()
        await session.review(2)
        assert server.calls[1].body["temperature"] == 0.7
        assert session.state.cost == pytest.approx(2 * BILL["openai"])


async def test_a_session_can_begin_at_a_temperature_of_its_own(tmp_path: Path, server: Server) -> None:
    server.answers(said(OPENAI, "echo one"), said(OPENAI, "echo two"))
    async with talking(tmp_path, OPENAI, server, **STEPPING, temperature=0.7) as session:
        await session.review(1)
        assert session.state.agent_change is not None and session.state.agent_change.temperature == 0.7
    async with talking(tmp_path, OPENAI, server, **STEPPING, resume=session.folder) as session:
        await session.review(2)
        session.runner.controls.step()
        await session.review(3)
    assert [call.body["temperature"] for call in server.calls] == [0.7, 0.7]
    with pytest.raises(StartError, match="has a temperature"):
        async with driven(tmp_path, ListAgent(["true"]), temperature=0.7):
            pass


async def test_a_call_of_which_nothing_came_is_asked_of_the_new_model(tmp_path: Path, server: Server) -> None:
    held = OPENAI.answer("never", "said", hold_before=0)
    server.answers(held, said(OPENAI, "echo one"))
    async with talking(tmp_path, OPENAI, server, **STEPPING) as session:
        await asyncio.wait_for(server.held.wait(), 5)
        session.runner.controls.change_model("openai:new-one", base_url=server_of(OPENAI, server))
        await session.review(1)
        assert session.state.steps[1].author == "model:new-one"
        names = [event.name for event in session.seen]
        assert names.index("agent.changed") < names.index("action.proposed")


async def test_a_call_that_is_being_answered_is_let_finish(tmp_path: Path, server: Server) -> None:
    slow = OPENAI.answer("So be ", "it.\n```bash\necho one\n```", hold_before=2)
    server.answers(slow, said(OPENAI, "echo two"))
    async with talking(tmp_path, OPENAI, server, **STEPPING) as session:
        await session.until(lambda: "So be" in session.runner.status.draft, "it is being answered")
        session.runner.controls.change_model("openai:new-one", base_url=server_of(OPENAI, server))
        server.go_on.set()
        await session.review(1)
        assert session.state.steps[1].author == "model:gpt-4o" and session.state.model == "openai:new-one"
        session.runner.controls.step()
        await session.review(2)
        step = session.state.steps[2]
        assert step.author == "model:new-one" and step.agent_change is not None


# -- kept over a resume ------------------------------------------------------------------------------------------------


async def test_the_approval_is_kept_over_a_resume(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{command: '\\brm\\b', reason: it deletes}]")
    async with driven(tmp_path, ListAgent(["rm -f a"]), approve="rules.yaml") as session:
        await session.ended()
    assert session.state.approve == str(rules)
    async with driven(tmp_path, ListAgent(["rm -f b"]), resume=session.folder) as again:
        await again.ended()
    assert [step.status for step in again.state.steps[1:]] == ["rejected", "rejected"]
    async with driven(tmp_path, ListAgent(["rm -f c"]), resume=session.folder, approve="never") as last:
        await last.ended()
    assert last.state.steps[3].status == "ran" and last.state.approve == ""
    async with driven(tmp_path, ListAgent(["rm -f d"]), resume=session.folder) as after:
        await after.ended()
    assert after.state.steps[4].status == "ran", "that it was lifted is kept, too"


async def test_rules_that_are_gone_are_missed(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{command: rm}]")
    async with driven(tmp_path, ListAgent(["true"]), approve=str(rules)) as session:
        await session.ended()
    rules.unlink()
    with pytest.raises(StartError, match=r"rules\.yaml"):
        start(SessionSpec(unsafe_local=True), resume=session.folder)


async def test_always_needs_somebody_on_a_resume_too(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["true"]), approve="always", interactive=True) as session:
        await session.review(1)
    with pytest.raises(StartError, match="nobody is there"):
        start(SessionSpec(unsafe_local=True), resume=session.folder)


async def test_a_limit_is_removed(tmp_path: Path) -> None:
    limits = Limits(steps=1, cost=4.0)
    async with driven(tmp_path, ListAgent([GOOD, "true"]), limits=limits, **STEPPING) as session:
        await session.review(1)
        session.runner.controls.change_limits(cost=5.0, remove=["steps"])
        assert session.state.limits == Limits(cost=5.0)
        session.runner.controls.step()
        await session.review(2)


# -- after a take-over -------------------------------------------------------------------------------------------------


@both
async def test_a_take_over_is_told_as_it_was(tmp_path: Path, server: Server, dialect: Dialect) -> None:
    server.answers(called(dialect, "bash", command="echo one"), called(dialect, "submit"))
    async with talking(tmp_path, dialect, server, "tool-calls", **STEPPING) as session:
        await session.review(1)
        session.runner.controls.take_over(80, 24)
        await session.phase("human")
        session.enter("echo by-hand > made; false\n")
        await session.over(2)
        await session.runner.controls.hand_back()
        await session.review(3)
        assert (session.state.current.action, len(server.calls)) == ("echo one", 1)
        session.runner.controls.step()
        await session.review(4)
    text = words_sent(server)
    calls_are_paired(server)
    assert "was not run" not in text, "what comes again is told once, where it ran"
    assert "A person took over the shell and ran:\n$ echo by-hand > made; false" in text
    assert "exit code 1" in text and "made (added)" in text and "The shell is yours again." in text


async def test_sessions_show_names_what_was_chosen(tmp_path: Path, server: Server) -> None:
    server.answers(said(OPENAI, "echo one"), said(OPENAI, "echo two"), said(OPENAI, "submit"))
    async with talking(tmp_path, OPENAI, server, **STEPPING) as session:
        await session.review(1)
        session.runner.controls.resample(1)
        await drawn(session, 1)
        session.runner.controls.choose(1)
        session.runner.controls.step()
        await session.review(2)
    shown = CliRunner().invoke(main, ["sessions", "show", str(session.folder)])
    assert "echo two [alternative 1 of 1]" in shown.output
    shown = CliRunner().invoke(main, ["sessions", "show", str(session.folder), "--json"])
    step = json.loads(shown.output)["steps"][0]
    assert step["alternative"] == 1 and step["model_changed"] is None
    assert [item["action"] for item in step["alternatives"]] == ["echo one", "echo two"]
    assert [item["cost"] for item in step["alternatives"]] == [pytest.approx(BILL["openai"])] * 2
