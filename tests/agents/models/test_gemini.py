"""Gemini: what is sent, and what its answers mean."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from tests.agents.models.dialects import GEMINI
from tests.agents.models.server import Reply, Server, failure
from workbench.agents.agent import ModelError
from workbench.agents.messages import Message, Sampling, Tool, ToolCall

ASK = [Message("system", "Be terse."), Message("user", "Hello?")]
RUN = Tool(
    "run",
    "Runs a command.",
    {
        "type": "object",
        "properties": {
            "command": {"type": "string", "description": "what to run"},
            "seconds": {"type": ["integer", "null"]},
            "how": {"type": "string", "enum": ["quiet", "loud"]},
            "files": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["command"],
        "additionalProperties": False,
    },
)
STOP = Tool("stop", "Ends it.", {"type": "object", "properties": {}})


async def test_the_prompt_is_sent_in_its_roles(server: Server) -> None:
    server.answers(GEMINI.answer("ok"))
    call = ToolCall("t1", "run", {"command": "ls"})
    messages = [
        *ASK,
        Message("user", "again"),
        Message("assistant", "I look.", tool_calls=(call,)),
        Message("tool", "a.py", tool_call_id="t1"),
    ]
    await GEMINI.make(server).respond(messages, tools=[RUN, STOP], sampling=Sampling(0.5, 0.9, 77))
    body = server.calls[0].body
    assert "gemini-2.5-pro:streamGenerateContent" in server.calls[0].path
    assert body["systemInstruction"]["parts"][0]["text"] == "Be terse."
    assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]
    assert [part["text"] for part in body["contents"][0]["parts"]] == ["Hello?", "again"]
    assert body["contents"][1]["parts"][1]["functionCall"] == {"name": "run", "args": {"command": "ls"}}
    answer = body["contents"][2]["parts"][0]["functionResponse"]
    assert answer["name"] == "run" and answer["response"] == {"result": "a.py"}
    settings = body["generationConfig"]
    assert settings["temperature"] == 0.5 and settings["maxOutputTokens"] == 77
    assert settings["topP"] == pytest.approx(0.9)
    declared = body["tools"][0]["functionDeclarations"]
    assert [tool["name"] for tool in declared] == ["run", "stop"]


async def test_tool_calls(server: Server) -> None:
    arguments: dict[str, Any] = {"command": "ls", "seconds": 3, "files": ["a", "b"], "deep": {"x": 0.5, "y": True}}
    chunks = [
        GEMINI.chunk({"text": "I look."}),
        GEMINI.chunk({"functionCall": {"name": "run", "args": arguments}, "thoughtSignature": "c2ln"}),
        GEMINI.chunk({"functionCall": {"name": "stop", "args": {}}}, finish="STOP", usageMetadata=GEMINI.usage),
    ]
    server.answers(Reply(GEMINI.stream(chunks)), GEMINI.answer("done"))
    model = GEMINI.make(server)
    response = await model.respond(ASK, tools=[RUN, STOP])
    assert response.stop_reason == "tool_calls" and response.text == "I look."
    first, second = response.tool_calls
    assert (first.name, first.arguments, second.name, second.arguments) == ("run", arguments, "stop", {})
    assert first.id and second.id and first.id != second.id
    answered = [
        *ASK,
        Message("assistant", response.text, tool_calls=response.tool_calls, continuation=response.continuation),
        Message("tool", "a.py", tool_call_id=first.id),
        Message("tool", "bye", tool_call_id=second.id),
    ]
    await model.respond(answered, tools=[RUN, STOP])
    parts = server.calls[1].body["contents"][1]["parts"]
    assert [part["functionCall"]["name"] for part in parts[1:]] == ["run", "stop"]
    assert parts[1]["thoughtSignature"] == "c2ln"
    names = [part["functionResponse"]["name"] for part in server.calls[1].body["contents"][2]["parts"]]
    assert names == ["run", "stop"]


def details(quota: str, delay: str) -> list[dict[str, Any]]:
    return [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
    ]


async def test_the_limit_of_a_minute_is_waited_for(server: Server) -> None:
    body = GEMINI.error(429, "You exceeded your current quota, please check your plan.", "RESOURCE_EXHAUSTED")
    body["error"]["details"] = details("GenerateRequestsPerMinutePerProject", "0.03s")
    server.answers(failure(429, body), GEMINI.answer("ok"))
    waits: list[float] = []
    await GEMINI.make(server).respond(ASK, on_retry=lambda _, seconds: waits.append(seconds))
    assert waits == [0.03]


async def test_the_limit_of_a_day_is_not(server: Server) -> None:
    body = GEMINI.error(429, "You exceeded your current quota, please check your plan.", "RESOURCE_EXHAUSTED")
    body["error"]["details"] = details("GenerateRequestsPerDayPerProject", "0.03s")
    server.answers(failure(429, body))
    with pytest.raises(ModelError) as caught:
        await GEMINI.make(server).respond(ASK)
    assert caught.value.cause == "quota" and len(server.calls) == 1


@pytest.mark.parametrize(
    ("status", "message", "code", "cause"),
    [
        (400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT", "auth"),
        (403, "Permission denied", "PERMISSION_DENIED", "auth"),
        (404, "models/gemini-9 is not found for API version v1beta", "NOT_FOUND", "error"),
        (400, "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).",
         "INVALID_ARGUMENT", "context_length"),
        (503, "The model is overloaded.", "UNAVAILABLE", "network"),
    ],
)  # fmt: skip
async def test_failures_in_its_words(server: Server, status: int, message: str, code: str, cause: str) -> None:
    server.answers(GEMINI.fails(status, message, code))
    with pytest.raises(ModelError) as caught:
        await GEMINI.make(server).respond(ASK)
    assert caught.value.cause == cause


async def test_a_prompt_that_is_stopped(server: Server) -> None:
    server.answers(Reply(GEMINI.stream([{"promptFeedback": {"blockReason": "SAFETY"}}])))
    with pytest.raises(ModelError) as caught:
        await GEMINI.make(server).respond(ASK)
    assert caught.value.cause == "content_filter"


async def test_an_answer_that_was_cut_says_so(server: Server) -> None:
    server.answers(Reply(GEMINI.stream([GEMINI.chunk({"text": "and"}), GEMINI.chunk(finish="MAX_TOKENS")])))
    assert (await GEMINI.make(server).respond(ASK)).stop_reason == "length"


async def test_thoughts_are_shown_and_no_part_of_the_answer(server: Server) -> None:
    chunks = [GEMINI.chunk({"text": "Hm, ", "thought": True}), GEMINI.chunk({"text": "yes."}, finish="STOP")]
    server.answers(Reply(GEMINI.stream(chunks)))
    response = await GEMINI.make(server).respond(ASK)
    assert (response.text, response.reasoning) == ("yes.", "Hm, ")
    assert server.calls[0].body["generationConfig"]["thinkingConfig"] == {"includeThoughts": True}


async def test_a_model_that_does_not_think_is_asked_without(server: Server) -> None:
    server.answers(GEMINI.fails(400, "Thinking is not supported by this model."), GEMINI.answer("ok"))
    assert (await GEMINI.make(server).respond(ASK)).text == "ok"
    assert ["thinkingConfig" in call.body["generationConfig"] for call in server.calls] == [True, False]


@pytest.mark.parametrize("kept", ["", "nonsense", '{"model": "gemini:gemini-3-pro", "content": "c2ln"}', "[1]"])
async def test_a_call_of_which_no_signature_is_known(server: Server, kept: str) -> None:
    server.answers(GEMINI.answer("ok"))
    call = Message("assistant", "", tool_calls=(ToolCall("t1", "run", {"command": "ls"}),), continuation=kept)
    await GEMINI.make(server).respond([*ASK, call, Message("tool", "a.py", tool_call_id="t1")], tools=[RUN])
    sent = server.calls[0].body["contents"][1]["parts"][0]["thoughtSignature"]
    assert base64.b64decode(sent) == b"skip_thought_signature_validator"


@pytest.mark.parametrize("version", ["", "/v1beta", "/v1/"])
async def test_an_address_may_hold_the_version(server: Server, version: str) -> None:
    server.answers(GEMINI.answer("ok"))
    await GEMINI.make(server.url + version).respond(ASK)
    expected = version.strip("/") or "v1"
    assert server.calls[0].path == f"/{expected}/models/gemini-2.5-pro:streamGenerateContent?alt=sse"


async def test_calls_without_number_take_no_longer_each(server: Server) -> None:
    calls = [{"functionCall": {"name": "run", "args": {}}, "thoughtSignature": f"c2ln{n:04}"} for n in range(3000)]
    server.answers(Reply(GEMINI.stream([GEMINI.chunk(*calls), GEMINI.chunk(finish="STOP")])))
    begun = time.process_time()
    response = await GEMINI.make(server).respond(ASK, tools=[RUN])
    assert time.process_time() - begun < 10, "each took as long as there were calls before it"
    assert len(response.tool_calls) == 3000 and "c2ln0000" in response.continuation
