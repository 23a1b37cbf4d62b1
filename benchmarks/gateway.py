"""What the gateway adds to a model call with nothing to hold, over a plain reverse proxy of the same server library.

`python -m benchmarks.gateway` is the server of the model: it answers at once, with as many chunks as it is asked for.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from benchmarks.rows import Row, absolute

_CALLS = 200
_CHUNKS = 10_000
_ROUNDS = 3
_AGENTS, _CALLS_EACH = 20, 20


async def gateway_calls() -> list[Row]:
    """Calls, chunks of one stream, and twenty agents at once."""
    from workbench.gateway.server import Gateway
    from workbench.gateway.upstream import Server
    from workbench.runner.start import start
    from workbench.session.events import Limits
    from workbench.session.spec import SessionSpec

    async with _model() as base:
        with tempfile.TemporaryDirectory() as folder:
            gateway = Gateway(Server("openai", "m", key=None, base_url=base))
            spec = SessionSpec(task="blotto", unsafe_local=True, mode="auto", limits=Limits(steps=100_000))
            runner = start(spec, Path(folder), agent=gateway.agent)
            running = asyncio.ensure_future(runner.run())
            (ours,) = await gateway.serve(host_port=0)
            async with _served(_Proxy(base)) as plain:
                rows = await _compared(f"{ours}/v1", plain, {"Authorization": f"Bearer {gateway.key}"})
            runner.controls.stop()
            await running
            await gateway.close()
    return rows


async def _compared(ours: str, plain: str, key: dict[str, str]) -> list[Row]:
    calls: dict[str, list[float]] = {ours: [], plain: []}
    chunks: dict[str, list[float]] = {ours: [], plain: []}
    crowd: dict[str, list[float]] = {ours: [], plain: []}
    async with httpx2.AsyncClient(timeout=600, headers=key, limits=httpx2.Limits(max_connections=None)) as client:
        for _ in range(_ROUNDS):
            for base in (plain, ours):
                calls[base].append(await _calls(client, base))
                chunks[base].append(await _stream(client, base))
                crowd[base].append(await _crowd(client, base))
    rows = []
    for what, found, limit in (
        (f"a call with nothing to hold, {_CALLS} in turn; proxy", calls, 5.0),
        (f"a chunk of {_CHUNKS:,}; proxy", chunks, 1.0),
        (f"a call of {_AGENTS} agents at once; proxy", crowd, 5.0),
    ):
        mine, floor = min(found[ours]), min(found[plain])
        rows.append(absolute(f"{what} {floor:.3g} ms; added", mine - floor, limit))
    return rows


async def _calls(client: httpx2.AsyncClient, base: str) -> float:
    """Milliseconds of a call of a conversation that grows: the median."""
    messages, taken = [{"role": "user", "content": f"Begin {time.monotonic()}."}], []
    for number in range(_CALLS):
        began = time.perf_counter()
        answer = await client.post(f"{base}/chat/completions", json={"model": "m", "messages": messages})
        taken.append(time.perf_counter() - began)
        messages += [answer.json()["choices"][0]["message"], {"role": "user", "content": f"{number}: " + "x" * 200}]
    return statistics.median(taken) * 1000


async def _stream(client: httpx2.AsyncClient, base: str) -> float:
    """Milliseconds for each chunk of one answer."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Go on."}], "stream": True, "chunks": _CHUNKS}
    began, size = time.perf_counter(), 0
    async with client.stream("POST", f"{base}/chat/completions", json=body) as answer:
        async for piece in answer.aiter_raw():
            size += len(piece)
    assert size > 100 * _CHUNKS, size
    return (time.perf_counter() - began) * 1000 / _CHUNKS


async def _crowd(client: httpx2.AsyncClient, base: str) -> float:
    """Milliseconds of the time of all, for each call."""

    async def agent(number: int) -> None:
        messages = [{"role": "user", "content": f"Agent {number} at {time.monotonic()}."}]
        for _ in range(_CALLS_EACH):
            answer = await client.post(f"{base}/chat/completions", json={"model": "m", "messages": messages})
            messages += [answer.json()["choices"][0]["message"], {"role": "user", "content": "Go on."}]

    began = time.perf_counter()
    await asyncio.gather(*map(agent, range(_AGENTS)))
    return (time.perf_counter() - began) * 1000 / (_AGENTS * _CALLS_EACH)


class _Proxy:
    """A plain reverse proxy."""

    def __init__(self, base: str) -> None:
        self._base = base.removesuffix("/v1")
        self._client = httpx2.AsyncClient(timeout=600, limits=httpx2.Limits(max_connections=None))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        request = self._client.build_request("POST", f"{self._base}/v1{scope['path']}", content=body)
        response = await self._client.send(request, stream=True)
        kind = response.headers["content-type"].encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        async for piece in response.aiter_raw():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _model_app(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    chunks = json.loads(body).get("chunks", 0)
    kind = b"text/event-stream" if chunks else b"application/json"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    for number in range(chunks):
        choice = {"index": 0, "delta": {"content": f" word{number}"}, "finish_reason": None}
        data = f"data: {json.dumps({**base, 'choices': [choice]})}\n\n".encode()
        await send({"type": "http.response.body", "body": data, "more_body": True})
        if not number % 50:
            await asyncio.sleep(0)
    if chunks:
        ends = {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        last = f"data: {json.dumps(ends)}\n\ndata: [DONE]\n\n".encode()
    else:
        said = {"role": "assistant", "content": "```bash\nls\n```"}
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        last = json.dumps({**base, "object": "chat.completion", "choices": [choice]}).encode()
    await send({"type": "http.response.body", "body": last, "more_body": False})


@asynccontextmanager
async def _served(app: Any) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None, access_log=False, ws="none"))
    task = asyncio.ensure_future(server._serve())
    while not server.started:  # noqa: ASYNC110  # it tells nobody
        await asyncio.sleep(0.005)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await task


@asynccontextmanager
async def _model() -> AsyncIterator[str]:
    """The address of a model's server in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.gateway", stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip() + "/v1"
    finally:
        process.kill()
        await process.wait()


async def _main() -> None:
    async with _served(_model_app) as address:
        print(address, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
