"""One bash on its terminal: started, typed into, asked whether it answers.

`Shell` drives it; here is what does not depend on who does.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from typing import Literal

from workbench.isolation.spec import SandboxError
from workbench.sandbox import typed_lines
from workbench.sandbox.base import AGENT_COLUMNS, AGENT_ROWS, Pty, Sandbox, Waiting
from workbench.sandbox.markers import Mark, MarkScanner, NonceSource
from workbench.sandbox.supervisor import RunningStep, look_at_shell, unblock_terminal

_START_LIMIT = 20.0
"""Seconds a fresh bash may take to its first prompt."""
_QUICK = 0.4
"""Seconds for the plain question before bash is taken for broken."""
KILLED = 137


class Bash:
    """A bash that can be opened again when it died. Text and marks that it prints go to the callbacks."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.on_text: Callable[[bytes], None] = lambda data: None
        self.on_mark: Callable[[Mark], None] = lambda mark: None
        self.on_exit: Callable[[int], None] = lambda status: None
        self.terminal: Pty | None = None
        """None while no bash lives."""
        self.cwd = ""
        self.last_status = 0
        self.end_reason = ""
        """Why the last one ended."""
        self.hidden = False
        """What it prints now is an answer to us, not for anybody's eyes."""
        self.prompt_nonce = ""
        self.variant = typed_lines.VARIANTS[0]
        self._sandbox = sandbox
        self._pid: int | None = None
        self._nonces = NonceSource()
        self._scanner = MarkScanner(self._nonces.prefix)
        self._probes: dict[str, int] = {}
        self._answered: asyncio.Future[int] | None = None

    @property
    def asking(self) -> bool:
        """Whether an answer to a probe is awaited."""
        return bool(self._probes)

    def new_nonce(self) -> str:
        """For a step or a take-over."""
        return self._nonces.new()

    async def open(self, cwd: str) -> None:
        """Start a bash in `cwd`, or the workspace when that is gone. Raises SandboxError."""
        pty = await self._sandbox.open_shell(cwd, AGENT_COLUMNS, AGENT_ROWS)
        self.terminal, self._pid = pty, None
        self._nonces = NonceSource()
        self._scanner = MarkScanner(self._nonces.prefix)
        self.variant = typed_lines.VARIANTS[0]
        self.prompt_nonce, nonce = self._nonces.new(), self._nonces.new()
        self.hidden, self.end_reason = True, ""
        answered = self._expect({nonce: 0})
        pty.echo(False)
        pty.on_exit = lambda status: self._exited(pty, status)
        pty.on_output = lambda data: self._printed(pty, data)
        pty.write(typed_lines.start_line(nonce, self.prompt_nonce))
        await asyncio.wait({answered}, timeout=_START_LIMIT)
        self._probes = {}
        if not answered.done() or answered.cancelled():
            await self.hang_up("it did not come to its prompt")
            raise SandboxError("the shell did not come to its prompt", "see `mlgym-tui doctor`")
        self.last_status = 0

    async def hang_up(self, reason: str) -> None:
        """Kill it and everything in its session; `on_exit` is called before this returns."""
        pty = self.terminal
        if pty is not None:
            self.end_reason = f"the shell was killed: {reason}"
            await pty.close()
            self._exited(pty, KILLED)

    def _exited(self, pty: Pty, status: int) -> None:
        if pty is not self.terminal:
            return
        if rest := self._scanner.flush():
            self.on_text(rest)
        self.terminal = None
        self.end_reason = self.end_reason or ending(status)
        if self._answered is not None and not self._answered.done():
            self._answered.cancel()
        self.on_exit(status)

    def _printed(self, pty: Pty, data: bytes) -> None:
        if pty is self.terminal:
            for part in self._scanner.feed(data):
                if isinstance(part, bytes):
                    self.on_text(part)
                elif part.nonce in self._probes:
                    self._on_answer(part)
                else:
                    self.on_mark(part)

    def moved(self, cwd: str | None) -> None:
        """A mark told the directory."""
        if cwd is not None and cwd.startswith("/"):
            self.cwd = cwd

    def type_line(self, line: bytes, trace: str = "") -> None:
        """Type into a terminal in sane settings, without echo. Lines of a trace that show `trace` are left out."""
        pty = self.terminal
        if pty is not None:
            self._scanner.trace = trace or self._scanner.trace
            pty.reset_modes(echo=False)
            pty.write(line)

    # -- asking ----------------------------------------------------------------------------------------------------

    def _expect(self, nonces: dict[str, int]) -> asyncio.Future[int]:
        self._probes = nonces
        self._answered = asyncio.get_running_loop().create_future()
        return self._answered

    def _on_answer(self, mark: Mark) -> None:
        variant = self._probes[mark.nonce]
        if self._answered is not None and not self._answered.done() and mark.kind == "D":
            self.moved(mark.cwd)
            self._pid = mark.pid if self._pid is None else self._pid
            self.last_status = mark.status or 0
            self._answered.set_result(variant)

    async def answers_to(self, line: Callable[[str], bytes], patience: float) -> bool:
        """Type a line that ends like a probe, made with a new nonce; whether it was answered."""
        nonce = self._nonces.new()
        answered = self._expect({nonce: 0})
        self.type_line(line(nonce))
        await asyncio.wait({answered}, timeout=patience)
        self._probes = {}
        return answered.done() and not answered.cancelled()

    async def probe(self, patience: float, step: RunningStep | None = None, *, free_prompt: bool = False) -> bool:
        """Whether bash answers at its prompt within `patience` seconds; then it is ready to be typed into.

        `last_status` and `cwd` are as it says. Where the usual way to ask has been broken, it is mended as far as that
        goes; with `free_prompt`, its prompts and hooks are taken away first. Ends early when `step` starts after all.
        """
        before = typed_lines.free_prompt(self.prompt_nonce) if free_prompt else b""
        answered = await self._ask(typed_lines.VARIANTS[:1], min(patience, _QUICK), step, before)
        if answered is None and (step is None or not step.started):
            answered = await self._ask(typed_lines.VARIANTS, patience, step, typed_lines.repair_lines())
        if answered is None:
            return False
        self.variant = typed_lines.VARIANTS[answered]
        return True

    async def _ask(
        self, variants: Sequence[typed_lines.Variant], patience: float, step: RunningStep | None, before: bytes = b""
    ) -> int | None:
        if self.terminal is None:
            return None
        nonces = {self._nonces.new(): number for number in range(len(variants))}
        answered = self._expect(nonces)
        self.hidden = True
        self.type_line(before + b"".join(map(typed_lines.probe_line, nonces, variants)))
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while not answered.done() and (left := until - loop.time()) > 0:
            if step is not None and (step.started or step.done.done()):
                break
            changed = None if step is None else asyncio.ensure_future(step.changed.wait())
            waited_for: set[asyncio.Future[int] | asyncio.Future[Literal[True]]] = {answered}
            if step is not None and changed is not None:
                step.changed.clear()
                waited_for.add(changed)
            await asyncio.wait(waited_for, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if changed is not None:
                changed.cancel()
        self._probes = {}
        return answered.result() if answered.done() and not answered.cancelled() else None

    async def stands_at_prompt(self) -> bool | None:
        """Whether bash itself waits for input, as far as the kernel tells; wakes it when it was stopped."""
        return await look_at_shell(self._sandbox, self._pid)

    async def waiting(self) -> Waiting | None:
        """Which program in the foreground waits for somebody to type, as far as the kernel tells."""
        with contextlib.suppress(SandboxError):
            return await self.terminal.waiting() if self.terminal is not None else None
        return None

    async def unblock(self) -> None:
        """Undo what a program may have done to the terminal that only a process inside can undo."""
        await unblock_terminal(self._sandbox, self._pid)


def ending(status: int) -> str:
    """How a shell with this exit status ended, in words."""
    name = killer(status)
    return f"the shell was ended by SIG{name}" if name else f"the shell ended with status {status}"


def killer(status: int) -> str:
    """The signal that a status above 128 stands for; empty for INT, which bash also reports of what it ran last."""
    with contextlib.suppress(ValueError):
        if status > 128 and status != 128 + signal.SIGINT:
            return signal.Signals(status - 128).name.removeprefix("SIG")
    return ""
