"""The log holds what was sent: tools and settings as the provider got them, calls that failed; each message once."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.agents.models.dialects import Dialect
from tests.agents.models.server import Server, serving
from tests.agents.scripted_chat import ScriptedChat
from tests.runner.chat import called, every, talking
from tests.runner.rig import driven
from workbench.agents.agent import ActionsExhausted, Agent, ModelError, Prompt, Proposal
from workbench.agents.catalogue import FOLDER
from workbench.agents.config import LastObservations, TokenBudget, read_agent
from workbench.agents.language_agent import LanguageAgent
from workbench.agents.models.tokens import estimate_prompt
from workbench.environment.live import LiveSession
from workbench.runner.prompt_log import PromptLog
from workbench.session import events as ev
from workbench.session.log import read_log
from workbench.session.prompt_view import message_value, prompt_of_step
from workbench.session.state import SessionState, fold


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Server]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with serving() as local:
        yield local


def language_agent(answers: Sequence[str | Exception], **changes: object) -> tuple[LanguageAgent, ScriptedChat]:
    chat = ScriptedChat(answers)
    return LanguageAgent(replace(read_agent(FOLDER / "default.yaml"), **changes), chat), chat


def action(command: str) -> str:
    return f"So be it.\n```\n{command}\n```"


@every
async def test_tools_and_settings_are_logged_as_the_provider_got_them(
    tmp_path: Path, server: Server, dialect: Dialect
) -> None:
    server.answers(called(dialect, "bash", command="echo hi"), called(dialect, "submit"))
    async with talking(tmp_path, dialect, server, "tool-calls") as session:
        await session.ended()
    first, second = session.state.prompts.calls
    body = server.calls[0].body
    assert first.sent.settings == _settings(body)
    assert first.sent.tools == second.sent.tools and first.sent.tool_tokens > 100
    assert first.usage is not None and first.usage.input_tokens == 1000
    if dialect.name == "gemini":  # which puts schemas in words of its own
        return
    tools = json.loads(session.runner.live.objects.get(first.sent.tools))
    offered = [tool.get("function", tool) for tool in body["tools"]]
    assert [(tool["name"], tool["description"]) for tool in tools] == [(t["name"], t["description"]) for t in offered]
    assert [tool["parameters"] for tool in tools] == [t.get("parameters", t.get("input_schema")) for t in offered]


def _settings(body: dict[str, Any]) -> dict[str, Any]:
    """The sampling in the body of a call."""
    found = {re.sub("[A-Z]", lambda c: f"_{c[0].lower()}", k): v for k, v in body.get("generationConfig", body).items()}
    names = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "max_output_tokens")
    return {name: found[name] for name in names if name in found}


async def test_every_prompt_comes_out_of_the_log_as_it_was_sent(tmp_path: Path) -> None:
    commands = [f"seq {i} {i + 30}" for i in range(14)]
    history = [LastObservations(first=1, last=3)]
    budget = TokenBudget(tokens=1700)
    agent, chat = language_agent(
        [action(commands[0]), "no fence", *map(action, [*commands[1:], "exit_status=1; submit"])],
        history=[*history, budget],
    )
    async with driven(tmp_path, agent) as session:
        await session.ended()
    state = fold(read_log(session.folder)[0])
    objects = session.runner.live.objects
    assert len(state.prompts.calls) == len(chat.asked) == 16
    for call, asked in zip(state.prompts.calls, chat.asked, strict=True):
        prompt = state.prompts.prompt(call)
        assert not prompt.problem
        values = [message_value(objects.get(message.hash)) for message in prompt.messages]
        assert values == [{"role": message.role, "content": message.content} for message in asked]
        assert [(m.role, m.step, m.elided) for m in prompt.messages] == [(m.role, m.step, m.elided) for m in asked]
        assert prompt.tokens == estimate_prompt(asked)
        assert (call.sent.budget, call.sent.counted_by) == (1700, "estimate")
    reasons = {m.elided for call in state.prompts.calls for m in state.prompts.prompt(call).messages}
    assert any("first 1 and last 3" in reason for reason in reasons)
    assert any("over the budget of 1,700 tokens" in reason for reason in reasons)
    assert [len(state.prompts.of_step(step)) for step in (1, 2, 3)] == [1, 2, 1]
    named = [digest for call in state.prompts.calls for digest in call.sent.messages]
    assert len(named) < 16 * 6, "each message is named when it is new"


async def test_what_was_sent_in_vain_is_logged_too(tmp_path: Path) -> None:
    agent, _ = language_agent([ModelError("network", "nobody answers"), action("submit")])
    async with driven(tmp_path, agent, interactive=True) as session:
        await session.phase("waiting")
        session.runner.controls.continue_()
        await session.ended()
    found = prompt_of_step(session.state, lambda digest: None, 1)
    assert [call.failure for call in found.calls] == ["network: nobody answers", ""]
    assert found.place == 1 and found.prompt is not None
    assert [event.name for event in session.seen if "model" in event.name or "prompt" in event.name] == [
        "prompt.sent",
        "model.failed",
        "prompt.sent",
        "model.responded",
    ]


def test_another_process_writes_its_first_prompt_whole(tmp_path: Path) -> None:
    state = SessionState()
    for number in range(2):
        live = LiveSession(tmp_path, state=state)
        log = PromptLog(live)
        if not number:
            live.emit(ev.SessionStarted(format=ev.FORMAT, task="t"))
        log.sent(Prompt(("a", "b")), "m", 1)
        log.sent(Prompt(("a", "b", "c")), "m", 1)
        live.close()
        state = fold(read_log(tmp_path)[0])
    assert [bool(call.sent.same) for call in state.prompts.calls] == [False, True, False, True]
    assert [len(state.prompts.prompt(call).messages) for call in state.prompts.calls] == [2, 3, 2, 3]
    assert not any(state.prompts.prompt(call).problem for call in state.prompts.calls)


def test_a_prompt_is_for_the_step_that_comes_and_for_an_alternative_the_one_under_review(tmp_path: Path) -> None:
    live = LiveSession(tmp_path)
    log = PromptLog(live)
    live.emit(ev.SessionStarted(format=ev.FORMAT, task="t"))
    log.sent(Prompt(("a",)), "m", 1)
    live.emit(ev.ActionProposed(step=1, author="model:m", action="ls"))
    log.sent(Prompt(("a",)), "m", 1, alternative=1)
    live.emit(ev.ActionFinished(step=1, exit_code=0, observation=""))
    log.sent(Prompt(("a", "b")), "m", 1)
    live.close()
    assert [(call.step, call.sent.alternative) for call in live.state.prompts.calls] == [(1, 0), (1, 1), (2, 0)]
    assert prompt_of_step(live.state, live.objects.get, 1).place == 0


class Outsider(Agent):
    """An agent from elsewhere that says what it sent in words of its own."""

    name = model = "test:outsider"
    author = "model:outsider"
    trusted = True

    def __init__(self) -> None:
        self.prompts = [Prompt(("not JSON", "[1]", '{"role": 3, "step": "x", "content": "\\ud800"}', "\ud800"))]

    async def propose(self, state: SessionState) -> Proposal:
        if not self.prompts:
            raise ActionsExhausted("no more")
        return Proposal("echo hi", prompt=self.prompts.pop())


async def test_an_agent_may_hand_over_anything(tmp_path: Path) -> None:
    async with driven(tmp_path, Outsider()) as session:
        await session.ended()
    found = prompt_of_step(session.state, session.runner.live.objects.get, 1)
    assert found.prompt is not None and not found.prompt.problem
    assert [message.role for message in found.prompt.messages] == ["", "", "3", ""]
    assert found.prompt.tokens is None
