"""The HTTP side: what clients send is read, and what they get is written, byte by byte as it came where it can be."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hmac
import json
import logging
import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from workbench.gateway.agent import GatewayAgent
from workbench.gateway.answering import DROPPED, Reply, Unanswered
from workbench.gateway.call import Call
from workbench.gateway.compression import TooLarge, decompressed, encodings, known
from workbench.gateway.delivery import Delivery
from workbench.gateway.protocols.base import Protocol, dumped
from workbench.gateway.routes import Malformed, Route, find_route

if TYPE_CHECKING:
    import uvicorn

LARGEST = 64 << 20
"""Bytes of a request."""
KEEP_ALIVE = 10.0
"""Seconds after which a client that waits gets a blank line. The shortest time-out of a usual client is a minute."""
MOST_WAITED_FOR = 256
"""Connections over which no whole head of a request has come."""
_BACKLOG = 1024
_IN_PLACE = 1 << 20
_BODY_SECONDS = 120.0
"""Seconds for sending a request."""

Scope = dict[str, Any]


class Gateway:
    """The gateway of one session. `agent` is what the session is given."""

    def __init__(self, agent: GatewayAgent, *, key: str = "", keep_alive: float = KEEP_ALIVE) -> None:
        self.agent = agent
        self.key = key or f"mlgym-{secrets.token_urlsafe(24)}"
        """The only one that is accepted, made for this session."""
        self._keep_alive = keep_alive
        self._sockets: list[socket.socket] = []
        self._servers: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []

    def listen(self, unix_socket: Path | None = None, host_port: int | None = None) -> list[str]:
        """Listen on a socket in the file system, and on a port of this machine alone (0: any free one); who connects
        waits for `serve`. Returns the addresses. Raises OSError.
        """
        addresses = []
        if unix_socket is not None:
            listener = socket.socket(socket.AF_UNIX)
            self._sockets.append(listener)
            listener.bind(str(unix_socket))
            os.chmod(unix_socket, 0o666)  # the sandbox may have another user, and the key is what protects it
            addresses.append(f"unix:{unix_socket}")
        if host_port is not None:
            # The protocol by name: else asyncio leaves Nagle's algorithm on, and each answer waits 40 ms (findings/).
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            self._sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", host_port))
            addresses.append(f"http://127.0.0.1:{listener.getsockname()[1]}")
        for listener in self._sockets:
            listener.listen(_BACKLOG)
        return addresses

    async def serve(self, unix_socket: Path | None = None, host_port: int | None = None) -> list[str]:
        """Take requests up, on the sockets of `listen` and on these. Returns the addresses of these. Raises OSError."""
        import uvicorn
        from uvicorn.protocols.http.h11_impl import H11Protocol

        class Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield  # signals are the session's

        for name in ("uvicorn.error", "uvicorn.asgi"):  # it would print a traceback of each answer that breaks off
            logging.getLogger(name).addHandler(logging.NullHandler())
            logging.getLogger(name).propagate = False
        addresses = self.listen(unix_socket, host_port)
        sockets, self._sockets = self._sockets, []
        waiting: list[H11Protocol] = []

        class Connection(H11Protocol):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                waiting[:] = [each for each in waiting if each.cycle is None and each in self.connections]
                waiting.append(self)
                if len(waiting) > MOST_WAITED_FOR:  # the oldest that has asked nothing: there is room for who asks
                    waiting[0].transport.close()

        config = uvicorn.Config(
            self,
            http=Connection,
            backlog=_BACKLOG,
            limit_concurrency=2 * _BACKLOG,
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
            ws="none",
        )
        server = Server(config)
        task = asyncio.ensure_future(server.serve(sockets=sockets))
        self._servers.append((server, task))
        while not server.started:
            if task.done():
                task.result()
                raise OSError("the server did not start")
            await asyncio.sleep(0.005)
        return addresses

    def environment(self, base_url: str) -> dict[str, str]:
        """The variables by which clients find the gateway at `base_url` (without a path), and its key."""
        base = base_url.rstrip("/")
        return {
            "OPENAI_BASE_URL": f"{base}/v1",
            "OPENAI_API_BASE": f"{base}/v1",
            "OPENAI_API_KEY": self.key,
            "ANTHROPIC_BASE_URL": base,
            "ANTHROPIC_API_BASE": base,
            "ANTHROPIC_API_KEY": self.key,
            "GOOGLE_GEMINI_BASE_URL": base,
            "GEMINI_API_KEY": self.key,
            "GOOGLE_API_KEY": self.key,
        }

    async def close(self) -> None:
        """Stop listening, once what was answered has been sent."""
        for listener in self._sockets:
            listener.close()
        servers, self._servers = self._servers, []
        for server, task in servers:
            server.should_exit = True
            await asyncio.wait({task})

    # -- requests ----------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        route = find_route(scope["method"], scope["path"], {name for name, _ in headers}, {name for name, _ in query})
        try:
            if not self._knows(headers, query):
                raise Unanswered(401, "auth", "this is not the key of this session")
            if route.problem:
                raise Unanswered(route.status, "error", route.problem)
            left = urlencode([(name, value) for name, value in query if name != "key"])
            await self._take(route, left, headers, receive, send)
        except Unanswered as error:
            await self._error(send, route.protocol, error.status, str(error))

    async def _take(self, route: Route, query: str, headers: list[tuple[str, str]], receive: Any, send: Any) -> None:
        """A request that may be made. Raises Unanswered, as long as its client has got nothing."""
        upstream = self.agent.upstream
        if upstream.provider and upstream.provider != route.protocol.provider:
            raise Unanswered(
                400,
                "error",
                f"this gateway goes on to {upstream.name}, which does not speak the protocol of this request "
                f"({route.protocol.provider}); start it with --upstream {route.protocol.provider}:NAME",
            )
        body = await _read(receive, encodings(",".join(value for name, value in headers if name == "content-encoding")))
        kept = [(name, value) for name, value in headers if name.lower() not in DROPPED]
        if not route.asks:
            await _pass(send, await upstream.pass_on(route.method, route.path, query, kept, body))
            return
        try:
            large = len(body) > _IN_PLACE  # parsing takes longer than anybody else should wait
            read = functools.partial(route.read, query, kept, body, upstream.model)
            asked = await asyncio.to_thread(read) if large else read()
        except Malformed as error:
            raise Unanswered(400, "error", f"the request cannot be read: {error}") from None
        await self._answer(self.agent.begin(asked), receive, send)

    def _knows(self, headers: list[tuple[str, str]], query: list[tuple[str, str]]) -> bool:
        for name, value in [*headers, *query]:
            name = name.lower()
            if name in ("authorization", "x-api-key", "x-goog-api-key", "api-key", "key"):
                given = value[7:] if name == "authorization" and value[:7].lower() == "bearer " else value
                if hmac.compare_digest(given.strip().encode(), self.key.encode()):
                    return True
        return False

    async def _answer(self, call: Call, receive: Any, send: Any) -> None:
        listening = asyncio.ensure_future(_gone(receive))
        listening.add_done_callback(lambda _: setattr(call, "gone", True))
        try:
            await self._send(call, send, listening)
        finally:
            if not call.delivery.taken:
                call.gone = True
            listening.cancel()

    async def _send(self, call: Call, send: Any, listening: asyncio.Future[None]) -> None:
        delivery = call.delivery
        waited = False
        while not await delivery.begin(self._keep_alive):
            if listening.done():
                return
            if not waited:
                kind = "text/event-stream" if call.asked.stream else "application/json"
                await _start(send, 200, [("content-type", kind)])
                waited = True
            await _blank(send, delivery)
        if not waited:
            await _start(send, delivery.status, delivery.headers)
        elif delivery.status >= 400:  # it was told already that all is well
            failed = b"".join(delivery.pieces)
            if call.asked.stream:
                with contextlib.suppress(ValueError, AttributeError):
                    failed = call.asked.protocol.error_event(json.loads(failed))
            await _piece(send, failed)
            delivery.taken = True
            if not call.asked.stream:  # a client would take it for an answer
                raise ConnectionError("there is no answer")
            await _end(send)
            return
        async for piece in delivery.follow(self._keep_alive):
            if listening.done():
                return
            await (_piece(send, piece) if piece else _blank(send, delivery))
        if delivery.broken:
            raise ConnectionError("the answer broke off")  # so that the client sees that it has no end
        await _end(send)
        delivery.taken = True

    async def _error(self, send: Any, protocol: Protocol, status: int, message: str) -> None:
        body = dumped(protocol.error(status, message)).encode()
        await _start(send, status, [("content-type", "application/json"), ("content-length", str(len(body)))])
        await _piece(send, body)
        await _end(send)


async def _read(receive: Any, packed: Sequence[str]) -> bytes:
    """The body of a request, as it was before it was compressed in these ways. Raises Unanswered."""
    if not known(packed):
        said = f"the request is compressed as {', '.join(packed)[:60]}; gzip, deflate and zstd can be read here"
        raise Unanswered(415, "error", said)
    body, more = bytearray(), True
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while more:
                message = await receive()
                body += message.get("body", b"")
                if message["type"] != "http.request" or len(body) > LARGEST:  # its client has gone, or sends too much
                    raise TooLarge
                more = message.get("more_body")
        return await asyncio.to_thread(decompressed, bytes(body), packed, LARGEST) if packed else bytes(body)
    except TimeoutError:
        raise Unanswered(408, "error", "the request did not come to its end") from None
    except TooLarge:
        raise Unanswered(413, "error", f"a request has {LARGEST >> 20} MiB at most") from None
    except ValueError as error:
        raise Unanswered(400, "error", f"the request cannot be decompressed: {error}") from None


async def _gone(receive: Any) -> None:
    """Until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _pass(send: Any, reply: Reply) -> None:
    await _start(send, reply.status, reply.headers)
    async for piece in reply.body:
        await _piece(send, piece)
    await _end(send)


async def _start(send: Any, status: int, headers: list[tuple[str, str]]) -> None:
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _piece(send: Any, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _blank(send: Any, delivery: Delivery) -> None:
    """Of all that says that the connection lives, every client passes over this alone."""
    await _piece(send, b"\n")
    delivery.blanks += 1


async def _end(send: Any) -> None:
    await send({"type": "http.response.body", "body": b"", "more_body": False})
