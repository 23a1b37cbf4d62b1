"""A container engine of the tests: it answers over a unix socket, well or in one of the ways in which engines fail."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

Answer = tuple[int, Any] | bytes | None
"""A status and what is sent as JSON; bytes as they are, after which the line is cut; None for nothing ever."""


class FakeEngine:
    """What it knows and what it was asked. `answers` take the place of its own: the keys are looked for in the method
    and the path.
    """

    def __init__(self, server: str = "Docker/27.3.1 (linux)", api: str = "1.47") -> None:
        self.headers = {"Server": server, "Api-Version": api}
        self.answers: dict[str, Answer] = {}
        self.containers: set[str] = set()
        self.asked: list[str] = []
        self.over = threading.Event()

    def answer(self, method: str, path: str, query: str) -> Answer:
        """What is sent for a request."""
        path = re.sub(r"^/v[0-9.]+", "", path)
        self.asked.append(f"{method} {path}")
        name = path.split("/")[2] if path.startswith("/containers/") else ""
        if path == "/containers/create":  # it is made even where nobody hears of it
            self.containers.add(query.partition("name=")[2].partition("&")[0])
        for pattern, given in self.answers.items():
            if re.search(pattern, f"{method} {path}"):
                return given
        if method == "DELETE":
            known = name in self.containers
            self.containers.discard(name)
            return (204, None) if known else (404, {"message": f"No such container: {name}"})
        if path == "/info":
            return 200, {"OSType": "linux", "NCPU": 2, "CgroupVersion": "2", "Architecture": "x86_64"}
        if path.startswith("/images/"):
            return 200, {"Id": "sha256:1234"}
        if path.endswith("/attach"):
            return b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        return (201, {"Id": name}) if path == "/containers/create" else (200, "OK")


class _Handler(BaseHTTPRequestHandler):
    engine: FakeEngine

    def _serve(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        answer = self.engine.answer(self.command, path, query)
        if answer is None:
            self.engine.over.wait(30)
        elif isinstance(answer, bytes):
            self.wfile.write(answer)
        else:
            status, said = answer
            body = b"" if said is None else json.dumps(said).encode()
            self.send_response_only(status)
            for name, value in {**self.engine.headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _serve

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self) -> tuple[socket.socket, Any]:
        return super().get_request()[0], ("nobody", 0)

    def handle_error(self, *arguments: Any) -> None:
        """A client that hung up is none of this server's business."""


@contextlib.contextmanager
def fake_engine(path: Path, engine: FakeEngine) -> Iterator[FakeEngine]:
    """The engine listens at that path."""
    handler = type("Handler", (_Handler,), {"engine": engine})
    with _Server(str(path), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield engine
        finally:
            engine.over.set()
            server.shutdown()
            thread.join()
