"""All adapters through the real SDKs against a local server: answers, cancelling, failures, and what is no answer."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.agents.models.dialects import QUICK, SECRET, Dialect
from tests.agents.models.server import Reply, Server, failure, until
from workbench.agents.agent import ModelError
from workbench.agents.messages import Message
from workbench.agents.models.base import ProviderModel

ASK = [Message("system", "You are terse."), Message("user", "Hello?")]


async def failure_of(model: ProviderModel) -> ModelError:
    """The error of a call, which must fail, say one clean sentence, and hold no key."""
    with pytest.raises(ModelError) as caught:
        await model.respond(ASK)
    error = caught.value
    text = str(error)
    assert SECRET not in text and SECRET not in repr(error) and "\n" not in text and text.isprintable()
    assert "Traceback" not in text and len(text) < 700
    assert error.__cause__ is None and error.__context__ is None, "the SDK's error holds the request with its key"
    return error


async def test_an_answer_comes_piece_by_piece_with_its_usage(server: Server, dialect: Dialect) -> None:
    server.answers(dialect.answer("Hel", "lo — ", "you."))
    model = dialect.make(server)
    heard: list[str] = []
    response = await model.respond(ASK, on_delta=heard.append)
    assert heard == ["Hel", "lo — ", "you."]
    assert response.text == model.partial().text == "Hello — you."
    assert (response.stop_reason, response.attempts) == ("stop", 1)
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (1000, 50, 400)
    assert usage.reasoning_tokens == 20
    assert usage.cost is not None and usage.cost > 0
    assert SECRET in str(server.calls[0].headers)
    await model.close()


@pytest.mark.parametrize("value", ["5", '"here"', "null", "[]", "[5]", '[["type", "error"]]'])
async def test_an_event_that_is_no_object_tells_nothing(server: Server, dialect: Dialect, value: str) -> None:
    first, *rest = dialect.pieces("Hel", "lo")
    server.answers(Reply([first, f"data: {value}\n\n".encode(), *rest]))
    response = await dialect.make(server).respond(ASK)
    assert (response.text, response.stop_reason) == ("Hello", "stop")


async def test_pieces_are_told_as_they_arrive(server: Server, dialect: Dialect) -> None:
    reply = dialect.answer("first", "second")
    server.answers(Reply(reply.pieces, hold_before=len(reply.pieces) - 1))
    model = dialect.make(server)
    call = asyncio.create_task(model.respond(ASK))
    await until(lambda: "first" in model.partial().text)
    assert not call.done()
    server.go_on.set()
    assert (await call).text == "firstsecond"
    await model.close()


async def test_cancelling_keeps_what_was_received(server: Server, dialect: Dialect) -> None:
    pieces = dialect.pieces("some of ", "the answer", stop=False)
    server.answers(Reply(pieces, trickle=dialect.keep_alive))
    model = dialect.make(server)
    call = asyncio.create_task(model.respond(ASK))
    await until(lambda: model.partial().text == "some of the answer")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    partial = model.partial()
    assert partial.text == model.partial().text == "some of the answer"
    assert partial.stop_reason == "cancelled"
    assert partial.usage.input_tokens > 0 and partial.usage.output_tokens > 0
    assert partial.usage.cost is not None and partial.usage.cost > 0
    await asyncio.wait_for(server.lost.wait(), 5)
    server.answers(dialect.answer("again"))
    assert (await model.respond(ASK)).text == "again", "the same model answers the next call"
    await model.close()


async def test_cancelling_before_anything_arrives(server: Server, dialect: Dialect) -> None:
    server.answers(Reply([b"x"], hold_before=0))
    model = dialect.make(server)
    call = asyncio.create_task(model.respond(ASK))
    await asyncio.wait_for(server.held.wait(), 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert model.partial().text == ""
    server.go_on.set()
    await model.close()


async def test_two_calls_at_once_do_not_mix(server: Server, dialect: Dialect) -> None:
    server.answers(dialect.answer("one"), dialect.answer("two"), dialect.answer("three"))
    model = dialect.make(server)
    answers = await asyncio.gather(*(model.respond(ASK) for _ in range(3)))
    assert sorted(answer.text for answer in answers) == ["one", "three", "two"]
    await model.close()


@pytest.mark.parametrize("status", [429, 500, 503, 529])
async def test_a_passing_failure_is_tried_again(server: Server, dialect: Dialect, status: int) -> None:
    server.answers(dialect.fails(status, "try later"), dialect.answer("at last"))
    told: list[tuple[str, float]] = []
    model = dialect.make(server)
    response = await model.respond(ASK, on_retry=lambda why, seconds: told.append((why, seconds)))
    assert (response.text, response.attempts, len(server.calls)) == ("at last", 2, 2)
    assert len(told) == 1 and "try later" in told[0][0] and 0 < told[0][1] < 0.1
    await model.close()


async def test_retry_after_is_honoured(server: Server, dialect: Dialect) -> None:
    server.answers(dialect.fails(429, "slow down", Retry_After="0.05"), dialect.answer("ok"))
    waits: list[float] = []
    model = dialect.make(server)
    await model.respond(ASK, on_retry=lambda _, seconds: waits.append(seconds))
    assert waits == [0.05]
    await model.close()


async def test_a_wait_longer_than_patience_is_not_waited(server: Server, dialect: Dialect) -> None:
    server.answers(dialect.fails(429, "slow down", Retry_After="3600"))
    error = await failure_of(dialect.make(server))
    assert error.cause == "rate_limit" and "3600 s" in str(error) and len(server.calls) == 1


async def test_waiting_to_try_again_can_be_cancelled(server: Server, dialect: Dialect) -> None:
    server.answers(dialect.fails(429, "slow down", Retry_After="4"))
    waiting = asyncio.Event()
    model = dialect.make(server)
    call = asyncio.create_task(model.respond(ASK, on_retry=lambda *_: waiting.set()))
    await asyncio.wait_for(waiting.wait(), 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(server.calls) == 1
    await model.close()


async def test_it_gives_up_in_the_end(server: Server, dialect: Dialect) -> None:
    server.answers(dialect.fails(429, "slow down"))
    error = await failure_of(dialect.make(server))
    assert error.cause == "rate_limit" and "tried 3 times" in str(error)
    assert len(server.calls) == QUICK.most + 1


@pytest.mark.parametrize(
    ("status", "message", "cause", "says"),
    [
        (401, f"Incorrect API key provided: {SECRET}", "auth", "does not accept the key in {variable}"),
        (403, "your project has no access", "auth", "use another"),
        (404, "the model does not exist", "error", "knows no model"),
        (400, "This model's maximum context length is 8192 tokens, you sent 9001", "context_length", "shorten"),
        (413, "Request too large", "context_length", "shorten"),
        (402, "payment required", "quota", "add credit"),
        (400, "your prompt was stopped by our content_filter", "content_filter", "change the prompt"),
        (400, "tools[0].name: must match the pattern", "error", "refused the call"),
    ],
)
async def test_failures_are_told_apart(
    server: Server, dialect: Dialect, status: int, message: str, cause: str, says: str
) -> None:
    server.answers(dialect.fails(status, message))
    error = await failure_of(dialect.make(server))
    assert error.cause == cause
    assert says.format(variable=dialect.variable) in str(error)
    assert len(server.calls) == 1, "trying again cannot help"


async def test_the_content_filter_stops_an_answer(server: Server, dialect: Dialect) -> None:
    server.answers(dialect.refusal())
    model = dialect.make(server)
    assert (await failure_of(model)).cause == "content_filter"
    assert model.partial().text == "I was" and model.partial().usage.cost is not None


@pytest.mark.parametrize("cut", [True, False], ids=["connection lost", "stream ended"])
async def test_half_an_answer_is_no_answer(server: Server, dialect: Dialect, cut: bool) -> None:
    server.answers(Reply(dialect.pieces("half of it", stop=False, usage=False), cut=cut))
    model = dialect.make(server)
    error = await failure_of(model)
    assert error.cause == "network" and "broke off after 10 characters" in str(error)
    assert model.partial().text == "half of it" and len(server.calls) == 1


@pytest.mark.parametrize("cut", [True, False], ids=["connection lost", "empty body"])
async def test_nothing_is_no_answer(server: Server, dialect: Dialect, cut: bool) -> None:
    server.answers(Reply([], cut=cut))
    error = await failure_of(dialect.make(server))
    assert error.cause == "network" and len(server.calls) == QUICK.most + 1


async def test_a_silent_server_is_left(server: Server, dialect: Dialect) -> None:
    server.answers(Reply([*dialect.pieces("a", stop=False), b"x"], hold_before=len(dialect.pieces("a", stop=False))))
    model = dialect.make(server, silence=0.2)
    error = await failure_of(model)
    assert error.cause == "network" and "0.2 s" in str(error) and model.partial().text == "a"
    server.go_on.set()


async def test_comments_do_not_keep_a_call_alive(server: Server, dialect: Dialect) -> None:
    server.answers(Reply([dialect.keep_alive], trickle=dialect.keep_alive))
    error = await failure_of(dialect.make(server, silence=0.2))
    assert error.cause in ("network", "error")


async def test_a_slow_body_is_waited_for(server: Server, dialect: Dialect) -> None:
    whole = b"".join(dialect.pieces("slowly", " but", " surely"))
    server.answers(Reply([whole[at : at + 7] for at in range(0, len(whole), 7)]))
    assert (await dialect.make(server).respond(ASK)).text == "slowly but surely"


PAGE = b"<!doctype html><html><body><h1>It works!</h1>" + b"<p>padding</p>\n" * 20


@pytest.mark.parametrize("status", [200, 404, 502])
async def test_a_web_page_is_no_answer(server: Server, dialect: Dialect, status: int) -> None:
    server.answers(Reply([PAGE], status, "text/html"))
    error = await failure_of(dialect.make(server))
    assert error.cause == ("network" if status == 502 else "error")
    if status == 200:
        assert "web page" in str(error) and "check the address" in str(error)


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("kind", ["page", "line", "event"])
async def test_fifty_megabytes_are_not_read(server: Server, dialect: Dialect, status: int, kind: str) -> None:
    lead = {"page": PAGE, "line": b"x", "event": b"data: "}[kind]
    block = {"page": PAGE, "line": b"y" * 65536, "event": b"z" * 65536}[kind]
    count = 50 * 2**20 // len(block)
    server.answers(Reply([lead, *([block] * count)], status))
    error = await failure_of(dialect.make(server))
    assert error.cause in ("error", "network")
    assert server.sent < 12 * 2**20, "most of it was never taken"


async def test_an_endless_answer_is_cut(server: Server, dialect: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.agents.models.answer.LONGEST_ANSWER", 20_000)
    server.answers(Reply(dialect.pieces(*(["word " * 100] * 200), stop=False), trickle=dialect.keep_alive))
    error = await failure_of(dialect.make(server))
    assert error.cause == "error" and "more than an answer can be" in str(error)
    await asyncio.wait_for(server.lost.wait(), 5)


async def test_another_encoding_is_no_answer(server: Server, dialect: Dialect) -> None:
    pieces = [piece.replace(b"XX", "é".encode("latin-1")) for piece in dialect.pieces("caf", "XX au lait")]
    server.answers(Reply(pieces))
    error = await failure_of(dialect.make(server))
    assert error.cause == "error" and "UTF-8" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe\x00garbage",
        b"null",
        b'"text"',
        b"[1, 2]",
        b'{"ok": true}',
        b"data: null\n\n",
        b"data: 7\n\n",
        b"data: {bad",
    ],
    ids=repr,
)
async def test_what_is_not_the_protocol_is_no_answer(server: Server, dialect: Dialect, body: bytes) -> None:
    server.answers(Reply([body]))
    error = await failure_of(dialect.make(server))
    assert error.cause in ("error", "network")


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'{"error": "plain words"}', b'{"detail": 5}', b"\xff\xfe"], ids=repr
)
async def test_failures_of_any_form(server: Server, dialect: Dialect, body: bytes) -> None:
    server.answers(failure(400, body))
    assert (await failure_of(dialect.make(server))).cause == "error"


async def test_a_redirect_is_not_followed(server: Server, dialect: Dialect) -> None:
    server.answers(Reply([], 307, headers={"Location": f"{server.url}/elsewhere"}))
    error = await failure_of(dialect.make(server))
    assert error.cause == "error" and "elsewhere" in str(error)
    assert len(server.calls) == 1, "the key stays here"


async def test_a_compressed_answer_is_not_opened(server: Server, dialect: Dialect) -> None:
    server.answers(Reply([b"\x1f\x8b"], headers={"Content-Encoding": "gzip"}))
    assert "compressed" in str(await failure_of(dialect.make(server)))


async def test_no_connection(dialect: Dialect) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told: list[str] = []
    model = dialect.make(f"http://127.0.0.1:{port}")
    with pytest.raises(ModelError, match="cannot be reached") as caught:
        await model.respond(ASK, on_retry=lambda why, _: told.append(why))
    assert caught.value.cause == "network" and len(told) == QUICK.most


async def test_a_listener_that_fails_is_not_the_models_fault(server: Server, dialect: Dialect) -> None:
    server.answers(dialect.answer("a", "b"))

    def listen(piece: str) -> None:
        raise KeyError(piece)

    with pytest.raises(KeyError):
        await dialect.make(server).respond(ASK, on_delta=listen)


async def test_a_setting_that_is_refused_is_left_out(server: Server, dialect: Dialect) -> None:
    refusal = dialect.fails(400, "`temperature` is not supported with this model")
    server.answers(refusal, dialect.answer("without"), dialect.answer("again"))
    model = dialect.make(server)
    told: list[str] = []
    response = await model.respond(ASK, on_retry=lambda why, _: told.append(why))
    assert (response.text, response.attempts, told) == ("without", 1, [])
    await model.respond(ASK)
    sent = ["temperature" in str(call.body) for call in server.calls]
    assert sent == [True, False, False], "and not sent again"


async def test_nothing_of_the_key_shows(server: Server, dialect: Dialect, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    server.answers(dialect.fails(500, f"internal: {SECRET}"), dialect.answer("fine"))
    model = dialect.make(server)
    await model.respond(ASK)
    assert SECRET not in caplog.text and SECRET not in repr(model) and SECRET not in repr(model._server())
