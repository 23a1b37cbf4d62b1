#!/bin/sh
# Python 3.11 (and later, as of 3.14), uvicorn 0.54.0: asyncio switches Nagle's algorithm off only where a socket says by
# its `proto` that it is TCP. A listening socket that is made as `socket.socket()` and handed over (`sock=`, `sockets=`)
# has the protocol 0, and so have the connections that it accepts: an answer in two pieces, as every ASGI server writes
# them (head and body), waits 40 ms for the client's delayed acknowledgement. With IPPROTO_TCP it takes less than one.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check uvicorn==0.54.0
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import http.client
import socket
import statistics
import sys
import time

import uvicorn

without_delay = {}


async def app(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await asyncio.sleep(0.001)
    await send({"type": "http.response.body", "body": b"ab", "more_body": True})
    await asyncio.sleep(0.001)
    await send({"type": "http.response.body", "body": b"cd"})


def ask(port):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    taken = []
    for _ in range(20):
        began = time.perf_counter()
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"abcd"
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


async def measured(listener):
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    taken = await asyncio.to_thread(ask, listener.getsockname()[1])
    server.should_exit = True
    await serving
    return taken


async def main():
    plain = await measured(socket.socket())
    named = await measured(socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP))
    print(f"python {sys.version.split()[0]}: {plain:.1f} ms for a socket without a protocol, {named:.1f} ms for one of TCP")
    assert plain > 20 > named, "changed"


asyncio.run(main())
PYTHON
