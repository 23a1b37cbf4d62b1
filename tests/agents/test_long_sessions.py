"""Two hundred steps in a small context, with each parser and each history processor."""

from __future__ import annotations

from typing import Any

import pytest

from tests.agents.scripted_chat import ScriptedChat
from tests.agents.test_history import check_turns
from tests.agents.test_language_agent import Session, config
from workbench.agents.language_agent import LanguageAgent
from workbench.agents.messages import Message, Response, ToolCall, continuation
from workbench.agents.models.tokens import estimate_prompt
from workbench.agents.parsing import ParserName, make_parser
from workbench.session import events as ev

STEPS = 200
BUDGET = 5_000
TOKEN_BUDGET: dict[str, Any] = {"processor": "token_budget", "tokens": BUDGET}
LAST: dict[str, Any] = {"processor": "last_observations", "first": 2, "last": 3}
HISTORIES: dict[str, list[dict[str, Any]]] = {
    "budget": [TOKEN_BUDGET],
    "last": [LAST, TOKEN_BUDGET],
    "windows": [{"processor": "closed_windows"}, TOKEN_BUDGET],
    "full": [{"processor": "full"}, TOKEN_BUDGET],
}
PARSERS: tuple[ParserName, ...] = ("thought_action", "last_fence", "xml", "json", "tool_calls", "action_only")
CASES = [(parser, "budget") for parser in PARSERS] + [("thought_action", name) for name in ("last", "windows", "full")]
CASES += [("tool_calls", "last")]


def answer(parser: ParserName, number: int) -> Response:
    """A step's answer in the form that the parser reads; calls come with reasoning that goes back."""
    action = f"echo {number}\npython3 train.py --lr 0.{number}"
    turn = make_parser(parser).turn(f"Attempt {number}: a lower rate.", action, number)
    if parser != "tool_calls":
        return Response(turn.content)
    call = ToolCall(f"provider-{number}", "bash", {"command": action})
    kept = continuation("test:model", [{"type": "thinking", "thinking": "hm " * 20, "signature": "s" * 100}])
    return Response(turn.content, (call,), reasoning="hm " * 20, continuation=kept)


def output(number: int) -> str:
    """What a command printed: now and then a view of a file, a lot, or nothing."""
    if number % 3 == 0:
        rows = "".join(f"{line}:x = {line * number}\n" for line in range(1, 30))
        return f"[File: /home/agent/workspace/train.py (29 lines total)]\n{rows}"
    return f"loss: {number / 7}\n" * (0 if number % 5 == 0 else 2000 if number % 20 == 1 else 15)


def other_events(session: Session, number: int) -> None:
    """What people and machines do in between."""
    if number == 50:
        session.ran("vim train.py", "", author="human:ann")
    if number == 80:
        session.emit(ev.MessageInjected(author="human:ann", text="Mind the learning rate."))
    if number == 100:
        session.emit(ev.SessionResumed())
        session.emit(ev.SandboxReady(cwd="/home/agent/workspace"))


@pytest.mark.parametrize(("parser", "history"), CASES)
async def test_two_hundred_steps(parser: ParserName, history: str) -> None:
    settings = config("tool-calls" if parser == "tool_calls" else "default", parser=parser, history=HISTORIES[history])
    asked = [number for number in range(1, STEPS + 1) if number % 5 in (0, 1)]
    chat = ScriptedChat([answer(parser, number) for number in asked])
    agent = LanguageAgent(settings, chat)
    session = Session(ev.Limits(steps=1000))
    for number in range(1, STEPS + 1):
        response = answer(parser, number)
        action = f"echo {number}\npython3 train.py --lr 0.{number}"
        if number in asked:
            assert (await agent.propose(session.state)).action == action
        told = ev.ModelResponded(text=response.text, reasoning=response.reasoning, continuation=response.continuation)
        session.emit(told)
        session.ran(action, output(number), thought=f"Attempt {number}: a lower rate.")
        other_events(session, number)
    for number, messages in zip(asked[1:], chat.asked[1:], strict=True):
        check(messages, parser, number - 1)
    last = "".join(message.content for message in chat.asked[-1])
    assert "goes on in a new sandbox" in last and "Mind the learning rate." in last, "never left out"
    assert any(message.elided for message in chat.asked[-1])


def check(messages: list[Message], parser: ParserName, number: int) -> None:
    """What is sent fits, is whole, and ends with what came last."""
    assert estimate_prompt(messages) <= BUDGET
    assert [message.role for message in messages[:2]] == ["system", "user"]
    check_turns(messages)
    turns = [message for message in messages if message.role == "assistant"]
    newest = turns[-1]
    assert f"--lr 0.{number}" in (str(newest.tool_calls) if newest.tool_calls else newest.content)
    for turn in turns:
        read = make_parser(parser).parse(Response(turn.content, turn.tool_calls))
        assert read.action.startswith("echo "), "each turn is one that the parser would read"
        assert bool(turn.continuation) == (parser == "tool_calls")
