"""Connections that a sandbox relays to the gateway: there is always room for the one that asks something."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.sandbox.guest import guest as guest_program

LIMIT = 4


class Relaying(guest_program.Guest):
    """The loop of a sandbox that does nothing but relay."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.callers = {}

    def run(self) -> None:
        while True:
            for key, events in self.selector.select():
                known = self.selector.get_map().get(key.fd)
                if known is not None and known.data == key.data:
                    if key.data is None:
                        return
                    key.data(events)


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a relay to a server that says "hello" back to whoever says something."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s"))
    server.listen(64)

    def serve() -> None:
        while True:
            try:
                called, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=[called], daemon=True).start()

    def answer(called: socket.socket) -> None:
        with called:
            while (asked := called.recv(100)) and asked != b"wait":
                called.sendall(b"hello " + asked)
            while called.recv(100):
                pass

    threading.Thread(target=serve, daemon=True).start()
    guest = Relaying()
    relay = guest_program.Relay(guest, str(tmp_path / "s"))
    monkeypatch.setattr(guest_program, "MAX_RELAYED", LIMIT)  # not of those that wait to be accepted
    stop, stopped = socket.socketpair()
    guest.selector.register(stopped, selectors.EVENT_READ, None)
    loop = threading.Thread(target=guest.run, daemon=True)
    loop.start()
    yield relay.port
    stop.close()
    loop.join(10)
    for caller in [*guest.callers]:
        caller.hang_up()
    for left in (stopped, relay.listener, server):
        left.close()
    guest.selector.close()


def call(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def said(stream: socket.socket, text: bytes) -> bytes:
    stream.sendall(text)
    return stream.recv(100)


def hung_up(stream: socket.socket) -> bool:
    try:
        return stream.recv(1) == b""
    except ConnectionResetError:
        return True


def test_connections_that_say_nothing_make_room_for_one_that_does(port: int) -> None:
    first = call(port)
    assert said(first, b"one") == b"hello one"
    silent = [call(port) for _ in range(5 * LIMIT)]
    with call(port) as new:
        assert said(new, b"two") == b"hello two"
    assert hung_up(silent[0]), "the oldest"
    assert said(first, b"again") == b"hello again", "one that was answered stays"
    for each in (first, *silent):
        each.close()


def test_whoever_waits_for_an_answer_goes_before_those_that_had_one_and_after_the_silent(port: int) -> None:
    answered = [call(port) for _ in range(LIMIT - 1)]
    for each in answered:
        assert said(each, b"x") == b"hello x"
    asking = call(port)
    asking.sendall(b"wait")
    # Its bytes are through before the next connection is: that one is accepted after them.
    with call(port) as new:
        assert said(new, b"y") == b"hello y"
        assert hung_up(asking)
        assert all(said(each, b"z") == b"hello z" for each in answered)
    for each in (asking, *answered):
        each.close()
