"""A session for other processes of the same user: its events, its status and its shell's output over a Unix socket, and
commands the other way. The other end needs nothing else to draw the session and to drive it.

A frame is one byte for its kind, four for the length of its body (big-endian), and the body: events, statuses, commands
and outcomes as JSON, output as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import stat
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, Self

import msgspec

from workbench.errors import WorkbenchError
from workbench.session.bus import Bus, Message, ShellOutput
from workbench.session.commands import AnyCommand, Command, Drive, Outcome
from workbench.session.events import Event, UnknownEvent, decode, encode
from workbench.session.log import read_log
from workbench.session.secrets import state_folder
from workbench.session.state import SessionState
from workbench.session.status import LiveStatus

_HEAD = struct.Struct(">cI")
_EVENT, _STATUS, _OUTPUT, _COMMAND, _OUTCOME, _HELLO = b"E", b"S", b"O", b"C", b"R", b"H"
_LARGEST_FRAME = 256 << 20
_LARGEST_COMMAND = 16 << 20
_MOST_WAITING = 64 << 20
"""Bytes that may wait for a process that does not read; then it is left."""


_PATIENCE = 2.0
"""Seconds that views have to read the end of a session."""


def socket_of(folder: Path) -> Path:
    """Where a running session is offered to other processes of its user: in a folder that no sandbox shows."""
    return state_folder() / "sockets" / f"{hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]}.sock"


def answers(path: Path) -> bool:
    """Whether a session is offered there now."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(_PATIENCE)
        try:
            stream.connect(str(path))
        except (TimeoutError, BlockingIOError):  # somebody is there, and has no time
            return True
        except OSError:
            return False
        return True


class SocketError(WorkbenchError):
    """A session cannot be offered or reached. `str()` says why."""


ViewKind = Literal["terminal", "browser", "program"]


class _Hello(msgspec.Struct):
    """The first frame of a view, and what it is answered with: its name."""

    kind: ViewKind = "program"
    drives: bool = False
    name: str = ""


class Drivers(Protocol):
    """Who may command the session: see `workbench.runner.wheel`."""

    def join(self, kind: str, *, drives: bool = False) -> str:
        """A view comes; one that `drives` has the wheel where nobody has it. Returns the view's name."""

    def leave(self, view: str) -> None:
        """A view has gone."""

    async def do(self, view: str, command: Command) -> Outcome:
        """Have a command of a view carried out."""


class _Asked(msgspec.Struct):
    number: int
    command: AnyCommand


class _Answered(msgspec.Struct):
    number: int
    outcome: Outcome


class SessionServer:
    """Offers a running session. `drivers` carries out commands; `status` tells the present status."""

    def __init__(
        self,
        folder: Path,
        bus: Bus,
        state: SessionState,
        status: Callable[[], LiveStatus],
        drivers: Drivers,
    ) -> None:
        self._folder, self._bus, self._state, self._status, self._drivers = folder, bus, state, status, drivers
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._clients: set[_Client] = set()

    async def start(self, path: Path) -> None:
        """Listen at `path`, in a folder that is this user's alone. Raises SocketError."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = path.parent.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
                raise SocketError(f"{path.parent} is not a folder of this user alone")
            path.unlink(missing_ok=True)  # noqa: ASYNC240  (left by a process that was killed: this one has the lock)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            os.chmod(path, 0o600)
            self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=_LARGEST_COMMAND)
        except OSError as error:
            raise SocketError(f"the session cannot be offered at {path}: {error.strerror or error}") from error
        self._path = path

    async def stop(self) -> None:
        """Stop listening, and disconnect everybody once they have read what was sent. Can be called twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await asyncio.gather(*(client.caught_up.wait() for client in self._clients))
            for client in self._clients:
                client.leave()
            if self._path is not None:
                self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not _same_user(writer):
            writer.close()
            return
        client = _Client(writer)
        self._clients.add(client)
        try:
            kind, body = await _read_frame(reader, _LARGEST_COMMAND)
            if kind == _HELLO:
                await self._attend(client, reader, msgspec.json.decode(body, type=_Hello))
        except (OSError, EOFError, msgspec.DecodeError):
            pass  # it went away, or is no view of ours
        finally:
            self._clients.discard(client)
            client.leave()

    async def _attend(self, client: _Client, reader: asyncio.StreamReader, hello: _Hello) -> None:
        """Tell a view everything, and have its commands carried out, until it goes."""
        name = self._drivers.join(hello.kind, drives=hello.drives)
        until = self._state.last_seq
        end = self._bus.subscribe(client.hear)
        working = {asyncio.ensure_future(self._write(client, until, name))}
        try:
            while True:
                kind, body = await _read_frame(reader, _LARGEST_COMMAND)
                if kind != _COMMAND:
                    break
                asked = msgspec.json.decode(body, type=_Asked)
                if isinstance(asked.command, Drive):  # which waits for a person; who goes away meanwhile gets nothing
                    working.add(asyncio.ensure_future(self._carry_out(client, name, asked)))
                else:
                    await self._carry_out(client, name, asked)
        finally:
            end()
            for work in working:
                work.cancel()
            await asyncio.wait(working)
            self._drivers.leave(name)

    async def _carry_out(self, client: _Client, view: str, asked: _Asked) -> None:
        outcome = await self._drivers.do(view, asked.command)
        client.send(_OUTCOME, msgspec.json.encode(_Answered(asked.number, outcome)))

    async def _write(self, client: _Client, until: int, name: str) -> None:
        """Send the view's name and what happened before it connected, then all that happens."""
        await client.write(_HELLO, msgspec.json.encode(_Hello(name=name)))
        events, _ = await asyncio.to_thread(read_log, self._folder)
        for event in events:
            if event.seq <= until:
                await client.write(_EVENT, encode(event))
        await client.write(_STATUS, msgspec.json.encode(self._status()))
        await client.pass_on()


class _Client:
    """A view of the session in another process."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self.caught_up = asyncio.Event()

    def hear(self, message: Message) -> None:
        """A message of the bus."""
        if isinstance(message, ShellOutput):
            self.send(_OUTPUT, message.data)
        elif isinstance(message, LiveStatus):
            self.send(_STATUS, msgspec.json.encode(message))
        else:
            self.send(_EVENT, encode(message))

    def send(self, kind: bytes, body: bytes) -> None:
        """Queue a frame. Of two statuses that wait, only the newer one counts."""
        if kind == _STATUS and self._waiting and self._waiting[-1][0] == _STATUS:
            self._size -= len(self._waiting.pop()[1])
        self._waiting.append((kind, body))
        self._size += len(body)
        self._news.set()
        self.caught_up.clear()
        if self._size > _MOST_WAITING:
            self.leave()

    async def pass_on(self) -> None:
        """Write what comes, for ever."""
        while True:
            while self._waiting:
                kind, body = self._waiting.popleft()
                self._size -= len(body)
                await self.write(kind, body)
            self.caught_up.set()
            self._news.clear()
            await self._news.wait()

    async def write(self, kind: bytes, body: bytes) -> None:
        """One frame; waits while the other process does not read."""
        with contextlib.suppress(OSError):
            self._writer.write(_HEAD.pack(kind, len(body)) + body)
            await self._writer.drain()

    def leave(self) -> None:
        """Disconnect."""
        self._writer.close()


class RemoteSession:
    """A session that another process of this user runs: what a view needs of it, as it happens."""

    name = ""
    """Of this view, by which `LiveStatus.driver` knows it; empty until the session has said it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: _Hello) -> None:
        self._reader, self._writer = reader, writer
        self.state = SessionState()
        self.status = LiveStatus()
        self.bus = Bus()
        self._asked: dict[int, asyncio.Future[Outcome]] = {}
        self._number = 0
        self._reading = asyncio.ensure_future(self._read())
        self._send(_HELLO, hello)

    @classmethod
    async def connect(cls, path: Path, kind: ViewKind = "program", *, drives: bool = False) -> Self:
        """`drives`: the view has the wheel from the start, where nobody has it; else it can ask for it (`Drive`).

        Raises SocketError when nobody offers a session there.
        """
        try:
            return cls(*await asyncio.open_unix_connection(path), _Hello(kind, drives))
        except OSError as error:
            raise SocketError(f"no session is offered at {path}: {error.strerror or error}") from error

    async def do(self, command: Command) -> Outcome:
        """Have a command carried out. Raises SocketError when the session has gone."""
        if self._reading.done():
            raise SocketError("the session has gone")
        self._number += 1
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._asked[self._number] = answer
        self._send(_COMMAND, {"number": self._number, "command": command})
        return await answer

    def _send(self, kind: bytes, message: object) -> None:
        body = msgspec.json.encode(message)
        self._writer.write(_HEAD.pack(kind, len(body)) + body)

    @property
    def gone(self) -> bool:
        """It is over, or its process has ended."""
        return self._reading.done()

    async def over(self) -> None:
        """Wait until the session has gone."""
        await asyncio.wait({self._reading})

    async def close(self) -> None:
        """Leave the session; it goes on."""
        self._writer.close()
        await self.over()

    async def _read(self) -> None:
        try:
            while True:
                kind, body = await _read_frame(self._reader, _LARGEST_FRAME)
                if kind == _OUTCOME:
                    answered = msgspec.json.decode(body, type=_Answered)
                    waiting = self._asked.pop(answered.number, None)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(answered.outcome)
                else:
                    self._tell(kind, body)
        except (OSError, EOFError, msgspec.DecodeError):
            pass  # it is over
        finally:
            self._writer.close()
            for waiting in self._asked.values():
                if not waiting.done():
                    waiting.set_exception(SocketError("the session has gone"))

    def _tell(self, kind: bytes, body: bytes) -> None:
        message: Message
        if kind == _HELLO:
            self.name = msgspec.json.decode(body, type=_Hello).name
            return
        if kind == _OUTPUT:
            message = ShellOutput(body)
        elif kind == _STATUS:
            message = self.status = msgspec.json.decode(body, type=LiveStatus)
        else:
            try:
                event: Event = decode(body)
            except UnknownEvent:  # of a later version
                return
            self.state.apply(event)
            message = event
        self.bus.publish(message)


async def _read_frame(reader: asyncio.StreamReader, most: int) -> tuple[bytes, bytes]:
    """Raises EOFError at the end, OSError for what is no frame."""
    kind, length = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if length > most:
        raise OSError("a frame is too large")
    return kind, await reader.readexactly(length)


def _same_user(writer: asyncio.StreamWriter) -> bool:
    """Whether the other process belongs to this user; where that cannot be asked, the folder's mode decides."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    peer: socket.socket = writer.get_extra_info("socket")
    _, user, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return bool(user == os.getuid())
