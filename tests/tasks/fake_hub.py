"""A Hugging Face Hub of one repository, on this machine: enough of it for its own library to fetch files."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
LARGE = 1000
"""Bytes from which on a file is known by its sha256, as the Hub does with large ones."""


def git_hash(data: bytes) -> str:
    """What git calls a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def etag(data: bytes) -> str:
    """What the Hub calls a file's content."""
    return hashlib.sha256(data).hexdigest() if len(data) >= LARGE else git_hash(data)


@contextmanager
def serve(repo: str, files: dict[str, bytes], *, promised: dict[str, bytes] | None = None) -> Iterator[str]:
    """Its address. `promised`: what the Hub says that files are, where that is not what it sends."""
    said = {**files, **(promised or {})}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            if path == "/":
                return self.send(b"hello", body)
            if path.startswith(f"/api/models/{repo}/revision/"):
                siblings = [self.sibling(name) for name in said]
                return self.send(json.dumps({"id": repo, "sha": COMMIT, "siblings": siblings}).encode(), body)
            name = path.removeprefix(f"/{repo}/resolve/{COMMIT}/")
            if name in files:
                headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag(said[name])}"'}
                return self.send(files[name], body, **headers)
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def sibling(self, name: str) -> dict[str, object]:
            data = said[name]
            facts: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": git_hash(data)}
            if len(data) >= LARGE:
                facts["lfs"] = {"sha256": etag(data), "size": len(data), "pointerSize": 100}
            return facts

        def send(self, data: bytes, body: bool, **headers: str) -> None:
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
