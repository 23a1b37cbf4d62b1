"""Looks after a command that is not over at once: time limit, interrupt, and shells that no longer answer.

Nothing here trusts the shell. A command is over when its end mark came, or when a probe that was typed after it is
answered; a shell that answers nothing is signalled, harder each time, and at last hung up.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from workbench.isolation.spec import SandboxError
from workbench.sandbox.base import Pty, Sandbox, SignalName, Waiting
from workbench.sandbox.output import OutputRecord

LADDER: tuple[SignalName, ...] = ("INT", "TERM", "KILL")

_PROMPT_LADDER: tuple[SignalName | None, ...] = (None, "TERM", "KILL")
"""For what holds up a prompt; INT is typed each time."""

_FIRST_LOOK, _LAST_LOOK = 0.7, 20.0
"""Seconds of silence after which the shell's process is looked at, at first and at most."""
_SAMPLE = 1.0
"""Seconds of silence after which, and between which, it is looked for a program that waits for input."""
_PATIENCE = {"read": 3.0, "poll": 6.0}
"""Seconds that a program may wait where nobody is to type."""
PATIENCE_WITH_PERSON = 15.0
"""The same where a person who looks on is told, and may take over."""
_FRUITLESS_PROBES = 3
_ANSWER = 1.0
"""Seconds in which a shell that stands at its prompt answers a probe."""

# $0 is the shell's process id. A stopped shell is woken; the answer is its state, group, the terminal's foreground
# group, and what the kernel says it waits for.
_LOOK = r"""
read -r line </proc/$0/stat || exit 3
set -- ${line##*) }
case $1 in T|t) kill -CONT $0;; esac
echo "$1 $3 $6 $(cat /proc/$0/wchan 2>/dev/null)"
"""
_WAITS_FOR_TERMINAL = ("wait_woken", "n_tty_read", "tty_read", "do_select", "poll_schedule_timeout", "do_sys_poll")


_UNBLOCK = """
import contextlib, fcntl, os, sys, termios
folder = f"/proc/{sys.argv[1]}/fd/"
for name in os.listdir(folder):
    with contextlib.suppress(OSError, termios.error):
        if os.readlink(folder + name).startswith(("/dev/pts/", "/dev/tty")):
            terminal = os.open(folder + name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            fcntl.ioctl(terminal, termios.TIOCNXCL)
            termios.tcflow(terminal, termios.TCOON)
            os.close(terminal)
"""


@dataclass
class RunningStep:
    """An action from the moment it is typed until its outcome is known."""

    action: str
    nonce: str
    deadline: float
    began: float
    done: asyncio.Future[None]
    record: OutputRecord = field(default_factory=OutputRecord)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the supervisor has something to look at."""
    started: bool = False
    supervised: bool = False
    typed: int = 0
    """How often its line was typed."""
    prompt_seen: bool = False
    """The shell is back at its prompt, but the end mark did not come."""
    aside: bytearray | None = None
    """What came since the prompt seemed to begin."""
    last_output: float = 0.0
    ended: float = 0.0
    holds: int = 0
    """How many evaluations hold its deadline back."""
    held_since: float = 0.0
    status: int | None = None
    dead: bool = False
    """The shell died of it."""
    waiting: Waiting | None = None
    """What waits for input at the terminal, since `waiting_since`."""
    waiting_since: float = 0.0
    waited_for: str = ""
    """The program that was ended because it waited in vain."""
    interrupt_asked: bool = False
    interrupted: bool = False
    timed_out: bool = False
    signal: str = ""


class Answering(Protocol):
    """What the supervisor needs of a bash."""

    terminal: Pty | None
    last_status: int

    async def probe(self, patience: float, step: RunningStep | None = None, *, free_prompt: bool = False) -> bool: ...

    async def unblock(self) -> None: ...

    async def hang_up(self, reason: str) -> None: ...

    async def stands_at_prompt(self) -> bool | None: ...

    async def waiting(self) -> Waiting | None: ...


class Stepping(Protocol):
    """What the supervisor needs of the shell that runs the step."""

    def finish(self, step: RunningStep, status: int | None) -> None: ...

    def retype(self, step: RunningStep) -> None: ...

    def put_back(self, step: RunningStep) -> None: ...

    @property
    def attended(self) -> Literal["no", "watched", "driven"]: ...

    def waiting_changed(self, step: RunningStep) -> None: ...


async def look_at_shell(sandbox: Sandbox, pid: int | None) -> bool | None:
    """Whether the shell with this process id seems to wait for input from its terminal. None: cannot be told."""
    if pid is None:
        return None
    try:
        result = await sandbox.exec(["/bin/sh", "-c", _LOOK, str(pid)], time_limit=5.0, max_output=4096)
    except SandboxError:
        return None
    fields = result.stdout.decode("ascii", "replace").split()
    if result.exit_code != 0 or len(fields) < 3:
        return None
    state, group, foreground = fields[:3]
    waits_for = fields[3] if len(fields) > 3 else "0"
    return state == "S" and group == foreground and (waits_for == "0" or waits_for.startswith(_WAITS_FOR_TERMINAL))


async def unblock_terminal(sandbox: Sandbox, pid: int | None) -> None:
    """Let the terminal of this shell print again after a `tcflow`, and be opened again after a TIOCEXCL."""
    if pid is not None:
        with contextlib.suppress(SandboxError):
            await sandbox.exec(["python3", "-I", "-S", "-c", _UNBLOCK, str(pid)], time_limit=5.0, max_output=4096)


class Supervisor:
    """Watches one step until it is over."""

    def __init__(self, bash: Answering, shell: Stepping, step: RunningStep, ladder_interval: float) -> None:
        self._bash = bash
        self._shell = shell
        self._step = step
        self._interval = ladder_interval
        self._loop = asyncio.get_running_loop()
        self._look_after = _FIRST_LOOK
        self._sampled = 0.0
        self._fruitless = 0

    async def watch(self) -> None:
        """Return when the step is over, whatever it takes."""
        step = self._step
        while not step.done.done():
            step.changed.clear()
            now = self._loop.time()
            if not step.started:
                await self._bring_to_start()
            elif step.interrupt_asked or now >= step.deadline:
                await self._stop()
            elif step.prompt_seen:
                step.prompt_seen = False
                await self._recover()
            elif now >= (sample := max(step.last_output, self._sampled) + _SAMPLE):
                await self._look_for_reader()
                self._sampled = self._loop.time()
            elif now - step.last_output >= self._look_after:
                await self._look()
                self._look_after = min(self._look_after * 2, _LAST_LOOK)
            else:
                await self._wait(min(step.deadline, step.last_output + self._look_after, sample) - now)

    async def _wait(self, seconds: float) -> None:
        """Until the step is over, something changed, or the time has passed."""
        changed = asyncio.ensure_future(self._step.changed.wait())
        either: set[asyncio.Future[Any]] = {changed, self._step.done}
        try:
            await asyncio.wait(either, timeout=max(seconds, 0.001), return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()

    async def _look_for_reader(self) -> None:
        """Notice a program that waits for somebody to type, and end it when nobody is there to do so.

        It has to be the same one, and nothing in the foreground may print or use a processor, as long as its patience.
        """
        step = self._step
        asked = self._loop.time()
        found = await self._bash.waiting()
        if step.done.done() or found is None or found != step.waiting or step.last_output > step.waiting_since:
            step.waiting, step.waiting_since = found, asked
            self._shell.waiting_changed(step)
            return
        patience = PATIENCE_WITH_PERSON if self._shell.attended == "watched" else _PATIENCE[found.how]
        if asked - step.waiting_since >= patience and self._shell.attended != "driven":
            step.waited_for = found.program or "a program"
            await self._end()

    async def _look(self) -> None:
        if await self._bash.waiting() is not None:
            return  # whoever reads the terminal would read the question
        if self._fruitless < _FRUITLESS_PROBES and await self._bash.stands_at_prompt() and not self._step.done.done():
            await self._recover()

    async def _recover(self) -> None:
        """The shell seems to be at its prompt, the end mark lost: ask it how the command ended."""
        step = self._step
        if await self._bash.probe(_ANSWER) and not step.done.done():
            self._shell.finish(step, self._bash.last_status)
        elif not step.done.done():
            self._shell.put_back(step)
            self._fruitless += 1
            await self._bash.unblock()

    async def _stop(self) -> None:
        """End the command for the person's wish or its time limit."""
        if self._step.interrupt_asked:
            self._step.interrupted = True
        else:
            self._step.timed_out = True
        await self._end()

    async def _end(self) -> None:
        """INT, then TERM, then KILL; then the terminal is hung up."""
        step = self._step
        for name in LADDER:
            step.signal = name
            if await self._signal_and_wait(name):
                return
        await self._bash.hang_up("it did not answer, and no signal ended what ran in it")
        await asyncio.wait({step.done}, timeout=5.0)

    async def _signal_and_wait(self, name: SignalName) -> bool:
        step, terminal = self._step, self._bash.terminal
        if terminal is not None:
            try:
                await terminal.signal(name)
            except SandboxError:
                return step.done.done()
        until = self._loop.time() + self._interval
        pause = min(0.25, self._interval / 4)
        again = True
        while not step.done.done() and (left := until - self._loop.time()) > 0:
            step.changed.clear()
            if not step.prompt_seen:
                await self._wait(min(left, pause))
            if step.done.done():
                break
            if step.prompt_seen or await self._bash.stands_at_prompt():
                step.prompt_seen = False
                await self._recover()
            elif again and terminal is not None:
                # The first INT may have come between two programs; and where TERM or KILL ended one, bash goes on
                # with the next unless it is interrupted too.
                again = False
                with contextlib.suppress(SandboxError):
                    await terminal.signal("INT")
            pause *= 2
        return step.done.done()

    async def _bring_to_start(self) -> None:
        """The start mark did not come: find out whether the line was read, mend the shell, type it again."""
        step, bash = self._step, self._bash
        answered = await bash.probe(_ANSWER, step)
        for name in _PROMPT_LADDER:
            if self._over_or_started():
                return
            if not answered:
                await bash.stands_at_prompt()  # wakes a stopped shell
                await bash.unblock()
                answered = await self._free_prompt(name)
            if self._over_or_started():
                return
            if answered:
                # The shell reads in order: it answered what was typed after the line, so the line did not run.
                self._shell.retype(step)
                await self._wait(_ANSWER)
                answered = await bash.probe(_ANSWER, step) if not self._over_or_started() else True
        if self._over_or_started():
            return
        await bash.hang_up("it no longer took commands")
        await asyncio.wait({step.done}, timeout=5.0)

    async def _free_prompt(self, name: SignalName | None) -> bool:
        """Take hooks away that hold up the prompt; what runs in them gets the signal, after the lines were typed."""
        step, bash = self._step, self._bash
        if name is None:
            return await bash.probe(_ANSWER, step, free_prompt=True)
        if await bash.probe(0.2, step, free_prompt=True) or self._over_or_started():
            return True
        if bash.terminal is not None:
            with contextlib.suppress(SandboxError):
                await bash.terminal.signal(name)
        return await bash.probe(_ANSWER, step)

    def _over_or_started(self) -> bool:
        return self._step.started or self._step.done.done()
