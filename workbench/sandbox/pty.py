"""The terminals of the agent's shell, as the host holds them.

`DirectPty` has the master of the pseudo-terminal itself (the local sandbox passes it), so that bytes go at the speed
of the kernel. `RelayedPty` gets them in frames over the guest's stream (Docker), with credit as back-pressure.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec

from workbench.isolation.processes import within
from workbench.isolation.spec import SandboxError
from workbench.sandbox.channel import GuestChannel
from workbench.sandbox.guest.guest import EXIT_GRACE, BrokenProtocol, Outbox, read_now, reset_terminal, set_size

_Said = TypeVar("_Said")
_READS_PER_WAKE = 16
_READ = 4096  # what the kernel gives at most in one read of a pseudo-terminal

KILLED = 128 + 9
"""Exit status of what was killed."""

SignalName = Literal["INT", "TERM", "KILL"]


class Waiting(msgspec.Struct, frozen=True):
    """A program in the foreground that waits for somebody to type."""

    pid: int
    program: str
    how: Literal["read", "poll"]
    """It reads the terminal; or it waits for events, after taking the terminal out of its usual mode."""
    ticks: int
    """Time on a processor of all that is in the foreground."""


RELAY_CREDIT = 512 << 10
"""Bytes of output that a relayed shell may be ahead of the host."""


class Pty(ABC):
    """A bash on a pseudo-terminal inside the sandbox; here is what both kinds share."""

    def __init__(self, channel: GuestChannel, number: int) -> None:
        self.number = number
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._on_output: Callable[[bytes], None] | None = None
        self._on_exit: Callable[[int], None] | None = None
        self._status: int | None = None
        """The shell's exit status, as soon as it is known; told when the last output was delivered."""
        self._ended = asyncio.Event()
        self._told = False
        self._paused = False

    def listen(self, on_output: Callable[[bytes], None], on_exit: Callable[[int], None]) -> None:
        """Have `on_output` called, on the event loop, with what the terminal prints, and `on_exit` once, after the last
        of that, with the shell's exit status (128 + n when killed by signal n). What came before is kept until then.
        """
        self._on_output, self._on_exit = on_output, on_exit
        self._flow()
        if self._ended.is_set():
            self._loop.call_soon(self._tell)

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Queue bytes for the terminal's input. Never blocks."""

    @abstractmethod
    def resize(self, columns: int, rows: int) -> None:
        """New size; the foreground processes get SIGWINCH."""

    @abstractmethod
    def reset_modes(self, *, echo: bool = True) -> None:
        """Set the terminal's line settings (termios) to sane, with or without ECHO, from the master side."""

    def pause_reading(self) -> None:
        """Take no more output: what is between the writer and us fills up, and the writer is held back."""
        self._paused = True
        self._flow()

    def resume_reading(self) -> None:
        """Take output again, what waited first."""
        self._paused = False
        self._flow()

    async def signal(self, name: SignalName) -> None:
        """Signal the foreground process group (bash itself only by KILL, or when bash is all there is).

        Raises SandboxError when the guest does not answer.
        """
        if self._status is None:
            await self._channel.call("signal", time_limit=5.0, shell=self.number, name=name)

    async def waiting(self) -> Waiting | None:
        """Which program in the foreground waits for input. Raises SandboxError when the guest does not answer."""
        return await self._asked("waiting", Waiting | None, None)

    async def unblock(self) -> None:
        """Undo what keeps the terminal from printing, or from being opened. Raises SandboxError likewise.

        Only a process inside can do that: the host's end of a terminal has no such calls.
        """
        await self._asked("unblock", None, None)

    async def processes(self) -> list[tuple[int, int, str]]:
        """What descends from the program on the terminal. Raises SandboxError likewise."""
        return await self._asked("processes", list[tuple[int, int, str]], [])

    async def _asked(self, op: str, kind: Any, otherwise: _Said) -> _Said:
        """What the guest says of the shell; `otherwise` where it is dead, or that is of another kind."""
        if self._status is None:
            answer = await self._channel.call(op, time_limit=5.0, shell=self.number)
            with contextlib.suppress(msgspec.ValidationError):
                said: _Said = msgspec.convert(answer.message.get(op), kind)
                return said
        return otherwise

    async def close(self) -> None:
        """Kill the shell and its session, release the terminal. Can be called twice."""
        if self._status is None:
            with contextlib.suppress(SandboxError):
                await self._channel.call("close_shell", time_limit=5.0, shell=self.number)
        if not self._ended.is_set():
            await within(1.0, self._ended.wait())
        self.shell_exited(KILLED)
        self._end()

    @abstractmethod
    def shell_exited(self, status: int) -> None:
        """The sandbox learnt that the shell is dead: deliver what is left, then tell."""

    @abstractmethod
    def _flow(self) -> None:
        """Deliver output, unless that is paused or nobody takes it."""

    def _end(self) -> None:
        if not self._ended.is_set():
            self._ended.set()
            self._tell()

    def _tell(self) -> None:
        if self._on_exit is not None and self._status is not None and not self._told:
            self._told = True
            self._on_exit(self._status)


class DirectPty(Pty):
    """The master of the pseudo-terminal, in our hands."""

    def __init__(self, channel: GuestChannel, number: int, master: int) -> None:
        super().__init__(channel, number)
        if not stat.S_ISCHR(os.fstat(master).st_mode) or not os.isatty(master):
            os.close(master)
            raise SandboxError("the sandbox passed something that is no terminal", "start the session again")
        os.set_blocking(master, False)
        self._master = master
        self._typed = Outbox(master)
        self._reading = False
        self._output_seen = False

    def write(self, data: bytes) -> None:
        """Queue bytes for the terminal's input."""
        if self._master >= 0 and data:
            self._typed.send(data)
            self._watch_typed()

    def resize(self, columns: int, rows: int) -> None:
        """New size; the foreground processes get SIGWINCH."""
        if self._master >= 0:
            set_size(self._master, columns, rows)

    def reset_modes(self, *, echo: bool = True) -> None:
        """Sane settings."""
        if self._master >= 0:
            reset_terminal(self._master, echo)

    def shell_exited(self, status: int) -> None:
        """Read on until the terminal is at its end, or silent (a job may hold it open)."""
        if self._status is None:
            self._status = status
            if self._master < 0:  # its end came first
                self._end()
                return
            self._output_seen = False
            self._loop.call_later(EXIT_GRACE, self._check_drained)

    def _check_drained(self) -> None:
        if self._ended.is_set():
            return
        if self._output_seen or self._paused or self._on_output is None:
            self._output_seen = False
            self._loop.call_later(EXIT_GRACE, self._check_drained)
            return
        self._end()

    def _flow(self) -> None:
        wanted = self._on_output is not None and not self._paused and self._master >= 0
        if wanted and not self._reading:
            self._loop.add_reader(self._master, self._on_readable)
        elif self._reading and not wanted:
            self._loop.remove_reader(self._master)
        self._reading = wanted

    def _on_readable(self) -> None:
        parts: list[bytes] = []
        data: bytes | None = None
        for _ in range(_READS_PER_WAKE):
            data = read_now(self._master, _READ)
            if not data:
                break
            parts.append(data)
            if len(data) < 512:
                break  # most likely the last for now; a wrong guess costs one more wake-up
        if parts and self._on_output is not None:
            self._output_seen = True
            self._on_output(b"".join(parts) if len(parts) > 1 else parts[0])
        if data == b"":
            self._release()
            if self._status is not None:
                self._end()

    def _on_writable(self) -> None:
        self._typed.flush()
        self._watch_typed()

    def _watch_typed(self) -> None:
        if self._typed:
            self._loop.add_writer(self._master, self._on_writable)
        else:
            self._loop.remove_writer(self._master)

    def _release(self) -> None:
        if self._master >= 0:
            self._loop.remove_reader(self._master)
            self._loop.remove_writer(self._master)
            os.close(self._master)
            self._master = -1
            self._reading = False

    def _end(self) -> None:
        self._release()
        super()._end()


class RelayedPty(Pty):
    """A pseudo-terminal inside a container; the guest reads and writes it for us."""

    def __init__(self, channel: GuestChannel, number: int) -> None:
        super().__init__(channel, number)
        self._backlog: deque[bytes] = deque()
        self._unpaid = 0

    def write(self, data: bytes) -> None:
        """Queue bytes for the terminal's input."""
        if self._status is None and data:
            for start in range(0, len(data), 1 << 20):
                self._channel.type_into(self.number, data[start : start + (1 << 20)])

    def resize(self, columns: int, rows: int) -> None:
        """New size; the foreground processes get SIGWINCH."""
        if self._status is None:
            self._channel.post("resize", shell=self.number, columns=columns, rows=rows)

    def reset_modes(self, *, echo: bool = True) -> None:
        """Sane settings (in order with what is typed before and after)."""
        if self._status is None:
            self._channel.post("reset_modes", shell=self.number, echo=echo)

    def printed(self, data: bytes) -> None:
        """The guest sent output. Raises BrokenProtocol when it sends more than it has credit for."""
        self._backlog.append(data)
        self._unpaid += len(data)
        if self._unpaid > RELAY_CREDIT:
            raise BrokenProtocol("more terminal output than it had credit for")
        self._flow()

    def shell_exited(self, status: int) -> None:
        """All output came before this; it may still wait to be delivered."""
        if self._status is None:
            self._status = status
            self._flow()

    def _flow(self) -> None:
        while self._backlog and self._on_output is not None and not self._paused:
            self._on_output(self._backlog.popleft())
        if not self._backlog:
            if self._unpaid > RELAY_CREDIT // 4:
                self._channel.give_credit(self.number, self._unpaid)
                self._unpaid = 0
            if self._status is not None:
                self._end()
