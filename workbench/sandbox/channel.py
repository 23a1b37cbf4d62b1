"""The host's end of the stream to the guest (see `guest/guest.py` for the frames).

Nothing that arrives is trusted: frames are bounded and checked, and one that is not well-formed ends the channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from workbench.isolation.spec import SandboxError
from workbench.sandbox.guest.guest import (
    BLOB_CHUNK,
    BLOB_HEADER,
    BLOB_KIND,
    CONTROL_KIND,
    CREDIT,
    CREDIT_KIND,
    MAX_FRAME,
    REQUEST_KIND,
    SHELL_HEADER,
    SHELL_KIND,
    BrokenProtocol,
    Outbox,
    frame,
    take_frames,
)

_READ = 64 << 10
_MAX_DESCRIPTORS = 4
_json = msgspec.json.Decoder(dict[str, Any])


class Answer:
    """What the guest said to a call: the message, and the bytes that came with it."""

    def __init__(self, limit: int) -> None:
        self.message: dict[str, Any] = {}
        self.out = bytearray()
        self.err = bytearray()
        self.descriptor: int | None = None
        """A file descriptor that came with the answer; the caller owns it."""
        self.room = limit


class GuestChannel:
    """Calls to the guest and events from it, over a connected stream socket.

    Callbacks run on the event loop; `on_lost` is called once, when the stream ends or is broken for any reason but
    `close`.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.on_event: Callable[[dict[str, Any]], None] = lambda message: None
        self.on_shell: Callable[[int, bytes], None] = lambda shell, data: None
        self.on_request: Callable[[int, bytes], None] = lambda client, line: None
        self.on_lost: Callable[[str], None] = lambda reason: None
        self.closed = False
        self._connection = connection
        self._received = bytearray()
        self._descriptors: deque[int] = deque()
        self._unsent = Outbox(connection.fileno())
        self._calls: dict[int, tuple[asyncio.Future[Answer], Answer]] = {}
        self._ids = itertools.count(1)
        self._loop = asyncio.get_running_loop()
        connection.setblocking(False)
        self._loop.add_reader(connection.fileno(), self._on_readable)

    def reserve(self) -> int:
        """A number for a call to come; a shell is known by the number of the call that opened it."""
        return next(self._ids)

    async def call(
        self,
        op: str,
        *,
        time_limit: float,
        number: int | None = None,
        blob: bytes | None = None,
        max_data: int = 0,
        **fields: Any,
    ) -> Answer:
        """Ask the guest and wait for its answer, which may bring up to `max_data` bytes along.

        Raises SandboxError when the guest is gone or stays silent for `time_limit` seconds.
        """
        if self.closed:
            raise SandboxError("the sandbox is not running", "start the session again, or resume it")
        number = self.reserve() if number is None else number
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._calls[number] = (future, Answer(max_data))
        self.send(frame(CONTROL_KIND, msgspec.json.encode({**fields, "id": number, "op": op})))
        if blob:
            header = BLOB_HEADER.pack(number, 0)
            view = memoryview(blob)
            for start in range(0, len(blob), BLOB_CHUNK):
                self.send(frame(BLOB_KIND, header, view[start : start + BLOB_CHUNK]))
        try:
            async with asyncio.timeout(time_limit):
                return await future
        except TimeoutError:
            raise SandboxError(
                f"the sandbox did not answer within {time_limit:.0f} s ({op})",
                "its processes may be stopped or starved; stop the session and resume it",
            ) from None
        finally:
            self._calls.pop(number, None)

    def post(self, op: str, **fields: Any) -> None:
        """Tell the guest something that needs no answer."""
        self.send(frame(CONTROL_KIND, msgspec.json.encode({**fields, "op": op})))

    def type_into(self, shell: int, data: bytes) -> None:
        """Bytes for a shell whose terminal is relayed."""
        self.send(frame(SHELL_KIND, SHELL_HEADER.pack(shell), data))

    def give_credit(self, shell: int, size: int) -> None:
        """Allow a relayed shell so many more bytes of output."""
        self.send(frame(CREDIT_KIND, CREDIT.pack(shell, size)))

    def answer_request(self, client: int, line: bytes) -> None:
        """Answer a request of an agent command."""
        self.send(frame(REQUEST_KIND, SHELL_HEADER.pack(client), line))

    def send(self, data: bytes) -> None:
        """Queue a frame. Never blocks; does nothing when the channel is closed."""
        if not self.closed:
            self._unsent.send(data)
            self._watch_unsent()

    def close(self) -> None:
        """End the stream; pending calls fail. Can be called twice."""
        self._shut("the sandbox was stopped")

    def _on_writable(self) -> None:
        self._unsent.flush()
        self._watch_unsent()

    def _watch_unsent(self) -> None:
        """Write on when the stream takes more. A stream that broke is lost, but not within the call that found out."""
        if self._unsent:
            self._loop.add_writer(self._connection.fileno(), self._on_writable)
        else:
            self._loop.remove_writer(self._connection.fileno())
        if self._unsent.broken:
            self._loop.call_soon(self._lose, f"the stream to the sandbox broke: {self._unsent.broken}")

    def _on_readable(self) -> None:
        try:
            data = self._read()
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionResetError:
            self._lose("the sandbox ended")
            return
        except OSError as error:
            self._lose(f"the stream from the sandbox broke: {error.strerror}")
            return
        if not data:
            self._lose("the sandbox ended")
            return
        try:
            self._received += data
            for kind, payload in take_frames(self._received, MAX_FRAME):
                if not self.closed:
                    self._dispatch(kind, payload)
        except BrokenProtocol as error:
            self._lose(f"the sandbox broke the protocol: {error}")

    def _read(self) -> bytes:
        data, descriptors, _, _ = socket.recv_fds(self._connection, _READ, 1, socket.MSG_CMSG_CLOEXEC)
        self._descriptors.extend(descriptors)
        while len(self._descriptors) > _MAX_DESCRIPTORS:
            os.close(self._descriptors.popleft())
        return data

    def _dispatch(self, kind: int, payload: bytes) -> None:
        if kind == CONTROL_KIND:
            self._on_control(payload)
            return
        if len(payload) < BLOB_HEADER.size - (kind != BLOB_KIND):
            raise BrokenProtocol("a frame is cut short")
        if kind == SHELL_KIND:
            self.on_shell(SHELL_HEADER.unpack_from(payload)[0], payload[SHELL_HEADER.size :])
        elif kind == BLOB_KIND:
            number, stream = BLOB_HEADER.unpack_from(payload)
            self._on_blob(number, stream, payload)
        elif kind == REQUEST_KIND:
            self.on_request(SHELL_HEADER.unpack_from(payload)[0], payload[SHELL_HEADER.size :])
        else:
            raise BrokenProtocol(f"a frame of unknown kind {kind}")

    def _on_blob(self, number: int, stream: int, payload: bytes) -> None:
        if number not in self._calls:
            return  # the caller gave up waiting
        answer = self._calls[number][1]
        answer.room -= len(payload) - BLOB_HEADER.size
        if answer.room < 0:
            raise BrokenProtocol("more data than was asked for")
        target = answer.err if stream == 2 else answer.out
        target += memoryview(payload)[BLOB_HEADER.size :]

    def _on_control(self, payload: bytes) -> None:
        try:
            message = _json.decode(payload)
        except (ValueError, RecursionError) as error:
            raise BrokenProtocol(f"a control message that is no JSON object: {error}") from None
        number = message.get("id")
        if not isinstance(number, int):
            self.on_event(message)
            return
        future, answer = self._calls.get(number, (None, None))
        if message.get("ok") is True and "pid" in message and self._descriptors:
            descriptor = self._descriptors.popleft()
            if answer is None or future is None or future.done():
                os.close(descriptor)
            else:
                answer.descriptor = descriptor
        if future is not None and answer is not None and not future.done():
            answer.message = message
            future.set_result(answer)

    def _lose(self, reason: str) -> None:
        if not self.closed:
            self._shut(reason)
            self.on_lost(reason)

    def _shut(self, reason: str) -> None:
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._connection.fileno())
        self._loop.remove_writer(self._connection.fileno())
        self._connection.close()
        for descriptor in self._descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._descriptors.clear()
        for future, _ in self._calls.values():
            if not future.done():
                future.set_exception(SandboxError(reason, "start the session again, or resume it"))
                future.exception()  # seen: a caller that was cancelled meanwhile needs no warning
        self._calls.clear()
