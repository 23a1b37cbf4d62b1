"""The host's end of the stream to a guest that lies, babbles or goes away."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import random
import socket
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.sandbox.conftest import PATIENCE
from workbench.isolation import seccomp
from workbench.isolation.spec import SandboxError
from workbench.sandbox.base import SandboxSpec
from workbench.sandbox.channel import GuestChannel
from workbench.sandbox.guest import guest as guest_program
from workbench.sandbox.guest.guest import (
    BLOB_HEADER,
    BLOB_KIND,
    CONTROL_KIND,
    HEADER,
    MAX_FRAME,
    REQUEST_KIND,
    SHELL_HEADER,
    SHELL_KIND,
    frame,
)
from workbench.sandbox.guest_sandbox import GuestSandbox
from workbench.sandbox.pty import RELAY_CREDIT


class FakeGuest:
    """The other end of the stream, under the control of a test."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.setblocking(False)
        self.received = bytearray()

    async def next_frame(self) -> tuple[int, bytes]:
        """A frame from the host."""
        loop = asyncio.get_running_loop()
        while (
            len(self.received) < HEADER.size or len(self.received) < HEADER.size + HEADER.unpack_from(self.received)[0]
        ):
            async with asyncio.timeout(PATIENCE):
                data = await loop.sock_recv(self.connection, 1 << 20)
            assert data, "the host closed the stream"
            self.received += data
        size, kind = HEADER.unpack_from(self.received)
        payload = bytes(self.received[HEADER.size : HEADER.size + size])
        del self.received[: HEADER.size + size]
        return kind, payload

    async def next_call(self) -> dict[str, Any]:
        """A control message from the host."""
        kind, payload = await self.next_frame()
        assert kind == CONTROL_KIND
        message = json.loads(payload)
        assert isinstance(message, dict)
        return message

    async def send(self, data: bytes) -> None:
        """Raw bytes to the host."""
        await asyncio.get_running_loop().sock_sendall(self.connection, data)

    async def say(self, **message: Any) -> None:
        """A control message to the host."""
        await self.send(frame(CONTROL_KIND, json.dumps(message).encode()))


@pytest.fixture
async def ends() -> AsyncIterator[tuple[GuestChannel, FakeGuest]]:
    """A channel, and the guest that it talks to."""
    ours, theirs = socket.socketpair()
    channel = GuestChannel(ours)
    yield channel, FakeGuest(theirs)
    channel.close()
    theirs.close()


async def lost(channel: GuestChannel) -> asyncio.Future[str]:
    """The reason for which the channel is lost, later."""
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    channel.on_lost = future.set_result
    return future


async def test_answers_find_their_calls(ends: tuple[GuestChannel, FakeGuest]) -> None:
    channel, guest = ends
    calls = [asyncio.ensure_future(channel.call("op", time_limit=5, n=n, max_data=10)) for n in range(3)]
    asked = [await guest.next_call() for _ in calls]
    for message in reversed(asked):
        await guest.send(frame(BLOB_KIND, BLOB_HEADER.pack(message["id"], 1), b"out%d" % message["n"]))
        await guest.say(id=message["id"], ok=True, n=message["n"])
    answers = await asyncio.gather(*calls)
    assert [answer.message["n"] for answer in answers] == [0, 1, 2]
    assert [bytes(answer.out) for answer in answers] == [b"out0", b"out1", b"out2"]


async def test_frames_survive_any_cutting(ends: tuple[GuestChannel, FakeGuest]) -> None:
    channel, guest = ends
    printed = bytearray()
    channel.on_shell = lambda shell, data: printed.extend(data)
    pieces = [os.urandom(random.Random(n).randrange(0, 3000)) for n in range(50)]
    stream = b"".join(frame(SHELL_KIND, SHELL_HEADER.pack(1), piece) for piece in pieces)
    chance = random.Random(7)
    while stream:
        cut = chance.randrange(1, 2000)
        await guest.send(stream[:cut])
        await asyncio.sleep(0)
        stream = stream[cut:]
    await guest.say(id=0, ok=True)
    async with asyncio.timeout(PATIENCE):
        while len(printed) < sum(map(len, pieces)):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert bytes(printed) == b"".join(pieces)


@pytest.mark.parametrize(
    "rubbish",
    [
        HEADER.pack(MAX_FRAME + 1, CONTROL_KIND),
        frame(CONTROL_KIND, b"{not json"),
        frame(CONTROL_KIND, b"[1, 2]"),
        frame(CONTROL_KIND, b"[" * 100_000),
        frame(CONTROL_KIND, b"\xff\xfe"),
        frame(ord("?"), b"12345678"),
        frame(SHELL_KIND, b"1"),
        frame(BLOB_KIND, b"1234"),
        frame(REQUEST_KIND, b""),
        struct.pack(">I", 0xFFFFFFFF) * 3,
    ],
)
async def test_a_bad_frame_ends_the_channel(ends: tuple[GuestChannel, FakeGuest], rubbish: bytes) -> None:
    channel, guest = ends
    reason = await lost(channel)
    waiting = asyncio.ensure_future(channel.call("op", time_limit=5))
    await guest.next_call()
    await guest.send(rubbish)
    assert "protocol" in await asyncio.wait_for(reason, PATIENCE)
    with pytest.raises(SandboxError, match="protocol"):
        await waiting
    with pytest.raises(SandboxError, match="not running"):
        await channel.call("op", time_limit=5)


async def test_more_data_than_asked_for_ends_the_channel(ends: tuple[GuestChannel, FakeGuest]) -> None:
    channel, guest = ends
    reason = await lost(channel)
    waiting = asyncio.ensure_future(channel.call("read_file", time_limit=5, max_data=100))
    number = (await guest.next_call())["id"]
    await guest.send(frame(BLOB_KIND, BLOB_HEADER.pack(number, 1), b"x" * 101))
    assert "more data" in await asyncio.wait_for(reason, PATIENCE)
    with pytest.raises(SandboxError):
        await waiting


async def test_what_nobody_asked_for_is_ignored(ends: tuple[GuestChannel, FakeGuest]) -> None:
    channel, guest = ends
    await guest.say(id=99, ok=True)
    await guest.send(frame(BLOB_KIND, BLOB_HEADER.pack(98, 1), b"data"))
    await guest.say(id="x", event="?")
    waiting = asyncio.ensure_future(channel.call("op", time_limit=5))
    await guest.say(id=(await guest.next_call())["id"], ok=True)
    assert (await waiting).message["ok"] is True


async def test_a_silent_guest_is_an_error_not_a_hang(ends: tuple[GuestChannel, FakeGuest]) -> None:
    channel, _guest = ends
    with pytest.raises(SandboxError, match="did not answer"):
        await channel.call("op", time_limit=0.05)


async def test_descriptors_nobody_asked_for_are_closed(ends: tuple[GuestChannel, FakeGuest]) -> None:
    channel, guest = ends
    before = len(os.listdir("/proc/self/fd"))
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        for number in range(1000, 1020):
            data = frame(CONTROL_KIND, json.dumps({"id": number, "ok": True, "pid": 1}).encode())
            socket.send_fds(guest.connection, [data], [nothing] * 3)
    finally:
        os.close(nothing)
    waiting = asyncio.ensure_future(channel.call("op", time_limit=5))
    await guest.say(id=(await guest.next_call())["id"], ok=True)
    await waiting
    channel.close()
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_a_large_message_does_not_wait_for_the_guest(ends: tuple[GuestChannel, FakeGuest]) -> None:
    channel, guest = ends
    blob = os.urandom(5_000_000)
    waiting = asyncio.ensure_future(channel.call("exec", time_limit=10, blob=blob))
    await asyncio.sleep(0)
    number = (await guest.next_call())["id"]
    received = bytearray()
    while len(received) < len(blob):
        kind, payload = await guest.next_frame()
        assert kind == BLOB_KIND
        received += payload[BLOB_HEADER.size :]
    await guest.say(id=number, ok=True)
    await waiting
    assert received == blob


class RelayedSandbox(GuestSandbox):
    """A sandbox whose guest is played by the test."""

    async def _start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Only the stream."""
        self.detach()

    def describe(self) -> dict[str, Any]:
        """What it is."""
        return {"backend": "played"}


@pytest.fixture
async def played() -> AsyncIterator[tuple[RelayedSandbox, FakeGuest]]:
    """A sandbox attached to a played guest, which relays its terminals."""
    ours, theirs = socket.socketpair()
    guest = FakeGuest(theirs)
    sandbox = RelayedSandbox(SandboxSpec(session="s"), Path("/nowhere"))
    attaching = asyncio.ensure_future(sandbox.attach(ours))
    await guest.say(event="ready", passes_descriptors=False)
    await attaching
    yield sandbox, guest
    sandbox.detach()
    theirs.close()


async def test_output_of_a_relayed_shell_waits_for_its_reader(played: tuple[RelayedSandbox, FakeGuest]) -> None:
    sandbox, guest = played
    opening = asyncio.ensure_future(sandbox.open_shell("/"))
    call = await guest.next_call()
    assert call["relay"] is True and call["credit"] == RELAY_CREDIT
    number = call["id"]
    await guest.say(id=number, ok=True, pid=5)
    await guest.send(frame(SHELL_KIND, SHELL_HEADER.pack(number), b"early"))
    await guest.say(event="exit", shell=number, status=3)
    pty = await opening
    seen: list[bytes | int] = []
    pty.listen(seen.append, seen.append)
    async with asyncio.timeout(PATIENCE):
        while len(seen) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert seen == [b"early", 3]


async def test_a_relayed_shell_gets_credit_only_for_what_was_taken(played: tuple[RelayedSandbox, FakeGuest]) -> None:
    sandbox, guest = played
    lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    sandbox.on_warning = lost.set_result
    opening = asyncio.ensure_future(sandbox.open_shell("/"))
    number = (await guest.next_call())["id"]
    await guest.say(id=number, ok=True, pid=5)
    pty = await opening
    taken = bytearray()
    pty.listen(taken.extend, lambda status: None)
    half = frame(SHELL_KIND, SHELL_HEADER.pack(number), b"x" * (RELAY_CREDIT // 2))
    await guest.send(half)
    kind, payload = await guest.next_frame()
    assert (kind, struct.unpack(">II", payload)) == (ord("C"), (number, RELAY_CREDIT // 2))
    pty.pause_reading()
    await guest.send(half + half)
    await guest.send(frame(SHELL_KIND, SHELL_HEADER.pack(number), b"x"))  # one byte too many
    assert "credit" in await asyncio.wait_for(lost, PATIENCE)
    assert len(taken) == RELAY_CREDIT // 2


async def test_a_request_gets_an_answer_whatever_happens(played: tuple[RelayedSandbox, FakeGuest]) -> None:
    sandbox, guest = played

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["op"] == "large":
            return {"ok": True, "text": "x" * (2 << 20)}
        raise KeyError("score")

    sandbox.on_request = answer
    for client, (line, word) in enumerate(
        [(b'{"op":"x"}', "score"), (b"\xff", "JSON"), (b"[" * 9000, "JSON"), (b'{"op":"large"}', "larger")]
    ):
        await guest.send(frame(REQUEST_KIND, SHELL_HEADER.pack(client), line))
        kind, payload = await guest.next_frame()
        assert kind == REQUEST_KIND and SHELL_HEADER.unpack_from(payload)[0] == client
        said = json.loads(payload[SHELL_HEADER.size :])
        assert said["ok"] is False and word in said["message"]


async def test_a_guest_that_never_gets_ready(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    sandbox = RelayedSandbox(SandboxSpec(session="s"), tmp_path)
    with pytest.raises(SandboxError, match="did not start"):
        await sandbox.attach(ours, time_limit=0.05)
    theirs.close()
    ours, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises(SandboxError, match="could not be started"):
        await sandbox.attach(ours)


@pytest.mark.parametrize("program", [guest_program, seccomp], ids=["guest", "seccomp"])
def test_the_guest_is_for_old_pythons_and_needs_nothing(program: ModuleType) -> None:
    source = Path(program.__file__ or "").read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        assert all(name.split(".")[0] in {*sys.stdlib_module_names, "seccomp"} for name in names), names


@pytest.mark.parametrize(
    ("moments", "group"),
    [
        ([("R", 100), ("D", 100), ("R", 700), ("S", 200)], 200),  # it starts a program: that has ended, the next runs
        ([("R", 100), ("S", 100)], 100),  # it waits, as `wait` and `read` do
        ([("R", 100)] * 4, 100),  # it works: a loop of builtins
    ],
)
def test_an_interrupt_spares_bash_while_it_starts_a_program(
    moments: list[tuple[str, int]], group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = guest_program.Shell.__new__(guest_program.Shell)
    shell.pid, left = 100, list(moments)
    monkeypatch.setattr(shell, "foreground", lambda: left[0][1])
    ticks = guest_program.TICKS_OF_FORK

    def stat_fields(pid: int) -> list[bytes]:
        state, _ = left.pop(0)
        used = ticks * (len(moments) - len(left))
        return [state.encode(), *[b"0"] * 10, str(used if moments[-1][0] == "R" else 0).encode(), b"0"]

    monkeypatch.setattr(guest_program, "stat_fields", stat_fields)
    monkeypatch.setattr(guest_program, "process_table", lambda: [(100, 1, 100, 100), (200, 100, 200, 100)])
    assert shell.settled() == group
