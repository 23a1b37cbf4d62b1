"""A person at the shell: coming and leaving, which of their lines ran, how each ended, what it printed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from workbench.isolation.processes import within
from workbench.isolation.spec import SandboxError
from workbench.sandbox import typed_lines
from workbench.sandbox.base import AGENT_COLUMNS, AGENT_ROWS
from workbench.sandbox.bash import LADDER, Bash
from workbench.sandbox.markers import Mark
from workbench.sandbox.output import OutputRecord


class PersonCommand(msgspec.Struct):
    """A line that a person entered and that is running."""

    text: str
    began: float = msgspec.field(default_factory=time.monotonic)
    record: OutputRecord = msgspec.field(default_factory=OutputRecord)


class PersonAtShell(msgspec.Struct):
    """One take-over, from the moment when the person comes to the hand-back.

    Which lines ran is told by the marks that our hooks print. Whatever the person does to the hooks, only steps are
    lost, never the shell.
    """

    bash: Bash
    size: tuple[int, int]
    display: Callable[[bytes], None]
    restart: Callable[[], Awaitable[None]]
    """Starts another bash after the person's has ended."""
    ladder_interval: float
    on_started: Callable[[str], None]
    on_finished: Callable[[PersonCommand, int | None], None]
    command: PersonCommand | None = None
    """What the person runs now."""
    hidden: bool = True
    """The hooks are being typed, or the person leaves: nothing of that is shown."""
    nonce: str = ""
    ready: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    """The hooks are in place."""
    entered: int = 0
    """Line ends that were typed and have not started a command yet."""
    touched: bool = False
    """Whether anything was typed since the last command began."""
    _leaving: bool = False
    _text: str = ""
    """The line that the hook has told, and that begins next."""
    _in_prompt: bool = False

    async def come(self, history: Sequence[str]) -> None:
        """Install line editing, history and hooks, and show the prompt."""
        terminal = self.bash.terminal
        if terminal is None:
            return
        self.nonce = self.bash.new_nonce()
        terminal.reset_modes()  # with echo: line editing echoes by itself, and only if it found the terminal to do so
        terminal.write(typed_lines.install_hooks(self.nonce, self.bash.prompt_nonce, history))
        terminal.resize(*self.size)
        if await within(3.0, self.ready.wait()):
            await within(1.0, self.bash.prompted.wait())
        # A shell in which the hooks do not hold is still the person's, only its lines are no steps.
        self.hidden = False

    async def come_back(self, history: Sequence[str]) -> None:
        """The same in a new shell, after the person's ended."""
        await self.restart()
        await self.come(history)

    # -- what bash prints ----------------------------------------------------------------------------------------------

    def printed(self, data: bytes) -> None:
        """Output that is not a mark."""
        if self.command is not None and not self._in_prompt:
            self.command.record.add(data)
        if not self.hidden and not self._leaving:
            self.display(data)

    def marked(self, mark: Mark) -> None:
        """A mark; those that are not of this take-over mean nothing."""
        if mark.nonce == self.bash.prompt_nonce:
            self.bash.moved(mark.cwd)
            self._prompt(mark.kind)
        elif mark.nonce == self.nonce:
            self.bash.moved(mark.cwd)
            self._hooked(mark)

    def _prompt(self, kind: str) -> None:
        """The prompt begins (A) or has ended (B)."""
        self._in_prompt = kind == "A"
        if kind == "B":
            self._finish(None)  # the hook that tells the status has been taken away
        elif kind == "A" and self.ready.is_set() and self.hidden:
            self.hidden = False
            self.display(b"\r\x1b[K")  # the agent's prompt is replaced

    def _hooked(self, mark: Mark) -> None:
        """A hook tells the line that was entered (E), that it begins (C), that it is over (D)."""
        if mark.kind == "E":
            self._text = mark.text
        elif mark.kind == "C":
            self._finish(None)
            self.bash.prompted.clear()
            # Who a command is by is said by the keys that were forwarded, not by the stream: what starts without any
            # is something else's, that can write to the terminal or into bash.
            if self._text.strip() and (self.touched or self.entered):
                self.command = PersonCommand(self._text)
                self.on_started(self._text)
            self._text, self.touched, self.entered = "", False, max(0, self.entered - 1)
        elif mark.kind == "D":
            if not self.ready.is_set():
                self.ready.set()
                self.bash.prompted.clear()  # an earlier prompt may have come late; line editing's comes next
            self._finish(mark.status)

    def _finish(self, status: int | None) -> None:
        """The running command, if any, is over."""
        command, self.command = self.command, None
        if command is not None:
            self.on_finished(command, status)

    def shell_died(self, status: int) -> None:
        """What ran is over; nothing is shown until the hooks are in the next shell."""
        self._finish(status)
        self.hidden = True
        self.ready.clear()

    # -- what the person does ------------------------------------------------------------------------------------------

    def keys(self, data: bytes) -> None:
        """Forward keys."""
        self.touched = True
        self.entered += data.count(b"\r") + data.count(b"\n")
        if self.bash.terminal is not None:
            self.bash.terminal.write(data)

    def resize(self, columns: int, rows: int) -> None:
        """The person's terminal has a new size."""
        self.size = (columns, rows)
        if self.bash.terminal is not None:
            self.bash.terminal.resize(columns, rows)

    async def stop(self) -> None:
        """End the person's command: INT, TERM, KILL."""
        for name in LADDER:
            terminal = self.bash.terminal
            if terminal is None or self.command is None:
                return
            with contextlib.suppress(SandboxError):
                await terminal.signal(name)
            until = time.monotonic() + self.ladder_interval
            while self.command is not None and self.bash.terminal is terminal and time.monotonic() < until:
                self.bash.prompted.clear()
                await within(min(0.25, until - time.monotonic()), self.bash.prompted.wait())

    async def clear_line(self) -> None:
        """Drop a half-typed line. That, and the prompt that follows, are not shown."""
        self._leaving = True
        await self.bash.drop_line()
        self._finish(None)


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
        if await bash.answers_to(line, 1.0, brief=True) or bash.terminal is None:
            return
        await bash.drop_line()
    for name in LADDER:
        if await bash.probe(1.0) or bash.terminal is None:
            return
        with contextlib.suppress(SandboxError):
            await bash.terminal.signal(name)
    if not await bash.probe(1.0):
        await bash.hang_up("it no longer took commands")
