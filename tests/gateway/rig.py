"""A session whose agent is a program: a gateway, a scripted server for its upstream, and a client that asks it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2

from tests.agents.models.server import Reply, Server, serving
from tests.runner.rig import Driven, driven
from workbench.agents.models.keys import Key
from workbench.gateway import upstream as up
from workbench.gateway.agent import GatewayAgent
from workbench.gateway.answering import Upstream
from workbench.gateway.call import Call
from workbench.gateway.server import Gateway

REAL_KEY = "sk-real-0123456789abcdefghij"


class Rig:
    """What a test of the gateway has."""

    def __init__(self, session: Driven, gateway: Gateway, server: Server, url: str, client: httpx2.AsyncClient) -> None:
        self.session, self.gateway, self.server, self.url, self.client = session, gateway, server, url, client
        self.controls = session.runner.controls

    @property
    def newest(self) -> Call:
        """The newest request."""
        return self.gateway.agent._calls[-1]

    async def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        """A request with the session's key."""
        signed = {"Authorization": f"Bearer {self.gateway.key}", **headers}
        return await self.client.post(self.url + path, json=body, headers=signed)

    async def chat(self, *messages: dict[str, Any], **more: Any) -> httpx2.Response:
        """A request of Chat Completions."""
        return await self.post("/v1/chat/completions", {"model": "m-1", "messages": list(messages), **more})


@contextlib.asynccontextmanager
async def gateway(
    root: Path,
    *,
    provider: str = "openai",
    keep_alive: float = 10.0,
    model: str = "",
    upstream: Upstream | None = None,
    **options: Any,
) -> AsyncIterator[Rig]:
    """A gateway of a session that runs, its server for models, and a client."""
    async with serving() as server, httpx2.AsyncClient(timeout=60) as client:
        base = server.url + ("/v1" if provider == "openai" else "")
        key = Key("MLGYM_MODEL_API_KEY", "the environment", REAL_KEY)
        server_of = upstream or up.Server(provider, "m-1", key=key, base_url=base, model=model)
        made = Gateway(GatewayAgent(server_of), keep_alive=keep_alive)
        (url,) = await made.serve(host_port=0)
        try:
            async with driven(root, made.agent, **options) as session:
                yield Rig(session, made, server, url, client)
        finally:
            await made.close()


def user(text: str) -> dict[str, Any]:
    """A message of the user."""
    return {"role": "user", "content": text}


def whole(body: Any) -> Reply:
    """An answer in one piece."""
    return Reply([json.dumps(body).encode()], content_type="application/json")


def answer(text: str | None, *calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """An answer of Chat Completions."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
            for n, (name, given) in enumerate(calls)
        ]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return {"id": "c-1", "object": "chat.completion", "model": "m-1", "choices": [choice], "usage": usage, "new": 1}
