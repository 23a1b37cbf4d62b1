"""The shell: one persistent bash on a pseudo-terminal, driven by an agent (`run`) or by a person (`take_over`).

An agent's action is typed as one line that prints a start mark, gives the action to `eval` and prints an end mark
with the exit status and the directory. The marks carry a nonce that is new for each step. What the host types is never
shown: panes see the action at the prompt, as if it had been typed there.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.sandbox import typed_lines
from workbench.sandbox.base import AGENT_COLUMNS, AGENT_ROWS, Pty, Sandbox, SandboxError
from workbench.sandbox.markers import Mark, MarkScanner, NonceSource
from workbench.sandbox.output import SLOW_TO_RENDER, OutputRecord
from workbench.sandbox.person import PersonCommand, TakeOver
from workbench.sandbox.supervisor import LADDER, RunningStep, Supervisor, look_at_shell, unblock_terminal
from workbench.sandbox.syntax import REFUSED_STATUS, SyntaxChecker

_GRACE = 0.7
"""Seconds after which a command gets a supervisor. Nearly all are over by then."""
_START_LIMIT = 20.0
"""Seconds a fresh bash may take to its first prompt."""
_LONGEST_PROMPT = 16 << 10
"""Bytes after the beginning of a prompt that are taken for the prompt while a lost end mark is asked for."""
_HISTORY = 50
"""Actions of the agent that a person finds in the shell's history."""


class ShellBusy(Exception):
    """Something runs in the shell, so that it cannot be handed over now. `str()` says what and what to do."""


@dataclass(frozen=True)
class CommandResult:
    """How a command ended and what it printed."""

    exit_code: int | None
    observation: str
    truncated: bool
    cwd: str
    duration: float
    """Seconds."""
    raw: bytes | None
    """What was printed, where that was not plain text (NUL, undecodable); head and tail of 4 MB each."""
    refused: bool = False
    interrupted: bool = False
    timed_out: bool = False
    signal: str = ""
    """The signal that ended the command (INT, TERM, KILL) or killed the shell; else empty."""
    shell_restarted: bool = False
    output_bytes: int = 0


class Shell:
    """The shell of one sandbox."""

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        time_limit: float = 120.0,
        max_observation: int = 30_000,
        ladder_interval: float = 2.0,
    ) -> None:
        """`time_limit`: seconds per command; `ladder_interval`: seconds between INT, TERM and KILL."""
        self.cwd = ""
        self.on_display: Callable[[bytes], None] | None = None
        """Bytes for terminal panes and the recording: what a person would have seen."""
        self.on_restart: Callable[[str, str], None] | None = None
        """Told the reason and the directory when a dead shell was replaced."""
        self.last_status = 0
        self._sandbox = sandbox
        self._time_limit = time_limit
        self._max_observation = max_observation
        self._ladder_interval = ladder_interval
        self._checker = SyntaxChecker(sandbox)
        self._pty: Pty | None = None
        self._pid: int | None = None
        self._nonces = NonceSource()
        self._scanner = MarkScanner(self._nonces.prefix)
        self._prompt_nonce = ""
        self._prompt_shown = False
        self._hidden = False
        self._variant = typed_lines.VARIANTS[0]
        self._probes: dict[str, int] = {}
        self._answered: asyncio.Future[int] | None = None
        self._step: RunningStep | None = None
        self._person: TakeOver | None = None
        self._on_person_finished: Callable[[str, CommandResult], None] | None = None
        self._history: deque[str] = deque(maxlen=_HISTORY)
        self._tasks: set[asyncio.Task[None]] = set()
        self._exit_status = 0
        self._end_reason = ""
        self._opening = asyncio.Lock()

    # -- life ------------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether a bash is there."""
        return self._pty is not None

    @property
    def running(self) -> bool:
        """Whether an action of the agent, or a command of the person, is running."""
        return self._step is not None or (self._person is not None and self._person.command is not None)

    @property
    def terminal(self) -> Pty | None:
        """The pseudo-terminal; None when the shell is dead."""
        return self._pty

    async def start(self, cwd: str | None = None, *, restore: bool = False) -> None:
        """Start the shell in `cwd`, the workspace if None or gone. Does nothing when it lives.

        `restore`: the actions that ran before stay in the history that a person finds. Raises SandboxError.
        """
        if not restore:
            self._history.clear()
        async with self._opening:
            if self._pty is None:
                await self._open(cwd or self._sandbox.workspace)

    async def close(self) -> None:
        """Kill the shell and everything in its session. A running command ends as if the shell had died."""
        pty = self._pty
        if pty is not None:
            self._person = None
            await pty.close()
            self._exited(pty, 137)
        for task in list(self._tasks):
            task.cancel()

    async def _open(self, cwd: str) -> None:
        pty = await self._sandbox.open_shell(cwd, AGENT_COLUMNS, AGENT_ROWS)
        self._pty, self._pid = pty, None
        self._nonces = NonceSource()
        self._scanner = MarkScanner(self._nonces.prefix)
        self._variant = typed_lines.VARIANTS[0]
        self._prompt_nonce, nonce = self._nonces.new(), self._nonces.new()
        self._prompt_shown, self._hidden = False, True
        answered = self._expect({nonce: 0})
        pty.echo(False)
        pty.on_exit = lambda status: self._exited(pty, status)
        pty.on_output = lambda data: self._printed(pty, data)
        pty.write(typed_lines.start_line(nonce, self._prompt_nonce))
        await asyncio.wait({answered}, timeout=_START_LIMIT)
        self._probes.clear()
        if not answered.done() or answered.cancelled():
            await pty.close()
            self._exited(pty, 137)
            raise SandboxError("the shell did not come to its prompt", "see `mlgym-tui doctor`")
        self.last_status = 0

    async def _restart(self) -> None:
        """Replace a dead shell, in the directory where it was."""
        async with self._opening:
            if self._pty is not None:
                return
            reason = self._end_reason
            self._display(f"\r\n[{reason}; a new one is started]\r\n".encode())
            await self._open(self.cwd)
        if self.on_restart is not None:
            self.on_restart(reason, self.cwd)

    def _exited(self, pty: Pty, status: int) -> None:
        if pty is not self._pty:
            return
        self._take(self._scanner.flush())
        self._pty = None
        self._exit_status = status
        self._end_reason = self._end_reason if self._end_reason and status == 137 else _ending(status)
        if self._answered is not None and not self._answered.done():
            self._answered.cancel()
        step, person = self._step, self._person
        if step is not None:
            step.dead = True
            self.finish(step, status)
        if person is not None:
            person.finish(status)
            self._spawn(self._restart_for_person(person))

    async def hang_up(self, reason: str) -> None:
        """Kill a shell that cannot be used any more."""
        pty = self._pty
        if pty is not None:
            self._end_reason = f"the shell was killed: {reason}"
            await pty.close()
            self._exited(pty, 137)

    def _spawn(self, work: asyncio._CoroutineLike[None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- the agent -------------------------------------------------------------------------------------------------

    async def run(self, action: str, *, time_limit: float | None = None) -> CommandResult:
        """Run an action and wait until it is over. Never raises for what the action does.

        Raises ShellBusy while another action runs or a person drives, SandboxError when no shell can be had.
        """
        if self._person is not None:
            raise ShellBusy("a person has the shell; hand it back first")
        if self._step is not None:
            raise ShellBusy("a command is still running; interrupt it first")
        problem = await self._checker.problem(action)
        if problem is not None:
            self._show_action(action)
            self._display(problem.replace("\n", "\r\n").encode("utf-8", "replace"))
            return CommandResult(REFUSED_STATUS, problem, False, self.cwd, 0.0, None, refused=True)
        self._history.append(action)
        restarted = False
        for _ in range(2):
            if self._pty is None:
                await self._restart()
                restarted = True
            step = await self._execute(action, self._time_limit if time_limit is None else time_limit)
            if not step.dead or step.started:
                break
        if step.dead:
            with contextlib.suppress(SandboxError):  # the next command tries again, and tells
                await self._restart()
            restarted = True
        return await self._result(step, restarted)

    async def _execute(self, action: str, time_limit: float) -> RunningStep:
        loop = asyncio.get_running_loop()
        now = loop.time()
        step = RunningStep(action, self._nonces.new(), now + time_limit, now, loop.create_future(), last_output=now)
        self._step = step
        self._end_reason = ""
        self._show_action(action)
        self.retype(step)
        timer = loop.call_later(min(_GRACE, time_limit), self._supervise, step)
        try:
            await asyncio.shield(step.done)
        except asyncio.CancelledError:
            # Nobody waits any more, but the command must not go on behind the next one's back.
            step.interrupt_asked = True
            self._supervise(step)
            step.changed.set()
            raise
        finally:
            timer.cancel()
        return step

    def _supervise(self, step: RunningStep) -> None:
        if self._step is step and not step.supervised:
            step.supervised = True
            self._spawn(Supervisor(self, step, self._ladder_interval).watch())

    def retype(self, step: RunningStep) -> None:
        """Type the step's line (again)."""
        if self._pty is not None:
            self._scanner.trace = step.nonce
            self._pty.reset_modes()
            self._pty.echo(False)
            usual = self._variant is typed_lines.VARIANTS[0] and step.typed < 2
            variant = None if usual else self._variant
            step.typed += 1
            self._pty.write(typed_lines.action_line(step.action, step.nonce, variant, last_status=self.last_status))

    def finish(self, step: RunningStep, status: int | None) -> None:
        """The step is over."""
        if step.done.done():
            return
        step.status = status
        step.ended = asyncio.get_running_loop().time()
        self.last_status = status or 0
        self._step = None
        self._prompt_shown = False
        step.done.set_result(None)

    async def _result(self, step: RunningStep, restarted: bool) -> CommandResult:
        observation, truncated = await self._observe(step.record)
        ended_by = step.signal
        if step.dead and not ended_by:
            ended_by = _killer(step.status or 0)
        return CommandResult(
            exit_code=step.status,
            observation=observation,
            truncated=truncated,
            cwd=self.cwd,
            duration=step.ended - step.began,
            raw=step.record.raw,
            interrupted=step.interrupted,
            timed_out=step.timed_out,
            signal=ended_by,
            shell_restarted=restarted,
            output_bytes=step.record.total,
        )

    async def _observe(self, record: OutputRecord) -> tuple[str, bool]:
        if record.total < SLOW_TO_RENDER:
            return record.observation(self._max_observation)
        return await asyncio.to_thread(record.observation, self._max_observation)

    async def interrupt(self) -> None:
        """End the running command with INT, TERM, KILL; returns when it is over. Without one, does nothing."""
        step, person = self._step, self._person
        if step is not None:
            step.interrupt_asked = True
            step.changed.set()
            self._supervise(step)
            await asyncio.wait({step.done})
        elif person is not None and person.command is not None:
            await self._stop_person(person)

    def extend_time_limit(self, seconds: float) -> None:
        """Give the running command more time (an evaluation that it waits for does not count)."""
        if self._step is not None:
            self._step.deadline += seconds
            self._step.changed.set()

    # -- what the shell prints -------------------------------------------------------------------------------------

    def _printed(self, pty: Pty, data: bytes) -> None:
        if pty is self._pty:
            for part in self._scanner.feed(data):
                if isinstance(part, bytes):
                    self._take(part)
                else:
                    self._marked(part)

    def _take(self, data: bytes) -> None:
        step, person = self._step, self._person
        if not data:
            return
        if step is not None:
            if not step.started:
                return  # our own line, a prompt of the shell: the action has been shown instead
            step.last_output = asyncio.get_running_loop().time()
            if step.aside is not None:
                step.aside += data
                if len(step.aside) > _LONGEST_PROMPT:
                    self.put_back(step)
                return
            step.record.add(data)
        elif person is not None:
            person.printed(data)
            if person.hidden:
                return
        elif self._hidden:
            return
        self._display(data)

    def _marked(self, mark: Mark) -> None:
        step, person = self._step, self._person
        if mark.nonce in self._probes:
            self._on_answer(mark)
        elif step is not None and mark.nonce == step.nonce:
            if mark.kind == "C" and not step.started:
                step.started = True
                step.last_output = now = asyncio.get_running_loop().time()
                step.deadline += now - step.began
                step.changed.set()
            elif mark.kind == "D" and not step.started and self._variant.from_nothing:
                # `eval` did not run: no descriptor is left for its standard input (`ulimit -n`).
                self._variant = typed_lines.VARIANTS[4]
                step.nonce = self._nonces.new()
                self.retype(step)
            elif mark.kind == "D":
                step.started = True
                self._moved(mark.cwd)
                self.finish(step, mark.status)
        elif person is not None and mark.nonce in (person.nonce, self._prompt_nonce):
            self._moved(mark.cwd)
            person.marked(mark)
            if mark.nonce == self._prompt_nonce and mark.kind == "A" and person.ready.done() and person.hidden:
                person.hidden = False
                self._display(b"\r\x1b[K")
        elif mark.nonce == self._prompt_nonce and step is not None:
            self._prompted_in_step(step, mark.kind)
        elif mark.nonce == self._prompt_nonce and mark.kind == "B":
            if self._hidden and not self._probes:
                self._hidden = False
                self._display(_prompt(self.cwd, self._sandbox.workspace).encode("utf-8", "replace"))
            self._prompt_shown = not self._hidden

    def _prompted_in_step(self, step: RunningStep, kind: str) -> None:
        """The shell shows a prompt though the end mark has not come: an interrupt took our line away, most likely."""
        if step.started and kind == "A" and step.aside is None:
            step.aside = bytearray()
        elif step.started and kind == "B":
            step.prompt_seen = True
            step.changed.set()
            self._supervise(step)

    def put_back(self, step: RunningStep) -> None:
        """What looked like a prompt was output of the command."""
        if step.aside is not None:
            step.record.add(bytes(step.aside))
            self._display(bytes(step.aside))
            step.aside = None

    def _moved(self, cwd: str | None) -> None:
        if cwd is not None and cwd.startswith("/"):
            self.cwd = cwd

    def _display(self, data: bytes) -> None:
        if self.on_display is not None and data:
            self.on_display(data)

    def _show_action(self, action: str) -> None:
        if self.on_display is None:
            return
        prompt = "" if self._prompt_shown else _prompt(self.cwd, self._sandbox.workspace)
        self._prompt_shown = False
        shown = _visible(action.rstrip("\n")).replace("\n", "\r\n> ")
        self._display(f"{prompt}{shown}\r\n".encode("utf-8", "replace"))

    # -- asking the shell ------------------------------------------------------------------------------------------

    def _expect(self, nonces: dict[str, int]) -> asyncio.Future[int]:
        self._probes = nonces
        self._answered = asyncio.get_running_loop().create_future()
        return self._answered

    def _on_answer(self, mark: Mark) -> None:
        variant = self._probes[mark.nonce]
        if self._answered is not None and not self._answered.done() and mark.kind == "D":
            self._moved(mark.cwd)
            self._pid = mark.pid if self._pid is None else self._pid
            self.last_status = mark.status or 0
            self._answered.set_result(variant)

    async def probe(self, patience: float, step: RunningStep | None = None, *, free_prompt: bool = False) -> bool:
        """Whether the shell answers at its prompt within `patience` seconds; then it is ready to be typed into.

        `last_status` and `cwd` are as it says. Where the usual way to ask has been broken, the shell is mended as far
        as that goes; with `free_prompt`, its prompts and hooks are taken away first. Ends early when `step` starts
        after all.
        """
        before = typed_lines.free_prompt(self._prompt_nonce) if free_prompt else b""
        answered = await self._ask(typed_lines.VARIANTS[:1], min(patience, 0.4), step, before)
        if answered is None and (step is None or not step.started):
            answered = await self._ask(typed_lines.VARIANTS, patience, step, typed_lines.repair_lines())
        if answered is None:
            return False
        self._variant = typed_lines.VARIANTS[answered]
        return True

    async def _ask(
        self, variants: Sequence[typed_lines.Variant], patience: float, step: RunningStep | None, before: bytes = b""
    ) -> int | None:
        pty = self._pty
        if pty is None:
            return None
        nonces = {self._nonces.new(): number for number in range(len(variants))}
        answered = self._expect(nonces)
        self._hidden = True
        pty.reset_modes()
        pty.echo(False)
        pty.write(before + b"".join(map(typed_lines.probe_line, nonces, variants)))
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

    async def unblock(self) -> None:
        """Undo what a program may have done to the terminal that only a process inside can undo."""
        await unblock_terminal(self._sandbox, self._pid)

    # -- the person ------------------------------------------------------------------------------------------------

    async def take_over(
        self,
        columns: int,
        rows: int,
        *,
        on_command_started: Callable[[str], None],
        on_command_finished: Callable[[str, CommandResult], None],
    ) -> None:
        """Give the shell to a person, in a terminal of this size. Each command typed is told by the two callbacks.

        Raises ShellBusy while an action runs, SandboxError when no shell can be had.
        """
        if self._step is not None:
            raise ShellBusy("a command is still running; interrupt it first")
        if self._person is not None:
            self.resize(columns, rows)
            return
        if self._pty is None:
            await self._restart()
        self._on_person_finished = on_command_finished
        person = TakeOver(
            nonce=self._nonces.new(),
            prompt_nonce=self._prompt_nonce,
            on_started=on_command_started,
            on_finished=self._person_finished,
            ready=asyncio.get_running_loop().create_future(),
        )
        self._person = person
        self._size = (columns, rows)
        await self._install(person)

    async def _install(self, person: TakeOver) -> None:
        pty = self._pty
        if pty is None:
            return
        pty.reset_modes()  # with echo: line editing echoes by itself, and only if the terminal was found to
        pty.write(typed_lines.install_hooks(person.nonce, self._prompt_nonce, list(self._history)))
        pty.resize(*self._size)
        await asyncio.wait({person.ready}, timeout=3.0)
        if person.ready.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await person.prompted.wait()
        # A shell in which the hooks do not hold is still the person's, only its lines are no steps.
        person.hidden = False

    def _person_finished(self, command: PersonCommand, status: int | None) -> None:
        if self._on_person_finished is None:
            return
        observation, truncated = command.record.observation(self._max_observation)
        result = CommandResult(
            exit_code=status,
            observation=observation,
            truncated=truncated,
            cwd=self.cwd,
            duration=time.monotonic() - command.began,
            raw=command.record.raw,
            shell_restarted=self._pty is None,
            output_bytes=command.record.total,
        )
        self._on_person_finished(command.text, result)

    def send_keys(self, data: bytes) -> None:
        """Keys of the person. Ignored when no person has the shell."""
        if self._person is not None and self._pty is not None:
            self._pty.write(data)

    def resize(self, columns: int, rows: int) -> None:
        """New size of the person's terminal. Ignored when no person has the shell."""
        if self._person is not None and self._pty is not None:
            self._size = (columns, rows)
            self._pty.resize(columns, rows)

    async def hand_back(self, *, force: bool = False) -> None:
        """Give the shell back to the agent, in its usual size. A half-typed line is cleared.

        Raises ShellBusy when a program still runs in the foreground; with `force` it is ended (INT, TERM, KILL).
        """
        person = self._person
        if person is None:
            return
        if self._pty is not None and person.command is not None and not await self.stands_at_prompt():
            if not force:
                raise ShellBusy(f"`{_short(person.command.text)}` still runs in the shell; end it, or have it ended")
            await self._stop_person(person)
        if self._pty is not None:
            await self._clear_line(self._pty, person)
        person.finish(None)
        self._person, self._hidden = None, True
        self._display(b"\x1b[?2004l\r\x1b[K")  # the prompt of line editing goes, the agent's takes its place
        if self._pty is None:
            await self._restart()
        await self._settle()

    async def _clear_line(self, pty: Pty, person: TakeOver) -> None:
        person.prompted.clear()
        pty.write(b"\x03")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await person.prompted.wait()

    async def _settle(self) -> None:
        """Take the hooks away and see that the shell takes commands."""
        pty = self._pty
        if pty is None:
            return
        pty.resize(AGENT_COLUMNS, AGENT_ROWS)
        pty.reset_modes()
        pty.echo(False)
        for pasted in (False, True):
            nonce = self._nonces.new()
            answered = self._expect({nonce: 0})
            line = typed_lines.remove_hooks(nonce)
            # A paste reaches line editing as it is, whatever the person has bound the single keys to.
            pty.write(typed_lines.as_paste(line) if pasted else line)
            await asyncio.wait({answered}, timeout=1.0)
            self._probes = {}
            if answered.done() or self._pty is None:
                return
            pty.write(b"\x03")
            await asyncio.sleep(0.3)  # the interrupt drops what is typed before it was handled
        for name in LADDER:
            if await self.probe(1.0) or self._pty is None:
                return
            with contextlib.suppress(SandboxError):
                await pty.signal(name)
        if not await self.probe(1.0):
            await self.hang_up("it no longer took commands")
            await self._restart()

    async def _stop_person(self, person: TakeOver) -> None:
        for name in LADDER:
            pty = self._pty
            if pty is None or person.command is None:
                return
            with contextlib.suppress(SandboxError):
                await pty.signal(name)
            until = time.monotonic() + self._ladder_interval
            while person.command is not None and self._pty is pty and time.monotonic() < until:
                person.prompted.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.25):
                        await person.prompted.wait()

    async def _restart_for_person(self, person: TakeOver) -> None:
        await self._restart()
        if self._person is person:
            person.nonce, person.prompt_nonce = self._nonces.new(), self._prompt_nonce
            person.ready = asyncio.get_running_loop().create_future()
            person.hidden = True
            await self._install(person)


def _ending(status: int) -> str:
    name = _killer(status)
    return f"the shell was ended by SIG{name}" if name else f"the shell ended with status {status}"


def _killer(status: int) -> str:
    """The signal that a status above 128 stands for; empty for INT, which bash also reports of what it ran last."""
    with contextlib.suppress(ValueError):
        if status > 128 and status != 128 + signal.SIGINT:
            return signal.Signals(status - 128).name.removeprefix("SIG")
    return ""


def _prompt(cwd: str, workspace: str) -> str:
    home = workspace.rpartition("/")[0]
    if home and (cwd == home or cwd.startswith(home + "/")):
        cwd = "~" + cwd[len(home) :]
    return _visible(cwd) + "$ "


def _visible(text: str) -> str:
    """Text without anything that a terminal would act upon, but newlines and tabs."""
    return re.sub(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f]",
        lambda found: "^" + chr(ord(found[0]) ^ 0x40) if ord(found[0]) < 0x80 else "\ufffd",
        text,
    )


def _short(text: str, most: int = 60) -> str:
    line = _visible(text.strip().split("\n")[0])
    return line if len(line) <= most else line[: most - 1] + "…"
