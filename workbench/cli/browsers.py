"""The web server of `serve`: each browser gets a process of its own with the same screens, by textual-serve.

Of that it takes the terminal in the page, and the protocol between that and the app. Its own server lets anybody in:
who comes in here has the token, asks for this machine by its own name, and comes from a page of this server.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import secrets
import signal
import struct
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import textual_serve
from aiohttp import WSCloseCode, web
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager
from textual_serve.server import Server, to_int

from workbench.text import visible

MOST_VIEWS = 16
"""Browsers at a time: each is a process of some 100 MB."""
_PATIENCE = 3.0
"""Seconds that a view has to end by itself."""
_NAMES = ("localhost", "127.0.0.1", "::1")
_BEGIN, _HEAD = b"__GANGLION__\n", struct.Struct(">cI")
_PAGE = Path(__file__).with_name("page")
_STATIC = Path(textual_serve.__file__).with_name("static")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Browsers:
    """Serves what `command` (arguments, no shell) shows, on this machine alone."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self.token = secrets.token_urlsafe(32)
        self._protocol = Server("")
        self._views: dict[web.WebSocketResponse, _View] = {}
        self._runner: web.AppRunner | None = None
        self._problem = ""
        """What the view said that ended last."""
        logging.getLogger("textual-serve").setLevel(logging.CRITICAL)  # what went wrong is said in the browser

    async def start(self, port: int) -> int:
        """Listen on 127.0.0.1; 0 takes any free port. Returns the port. Raises OSError."""
        app = web.Application(middlewares=[_of_this_machine], client_max_size=1 << 16)
        app.add_routes([
            web.get("/", _index),
            web.get("/view/{token}", self._view),
            web.post("/why", self._why_closed),
            web.static("/page", _PAGE),
            web.static("/static", _STATIC),
        ])  # fmt: skip
        app.on_shutdown.append(self._close)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_PATIENCE)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        address: tuple[str, int] = self._runner.addresses[0]
        return address[1]

    async def stop(self) -> None:
        """Disconnect all browsers, and end what they were shown by."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _close(self, _app: web.Application) -> None:
        views = dict(self._views)
        await asyncio.gather(
            *(view.stop() for view in views.values()),
            *(socket.close(code=WSCloseCode.GOING_AWAY) for socket in views),
            return_exceptions=True,
        )

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())

    async def _why_closed(self, request: web.Request) -> web.Response:
        """A sentence for who sees nothing (any more)."""
        if not self._is_token(request.headers.get("Authorization", "").removeprefix("Bearer ")):
            return web.Response(text="This address is of another `mlgym-tui serve`: open the one that it printed.")
        if len(self._views) >= MOST_VIEWS:
            return web.Response(text=f"There are {MOST_VIEWS} browsers already: close one, and reload this page.")
        why = f": {self._problem.splitlines()[-1]}" if self._problem else ""
        return web.Response(text=f"This view has ended{why}. Reload the page to look again.")

    async def _view(self, request: web.Request) -> web.StreamResponse:
        """A view for one browser, until one of the two ends."""
        if not self._is_token(request.match_info["token"]):
            raise web.HTTPForbidden(text="wrong token\n")
        if request.headers.get("Origin") != f"http://{request.headers.get('Host')}":
            raise web.HTTPForbidden(text="only pages of this server may ask for a view\n")
        if len(self._views) >= MOST_VIEWS:
            raise web.HTTPServiceUnavailable(text=f"there are {MOST_VIEWS} browsers already\n")
        socket = web.WebSocketResponse(heartbeat=15)
        view = self._views[socket] = _View(self._command, socket)
        try:
            await socket.prepare(request)
            await view.start(_cells(request, "width", 80), _cells(request, "height", 24))
            with contextlib.suppress(ValueError, LookupError, TypeError, AssertionError):  # it is no terminal of ours
                await self._protocol._process_messages(socket, view)
        finally:
            await view.stop()
            del self._views[socket]
            self._problem = view.problem
            if view.problem:
                print(visible(view.problem), file=sys.stderr)
            await socket.close()
        return socket


class _View(AppService):
    """The process for one browser; its end closes the connection, and the other way round."""

    def __init__(self, command: Sequence[str], socket: web.WebSocketResponse) -> None:

        async def close() -> None:
            await socket.close()

        super().__init__(
            "", write_bytes=socket.send_bytes, write_str=socket.send_str, close=close,
            download_manager=DownloadManager(),
        )  # fmt: skip
        self._arguments = command
        self._asked = False
        """To end."""
        self.problem = ""
        """What the process said when it ended by itself."""

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        environment = self._build_environment(width=width, height=height)
        environment["TEXTUAL_DRIVER"] = "workbench.cli.served:ServedDriver"
        # A session of its own: ctrl+c ends the server, and that the views.
        self._process = process = await asyncio.create_subprocess_exec(
            *self._arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment, start_new_session=True
        )
        self._stdin = process.stdin
        return process

    async def run(self) -> None:
        """Pass on what the app draws, to its end. (textual-serve's own prints what went wrong to standard output.)"""
        assert self._process is not None and self._process.stdout is not None and self._process.stderr is not None
        read = self._process.stdout
        said = asyncio.ensure_future(self._process.stderr.read())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while await read.readline() not in (_BEGIN, b""):
                pass
            while True:
                kind, size = _HEAD.unpack(await read.readexactly(_HEAD.size))
                body = await read.readexactly(size)
                if kind == b"D":
                    await self.remote_write_bytes(body)
                elif kind == b"M":  # the end: the app sends nothing else
                    break
        if not self._asked:  # it went by itself: this is why
            with contextlib.suppress(asyncio.CancelledError):
                self.problem = (await said).decode("utf-8", "replace").strip()
        said.cancel()
        await self.remote_close()

    async def stop(self) -> None:
        """End the process: asked first, and made to where it does not answer. Can be called twice."""
        process, task = self._process, self._task
        if process is None:
            return
        self._asked = True
        ending: tuple[Callable[[], Awaitable[object] | None], ...] = (
            lambda: self.send_meta({"type": "quit"}),
            lambda: _signal(process, signal.SIGTERM),
            lambda: _signal(process, signal.SIGKILL),
        )
        for end in ending:
            if process.returncode is not None:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE / 2):
                    if (asked := end()) is not None:
                        await asked
                    await process.wait()
        if task is not None:
            task.cancel()
            await asyncio.wait({task})


def _signal(process: Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _cells(request: web.Request, side: str, default: int) -> int:
    return min(max(to_int(request.query.get(side, ""), default), 20), 1000)


async def _index(_request: web.Request) -> web.FileResponse:
    return web.FileResponse(_PAGE / "index.html")


@web.middleware
async def _of_this_machine(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Let in who asks for this machine by its own name: a page of elsewhere whose name was turned to this address (DNS
    rebinding) asks for its own.
    """
    try:
        name = urlsplit(f"//{request.headers.get('Host', '')}").hostname
    except ValueError:
        name = None
    if name not in _NAMES:
        return web.Response(status=403, text="ask for 127.0.0.1 or localhost\n", headers=_HEADERS)
    try:
        response = await handler(request)
    except web.HTTPException as error:
        error.headers.update(_HEADERS)
        raise
    if not response.prepared:
        response.headers.update(_HEADERS)
    return response


def view_command(how: str, sessions: Path, paths: Sequence[Path]) -> list[str]:
    """What shows some paths, else the user's own `sessions`, to a browser: `how` is `watch` or `drive`."""
    return [sys.executable, "-m", "workbench.cli.served", how, str(sessions), *map(str, paths)]
