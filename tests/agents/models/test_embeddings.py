"""Vectors of texts, through the real SDK from a local server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.agents.models.server import Reply, Server, failure
from workbench.agents.agent import ModelError
from workbench.agents.models import embeddings as module
from workbench.agents.models.embeddings import Embeddings, embeddings_of_user

SECRET = "sk-embedding-0123456789"


def vectors(*items: Any) -> Reply:
    data = [{"object": "embedding", "index": index, "embedding": item} for index, item in enumerate(items)]
    body = {"object": "list", "data": data[::-1], "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    return Reply([json.dumps(body).encode()], content_type="application/json")


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, server: Server) -> Embeddings:
    monkeypatch.setenv("MLGYM_EMBEDDINGS", "openai:text-embedding-3-small")
    monkeypatch.setenv("MLGYM_EMBEDDINGS_URL", f"{server.url}/v1")
    monkeypatch.setenv("MLGYM_MODEL_API_KEY", SECRET)
    made = embeddings_of_user()
    assert made is not None
    return made


async def test_each_text_has_its_vector(server: Server, model: Embeddings) -> None:
    server.answers(vectors([1.0, 0.0], [0, 1]))
    assert await model(["one", ""]) == [[1.0, 0.0], [0.0, 1.0]]
    [call] = server.calls
    assert call.path == "/v1/embeddings" and call.body["model"] == "text-embedding-3-small"
    assert call.body["input"] == ["one", " "], "an empty text is refused by some servers"
    assert call.headers["authorization"] == f"Bearer {SECRET}" and SECRET not in repr(model)


async def test_many_texts_are_sent_in_several_calls(server: Server, model: Embeddings) -> None:
    server.answers(vectors(*[[1.0]] * 64), vectors([2.0]))
    found = await model(["x"] * 65)
    assert len(found) == 65 and found[-1] == [2.0] and len(server.calls) == 2


async def test_google_embeds_too(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setenv("MLGYM_EMBEDDINGS", "gemini:gemini-embedding-001")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
    monkeypatch.setenv("GEMINI_API_KEY", SECRET)
    google = embeddings_of_user()
    assert google is not None
    body = {"embeddings": [{"values": [1.0, 0.0]}, {"values": [0.0, 1.0]}]}
    server.answers(Reply([json.dumps(body).encode()], content_type="application/json"), failure(403, {"error": {}}))
    assert await google(["one", ""]) == [[1.0, 0.0], [0.0, 1.0]]
    [call] = server.calls
    assert call.path.startswith("/v1beta/models/gemini-embedding-001:batchEmbedContents")
    assert [request["content"]["parts"][0]["text"] for request in call.body["requests"]] == ["one", " "]
    assert call.headers["x-goog-api-key"] == SECRET
    with pytest.raises(ModelError, match="no vectors") as error:
        await google(["one"])
    assert "403" in str(error.value) and SECRET not in str(error.value)


BROKEN = [
    failure(401, {"error": {"message": f"Incorrect API key provided: {SECRET}"}}),
    failure(404, {"error": {"message": "no such model"}}),
    vectors([1.0]),
    vectors([1.0], []),
    vectors([1.0], ["x"]),
    vectors([1.0], [1.0, 2.0]),
    Reply([b"<html>Sign in</html>"], content_type="text/html"),
    Reply([b"{}"], content_type="application/json"),
    Reply([b'{"data": 3}'], content_type="application/json"),
    Reply([b'{"data": ['], content_type="application/json", cut=True),
]


@pytest.mark.parametrize("reply", BROKEN, ids=range(len(BROKEN)))
async def test_whatever_a_server_says_is_one_sentence(server: Server, model: Embeddings, reply: Reply) -> None:
    server.answers(reply)
    with pytest.raises(ModelError, match="no vectors") as error:
        await model(["one", "two"])
    assert SECRET not in str(error.value) and "\n" not in str(error.value)


async def test_a_silent_server_is_given_up(server: Server, model: Embeddings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.2)
    server.answers(Reply([b"{"], hold_before=0))
    with pytest.raises(ModelError, match="no vectors"):
        await model(["one"])


def test_what_is_set_wrongly_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLGYM_EMBEDDINGS", "MLGYM_EMBEDDINGS_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert embeddings_of_user() is None
    for name, url, says in (
        ("anthropic:x", "", "must be gemini:NAME or openai:NAME"),
        ("gemini:x", "http://localhost:1", "must be gemini:NAME or openai:NAME"),
        ("text-embedding-3-small", "", "is not provider:name"),
        ("openai:x", "", "OPENAI_API_KEY"),
        ("openai:x", "nowhere", "is not the address of a server"),
    ):
        monkeypatch.setenv("MLGYM_EMBEDDINGS", name)
        monkeypatch.setenv("MLGYM_EMBEDDINGS_URL", url)
        with pytest.raises(ModelError, match=says):
            embeddings_of_user()


async def test_an_answer_on_one_long_line_is_read(server: Server, model: Embeddings) -> None:
    large = [0.123456789012345] * 16_000
    server.answers(vectors(*[large] * 20))
    assert await model(["x"] * 20) == [large] * 20
