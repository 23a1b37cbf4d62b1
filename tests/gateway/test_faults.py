"""What goes wrong between an agent program and its model: the program is told in its protocol, and the log has it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.agents.models.server import Reply, failure, serving, sse, until
from tests.gateway.clients import CLIENTS, Client
from tests.gateway.rig import REAL_KEY, Rig, answer, gateway, user, whole
from workbench.gateway import call as gateway_call
from workbench.gateway import server as gateway_server
from workbench.gateway.protocols.base import ToolCall
from workbench.gateway.replay import Replay
from workbench.gateway.routes import PROTOCOLS
from workbench.session import events as ev
from workbench.session.log import read_log
from workbench.session.objects import ObjectStore
from workbench.session.state import fold

REQUESTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "chat": ("openai", "/v1/chat/completions", {"model": "m", "messages": [user("Hi.")]}),
    "responses": ("openai", "/v1/responses", {"model": "m", "input": "Hi."}),
    "messages": ("anthropic", "/v1/messages", {"model": "m", "max_tokens": 9, "messages": [user("Hi.")]}),
    "gemini": ("gemini", "/v1beta/models/m:generateContent", {"contents": [{"role": "user", "parts": []}]}),
}
LS = {"command": "ls"}
EACH = pytest.mark.parametrize("name", REQUESTS)


def chunk(text: str, finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}


def failures(rig: Rig) -> list[tuple[str, str]]:
    return [(event.cause, event.message) for event in rig.session.events(ev.ModelFailed)]


def _written(root: Path) -> list[bytes]:
    return [path.read_bytes() for path in root.rglob("*") if path.is_file()]


def _sessions(root: Path) -> list[Path]:
    return [path.parent for path in root.rglob("events.jsonl")]


async def test_what_a_server_refuses_is_passed_on_as_it_says_it(tmp_path: Path) -> None:
    async with gateway(tmp_path) as rig:
        rig.server.answers(failure(429, {"error": {"message": "slow down"}}, retry_after="7"), whole(answer("Fine.")))
        got = await rig.chat(user("Hi."))
        assert (got.status_code, got.headers["retry-after"]) == (429, "7")
        assert got.json() == {"error": {"message": "slow down"}}
        assert [cause for cause, _ in failures(rig)] == ["rate_limit"]
        again = await rig.chat(user("Hi."))
        assert again.status_code == 200
        await rig.session.until(lambda: rig.session.state.last_step == 1, "the answer is a step")
        sent = rig.session.events(ev.PromptSent)
        assert [event.relation for event in sent] == ["", "retry"]


@EACH
async def test_a_server_that_is_not_there(tmp_path: Path, name: str) -> None:
    provider, path, body = REQUESTS[name]
    async with gateway(tmp_path, provider=provider) as rig:
        rig.gateway.agent.upstream._address = "http://127.0.0.1:1"  # type: ignore[attr-defined]
        got = await rig.post(path, body)
        assert got.status_code == 502
        said = got.json()
        assert said == PROTOCOLS[name].error(502, said["error"]["message"]) and "reached" in said["error"]["message"]
        assert [cause for cause, _ in failures(rig)] == ["network"]
        assert rig.session.state.last_step == 0


@EACH
async def test_another_protocol_than_the_upstream_speaks(tmp_path: Path, name: str) -> None:
    provider, path, body = REQUESTS[name]
    other = "anthropic" if provider != "anthropic" else "openai"
    async with gateway(tmp_path, provider=other) as rig:
        got = await rig.post(path, body)
        assert got.status_code == 400 and f"--upstream {provider}:NAME" in got.json()["error"]["message"]
        assert not rig.server.calls


@EACH
async def test_only_the_key_of_the_session_is_taken(tmp_path: Path, name: str) -> None:
    provider, path, body = REQUESTS[name]
    async with gateway(tmp_path, provider=provider) as rig:
        for headers in ({}, {"Authorization": f"Bearer {REAL_KEY}"}, {"x-api-key": ""}, {"x-goog-api-key": "x"}):
            got = await rig.client.post(rig.url + path, json=body, headers=headers)
            assert got.status_code == 401 and "key of this session" in got.json()["error"]["message"]
        assert not rig.server.calls


async def test_requests_that_are_none(tmp_path: Path) -> None:
    async with gateway(tmp_path) as rig:
        for body in ("[]", "{", '{"messages": 3}', '{"model": "m"}', "[" * 100_000):
            got = await rig.client.post(
                f"{rig.url}/v1/chat/completions", content=body, headers={"Authorization": f"Bearer {rig.gateway.key}"}
            )
            assert got.status_code == 400 and "cannot be read" in got.json()["error"]["message"], body[:20]
        unknown = await rig.post("/v1/embeddings", {"input": "x"})
        assert unknown.status_code == 404 and "/v1/embeddings" in unknown.json()["error"]["message"]
        assert (await rig.client.get(f"{rig.url}/v1/chat/completions")).status_code == 401
        assert rig.session.state.last_step == 0 and not rig.server.calls


@EACH
async def test_requests_of_another_form_are_refused_in_words(tmp_path: Path, name: str) -> None:
    provider, path, body = REQUESTS[name]
    field = {"responses": "input", "gemini": "contents"}.get(name, "messages")
    wrong: list[Any] = [[1, None], 3, *(["hi"] if name != "responses" else [])]
    sent = [json.dumps({**body, field: given}) for given in wrong]
    sent += ["{", "[]", '{"a": ' + "9" * 5000 + "}", *(['{"model": "m"}'] if name != "responses" else [])]
    async with gateway(tmp_path, provider=provider) as rig:
        for content in sent:
            headers = {"Authorization": f"Bearer {rig.gateway.key}"}
            got = await rig.client.post(rig.url + path, content=content, headers=headers)
            assert got.status_code == 400, content[:60]
            message = got.json()["error"]["message"]
            assert got.json() == PROTOCOLS[name].error(400, message)
            assert message.startswith("the request cannot be read: it") or "5000 digits" in message
            assert "Error" not in message and "sys." not in message
        assert rig.session.state.last_step == 0 and not rig.server.calls


@EACH
async def test_half_of_a_character_is_passed_on_as_it_came(tmp_path: Path, name: str) -> None:
    """`json.dumps` sends such text when a tool has printed bytes that are no text."""
    provider, path, body = REQUESTS[name]
    content = json.dumps(body).replace('"Hi."', r'"a\ud800b"').replace('"m"', r'"m\udc80"')
    content = content.replace('"parts": []', r'"parts": [{"text": "a\ud800b"}]')
    async with gateway(tmp_path, provider=provider) as rig:
        rig.server.answers(failure(418, {"error": {"message": "seen"}}))
        headers = {"Authorization": f"Bearer {rig.gateway.key}"}
        got = await rig.client.post(rig.url + path, content=content, headers=headers)
        assert got.status_code == 418, got.text
        assert rig.server.calls[0].body == json.loads(content)
        (sent,) = rig.session.events(ev.PromptSent)
        assert sent.relation == ""
        assert rig.newest.asked.body == content.encode()
        assert "a\ufffdb" in rig.newest.asked.messages[0]
        rig.newest.asked.protocol.at_temperature(rig.newest.asked, 0.5)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("half", [rb"\ud800", rb"\\ud800"], ids=["in a text", "in its arguments"])
@EACH
async def test_an_answer_with_half_of_a_character_is_reviewed_and_edited(
    tmp_path: Path, name: str, half: bytes, streamed: bool
) -> None:
    provider, path, body = REQUESTS[name]
    protocol = PROTOCOLS[name]
    made = protocol.written("Look HALF", [ToolCall("call_1", "bash", '{"command": "ls HALF"}')], "m")
    if streamed:
        pieces, media = protocol.streamed(made), "text/event-stream"
        path = path.replace(":generateContent", ":streamGenerateContent") + ("?alt=sse" if name == "gemini" else "")
        body = body if name == "gemini" else {**body, "stream": True}
    else:
        pieces, media = [json.dumps(made).encode()], "application/json"
    async with gateway(tmp_path, provider=provider, mode="step") as rig:
        rig.server.answers(Reply([piece.replace(b"HALF", half) for piece in pieces], content_type=media))
        asking = asyncio.ensure_future(rig.post(path, body))
        await rig.session.review(1)
        assert rig.session.state.current.action.startswith("ls ")
        rig.controls.edit(rig.session.state.current.action + " -l", thought="Look closely.")
        rig.controls.run_proposal()
        got = (await asking).text
        assert "Look closely." in got and " -l" in got and "HALF" not in got
    async with gateway(tmp_path, provider=provider, upstream=Replay(rig.session.folder)) as again:
        assert "Look closely." in (await again.post(path, body)).text


async def test_numbers_that_are_none_go_on_as_they_came(tmp_path: Path) -> None:
    """JSON has none of them, and some clients send them all the same: the log names them."""
    tools = '[{"type": "function", "function": {"name": "f", "parameters": {"default": -Infinity}}}]'
    messages = '[{"role": "user", "content": "Hi.", "x": NaN}]'
    content = f'{{"model": "m-1", "messages": {messages}, "temperature": NaN, "top_p": Infinity, "tools": {tools}}}'

    async def asked(rig: Rig) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {rig.gateway.key}"}
        return await rig.client.post(f"{rig.url}/v1/chat/completions", content=content, headers=headers)

    async with gateway(tmp_path) as rig:
        rig.server.answers(whole(answer("Fine.")))
        assert (await asked(rig)).json() == answer("Fine.")
        assert rig.newest.asked.body == content.encode()
        (sent,) = rig.session.events(ev.PromptSent)
        assert sent.settings == {"model": "m-1", "temperature": "NaN", "top_p": "Infinity"}
        stored = [rig.session.runner.live.objects.get(each).decode() for each in (*sent.messages, sent.tools)]
        for text in stored:
            json.loads(text, parse_constant=pytest.fail)
    async with gateway(tmp_path, upstream=Replay(rig.session.folder)) as again:
        assert (await asked(again)).json() == answer("Fine.")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/../files",
        "/v1/models/%2e%2e/files",
        "/v1/models/x%2f..%2f..%2ffiles",
        "/v1/models/x%3fy=1",
        "/v1/files",
        "/v1beta/models/x/../../files",
        "//other.example/v1/models",
    ],
)
async def test_nothing_else_of_the_upstream_can_be_reached(tmp_path: Path, path: str) -> None:
    async with gateway(tmp_path) as rig:
        rig.server.answers(whole({"data": []}))
        reader, writer = await asyncio.open_connection("127.0.0.1", int(rig.url.rpartition(":")[2]))
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {rig.gateway.key}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode())
        said = await reader.read()
        assert said.startswith(b"HTTP/1.1 404") and not rig.server.calls, said
        writer.close()


async def test_connections_that_ask_nothing_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_server, "MOST_WAITED_FOR", 4)
    async with gateway(tmp_path) as rig:
        rig.server.answers(whole(answer("Fine.")), whole(answer("Fine again.")))
        await rig.chat(user("Hi."))  # over a connection that is kept
        port = int(rig.url.rpartition(":")[2])
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(12)]
        for _, writer in silent[6:]:
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
        assert (await rig.chat(user("Hi again."))).json() == answer("Fine again.")
        async with httpx2.AsyncClient(timeout=60) as other:
            assert (await other.get(f"{rig.url}/v1/models")).status_code == 401
        assert await silent[0][0].read() == b"", "the oldest was hung up on"
        for _, writer in silent:
            writer.close()


async def test_models_are_those_of_the_upstream(tmp_path: Path) -> None:
    async with gateway(tmp_path) as rig:
        rig.server.answers(whole({"data": [{"id": "ft:gpt-4o:org::x1"}]}))
        headers = {"Authorization": f"Bearer {rig.gateway.key}"}
        for path in ("/v1/models", "/v1/models/ft:gpt-4o:org::x1", "/v1/models/meta/llama-3.1"):
            got = await rig.client.get(rig.url + path, headers=headers)
            assert got.json() == {"data": [{"id": "ft:gpt-4o:org::x1"}]}
        assert [call.path for call in rig.server.calls] == [
            "/v1/models", "/v1/models/ft:gpt-4o:org::x1", "/v1/models/meta/llama-3.1",
        ]  # fmt: skip


async def test_an_answer_that_breaks_off_breaks_off(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with gateway(tmp_path) as rig:
        rig.server.answers(Reply(sse(chunk("half an "), done=False), cut=True))
        with pytest.raises(httpx2.HTTPError):
            await rig.chat(user("Hi."), stream=True)
        await rig.session.until(lambda: failures(rig), "the failure is in the log")
        assert failures(rig)[0][0] == "network"
        (partial,) = rig.session.events(ev.ModelResponded)
        assert partial.text == "half an " and partial.usage is not None and partial.usage.output_tokens > 0
        assert rig.session.state.last_step == 0
    assert capfd.readouterr().err == ""


async def test_an_answer_that_breaks_off_while_it_is_held_is_an_error(tmp_path: Path) -> None:
    async with gateway(tmp_path, mode="step") as rig:
        rig.server.answers(Reply(sse(chunk("half an "), done=False), cut=True))
        got = await rig.chat(user("Hi."), stream=True)
        assert got.status_code == 502 and "broken off" in got.json()["error"]["message"]


async def test_what_is_no_answer_is_passed_on_all_the_same(tmp_path: Path) -> None:
    async with gateway(tmp_path) as rig:
        rig.server.answers(Reply([b"<html>Log in</html>"], content_type="text/html"))
        got = await rig.chat(user("Hi."))
        assert (got.status_code, got.text) == (200, "<html>Log in</html>")
        assert "is none in the protocol chat" in failures(rig)[0][1]
        rig.server.answers(Reply([b"x"], headers={"Content-Encoding": "gzip"}))
        got = await rig.chat(user("Hi."))
        assert got.status_code == 502 and "compressed" in got.json()["error"]["message"]


@pytest.mark.parametrize(
    "given",
    [
        Reply([b'{"choices": 3}'], content_type="application/json"),
        Reply([b'{"choices": ' + b"[" * 900 + b"]" * 900 + b"}"], content_type="application/json"),
        Reply(sse(chunk("half an "), done=False)),
        Reply([b"data: {\n\n"]),
    ],
    ids=["another form", "nested too deeply", "without an end", "no JSON"],
)
async def test_what_nobody_could_review_is_not_passed_on_where_answers_are_held(tmp_path: Path, given: Reply) -> None:
    async with gateway(tmp_path, mode="step") as rig:
        rig.server.answers(given)
        got = await rig.chat(user("Hi."), stream=given.content_type == "text/event-stream")
        assert got.status_code == 502 and "cannot be reviewed" in got.json()["error"]["message"], got.text
        assert failures(rig) and not rig.session.state.last_step


@pytest.mark.parametrize("client", CLIENTS, ids=str)
async def test_a_failure_after_the_client_was_kept_waiting(tmp_path: Path, client: Client) -> None:
    """The status was told before: what comes is an error within the answer."""
    name = {"openai-chat": "chat", "openai-responses": "responses", "anthropic": "messages"}.get(client.name, "gemini")
    provider, path, body = REQUESTS[name]
    async with gateway(tmp_path, provider=provider, keep_alive=0.02, mode="paused", interactive=True) as rig:
        rig.server.answers(failure(500, {"error": {"message": "out of order"}}))
        rig.controls.hold()
        if name == "gemini":
            path = path.replace(":generateContent", ":streamGenerateContent") + "?alt=sse"
        asking = asyncio.ensure_future(rig.post(path, {**body, "stream": True} if name != "gemini" else body))
        await rig.session.until(lambda: rig.gateway.agent._calls, "the request is there")
        await rig.session.until(lambda: rig.newest.delivery.blanks > 2, "its client is kept waiting")
        assert not rig.server.calls
        rig.controls.continue_()
        got = await asking
        assert got.status_code == 200 and "out of order" in got.text and "data: " in got.text


async def test_a_client_that_comes_back_gets_the_answer_that_was_paid_for(tmp_path: Path) -> None:
    async with gateway(tmp_path, mode="step") as rig:
        rig.server.answers(whole(answer("Let me look.", ("bash", {"command": "ls"}))))
        first = asyncio.ensure_future(rig.chat(user("Hi.")))
        await rig.session.review(1)
        first.cancel()
        await rig.session.until(lambda: rig.newest.gone, "the client has gone")
        again = asyncio.ensure_future(rig.chat(user("Hi.")))
        await rig.session.until(lambda: not rig.newest.gone, "the client is back")
        rig.controls.run_proposal()
        assert (await again).json() == answer("Let me look.", ("bash", {"command": "ls"}))
        assert len(rig.server.calls) == 1 and rig.session.state.last_step == 1


async def test_an_answer_is_kept_though_its_client_has_gone(tmp_path: Path) -> None:
    async with gateway(tmp_path) as rig:
        rig.server.answers(
            Reply([json.dumps(answer("Late.")).encode()], content_type="application/json", hold_before=0)
        )
        asking = asyncio.ensure_future(rig.chat(user("Hi.")))
        await rig.server.held.wait()
        asking.cancel()
        await rig.session.until(lambda: rig.newest.gone, "the client has gone")
        other = asyncio.ensure_future(rig.chat(user("Hi."), temperature=1))
        await until(lambda: len(rig.server.calls) == 2)
        rig.server.go_on.set()
        await other
        await rig.session.until(lambda: rig.session.state.last_step == 2, "the answers are steps")
        assert rig.session.state.steps[1].thought == "Late."
    relations = [event.relation for event in rig.session.events(ev.PromptSent)]
    assert sorted(relations) == ["", "retry"], "in the order in which the answers came"


async def test_the_end_of_the_session_ends_calls_and_keeps_what_came(tmp_path: Path) -> None:
    async with gateway(tmp_path) as rig:
        rig.server.answers(Reply(sse(chunk("so far "), chunk("so good")), hold_before=1))
        asking = asyncio.ensure_future(rig.chat(user("Hi."), stream=True))
        await rig.server.held.wait()
        await rig.session.until(lambda: rig.newest.delivery.pieces, "a piece has come")
        rig.controls.stop()
        assert (await rig.session.ended()).exit_status == "stopped"
        with pytest.raises(httpx2.HTTPError):
            await asking
        assert [event.text for event in rig.session.events(ev.ModelResponded)] == ["so far "]
        assert [cause for cause, _ in failures(rig)] == ["cancelled"]


@pytest.mark.parametrize("ends", ["killed", "whole", "cut"])
async def test_what_came_of_a_long_answer_is_in_the_log_before_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    monkeypatch.setattr(gateway_call, "_LOG_EVERY", 0.0)
    begun = {"index": 0, "id": "call_1", "function": {"name": "bash", "arguments": '{"command": "rm -'}}
    rest = {"index": 0, "function": {"arguments": 'rf build"}'}}

    def calling(piece: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": {"tool_calls": [piece]}, "finish_reason": finish}
        return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}

    pieces = sse(chunk("so far "), chunk("so good"), calling(begun), calling(rest, "tool_calls"))
    if ends == "cut":
        pieces = pieces[:3]
    async with gateway(tmp_path) as rig:
        rig.server.answers(
            whole(answer("First.")), Reply(pieces, hold_before=3 if ends != "cut" else 2, cut=ends == "cut")
        )
        await rig.chat(user("Hi."))
        asking = asyncio.ensure_future(rig.chat(user("Go on."), stream=True))
        await rig.server.held.wait()

        def drafts() -> str:
            return "".join(event.text for event in rig.session.events(ev.ModelDrafted))

        came = "so far so good" if ends == "cut" else 'so far so good\nbash {"command": "rm -'
        await rig.session.until(lambda: drafts() == came, "what came is in the log")
        killed = tmp_path / "killed"
        shutil.copytree(rig.session.folder, killed)
        rig.server.go_on.set()
        await asyncio.wait([asking])
        await rig.session.until(lambda: rig.newest.usable or failures(rig), "the end of the answer")
        sent = rig.session.events(ev.PromptSent)
        assert len(sent) == 2, "a prompt is logged once"
        newest = rig.session.events(ev.ModelResponded)[-1]
        assert (newest.prompt, newest.text.startswith(came)) == (sent[-1].seq, True)
        call = rig.session.state.prompts.calls[-1]
        assert (call.answer, bool(call.trouble)) == (newest.seq, ends == "cut")
    replay = Replay(killed if ends == "killed" else rig.session.folder)
    assert len(replay.calls) == (2 if ends == "whole" else 1)
    async with gateway(tmp_path, upstream=replay) as again:
        await again.chat(user("Hi."))
        said = (await again.chat(user("Go on."), stream=True)).text
    if ends != "whole":
        assert "the recording has 1 call, and no more: in the next, " in said
        assert ("so far so good bash" if ends == "killed" else "broken off") in said


@pytest.mark.parametrize("kind", ["argument comes late", "name changes"])
async def test_what_comes_of_an_answer_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(gateway_call, "_LOG_EVERY", 0.0)
    monkeypatch.setattr(gateway_call, "_SLACK", 0)
    if kind == "argument comes late":
        name, last = "messages", '\nbash {"command":"ls"}'
        pieces = list(
            next(each for each in CLIENTS if each.name == "anthropic").reply("so far", LS, stream=True).pieces
        )
    else:
        name, last = "chat", "so far"
        calls = [{"name": "x" * at, "arguments": "" if at else "y" * 900} for at in range(9)]
        deltas = [{"tool_calls": [{"index": 0, "id": "1", "function": call}]} for call in calls]
        pieces = sse(chunk("so far"), *({"id": "c", "choices": [{"index": 0, "delta": each}]} for each in deltas))
        apart = b": more than is read at once" * 10_000 + b"\n\n"
        pieces = [part for piece in pieces for part in (piece, apart)]
    provider, path, asked = REQUESTS[name]
    async with gateway(tmp_path, provider=provider) as rig:
        rig.server.answers(Reply(pieces, hold_before=len(pieces) - 1))
        asking = asyncio.ensure_future(rig.post(path, {**asked, "stream": True}))

        def drafts() -> str:
            return "".join(event.text for event in rig.session.events(ev.ModelDrafted))

        await rig.session.until(lambda: last in drafts(), "what came is in the log")
        rig.server.go_on.set()
        await rig.session.until(lambda: rig.newest.usable or failures(rig), "the end of the answer")
        assert drafts().count("so far") == 1 and len(drafts()) <= 2 * 1000
        asking.cancel()


async def test_the_real_key_is_nowhere(tmp_path: Path) -> None:
    async with gateway(tmp_path) as rig:
        rig.server.answers(
            whole(answer("Let me look.", ("bash", {"command": "ls"}))),
            failure(401, {"error": {"message": f"Incorrect API key provided: {REAL_KEY}"}}),
        )
        await rig.chat(user("Hi."))
        assert "provided: [redacted]" in (await rig.chat(user("Hi again."))).text
        await rig.session.until(lambda: rig.session.state.last_step == 1, "the answer is a step")
        rig.gateway.agent.finish("done")
        await rig.session.ended()
        assert rig.server.calls[0].headers["authorization"].endswith(REAL_KEY)
        assert REAL_KEY not in str(rig.gateway.environment(rig.url))
    written = _written(tmp_path)
    assert len(written) > 3 and not any(REAL_KEY.encode() in data for data in written)


async def test_killed_at_any_time_no_answer_is_lost_that_was_given(tmp_path: Path) -> None:
    """What the program got is in the log, and is replayed from there."""
    async with serving() as server:
        server.answers(whole(answer("Let me look.", ("bash", {"command": "ls"}))))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "workbench", "gateway", "--json", "--upstream", "openai:m",
            "--base-url", f"{server.url}/v1", "--sessions", str(tmp_path),
            stdout=asyncio.subprocess.PIPE, env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
        )  # fmt: skip
        assert process.stdout is not None
        told = json.loads(await process.stdout.readline())
        headers = {"Authorization": f"Bearer {told['key']}"}
        body = {"model": "m", "messages": [user("Hi.")]}
        async with httpx2.AsyncClient(timeout=60, headers=headers) as client:
            got = await client.post(f"{told['address']}/v1/chat/completions", json=body)
            process.send_signal(signal.SIGKILL)
            await process.wait()
    (folder,) = _sessions(tmp_path)
    (logged,) = [event for event in read_log(folder)[0] if isinstance(event, ev.ModelResponded)]
    assert ObjectStore(folder / "objects").get(logged.body) == got.content
    assert fold(read_log(folder)[0]).ended is None
    replay = Replay(folder)
    async with gateway(tmp_path / "again", upstream=replay) as rig:
        assert (await rig.chat(user("Hi."), model="m")).content == got.content
    assert replay.complete


async def test_too_many_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.gateway.agent.MOST_UNDER_WAY", 2)
    async with gateway(tmp_path) as rig:
        rig.server.answers(
            Reply([json.dumps(answer("Late.")).encode()], content_type="application/json", hold_before=0)
        )
        asking = [asyncio.ensure_future(rig.chat(user(f"{number}"))) for number in range(2)]
        await until(lambda: len(rig.server.calls) == 2)
        assert (await rig.chat(user("one more"))).status_code == 429
        rig.server.go_on.set()
        assert [got.status_code for got in await asyncio.gather(*asking)] == [200, 200]
