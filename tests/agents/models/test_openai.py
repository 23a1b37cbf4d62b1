"""OpenAI's Chat Completions, and servers that resemble it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.agents.models.dialects import OPENAI
from tests.agents.models.server import Reply, Server, failure, sse
from workbench.agents.agent import ModelError
from workbench.agents.messages import Message, Sampling, Tool, ToolCall
from workbench.agents.models.catalogue import make_model

ASK = [Message("user", "Hello?")]
RUN = Tool("run", "Runs a command.", {"type": "object", "properties": {"command": {"type": "string"}}})


def calls(*pieces: dict[str, Any], **choice: Any) -> Reply:
    return Reply(sse(*(OPENAI.chunk({"tool_calls": [piece]}) for piece in pieces), OPENAI.chunk({}, "tool_calls")))


async def test_the_prompt_is_sent_in_its_roles(server: Server) -> None:
    server.answers(OPENAI.answer("ok"))
    call = ToolCall("t1", "run", {"command": "ls"})
    messages = [
        Message("system", "Be terse."),
        Message("user", "one"),
        Message("user", "two"),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "a.py", tool_call_id="t1"),
        Message("assistant", "done"),
        Message("user", "more"),
    ]
    await OPENAI.make(server).respond(messages, tools=[RUN], sampling=Sampling(0.5, 0.9, 100))
    body = server.calls[0].body
    assert [message["role"] for message in body["messages"]] == [
        "system", "user", "assistant", "tool", "assistant", "user",
    ]  # fmt: skip
    assert body["messages"][1]["content"] == "one\n\ntwo"
    assert body["messages"][2]["tool_calls"][0]["function"] == {"name": "run", "arguments": '{"command": "ls"}'}
    assert body["messages"][3] == {"role": "tool", "tool_call_id": "t1", "content": "a.py"}
    assert body["tools"][0]["function"]["parameters"] == RUN.parameters
    assert (body["temperature"], body["top_p"], body["stream"]) == (0.5, 0.9, True)
    assert server.calls[0].path == "/v1/chat/completions"


async def test_tool_calls_are_put_together(server: Server) -> None:
    server.answers(
        calls(
            {"index": 0, "id": "t1", "type": "function", "function": {"name": "run", "arguments": ""}},
            {"index": 0, "function": {"arguments": '{"comm'}},
            {"index": 1, "id": "t2", "function": {"name": "look", "arguments": "not json"}},
            {"index": 0, "function": {"arguments": 'and": "ls"}'}},
        )
    )
    response = await OPENAI.make(server).respond(ASK, tools=[RUN])
    assert response.stop_reason == "tool_calls" and response.text == ""
    assert response.tool_calls == (
        ToolCall("t1", "run", {"command": "ls"}),
        ToolCall("t2", "look", raw_arguments="not json"),
    )


async def test_a_call_without_an_answer_gets_one(server: Server) -> None:
    server.answers(OPENAI.answer("ok"))
    messages = [
        Message("user", "go"),
        Message("tool", "of a step left out", tool_call_id="gone"),
        Message("assistant", "", tool_calls=(ToolCall("t1", "run"), ToolCall("t2", "run"))),
        Message("tool", "a.py", tool_call_id="t2"),
        Message("user", "and?"),
    ]
    await OPENAI.make(server).respond(messages)
    sent = server.calls[0].body["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool", "user"]
    assert {message.get("tool_call_id") for message in sent} == {None, "t1", "t2"}
    assert "of a step left out" in sent[0]["content"]


@pytest.mark.parametrize(
    ("model", "sampled"),
    [("gpt-4o", True), ("gpt-4.1-mini", True), ("gpt-5-chat-latest", True), ("gpt-5.2", True), ("llama-3.1-8b", True),
     ("o1", False), ("o3-mini", False), ("gpt-5-mini", False), ("gpt-6-sol", False), ("gpt-6.1-terra", False)],
)  # fmt: skip
async def test_reasoning_models_are_not_sent_a_temperature(server: Server, model: str, sampled: bool) -> None:
    server.answers(OPENAI.answer("ok"))
    await OPENAI.make(server, model).respond(ASK)
    body = server.calls[0].body
    assert ("temperature" in body, "top_p" in body) == (sampled, sampled)


async def test_the_limit_of_the_answer_has_the_name_that_is_understood(server: Server) -> None:
    refusal = {
        "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
        "instead.",
        "param": "max_tokens",
        "code": "unsupported_parameter",
    }
    server.answers(failure(400, {"error": refusal}), OPENAI.answer("ok"))
    await OPENAI.make(server).respond(ASK, sampling=Sampling(max_output_tokens=77))
    assert server.calls[0].body["max_tokens"] == 77
    assert server.calls[1].body["max_completion_tokens"] == 77 and "max_tokens" not in server.calls[1].body


async def test_servers_that_refuse_stream_options_get_none(server: Server) -> None:
    refusal = failure(422, {"detail": "Extra inputs are not permitted: stream_options"})
    server.answers(refusal, Reply(OPENAI.pieces("eight words, or so, come from this one", usage=False)))
    response = await OPENAI.make(server).respond(ASK)
    assert "stream_options" in server.calls[0].body and "stream_options" not in server.calls[1].body
    assert 5 < response.usage.output_tokens < 20 and response.usage.input_tokens > 0, "estimated"


async def test_reasoning_that_a_server_shows_is_kept_apart(server: Server) -> None:
    deltas = [{"reasoning_content": "Hm, "}, {"reasoning": "well."}, {"content": "Yes."}]
    server.answers(Reply(sse(*map(OPENAI.chunk, deltas), OPENAI.chunk({}, "stop"))))
    response = await OPENAI.make(server).respond(ASK)
    assert (response.reasoning, response.text) == ("Hm, well.", "Yes.")


async def test_an_answer_that_its_server_closed_is_whole_whatever_becomes_of_the_connection(server: Server) -> None:
    pieces = OPENAI.pieces("Hello", stop=False)
    server.answers(Reply([*pieces, b"data: [DONE]\n\n"], cut=True))
    response = await OPENAI.make(server).respond(ASK)
    assert (response.text, response.stop_reason, len(server.calls)) == ("Hello", "stop", 1)


async def test_an_answer_that_was_cut_says_so(server: Server) -> None:
    server.answers(Reply(sse(OPENAI.chunk({"content": "and then"}), OPENAI.chunk({}, "length"))))
    assert (await OPENAI.make(server).respond(ASK)).stop_reason == "length"


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        (429, "insufficient_quota", "quota"),
        (429, "rate_limit_exceeded", "rate_limit"),
        (400, "context_length_exceeded", "context_length"),
        (400, "content_policy_violation", "content_filter"),
    ],
)
async def test_codes_decide(server: Server, status: int, code: str, cause: str) -> None:
    server.answers(OPENAI.fails(status, "No.", code))
    with pytest.raises(ModelError) as caught:
        await OPENAI.make(server).respond(ASK)
    assert caught.value.cause == cause
    assert len(server.calls) == (3 if cause == "rate_limit" else 1)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ({"message": "Prompt exceeds the maximum context", "code": "context_length_exceeded"}, "context_length"),
        ({"message": "overloaded", "code": 503}, "network"),
        ({"message": "slow down", "code": "rate_limit_exceeded"}, "rate_limit"),
        ({"message": "something", "type": "server_error"}, "network"),
    ],
)
async def test_an_error_in_the_stream(server: Server, error: dict[str, Any], cause: str) -> None:
    server.answers(Reply(sse({"error": error}, done=False)))
    with pytest.raises(ModelError) as caught:
        await OPENAI.make(server).respond(ASK)
    assert caught.value.cause == cause


async def test_a_wrong_name_gets_the_nearest(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/v1")  # which the SDK takes for OpenAI's own
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789")
    server.answers(OPENAI.fails(404, "The model `gpt-4p` does not exist", "model_not_found"))
    with pytest.raises(ModelError, match=r"OpenAI knows no model 'gpt-4p'.*did you mean .*openai:gpt-4") as caught:
        await make_model("openai:gpt-4p").respond(ASK)
    assert caught.value.cause == "error"


async def test_another_server_gets_no_key_of_openai_and_has_no_price(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-private-0123456789")
    server.answers(OPENAI.answer("ok"))
    model = make_model("openai:gpt-4o", base_url=server.url + "/v1")
    response = await model.respond(ASK)
    assert "very-private" not in str(server.calls[0].headers)
    assert response.usage.cost is None and model.worst_case(ASK) is None
    monkeypatch.setenv("MLGYM_MODEL_API_KEY", "its-own-key")
    await make_model("openai:gpt-4o", base_url=server.url + "/v1").respond(ASK)
    assert server.calls[1].headers["authorization"] == "Bearer its-own-key"


async def test_a_server_that_leaves_out_almost_everything(server: Server) -> None:
    server.answers(
        Reply(
            sse(
                {"choices": None},
                {"choices": [{}]},
                {"choices": [{"delta": {"content": "hi", "tool_calls": None}}]},
                {"choices": [{"delta": {"tool_calls": [{"function": {"name": "run", "arguments": "{}"}}]}}]},
                {"choices": [{"delta": None, "finish_reason": "eos"}], "usage": {"prompt_tokens": 3}},
            )
        )
    )
    response = await OPENAI.make(server).respond(ASK)
    assert (response.text, response.stop_reason, response.usage.input_tokens) == ("hi", "other", 3)
    assert response.tool_calls[0].name == "run" and response.tool_calls[0].id.startswith("call_")


async def test_the_sdk_is_loaded_without_stopping_the_screen(server: Server) -> None:
    """The first call makes the client in a thread: the event loop goes on meanwhile."""
    server.answers(OPENAI.answer("ok"))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await OPENAI.make(server).respond(ASK)
    counting.cancel()
    assert turns > 3


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": "12", "completion_tokens": "3"},
        {"prompt_tokens": -5, "completion_tokens": -7, "prompt_tokens_details": {"cached_tokens": -9}},
        {"prompt_tokens": [], "completion_tokens": {"a": 1}, "completion_tokens_details": 7},
        {"prompt_tokens": 1e300, "completion_tokens": True},
        {"total_tokens": 40},
        "many",
        17,
    ],
    ids=repr,
)
async def test_usage_that_cannot_be_is_estimated(server: Server, usage: object) -> None:
    events = [OPENAI.chunk({"content": "eight words, or so, come from this one"}), OPENAI.chunk({}, "stop")]
    server.answers(Reply(sse(*events, {**OPENAI.usage, "usage": usage})))
    response = await OPENAI.make(server).respond(ASK)
    assert 5 < response.usage.output_tokens < 20 and 5 < response.usage.input_tokens < 60
    assert response.usage.cached_tokens == 0 and response.usage.cost is not None and response.usage.cost > 0


async def test_usage_is_never_more_than_it_can_be(server: Server) -> None:
    usage = {
        "prompt_tokens": 100.0,
        "completion_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 5000, "cache_write_tokens": 70},
    }
    server.answers(Reply(sse(OPENAI.chunk({"content": "hi"}, "stop"), {**OPENAI.usage, "usage": usage})))
    said = (await OPENAI.make(server).respond(ASK)).usage
    assert (said.input_tokens, said.cached_tokens, said.cache_write_tokens, said.output_tokens) == (100, 100, 0, 10)
    assert said.cost == pytest.approx((100 * 1.25 + 10 * 10) / 1e6)


async def test_usage_that_comes_with_every_piece_counts_once(server: Server) -> None:
    pieces = [
        {**OPENAI.chunk({"content": "hi"}), "usage": {"prompt_tokens": 9, "completion_tokens": n}} for n in (1, 2)
    ]
    server.answers(Reply(sse(*pieces, OPENAI.chunk({}, "stop"))))
    said = (await OPENAI.make(server).respond(ASK)).usage
    assert (said.input_tokens, said.output_tokens) == (9, 2)
