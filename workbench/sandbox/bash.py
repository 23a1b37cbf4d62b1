"""One bash on its terminal: started, typed into, asked whether it answers.

`Shell` drives it; here is what does not depend on who does.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Any

from workbench.isolation.processes import within
from workbench.isolation.spec import SandboxError
from workbench.sandbox import typed_lines
from workbench.sandbox.base import AGENT_COLUMNS, AGENT_ROWS, Sandbox
from workbench.sandbox.markers import Mark, MarkScanner, NonceSource
from workbench.sandbox.pty import KILLED, Pty, SignalName, Waiting

_START_LIMIT = 20.0
"""Seconds a fresh bash may take to its first prompt."""
_QUICK = 0.4
"""Seconds for the plain question before bash is taken for broken."""
_LATE = 0.15
"""Seconds that an answer is still waited for after a prompt, which may be one from before the question."""
LADDER: tuple[SignalName, ...] = ("INT", "TERM", "KILL")
"""What ends a command, harder each time."""

# $0 is the shell's process id. A stopped shell is woken; the answer is its state, group, the terminal's foreground
# group, and what the kernel says it waits for.
_LOOK = r"""
read -r line </proc/$0/stat || exit 3
set -- ${line##*) }
case $1 in T|t) kill -CONT $0;; esac
echo "$1 $3 $6 $(cat /proc/$0/wchan 2>/dev/null)"
"""
_WAITS_FOR_TERMINAL = ("wait_woken", "n_tty_read", "tty_read", "do_select", "poll_schedule_timeout", "do_sys_poll")


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
        self.prompted = asyncio.Event()
        """Set by each prompt; cleared by whoever waits for one."""
        self.variant = typed_lines.VARIANTS[0]
        self._sandbox = sandbox
        self._pid: int | None = None
        self._nonces = NonceSource()
        self._scanner = MarkScanner(self._nonces.prefix)
        self._probes: dict[str, int] = {}
        self._answered: asyncio.Future[int] | None = None
        self._brief = False
        """The question is one line, typed at a prompt: where the next prompt comes first, nothing answers."""

    @property
    def asking(self) -> bool:
        """Whether an answer to a probe is awaited, and has not come: the prompt behind it may be in the same piece."""
        return bool(self._probes) and not (self._answered is not None and self._answered.done())

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
        pty.listen(lambda data: self._printed(pty, data), lambda status: self._exited(pty, status))
        if await self._ask({nonce: 0}, typed_lines.start_line(nonce, self.prompt_nonce), _START_LIMIT) is None:
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
                    if part.nonce == self.prompt_nonce and part.kind == "B":
                        self.prompted.set()
                        if self._brief and self._answered is not None:
                            asyncio.get_running_loop().call_later(_LATE, self._answered.cancel)
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
            # Each time: the last program may have left the terminal raw, and a raw one takes no line.
            pty.reset_modes(echo=False)
            pty.write(line)

    # -- asking ----------------------------------------------------------------------------------------------------

    async def drop_line(self) -> None:
        """Interrupt, and wait for the prompt after it: the interrupt drops what is typed before it was handled."""
        if self.terminal is not None:
            self.prompted.clear()
            self.terminal.write(b"\x03")
            await within(0.3, self.prompted.wait())

    async def _ask(
        self,
        nonces: dict[str, int],
        lines: bytes,
        patience: float,
        started: asyncio.Event | None = None,
        *,
        brief: bool = False,
    ) -> int | None:
        """Type lines that are answered with a D mark of one of the nonces: its number, or None when no answer comes."""
        if self.terminal is None:
            return None
        self._probes, self._brief = nonces, brief
        self._answered = answered = asyncio.get_running_loop().create_future()
        self.hidden = True
        self.type_line(lines)
        await first_of(patience, answered, started)
        self._probes = {}
        return answered.result() if answered.done() and not answered.cancelled() else None

    def _on_answer(self, mark: Mark) -> None:
        variant = self._probes[mark.nonce]
        if self._answered is not None and not self._answered.done() and mark.kind == "D":
            self.moved(mark.cwd)
            self._pid = mark.pid if self._pid is None else self._pid
            self.last_status = mark.status or 0
            self._answered.set_result(variant)

    async def answers_to(self, line: Callable[[str], bytes], patience: float, *, brief: bool = False) -> bool:
        """Type a line that ends like a probe, made with a new nonce; whether it was answered.

        `brief`: bash stands at its prompt, so that the next one without an answer says that none comes.
        """
        nonce = self._nonces.new()
        return await self._ask({nonce: 0}, line(nonce), patience, brief=brief) is not None

    async def probe(self, patience: float, started: asyncio.Event | None = None, *, free_prompt: bool = False) -> bool:
        """Whether bash answers at its prompt within `patience` seconds; then it is ready to be typed into.

        `last_status` and `cwd` are as it says. Where the usual way to ask has been broken, it is mended as far as that
        goes; with `free_prompt`, its prompts and hooks are taken away first. Ends early when an action `started` after
        all: the question would be read by it.
        """
        before = typed_lines.free_prompt(self.prompt_nonce) if free_prompt else b""
        plain, *ways = (self._nonces.new() for _ in range(1 + len(typed_lines.VARIANTS)))
        line, quick = before + typed_lines.probe_line(plain), min(patience, _QUICK)
        answered = await self._ask({plain: 0}, line, quick, started, brief=not before)
        if answered is None and (started is None or not started.is_set()):
            # Something that the plain question needs is broken: ask in every way at once, and see which is answered.
            # At once, because each round of silence costs the whole patience. Or bash was only slow: then the answer
            # to the plain question still comes, and only that one has the status of what ran before.
            lines = b"".join(map(typed_lines.probe_line, ways, typed_lines.VARIANTS))
            numbers = {plain: 0, **{nonce: number for number, nonce in enumerate(ways)}}
            answered = await self._ask(numbers, typed_lines.repair_lines() + lines, patience, started)
        if answered is None:
            return False
        self.variant = typed_lines.VARIANTS[answered]
        return True

    async def stands_at_prompt(self) -> bool | None:
        """Whether bash itself waits for input, as far as the kernel tells (None: it does not); wakes a stopped bash."""
        # By a process of its own, though the guest could look: where none is to be had, the sandbox is full of them,
        # which is noticed and mended as one is asked for.
        fields: list[str] = []
        if self._pid is not None:
            with contextlib.suppress(SandboxError):
                command = ["/bin/sh", "-c", _LOOK, str(self._pid)]
                result = await self._sandbox.exec(command, time_limit=5.0, max_output=4096)
                fields = result.stdout.decode("ascii", "replace").split() if result.exit_code == 0 else []
        if len(fields) < 3:
            return None
        state, group, foreground = fields[:3]
        # Where the kernel does not say what a process waits for, a sleeping bash in the foreground is taken to read.
        waits_for = fields[3] if len(fields) > 3 else "0"
        return state == "S" and group == foreground and (waits_for == "0" or waits_for.startswith(_WAITS_FOR_TERMINAL))

    async def waiting(self) -> Waiting | None:
        """Which program in the foreground waits for somebody to type, as far as the kernel tells."""
        with contextlib.suppress(SandboxError):
            return await self.terminal.waiting() if self.terminal is not None else None
        return None

    async def unblock(self) -> None:
        """Let the terminal print again after a `tcflow`, and be opened again after a TIOCEXCL."""
        with contextlib.suppress(SandboxError):
            if self.terminal is not None:
                await self.terminal.unblock()


async def first_of(patience: float, future: asyncio.Future[Any], event: asyncio.Event | None) -> None:
    """Wait until the future is done, the event is set, or so many seconds have passed."""
    either: set[asyncio.Future[Any]] = {future}
    if event is not None:
        either.add(asyncio.ensure_future(event.wait()))
    try:
        await asyncio.wait(either, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiting in either - {future}:
            waiting.cancel()


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
