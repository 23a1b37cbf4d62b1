"""Anthropic's Messages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.agents.models.dialects import ANTHROPIC
from tests.agents.models.server import Reply, Server, named
from workbench.agents.agent import ModelError
from workbench.agents.messages import Message, Sampling, Tool, ToolCall

ASK = [Message("system", "Be terse."), Message("user", "Hello?")]
RUN = Tool("run", "Runs a command.", {"type": "object", "properties": {"command": {"type": "string"}}})
CACHED = {"type": "ephemeral"}


def marks(body: dict[str, Any]) -> list[str]:
    """Texts of the blocks that the cache is to end at."""
    blocks = [*body.get("system", []), *(block for turn in body["messages"] for block in turn["content"])]
    return [block.get("text") or block.get("content") for block in blocks if "cache_control" in block]


async def test_usage_counts_all_input_and_is_billed(server: Server) -> None:
    server.answers(ANTHROPIC.answer("ok"))
    usage = (await ANTHROPIC.make(server, "claude-sonnet-4-6").respond(ASK)).usage
    assert (usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens) == (1000, 400, 100)
    assert (usage.output_tokens, usage.reasoning_tokens) == (50, 20)
    # 500 at 3 dollars, 400 at 0.30, 100 at 3.75, 50 at 15, per million
    assert usage.cost == pytest.approx((1500 + 120 + 375 + 750) / 1e6)


async def test_turns_alternate_and_system_is_apart(server: Server) -> None:
    server.answers(ANTHROPIC.answer("ok"))
    messages = [
        Message("system", "Be terse."),
        Message("assistant", "I begin."),
        Message("user", "one"),
        Message("system", "Somebody says: hurry."),
        Message("assistant", " ", tool_calls=(ToolCall("t1", "run", {"command": "ls"}), ToolCall("t2", "run"))),
        Message("tool", "a.py", tool_call_id="t1"),
        Message("user", "and?"),
        Message("assistant", "so"),
    ]
    await ANTHROPIC.make(server).respond(messages, tools=[RUN])
    body = server.calls[0].body
    assert body["system"] == [{"type": "text", "text": "Be terse.", "cache_control": CACHED}]
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant"] * 3 + ["user"]
    assert [block["text"] for block in body["messages"][2]["content"]] == ["one", "Somebody says: hurry."]
    assert [block["type"] for block in body["messages"][3]["content"]] == ["tool_use", "tool_use"], "no empty text"
    answers = body["messages"][4]["content"]
    assert [block["type"] for block in answers] == ["tool_result", "tool_result", "text"]
    assert {block.get("tool_use_id") for block in answers} == {"t1", "t2", None}
    assert body["tools"] == [{"name": "run", "description": "Runs a command.", "input_schema": RUN.parameters}]


async def test_the_cache_ends_at_what_stays_the_same(server: Server) -> None:
    server.answers(ANTHROPIC.answer("ok"))
    grows = [Message("system", "S"), Message("user", "task"), Message("assistant", "a"), Message("user", "latest")]
    await ANTHROPIC.make(server).respond(grows)
    assert marks(server.calls[0].body) == ["S", "latest"]
    shortens = [
        Message("system", "S"),
        Message("user", "old, shortened", elided="over the window"),
        Message("assistant", "a"),
        Message("user", "will be shortened next"),
    ]
    await ANTHROPIC.make(server).respond(shortens)
    assert marks(server.calls[1].body) == ["S", "old, shortened"]


async def test_a_server_without_a_cache(server: Server) -> None:
    server.answers(ANTHROPIC.fails(400, "cache_control: Extra inputs are not permitted"), ANTHROPIC.answer("ok"))
    assert (await ANTHROPIC.make(server).respond(ASK)).text == "ok"
    assert marks(server.calls[0].body) and not marks(server.calls[1].body)


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("claude-3-5-sonnet-20241022", {"temperature", "top_p"}),
        ("claude-sonnet-4-20250514", {"temperature"}),
        ("claude-sonnet-4-6", {"temperature"}),
        ("claude-haiku-4-5-20251001", {"temperature"}),
        ("claude-opus-4-7", set()),
        ("claude-opus-5-5", set()),
        ("claude-fable-5-2", set()),
    ],
)
async def test_each_model_is_sent_the_sampling_it_takes(server: Server, model: str, sent: set[str]) -> None:
    server.answers(ANTHROPIC.answer("ok"))
    await ANTHROPIC.make(server, model).respond(ASK, sampling=Sampling(0.0, 0.95, 123))
    body = server.calls[0].body
    assert {"temperature", "top_p"} & set(body) == sent
    assert body["max_tokens"] == 123


async def test_tool_calls_take_their_thinking_back_with_them(server: Server) -> None:
    thinking = ANTHROPIC.block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "I should "},
        {"type": "thinking_delta", "thinking": "look."},
        {"type": "signature_delta", "signature": "c2lnbmVk"},
    )
    use = ANTHROPIC.block(
        1,
        {"type": "tool_use", "id": "t1", "name": "run", "input": {}},
        {"type": "input_json_delta", "partial_json": '{"command":'},
        {"type": "input_json_delta", "partial_json": ' "ls"}'},
    )
    events = [ANTHROPIC.start(), *thinking, *use, *ANTHROPIC.end("tool_use")]
    server.answers(Reply(named(*events)), ANTHROPIC.answer("done"))
    model = ANTHROPIC.make(server)
    response = await model.respond(ASK, tools=[RUN])
    assert response.reasoning == "I should look." and response.stop_reason == "tool_calls"
    assert response.tool_calls == (ToolCall("t1", "run", {"command": "ls"}),)
    answered = [
        *ASK,
        Message("assistant", response.text, tool_calls=response.tool_calls, continuation=response.continuation),
        Message("tool", "a.py", tool_call_id="t1"),
    ]
    await model.respond(answered, tools=[RUN])
    sent = server.calls[1].body["messages"][1]["content"]
    assert sent[0] == {"type": "thinking", "thinking": "I should look.", "signature": "c2lnbmVk"}
    assert sent[1]["type"] == "tool_use" and sent[1]["input"] == {"command": "ls"}


@pytest.mark.parametrize(
    ("status", "message", "code", "cause"),
    [
        (400, "Your credit balance is too low to access the API.", "invalid_request_error", "quota"),
        (400, "prompt is too long: 209000 tokens > 200000 maximum", "invalid_request_error", "context_length"),
        (401, "invalid x-api-key", "authentication_error", "auth"),
        (402, "Your card was declined", "billing_error", "quota"),
        (404, "model: claude-sonet-4-6", "not_found_error", "error"),
        (429, "This would exceed your organization's rate limit", "rate_limit_error", "rate_limit"),
        (529, "Overloaded", "overloaded_error", "network"),
    ],
)
async def test_failures_in_its_words(server: Server, status: int, message: str, code: str, cause: str) -> None:
    server.answers(ANTHROPIC.fails(status, message, code))
    with pytest.raises(ModelError) as caught:
        await ANTHROPIC.make(server).respond(ASK)
    assert caught.value.cause == cause


async def test_overload_in_the_middle(server: Server) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    started = named(ANTHROPIC.start(), error)
    server.answers(Reply(started), ANTHROPIC.answer("at last"))
    assert (await ANTHROPIC.make(server).respond(ASK)).attempts == 2, "nothing had been received"
    text = ANTHROPIC.block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "half"})
    server.answers(Reply(named(ANTHROPIC.start(), *text, error)))
    model = ANTHROPIC.make(server)
    with pytest.raises(ModelError) as caught:
        await model.respond(ASK)
    assert caught.value.cause == "network" and model.partial().text == "half"
    assert model.partial().usage.cached_tokens == 400, "what it said of the input is kept"


async def test_a_signature_that_never_ends_is_too_long(server: Server) -> None:
    piece = {"type": "signature_delta", "signature": "c2ln" * (450 << 10)}
    block = ANTHROPIC.block(0, {"type": "thinking", "thinking": "", "signature": ""}, *[piece] * 12)
    server.answers(Reply(named(ANTHROPIC.start(), *block, *ANTHROPIC.end("end_turn"))))
    with pytest.raises(ModelError, match=r"too long|longer|more than"):
        await ANTHROPIC.make(server).respond(ASK)
