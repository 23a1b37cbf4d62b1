"""The terminals of the agent's shell, as the host holds them.

`DirectPty` has the master of the pseudo-terminal itself (the local sandbox passes it), so that bytes go at the speed
of the kernel. `RelayedPty` gets them in frames over the guest's stream (Docker), with credit as back-pressure.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections import deque
from collections.abc import Callable

import msgspec

from workbench.isolation.spec import SandboxError
from workbench.sandbox.base import SignalName, Waiting
from workbench.sandbox.channel import BrokenProtocol, GuestChannel
from workbench.sandbox.guest.guest import EXIT_GRACE, reset_terminal, set_size

_READS_PER_WAKE = 16
_READ = 4096  # what the kernel gives at most in one read of a pseudo-terminal

RELAY_CREDIT = 512 << 10
"""Bytes of output that a relayed shell may be ahead of the host."""


class ShellPty:
    """What both kinds share: callbacks, signals, the end."""

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

    @property
    def on_output(self) -> Callable[[bytes], None] | None:
        """Called with what the terminal printed."""
        return self._on_output

    @on_output.setter
    def on_output(self, callback: Callable[[bytes], None] | None) -> None:
        self._on_output = callback
        self._flow()

    @property
    def on_exit(self) -> Callable[[int], None] | None:
        """Called once with the shell's exit status, after its last output."""
        return self._on_exit

    @on_exit.setter
    def on_exit(self, callback: Callable[[int], None] | None) -> None:
        self._on_exit = callback
        if self._ended.is_set():
            self._loop.call_soon(self._tell)

    async def signal(self, name: SignalName) -> None:
        """Signal the foreground process group. Raises SandboxError when the guest does not answer."""
        if self._status is None:
            await self._channel.call("signal", time_limit=5.0, shell=self.number, name=name)

    async def waiting(self) -> Waiting | None:
        """Which program in the foreground waits for input. Raises SandboxError when the guest does not answer."""
        if self._status is not None:
            return None
        answer = await self._channel.call("waiting", time_limit=5.0, shell=self.number)
        try:
            return msgspec.convert(answer.message.get("waiting"), Waiting)
        except msgspec.ValidationError:  # nobody waits
            return None

    async def close(self) -> None:
        """Kill the shell and its session, release the terminal. Can be called twice."""
        if self._status is None:
            with contextlib.suppress(SandboxError):
                await self._channel.call("close_shell", time_limit=5.0, shell=self.number)
        if not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._ended.wait()
        self.shell_exited(137)
        self._end()

    def shell_exited(self, status: int) -> None:
        """The sandbox learnt that the shell is dead: deliver what is left, then tell."""
        raise NotImplementedError

    def _flow(self) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        if not self._ended.is_set():
            self._ended.set()
            self._tell()

    def _tell(self) -> None:
        if self._on_exit is not None and self._status is not None and not self._told:
            self._told = True
            self._on_exit(self._status)


class DirectPty(ShellPty):
    """The master of the pseudo-terminal, in our hands."""

    def __init__(self, channel: GuestChannel, number: int, master: int) -> None:
        super().__init__(channel, number)
        if not stat.S_ISCHR(os.fstat(master).st_mode) or not os.isatty(master):
            os.close(master)
            raise SandboxError("the sandbox passed something that is no terminal", "start the session again")
        os.set_blocking(master, False)
        self._master = master
        self._unsent: deque[memoryview] = deque()
        self._paused = self._reading = False
        self._output_seen = False

    def write(self, data: bytes) -> None:
        """Queue bytes for the terminal's input."""
        if self._master < 0 or not data:
            return
        self._unsent.append(memoryview(data))
        if len(self._unsent) == 1:
            self._on_writable()
            if self._unsent:
                self._loop.add_writer(self._master, self._on_writable)

    def pause_reading(self) -> None:
        """Stop reading: the kernel's buffer fills and the writer is held back."""
        self._paused = True
        self._flow()

    def resume_reading(self) -> None:
        """Read again."""
        self._paused = False
        self._flow()

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
        parts = []
        ended = False
        master = self._master
        for _ in range(_READS_PER_WAKE):
            try:
                data = os.read(master, _READ)
            except BlockingIOError:
                break
            except OSError:
                ended = True
                break
            parts.append(data)
            if len(data) < 512:
                break  # most likely the last for now; a wrong guess costs one more wake-up
        if parts and self._on_output is not None:
            self._output_seen = True
            self._on_output(b"".join(parts) if len(parts) > 1 else parts[0])
        if ended:
            self._release()
            if self._status is not None:
                self._end()

    def _on_writable(self) -> None:
        try:
            while self._unsent:
                sent = os.write(self._master, self._unsent[0])
                if sent < len(self._unsent[0]):
                    self._unsent[0] = self._unsent[0][sent:]
                    return
                self._unsent.popleft()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._unsent.clear()
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


class RelayedPty(ShellPty):
    """A pseudo-terminal inside a container; the guest reads and writes it for us."""

    def __init__(self, channel: GuestChannel, number: int) -> None:
        super().__init__(channel, number)
        self._backlog: deque[bytes] = deque()
        self._paused = False
        self._unpaid = 0

    def write(self, data: bytes) -> None:
        """Queue bytes for the terminal's input."""
        if self._status is None and data:
            for start in range(0, len(data), 1 << 20):
                self._channel.type_into(self.number, data[start : start + (1 << 20)])

    def pause_reading(self) -> None:
        """Deliver nothing more; the guest stops reading when its credit is used up."""
        self._paused = True

    def resume_reading(self) -> None:
        """Deliver what waited, and go on."""
        self._paused = False
        self._flow()

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
