"""A person at the shell: coming and leaving, which of their lines ran, how each ended, what it printed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from workbench.isolation.spec import SandboxError
from workbench.sandbox import typed_lines
from workbench.sandbox.base import AGENT_COLUMNS, AGENT_ROWS
from workbench.sandbox.bash import LADDER, Bash
from workbench.sandbox.markers import Mark
from workbench.sandbox.output import OutputRecord


@dataclass
class PersonCommand:
    """A line that a person entered and that is running."""

    text: str
    began: float = field(default_factory=time.monotonic)
    record: OutputRecord = field(default_factory=OutputRecord)


@dataclass
class TakeOver:
    """Follows the marks of the hooks. Whatever happens to the hooks, it only loses steps, never the shell."""

    nonce: str
    prompt_nonce: str
    on_started: Callable[[str], None]
    on_finished: Callable[[PersonCommand, int | None], None]
    ready: asyncio.Future[None]
    hidden: bool = True
    """The hooks are being typed: nothing of that is shown."""
    command: PersonCommand | None = None
    prompted: asyncio.Event = field(default_factory=asyncio.Event)
    entered: int = 0
    """Line ends that were typed and have not started a command yet."""
    touched: bool = False
    """Whether anything was typed since the last command began."""
    _text: str = ""
    _in_prompt: bool = False

    def printed(self, data: bytes) -> None:
        """Output that is not a mark."""
        if self.command is not None and not self._in_prompt:
            self.command.record.add(data)

    def marked(self, mark: Mark) -> None:
        """A mark of this take-over, or of the prompt."""
        if mark.nonce == self.prompt_nonce:
            self._in_prompt = mark.kind == "A"
            if mark.kind == "B":
                self.prompted.set()
                self.finish(None)  # the hook that tells the status has been taken away
            return
        if mark.kind == "E":
            self._text = mark.text
        elif mark.kind == "C":
            self.finish(None)
            self.prompted.clear()
            # Who a command is by is said by the keys that were forwarded, not by the stream: what starts without any
            # is something else's, that can write to the terminal or into bash.
            if self._text.strip() and (self.touched or self.entered):
                self.command = PersonCommand(self._text)
                self.on_started(self._text)
            self._text, self.touched, self.entered = "", False, max(0, self.entered - 1)
        elif mark.kind == "D":
            if not self.ready.done():
                self.ready.set_result(None)
                self.prompted.clear()  # an earlier prompt may have come late; that of line editing is still to come
            self.finish(mark.status)

    def finish(self, status: int | None) -> None:
        """The running command, if any, is over."""
        command, self.command = self.command, None
        if command is not None:
            self.on_finished(command, status)


@dataclass
class Surroundings:
    """What a person at the shell needs from around it."""

    display: Callable[[bytes], None]
    restart: Callable[[], Awaitable[None]]
    ladder_interval: float


class PersonAtShell:
    """One take-over, from the coming of the person to the hand-back."""

    def __init__(
        self,
        bash: Bash,
        around: Surroundings,
        size: tuple[int, int],
        on_started: Callable[[str], None],
        on_finished: Callable[[PersonCommand, int | None], None],
    ) -> None:
        self._bash = bash
        self._around = around
        self._size = size
        self._leaving = False
        self._lines = TakeOver(
            bash.new_nonce(), bash.prompt_nonce, on_started, on_finished, asyncio.get_running_loop().create_future()
        )

    @property
    def command(self) -> PersonCommand | None:
        """What the person runs now."""
        return self._lines.command

    async def come(self, history: Sequence[str]) -> None:
        """Install line editing, history and hooks, and show the prompt."""
        terminal, lines = self._bash.terminal, self._lines
        if terminal is None:
            return
        terminal.reset_modes()  # with echo: line editing echoes by itself, and only if the terminal was found to
        terminal.write(typed_lines.install_hooks(lines.nonce, lines.prompt_nonce, history))
        terminal.resize(*self._size)
        await asyncio.wait({lines.ready}, timeout=3.0)
        if lines.ready.done():
            await self._prompt_comes(1.0)
        # A shell in which the hooks do not hold is still the person's, only its lines are no steps.
        lines.hidden = False

    async def come_back(self, history: Sequence[str]) -> None:
        """The same in a new shell, after the person's ended."""
        await self._around.restart()
        lines = self._lines
        lines.nonce, lines.prompt_nonce = self._bash.new_nonce(), self._bash.prompt_nonce
        lines.ready = asyncio.get_running_loop().create_future()
        await self.come(history)

    def printed(self, data: bytes) -> None:
        """Output that is not a mark."""
        self._lines.printed(data)
        if not self._lines.hidden and not self._leaving:
            self._around.display(data)

    def marked(self, mark: Mark) -> None:
        """A mark; those of others are nothing."""
        lines = self._lines
        if mark.nonce not in (lines.nonce, lines.prompt_nonce):
            return
        self._bash.moved(mark.cwd)
        lines.marked(mark)
        if mark.nonce == lines.prompt_nonce and mark.kind == "A" and lines.ready.done() and lines.hidden:
            lines.hidden = False
            self._around.display(b"\r\x1b[K")  # the agent's prompt is replaced

    def shell_died(self, status: int) -> None:
        """What ran is over; nothing is shown until the hooks are in the next shell."""
        self._lines.finish(status)
        self._lines.hidden = True

    def keys(self, data: bytes) -> None:
        """Forward keys."""
        self._lines.touched = True
        self._lines.entered += data.count(b"\r") + data.count(b"\n")
        if self._bash.terminal is not None:
            self._bash.terminal.write(data)

    def resize(self, columns: int, rows: int) -> None:
        """The person's terminal has a new size."""
        self._size = (columns, rows)
        if self._bash.terminal is not None:
            self._bash.terminal.resize(columns, rows)

    async def stop(self) -> None:
        """End the person's command: INT, TERM, KILL."""
        for name in LADDER:
            terminal = self._bash.terminal
            if terminal is None or self.command is None:
                return
            with contextlib.suppress(SandboxError):
                await terminal.signal(name)
            until = time.monotonic() + self._around.ladder_interval
            while self.command is not None and self._bash.terminal is terminal and time.monotonic() < until:
                self._lines.prompted.clear()
                await self._prompt_comes(0.25)

    async def clear_line(self) -> None:
        """Drop a half-typed line. That, and the prompt that follows, are not shown."""
        self._leaving = True
        if self._bash.terminal is not None:
            self._lines.prompted.clear()
            self._bash.terminal.write(b"\x03")
            await self._prompt_comes(0.5)
        self._lines.finish(None)

    async def _prompt_comes(self, patience: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._lines.prompted.wait()


async def settle_after_person(bash: Bash) -> None:
    """Take the hooks away and see that bash takes commands; it is hung up when it does not, whatever is tried."""
    if bash.terminal is not None:
        bash.terminal.resize(AGENT_COLUMNS, AGENT_ROWS)
    for pasted in (False, True):
        # A paste reaches line editing as it is, whatever the person has bound the single keys to.
        line = (
            (lambda nonce: typed_lines.as_paste(typed_lines.remove_hooks(nonce)))
            if pasted
            else typed_lines.remove_hooks
        )
        if await bash.answers_to(line, 1.0) or bash.terminal is None:
            return
        bash.terminal.write(b"\x03")
        await asyncio.sleep(0.3)  # the interrupt drops what is typed before it was handled
    for name in LADDER:
        if await bash.probe(1.0) or bash.terminal is None:
            return
        with contextlib.suppress(SandboxError):
            await bash.terminal.signal(name)
    if not await bash.probe(1.0):
        await bash.hang_up("it no longer took commands")
