"""What real servers do, through every SDK: each is an answer, or a failure that says so; half of one is never one."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.agents.models.dialects import OPENAI, QUICK, SECRET, Dialect, GeminiDialect
from tests.agents.models.server import Reply, Server, failure, sse, until
from workbench.agents.agent import ModelError
from workbench.agents.messages import Message, Response, ToolCall
from workbench.agents.models.base import ProviderModel

ASK = [Message("user", "Hello?")]
PAGE = b"<!doctype html><html><body>Sign in</body></html>"


async def outcome(model: ProviderModel) -> str:
    """Text of the answer, or the cause of the failure with how often it was tried."""
    try:
        return (await model.respond(ASK)).text
    except ModelError as error:
        assert error.__context__ is None and SECRET not in str(error)
        return error.cause


def lines(dialect: Dialect, change: Callable[[bytes], bytes]) -> Reply:
    """A whole answer whose events are changed on their way."""
    return Reply([change(piece) for piece in dialect.pieces("well")])


def no_finish(dialect: Dialect) -> Reply:
    return Reply(dialect.pieces("half", stop=False))


# What a server sends, and what comes of it: text of the answer, or cause of the failure and number of calls.
BEHAVIOURS: dict[str, tuple[Callable[[Dialect], Reply], str, int]] = {
    "an answer": (lambda d: d.answer("well"), "well", 1),
    "in one piece": (lambda d: failure(200, d.whole("well")), "well", 1),
    "in one piece, indented, after blanks": (
        lambda d: Reply([b" ", b"\n ", json.dumps(d.whole("well"), indent=2).encode()]), "well", 1,
    ),
    "in one piece, cut": (lambda d: Reply([json.dumps(d.whole("well")).encode()[:-20]]), "error", 1),
    "no last event": (no_finish, "network", 1),
    "cut": (lambda d: Reply(d.pieces("half", stop=False), cut=True), "network", 1),
    "cut at once": (lambda d: Reply([], cut=True), "network", QUICK.most + 1),
    "a page": (lambda d: Reply([PAGE], content_type="text/html"), "error", 1),
    "a page as a stream": (lambda d: Reply([PAGE]), "error", 1),
    "busy with status 200": (lambda d: failure(200, d.error(503, "busy", "unavailable")), "network", QUICK.most + 1),
    "a refused key with status 200": (lambda d: failure(200, d.error(401, "no", "authentication_error")), "auth", 1),
    "a plain error with status 200": (lambda d: failure(200, {"error": "out of memory"}), "network", QUICK.most + 1),
    "the content filter": (lambda d: d.refusal(), "content_filter", 3),
    "something else": (lambda d: failure(200, {"detail": "Not Found"}), "error", 1),
}  # fmt: skip


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
async def test_behaviour(server: Server, dialect: Dialect, behaviour: str) -> None:
    reply, expected, calls = BEHAVIOURS[behaviour]
    server.answers(reply(dialect))
    model = dialect.make(server)
    assert (await outcome(model), len(server.calls)) == (expected, calls)
    await model.close()


STREAMS: dict[str, Callable[[bytes], bytes]] = {
    "comments": lambda piece: b": OPENROUTER PROCESSING\n\n" + piece + b":\n",
    "CR LF": lambda piece: piece.replace(b"\n", b"\r\n"),
    "no blank after the colon": lambda piece: piece.replace(b"data: ", b"data:"),
    "ids": lambda piece: b"id: 7\nretry: 3\n" + piece,
    "pings": lambda piece: b'event: ping\ndata: {"type": "ping"}\n\n' + piece,
    "blank lines": lambda piece: b"\n\n" + piece,
}


@pytest.mark.parametrize("lines_of", STREAMS)
async def test_streams_of_other_forms(server: Server, dialect: Dialect, lines_of: str) -> None:
    server.answers(lines(dialect, STREAMS[lines_of]))
    assert await outcome(dialect.make(server)) == "well"


@pytest.mark.parametrize("reason", ["error", "abort", "cancelled", "insufficient_system_resource", "content_filter"])
async def test_an_answer_that_its_server_gives_up_is_asked_for_again(
    server: Server, dialect: Dialect, reason: str
) -> None:
    gemini = {"content_filter": "SAFETY"}.get(reason, "OTHER")
    failed = dialect.ends("```\nrm -rf data\n```", gemini if isinstance(dialect, GeminiDialect) else reason)
    server.answers(failed, dialect.answer("well"))
    model = dialect.make(server)
    partly: list[str] = []
    response = await model.respond(ASK, on_retry=lambda *_: partly.append(model.partial().text))
    assert (response.text, response.attempts) == ("well", 2)
    assert partly == ["```\nrm -rf data\n```"], "which can be told, for it is paid for"
    server.answers(failed)
    assert await outcome(model) in ("network", "content_filter")
    assert len(server.calls) == 2 + 3, "not for ever"


@pytest.mark.parametrize("reason", ["stop", "eos", "COMPLETE", "end_turn", None])
async def test_any_other_reason_ends_a_whole_answer(server: Server, reason: str | None) -> None:
    server.answers(Reply(sse(OPENAI.chunk({"content": "well"}, reason))))
    assert await outcome(OPENAI.make(server)) == "well"


async def test_an_end_without_anything_is_no_answer(server: Server) -> None:
    server.answers(Reply(sse(OPENAI.chunk({"role": "assistant", "content": ""}))), OPENAI.answer("well"))
    assert (await OPENAI.make(server).respond(ASK)).attempts == 2


@pytest.mark.parametrize(
    "event",
    [
        {"error": {"message": "busy", "code": 503}},
        {"error": "busy"},
        {"object": "error", "message": "busy", "code": 503},
        {"type": "error", "code": "server_error", "message": "busy"},
        {"message": "busy"},
        {"choices": [{"index": 0, "delta": {}, "error": {"message": "busy", "code": 503}, "finish_reason": "error"}]},
    ],
    ids=str,
)
@pytest.mark.parametrize("event_name", ["", "event: error\n"])
async def test_an_error_in_a_stream_is_no_end(server: Server, event: dict[str, Any], event_name: str) -> None:
    said = sse(OPENAI.chunk({"content": "```\nls\n```"}), done=False)
    server.answers(Reply([*said, f"{event_name}data: {json.dumps(event)}\n\n".encode(), b"data: [DONE]\n\n"]))
    model = OPENAI.make(server)
    with pytest.raises(ModelError, match="busy") as caught:
        await model.respond(ASK)
    assert caught.value.cause == "network"


# -- tool calls, content and reasoning in the forms of servers that only resemble OpenAI -------------------------------


async def answered(server: Server, *deltas: dict[str, Any], finish: str = "stop") -> Response:
    """What a server with these pieces says."""
    server.answers(Reply(sse(*map(OPENAI.chunk, deltas), OPENAI.chunk({}, finish))))
    return await OPENAI.make(server).respond(ASK)


def piece(index: int | None = 0, known: str = "", name: str = "", arguments: Any = "") -> dict[str, Any]:
    call: dict[str, Any] = {"index": index, "function": {"name": name or None, "arguments": arguments}}
    return {"tool_calls": [{**call, "id": known} if known else call]}


LS = {"command": "ls"}


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        ([piece(0, "a", "bash", LS)], [("bash", LS)]),
        ([piece(0, "a", "bash", json.dumps(json.dumps(LS)))], [("bash", LS)]),
        ([piece(0, "a", "submit", None)], [("submit", {})]),
        ([piece(0, "a", "submit", "null")], [("submit", {})]),
        ([piece(0, "a", "bash", '{"command": "ls\n-l\tx"}')], [("bash", {"command": "ls\n-l\tx"})]),
        ([piece(0, "a", "ba"), piece(0, "", "sh"), piece(0, "", "", json.dumps(LS))], [("bash", LS)]),
        ([piece(0, "a", "bash", '{"command":'), piece(0, "a", "bash", '"ls"}')], [("bash", LS)]),
        ([piece(0, "a", "bash", json.dumps(LS)), piece(0, "b", "submit", "{}")], [("bash", LS), ("submit", {})]),
        ([piece(0, "", "bash", json.dumps(LS)), piece(0, "", "submit", "{}")], [("bash", LS), ("submit", {})]),
        ([piece(None, "a", "bash", LS), piece(None, "b", "submit", {})], [("bash", LS), ("submit", {})]),
        ([piece(0, "a", "bash", LS), piece(1, "b", "open", ""), piece(0, "c", "submit", {})],
         [("bash", LS), ("open", {}), ("submit", {})]),
        ([piece(0, "a", "bash", {"command": "\ud83d"})], [("bash", {"command": "\ufffd"})]),
        ([{"tool_calls": [None, {"function": None}]}, piece(0, "a", "bash", LS)], [("bash", LS)]),
        ([{"tool_calls": {"id": "a", "function": {"name": "bash", "arguments": LS}}}], [("bash", LS)]),
    ],
)  # fmt: skip
async def test_tool_calls_in_any_form(
    server: Server, pieces: list[dict[str, Any]], calls: list[tuple[str, dict[str, Any]]]
) -> None:
    response = await answered(server, *pieces)
    assert [(call.name, call.arguments) for call in response.tool_calls] == calls
    assert len({call.id for call in response.tool_calls}) == len(calls) and response.stop_reason == "tool_calls"


async def test_a_second_answer_is_no_part_of_the_first(server: Server) -> None:
    both = [{**OPENAI.chunk({"content": text})["choices"][0], "index": index} for index, text in enumerate(["a", "b"])]
    server.answers(Reply(sse({**OPENAI.chunk({}), "choices": both}, OPENAI.chunk({}, "stop"))))
    assert await outcome(OPENAI.make(server)) == "a"


async def test_a_word_that_an_sdk_does_not_know_is_not_warned_of(
    server: Server, dialect: Dialect, recwarn: pytest.WarningsRecorder
) -> None:
    server.answers(dialect.ends("well", "SOMETHING_NEW"))
    assert await outcome(dialect.make(server)) == "well"
    assert not [warning for warning in recwarn if warning.category is UserWarning]


async def test_arguments_that_are_no_object_stay_as_they_are(server: Server) -> None:
    response = await answered(server, piece(0, "a", "bash", "[1]"), piece(1, "b", "bash", '{"command": '))
    assert response.tool_calls == (
        ToolCall("a", "bash", raw_arguments="[1]"),
        ToolCall("b", "bash", raw_arguments='{"command": '),
    )


@pytest.mark.parametrize(
    ("delta", "text", "reasoning"),
    [
        ({"content": [{"type": "text", "text": "well"}]}, "well", ""),
        ({"content": ["we", {"type": "output_text", "text": "ll"}]}, "well", ""),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                      {"type": "text", "text": "well"}]}, "well", "hm"),
        ({"content": {"type": "text", "text": "well"}}, "well", ""),
        ({"content": "well", "reasoning_content": "", "reasoning": "hm"}, "well", "hm"),
        ({"content": "well", "reasoning": None, "reasoning_content": "hm"}, "well", "hm"),
        ({"content": "well", "reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
         "well", "hm"),
        ({"content": "well", "reasoning_details": [{"type": "reasoning.summary", "summary": "hm"},
                                                   {"type": "reasoning.encrypted", "data": "AAAA"}]}, "well", "hm"),
        ({"content": "<think>hm</think>well"}, "well", "hm"),
        ({"content": "hm</think>\n\nwell"}, "well", "hm"),
        ({"content": "<think>hm"}, "", "hm"),
        ({"content": "w\ud83de\ude00ll"}, "w\ufffde\ufffdll", ""),
    ],
    ids=str,
)  # fmt: skip
async def test_content_and_reasoning_in_any_form(
    server: Server, delta: dict[str, Any], text: str, reasoning: str
) -> None:
    response = await answered(server, delta)
    assert (response.text, response.reasoning) == (text, reasoning)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
async def test_half_a_character_is_replaced(server: Server, dialect: Dialect, size: int) -> None:
    whole = b"".join(dialect.answer("a \ud83d b \\ud83d c \U0001f600 d \ude00").pieces)
    server.answers(Reply([whole[at : at + size] for at in range(0, len(whole), size)]))
    assert await outcome(dialect.make(server)) == "a \ufffd b \\ud83d c \U0001f600 d \ufffd"


async def test_a_character_that_comes_in_two_pieces_is_one(server: Server, dialect: Dialect) -> None:
    server.answers(dialect.answer("so \ud83d", "\ude00 it is"))
    heard: list[str] = []
    response = await dialect.make(server).respond(ASK, on_delta=heard.append)
    assert response.text == "".join(heard) == "so \U0001f600 it is"


# -- what is shown while it comes --------------------------------------------------------------------------------------


async def test_reasoning_in_the_text_is_shown_as_reasoning(server: Server, dialect: Dialect) -> None:
    server.answers(dialect.answer("<thi", "nk>\nHm. ", "What now?\n</th", "ink>\n", "\nSo be ", "it."))
    said: list[str] = []
    thought: list[str] = []
    response = await dialect.make(server).respond(ASK, on_delta=said.append, on_reasoning=thought.append)
    assert ("".join(said), "".join(thought).strip()) == ("So be it.", "Hm. What now?")
    assert (response.text, response.reasoning) == ("So be it.", "Hm. What now?")


async def test_a_key_that_a_server_says_is_never_shown(server: Server, dialect: Dialect) -> None:
    said = f"Your key is {SECRET}, or {SECRET.encode().hex()}."
    server.answers(dialect.answer(*(said[at : at + 5] for at in range(0, len(said), 5))))
    heard: list[str] = []
    response = await dialect.make(server).respond(ASK, on_delta=heard.append)
    assert response.text == "".join(heard) == "Your key is [redacted], or [redacted]."


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_a_key_in_a_failure_is_never_told(server: Server, dialect: Dialect, status: int) -> None:
    spellings = [SECRET, SECRET.upper(), SECRET.encode().hex(), base64.b64encode(f"Bearer {SECRET}".encode()).decode()]
    server.answers(failure(status, dialect.error(status, f"Bad: {', '.join(spellings)}")))
    with pytest.raises(ModelError) as caught:
        await dialect.make(server).respond(ASK)
    assert not any(spelling[-12:-4] in str(caught.value) for spelling in spellings)


async def test_a_key_at_the_edge_of_what_is_quoted_is_not_told(server: Server, dialect: Dialect) -> None:
    page = b"<html>" + b" " * 274 + SECRET.encode()
    server.answers(Reply([page], content_type="text/html"))
    with pytest.raises(ModelError, match="web page") as caught:
        await dialect.make(server).respond(ASK)
    assert SECRET[:6] not in str(caught.value)


async def test_cookies_are_neither_kept_nor_logged(
    server: Server, dialect: Dialect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "openai")
    caplog.set_level("DEBUG", "anthropic")
    reply = dialect.answer("well")
    server.answers(Reply(reply.pieces, headers={"Set-Cookie": "session=private-cookie; Path=/"}))
    model = dialect.make(server)
    for _ in range(2):
        await model.respond(ASK)
    assert [call.headers.get("cookie") for call in server.calls] == [None, None]
    assert "private-cookie" not in caplog.text
    await model.close()


# -- calls that never end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["head", "words", "comments"])
async def test_a_call_that_never_ends_can_be_broken_off(server: Server, dialect: Dialect, what: str) -> None:
    pieces = dialect.pieces("so far", " and on", stop=False)
    place = next(number for number, piece in enumerate(pieces) if b" and on" in piece)
    begun, trickle = pieces[:place], pieces[place] if what == "words" else dialect.keep_alive
    server.answers(Reply([], slow_head=True) if what == "head" else Reply(begun, trickle=trickle))
    model = dialect.make(server, silence=60.0)
    call = asyncio.create_task(model.respond(ASK))
    await until(lambda: len(server.calls) == 1 if what == "head" else "so far" in model.partial().text)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert model.partial().text.startswith("so far") == (what != "head")
    await model.close()


async def test_a_head_that_never_ends_is_silence(server: Server, dialect: Dialect) -> None:
    server.answers(Reply([], slow_head=True))
    with pytest.raises(ModelError, match=r"sent nothing for 0\.3 s"):
        await dialect.make(server, silence=0.3).respond(ASK)


async def test_a_connection_serves_the_next_call(server: Server, dialect: Dialect) -> None:
    server.answers(dialect.answer("well"))
    model = dialect.make(server)
    assert [await outcome(model) for _ in range(3)] == ["well"] * 3
    assert server.connections == 1
    await model.close()


async def test_a_stream_that_goes_on_after_its_end_is_left(server: Server) -> None:
    server.answers(Reply(OPENAI.pieces("well"), trickle=b'data: {"choices": [{"delta": {"content": "no"}}]}\n\n'))
    async with asyncio.timeout(10):
        assert await outcome(OPENAI.make(server)) == "well"
