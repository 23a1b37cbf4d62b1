"""What was sent to a model is in the log once, and comes out of it again as it was; two prompts can be compared."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from workbench.session import events as ev
from workbench.session.diff import DiffLine, diff_lines
from workbench.session.events import Event
from workbench.session.prompt_view import (
    compare,
    comparison,
    last_step_asked,
    message_text,
    message_value,
    prompt_of_step,
    summary,
)
from workbench.session.prompts import SentMessage, runs_of_same
from workbench.session.state import SessionState, fold


def logged(prompts: Sequence[Sequence[str]], **fields: Any) -> list[Event]:
    """The events of a session whose prompts had these messages, one for each step."""
    events: list[Event] = [ev.SessionStarted(format=1, task="t", model="openai:m")]
    before: Sequence[str] = ()
    for number, prompt in enumerate(prompts, 1):
        same, new = runs_of_same(before, prompt)
        notes = [ev.MessageNote(role="user", tokens=len(prompt[i]), step=None) for i in new]
        events += [
            ev.PromptSent(
                messages=[prompt[i] for i in new], notes=notes, same=same, count=len(prompt), step=number, **fields
            ),
            ev.ModelResponded(text="ls", usage=ev.Usage(input_tokens=7)),
            ev.ActionProposed(step=number, author="model:m", action="ls"),
        ]
        before = prompt
    return [msgspec.structs.replace(event, seq=seq) for seq, event in enumerate(events)]


def hashes(state: SessionState, call: int) -> list[str]:
    prompt = state.prompts.prompt(state.prompts.calls[call])
    assert not prompt.problem
    return [message.hash for message in prompt.messages]


def nothing(digest: str) -> bytes | None:
    return None


def test_prompts_come_out_as_they_went_in_whatever_changed_between_them() -> None:
    draw = random.Random(5)
    prompts: list[list[str]] = [[]]
    for _ in range(180):
        prompt = list(prompts[-1])
        for _ in range(draw.randrange(4)):
            where = draw.randrange(len(prompt) + 1)
            match draw.randrange(4):
                case 0:
                    prompt[where:where] = [draw.choice("abcdefgh") for _ in range(draw.randrange(3))]  # repeated ones
                case 1:
                    del prompt[where : where + draw.randrange(3)]
                case 2:
                    draw.shuffle(prompt)
                case _:
                    prompt.append(f"m{draw.randrange(10**9)}")
        prompts.append(prompt)
    state = fold(logged(prompts))
    for call in draw.sample(range(len(prompts)), len(prompts)):
        assert hashes(state, call) == prompts[call]


def test_the_log_grows_by_what_is_new() -> None:
    prompts = [["system", "task", *(f"m{i}" for i in range(2 * step)), f"left {step}"] for step in range(1, 400)]
    lines = [len(ev.encode(event)) for event in logged(prompts) if isinstance(event, ev.PromptSent)]
    assert max(lines[1:]) < 500
    assert max(lines[-50:]) <= max(lines[10:60]) + 10  # longer numbers, and nothing else


def test_messages_keep_what_was_said_of_them() -> None:
    state = fold(logged([["aa"], ["aa", "b"]], budget=100, counted_by="estimate", tool_tokens=4, tools="t" * 64))
    prompt = state.prompts.prompt(state.prompts.calls[1])
    assert [(m.role, m.tokens) for m in prompt.messages] == [("user", 2), ("user", 1)]
    assert (prompt.tokens, prompt.share) == (7, 0.03)
    assert [part.role for part in prompt.parts] == ["tools", "user", "user"]
    assert prompt.call.usage == ev.Usage(input_tokens=7)
    text = "\n".join(summary(prompt))
    assert "7 tokens (estimated)" in text and "3 % of the 100 that fit" in text and "the provider counted 7" in text


@pytest.mark.parametrize(
    "same",
    [[(0, 0, 5)], [(0, -1, 1)], [(-1, 0, 1)], [(9, 0, 1)], [(0, 0, 0)], [(0, 0, 1), (1, 0, 1)], [(0, 2**62, 2**62)]],
)
def test_a_log_that_names_what_was_not_sent_is_damaged_and_shows_what_there_is(
    same: list[tuple[int, int, int]],
) -> None:
    first, *_ = [event for event in logged([["a", "b"]]) if isinstance(event, ev.PromptSent)]
    hostile = ev.PromptSent(seq=2, messages=["c"], same=same, count=3, step=1)
    state = fold([first, hostile])
    prompt = state.prompts.prompt(state.prompts.calls[1])
    assert prompt.problem
    assert prompt.messages[-1].hash == "c" and len(prompt.messages) <= 3


def test_a_prompt_whose_predecessor_is_missing_says_so() -> None:
    events = [event for event in logged([["a", "b"], ["a", "b", "c"]]) if event.seq != 1]
    prompt = fold(events).prompts.prompt(fold(events).prompts.calls[0])
    assert "log does not say" in prompt.problem


def test_old_logs_name_their_messages_whole_and_objects_say_the_rest() -> None:
    stored = {
        "a": {"role": "system", "content": "S"},
        "b": {"role": "user", "content": "U", "step": 1, "elided": "why"},
    }
    events: list[Event] = [
        ev.SessionStarted(format=1, task="t"),
        ev.PromptSent(messages=["a", "b"], model="m"),
        ev.ActionProposed(step=1, author="human:ann", action="ls"),
        ev.ActionProposed(step=2, author="model:m", action="ls"),
    ]
    state = fold(events)
    found = prompt_of_step(state, lambda digest: json.dumps(stored[digest]).encode(), 2)
    assert found.prompt is not None
    assert [(m.role, m.step, m.elided, m.tokens) for m in found.prompt.messages] == [
        ("system", None, "", None),
        ("user", 1, "why", None),
    ]
    assert found.prompt.tokens is None and "tokens" not in "".join(summary(found.prompt))
    assert "ann did it" in prompt_of_step(state, nothing, 1).nothing


@pytest.mark.parametrize(
    ("started", "said"),
    [
        ({"model": "human", "agent": "human"}, "a person acts"),
        ({"model": "scripted:demo"}, "scripted:demo has its actions ready"),
        ({"model": "replay:x.yaml"}, "has its actions ready"),
        ({"model": "gpt4", "source": "mlgym"}, "a recording of mlgym does not hold it"),
        ({"model": "openai:gpt-4o"}, "Nothing was sent to a model yet"),
    ],
)
def test_where_nothing_was_sent_it_is_said_plainly(started: dict[str, str], said: str) -> None:
    state = fold([ev.SessionStarted(format=1, task="t", **started)])  # type: ignore[arg-type]
    found = prompt_of_step(state, nothing, 0)
    assert found.prompt is None and said in found.nothing


def test_calls_that_gave_nothing_are_shown_beside_the_one_that_did() -> None:
    events: list[Event] = [
        ev.SessionStarted(format=1, task="t", model="openai:m"),
        ev.PromptSent(messages=["a"], step=1, attempt=1),
        ev.ModelResponded(text="?"),
        ev.ModelFailed(cause="bad_format", message="no fence"),
        ev.PromptSent(messages=["b"], step=1, attempt=2, same=[(0, 0, 1)], count=2),
        ev.ModelResponded(text="ls"),
        ev.ActionProposed(step=1, author="model:m", action="ls"),
        ev.PromptSent(messages=[], step=1, alternative=1, same=[(0, 0, 2)], count=2),
        ev.ModelResponded(text="pwd", alternative=1),
        ev.PromptSent(messages=["c"], step=2, same=[(0, 0, 1)], count=2),
        ev.ModelFailed(cause="network", message="gone"),
    ]
    state = fold(msgspec.structs.replace(event, seq=seq) for seq, event in enumerate(events))
    found = prompt_of_step(state, nothing, 1)
    assert (len(found.calls), found.place, found.previous) == (3, 1, None)
    assert [call.failure for call in found.calls] == ["bad_format: no fence", "", ""]
    later = prompt_of_step(state, nothing, last_step_asked(state))
    assert (later.step, later.calls[0].failure) == (2, "network: gone")
    assert later.previous is not None and later.previous.call.step == 1
    assert prompt_of_step(state, nothing, 1, 99).place == 2


# -- compared ----------------------------------------------------------------------------------------------------------


def sent(name: str, role: str = "user", step: int | None = None, elided: str = "") -> SentMessage:
    return SentMessage(name, role, 1, elided, step)


def test_what_became_of_each_message() -> None:
    old = [sent("s", "system"), sent("t1"), sent("a1", "assistant", 1), sent("o1", step=1), sent("?"), sent("say")]
    new = [
        sent("s", "system"),
        sent("t2"),
        sent("a1", "assistant", 1),
        sent("o1 short", step=1, elided="too long"),
        sent("a2", "assistant", 2),
        sent("o2", step=2),
    ]
    changes = compare(old, new)
    assert [(change.kind, change.message.hash) for change in changes] == [
        ("same", "s"),
        ("changed", "t2"),
        ("same", "a1"),
        ("elided", "o1 short"),
        ("added", "a2"),
        ("added", "o2"),
        ("removed", "?"),
        ("removed", "say"),
    ]
    assert comparison(changes, None).startswith("nothing was sent before: 2 added, 2 removed, 1 changed, 1 shortened")


def test_lines_of_a_changed_message() -> None:
    assert diff_lines([*"abc"], [*"axcd"]) == [
        DiffLine(" ", "a"),
        DiffLine("-", "b"),
        DiffLine("+", "x"),
        DiffLine(" ", "c"),
        DiffLine("+", "d"),
    ]
    assert diff_lines(["a"], ["a"]) == [DiffLine(" ", "a")]


def test_long_texts_are_compared_at_once() -> None:
    old, new = (["head", *(f"{side} {i % 7}" for i in range(20_000)), "tail"] for side in ("old", "new"))
    lines = diff_lines(old, new)
    assert (lines[0], lines[-1]) == (DiffLine(" ", "head"), DiffLine(" ", "tail"))
    assert len(lines) == 40_002


def test_texts_of_messages() -> None:
    call = {"id": "c1", "name": "bash", "arguments": {"command": "ls"}}
    turn = {"role": "assistant", "content": "I look.", "tool_calls": [call], "step": 3, "elided": "x"}
    assert message_text(json.dumps(turn).encode()) == 'I look.\n(calls bash {"command": "ls"}, as c1)'
    assert message_value(json.dumps(turn).encode()) == {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [call],
    }
    answer = {"role": "tool", "content": "out", "tool_call_id": "c1"}
    assert message_text(json.dumps(answer).encode()) == "(answers the call c1)\nout"
    signed = {"role": "assistant", "content": "I look.", "continuation": "x" * 1200}
    assert message_text(json.dumps(signed).encode()).startswith("I look.\n(goes back with it: 1,200 characters of")
    tools = [{"name": "bash", "description": "Runs it.", "parameters": {"type": "object"}}]
    assert message_text(json.dumps(tools).encode()).startswith("bash: Runs it.\n{")


@pytest.mark.parametrize("data", [None, b"", b"{", b"3", b'{"a":' * 100_000, b"\xff"])
def test_a_text_that_is_lost_or_damaged_is_said_to_be(data: bytes | None) -> None:
    assert "not in the recording" in message_text(data)
    assert message_value(data) is None
