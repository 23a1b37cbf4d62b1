"""A local HTTP server whose answers are scripted: what a provider says, or whatever else a server may say."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Call:
    """A request that the server got."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Reply:
    """What the server answers with: the pieces of its body, each sent as a chunk of its own."""

    pieces: Sequence[bytes] = ()
    status: int = 200
    content_type: str = "text/event-stream"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    """The connection is lost after the last piece."""
    hold_before: int | None = None
    """Wait for `Server.go_on` before the piece of this number."""
    trickle: bytes = b""
    """Comes for ever after the pieces."""
    slow_head: bool = False
    """Headers come for ever, one at a time."""


class Server:
    """Answers each request with the next reply, and then with the last one again."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.connections = 0
        self.replies: list[Reply] = []
        self.go_on = asyncio.Event()
        self.held = asyncio.Event()
        """A reply waits for `go_on`."""
        self.sent = 0
        """Bytes of bodies that clients have taken."""
        self.lost = asyncio.Event()
        """A client closed its connection before the end of a reply."""
        self.url = ""

    def answers(self, *replies: Reply) -> None:
        """What to answer from now on."""
        self.replies = list(replies)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            self.lost.set()
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        data = await reader.readexactly(int(headers.get("content-length", 0)))
        self.calls.append(Call(first.split()[1], headers, json.loads(data) if data else {}))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        await self._send(reply, writer)
        return not reply.cut

    async def _send(self, reply: Reply, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {reply.status} Scripted", f"Content-Type: {reply.content_type}"]
        while reply.slow_head:
            writer.write(("\r\n".join([*lines, ""])).encode())
            await writer.drain()
            lines = ["X-More: x"]
            await asyncio.sleep(0.05)
        lines += ["Transfer-Encoding: chunked", *(f"{name}: {value}" for name, value in reply.headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        for number, piece in enumerate(reply.pieces):
            if number == reply.hold_before:
                await self._hold(writer)
            await self._chunk(piece, writer)
        while reply.trickle:
            await self._chunk(reply.trickle, writer)
            await asyncio.sleep(0.01)
        if not reply.cut:
            writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _hold(self, writer: asyncio.StreamWriter) -> None:
        await writer.drain()
        self.held.set()
        await self.go_on.wait()

    async def _chunk(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        if piece:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            self.sent += len(piece)


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    """A server on a free port of this machine."""
    server = Server()
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0, limit=1 << 22)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for task in asyncio.all_tasks():
            if getattr(task.get_coro(), "__qualname__", "") == "Server.handle":
                task.cancel()


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0.002)


def sse(*events: Any, done: bool = True) -> list[bytes]:
    """Events of OpenAI's stream."""
    pieces = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]
    return [*pieces, b"data: [DONE]\n\n"] if done else pieces


def named(*events: dict[str, Any]) -> list[bytes]:
    """Events of Anthropic's stream."""
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]


def failure(status: int, body: Any, **headers: str) -> Reply:
    """An answer of failure with a body of JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply([data], status, "application/json", names)
