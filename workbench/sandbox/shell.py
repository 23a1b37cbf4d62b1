"""The shell: one persistent bash on a pseudo-terminal, driven by an agent (`run`) or by a person (`take_over`).

An agent's action is typed as one line that prints a start mark, gives the action to `eval` and prints an end mark
with the exit status and the directory. The marks carry a nonce that is new for each step. What the host types is never
shown: panes see the action at the prompt, as if it had been typed there.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from msgspec.structs import replace

from workbench.isolation.spec import SandboxError
from workbench.sandbox.action import Onlooker, RunningAction
from workbench.sandbox.base import Sandbox
from workbench.sandbox.bash import Bash, killer
from workbench.sandbox.markers import Mark
from workbench.sandbox.output import OutputRecord
from workbench.sandbox.person import PersonAtShell, PersonCommand, settle_after_person
from workbench.sandbox.shell_state import ShellKeeper
from workbench.sandbox.supervisor import Supervisor
from workbench.sandbox.syntax import REFUSED_STATUS, syntax_problem
from workbench.text import visible

_GRACE = 0.7
"""Seconds after which a command gets a supervisor. Nearly all are over by then."""
_MOST_OBSERVED = 30_000
"""Characters of an observation."""
_HISTORY = 50
"""Actions of the agent that a person finds in the shell's history."""


class ShellBusy(Exception):
    """Something runs in the shell, so that it cannot be handed over now. `str()` says what and what to do."""


class CommandResult(msgspec.Struct, frozen=True):
    """How a command ended and what it printed."""

    exit_code: int | None
    observation: str
    cwd: str
    truncated: bool = False
    duration: float = 0.0
    """Seconds."""
    raw: bytes | None = None
    """What was printed, where that was not plain text (NUL, undecodable); head and tail of 4 MB each."""
    refused: bool = False
    interrupted: bool = False
    timed_out: bool = False
    signal: str = ""
    """The signal that ended the command (INT, TERM, KILL) or killed the shell; else empty."""
    shell_restarted: bool = False


class Shell:
    """The shell of one sandbox."""

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        time_limit: float = 120.0,
        ladder_interval: float = 2.0,
    ) -> None:
        """`time_limit`: seconds per command; `ladder_interval`: seconds between INT, TERM and KILL."""
        self.on_display: Callable[[bytes], None] | None = None
        """Bytes for terminal panes and the recording: what a person would have seen."""
        self.on_restart: Callable[[str, str], None] | None = None
        """Told the reason and the directory when a dead shell was replaced."""
        self.onlooker = Onlooker()
        """A person who looks on while the agent drives."""
        self._sandbox = sandbox
        self._time_limit = time_limit
        self._ladder_interval = ladder_interval
        self._bash = Bash(sandbox)
        self._bash.on_text, self._bash.on_mark, self._bash.on_exit = self._take, self._marked, self._exited
        self.keeper = ShellKeeper(self._bash, sandbox)
        """Knows variables and functions."""
        self._prompt_shown = False
        self._action: RunningAction | None = None
        """What runs, or ran last."""
        self._person: PersonAtShell | None = None
        self._history: deque[str] = deque(maxlen=_HISTORY)
        self._tasks: set[asyncio.Task[None]] = set()
        self._opening, self._handing_back = asyncio.Lock(), asyncio.Lock()
        self._closed = False
        self._preparing = False
        """An action is being checked, run or read: another has to wait."""
        self._interrupted_early = False
        self._extended = 0.0
        """Seconds by which the time limit of what runs was extended."""

    # -- life ------------------------------------------------------------------------------------------------------

    @property
    def cwd(self) -> str:
        """The shell's directory, as of the last command."""
        return self._bash.cwd

    @property
    def alive(self) -> bool:
        """Whether a bash is there."""
        return self._bash.terminal is not None

    def hold_output(self, hold: bool) -> None:
        """Hold the shell's output back (what writes waits), or let it come again: a pane has more than it can draw."""
        terminal = self._bash.terminal
        if terminal is not None:
            if hold:
                terminal.pause_reading()
            else:
                terminal.resume_reading()

    @property
    def running(self) -> bool:
        """Whether an action of the agent, or a command of the person, is running."""
        persons = self._person.command if self._person is not None else None
        return self._step is not None or self._preparing or persons is not None

    @property
    def driven_by_person(self) -> bool:
        """Whether a person has it, or is giving it back."""
        return self._person is not None or self._handing_back.locked()

    async def start(self, cwd: str | None = None) -> None:
        """Start the shell in `cwd`, the workspace if None or gone. Does nothing when it lives. Raises SandboxError."""
        self._history.clear()
        self._closed = False
        async with self._opening:
            if not self.alive:
                await self._bash.open(cwd or self._sandbox.workspace)

    async def close(self) -> None:
        """Kill the shell and everything in its session. A running command ends as if the shell had died."""
        self._closed = True
        self._person = None
        await self._bash.hang_up("it was closed")
        for task in list(self._tasks):
            task.cancel()

    async def _restart(self) -> None:
        """Replace a dead shell, in the directory where it was."""
        async with self._opening:
            if self.alive:
                return
            if self._closed:
                raise SandboxError("the shell was closed", "start the session again")
            reason = self._bash.end_reason
            self._display(f"\r\n[{reason}; a new one is started]\r\n".encode())
            self._prompt_shown = False
            await self._bash.open(self.cwd)
            self.keeper.another_shell()
        if self.on_restart is not None:
            self.on_restart(reason, self.cwd)

    @property
    def _step(self) -> RunningAction | None:
        """The action that runs."""
        return self._action if self._action is not None and not self._action.over else None

    def _exited(self, status: int) -> None:
        step, person = self._step, self._person
        if step is not None:
            step.finish(status, dead=True)
        if person is not None:
            person.shell_died(status)
            self._spawn(person.come_back(list(self._history)))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- the agent -------------------------------------------------------------------------------------------------

    async def run(self, action: str, *, time_limit: float | None = None, shown: str | None = None) -> CommandResult:
        """Run an action and wait until it is over. Never raises for what the action does.

        `shown`: what stands at the prompt instead of the action, where that is a rewriting of it.
        Raises ShellBusy while another action runs or a person drives, SandboxError when no shell can be had.
        """
        if self.driven_by_person:
            raise ShellBusy("a person has the shell; hand it back first")
        if self._step is not None or self._preparing:
            raise ShellBusy("a command is still running; interrupt it first")
        self._preparing, self._interrupted_early, self._extended = True, False, 0.0
        try:
            return await self._run(
                action, self._time_limit if time_limit is None else time_limit, action if shown is None else shown
            )
        finally:
            self._preparing = False

    async def _run(self, action: str, time_limit: float, shown: str) -> CommandResult:
        problem = await syntax_problem(self._sandbox, action)
        if problem is not None:
            self._show_action(shown)
            self._display(problem.replace("\n", "\r\n").encode("utf-8", "replace"))
            return CommandResult(REFUSED_STATUS, problem, self.cwd, refused=True)
        self._history.append(action)
        if self.alive:
            await self.keeper.before(action)
        restarted = False
        for _ in range(2):
            if not self.alive:
                await self._restart()
                restarted = True
            if self._interrupted_early:
                self._show_action(shown)
                return CommandResult(130, "", self.cwd, interrupted=True, signal="INT", shell_restarted=restarted)
            step = await self._execute(action, time_limit, shown)
            if not step.dead or step.started.is_set():
                break
        if step.dead:
            with contextlib.suppress(SandboxError):  # the next command tries again, and tells
                await self._restart()
            restarted = self.alive
        return self._result(step, restarted)

    async def _execute(self, text: str, time_limit: float, shown: str) -> RunningAction:
        loop = asyncio.get_running_loop()
        now = loop.time()
        step = RunningAction(
            text, self._bash, self.onlooker, self._display, now, now + time_limit + self._extended,
            self._bash.new_nonce(),
            loop.create_future(), last_output=now,
        )  # fmt: skip
        self._action = self.onlooker.action = step
        self._show_action(shown)
        step.type()
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

    def _supervise(self, step: RunningAction) -> None:
        if self._step is step and not step.supervised:
            step.supervised = True
            self._spawn(Supervisor(step, self._ladder_interval).watch())

    def _result(self, step: RunningAction, restarted: bool) -> CommandResult:
        result = replace(
            self._printed(step.record, step.status, step.ended - step.began),
            interrupted=step.interrupted,
            timed_out=step.timed_out,
            signal=step.signal or (killer(step.status or 0) if step.dead else ""),
            shell_restarted=restarted,
        )
        if not step.waited_for:
            return result
        told = (
            f"[{visible(step.waited_for)} waited for input at the terminal, where nobody answers, and was ended. "
            "Give it what it needs by its arguments, a pipe or a file.]"
        )
        self._display(f"\r\n{told}\r\n".encode())
        return replace(result, observation=f"{result.observation}\n{told}" if result.observation else told)

    def _printed(self, record: OutputRecord, status: int | None, duration: float) -> CommandResult:
        """The result of a command that printed this and ended so."""
        observation, truncated = record.observation(_MOST_OBSERVED)
        return CommandResult(status, observation, self.cwd, truncated, duration, record.raw)

    async def interrupt(self) -> None:
        """End the running command with INT, TERM, KILL; returns when it is over. Without one, does nothing."""
        step, person = self._step, self._person
        if step is not None:
            step.interrupt_asked = True
            step.changed.set()
            self._supervise(step)
            await asyncio.wait({step.done})
        elif self._preparing:
            self._interrupted_early = True  # before it was even typed
        elif person is not None and person.command is not None:
            await person.stop()

    def hold_time_limit(self) -> Callable[[], None]:
        """Stop the clock of the running command, if one runs, until the returned function is called (once).

        For an evaluation that it waits for. Several holds at a time count once.
        """
        step = self._step
        return step.hold_time_limit() if step is not None else lambda: None

    def extend_time_limit(self, seconds: float) -> bool:
        """Let the running command take so much longer. False when none runs."""
        self._extended += seconds  # also of one that is not typed yet
        if self._step is not None:
            self._step.deadline += seconds
            self._step.changed.set()
        return self._step is not None or self._preparing

    # -- what the shell prints -------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        step, person = self._step, self._person
        if step is not None:
            step.printed(data)
        elif person is not None:
            person.printed(data)
        elif not self._bash.hidden:
            self._display(data)

    def _marked(self, mark: Mark) -> None:
        step, person = self._step, self._person
        if step is not None and mark.nonce == step.nonce:
            step.marked(mark)
        elif person is not None:
            person.marked(mark)
        elif mark.nonce == self._bash.prompt_nonce and step is not None:
            step.prompted(mark.kind)
            if step.prompt_seen:
                self._supervise(step)
        elif mark.nonce == self._bash.prompt_nonce and mark.kind == "B":
            if self._bash.hidden and not self._bash.asking:
                self._bash.hidden = False
                if not self._prompt_shown:
                    self._show_prompt()
            self._prompt_shown = self._prompt_shown or not self._bash.hidden

    def _display(self, data: bytes) -> None:
        if self.on_display is not None and data:
            self.on_display(data)

    def _show_prompt(self) -> None:
        self._display(_prompt(self.cwd, self._sandbox.workspace).encode("utf-8", "replace"))
        self._prompt_shown = True

    def _show_action(self, action: str) -> None:
        shown_before, self._prompt_shown = self._prompt_shown, False
        if self.on_display is None:
            return
        prompt = "" if shown_before else _prompt(self.cwd, self._sandbox.workspace)
        shown = visible(action.rstrip("\n")).replace("\n", "\r\n> ")
        self._display(f"{prompt}{shown}\r\n".encode("utf-8", "replace"))

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
            self._person.resize(columns, rows)
            return
        if not self.alive:
            await self._restart()
        await self.keeper.before("set")  # whatever they will type

        def finished(command: PersonCommand, status: int | None) -> None:
            self._display(command.record.undo())
            result = self._printed(command.record, status, time.monotonic() - command.began)
            on_command_finished(command.text, replace(result, shell_restarted=not self.alive))

        self._person = PersonAtShell(
            self._bash,
            (columns, rows),
            self._display,
            self._restart,
            self._ladder_interval,
            on_command_started,
            finished,
        )
        await self._person.come(list(self._history))
        if typed := self.onlooker.attend(False):
            self._person.keys(typed)

    def send_keys(self, data: bytes) -> None:
        """Keys of the person. Ignored when no person has the shell, or attends to what runs in it."""
        if self._person is not None:
            self._person.keys(data)
        else:
            self.onlooker.keys(data)

    def resize(self, columns: int, rows: int) -> None:
        """New size of the person's terminal. Ignored when no person has the shell."""
        if self._person is not None:
            self._person.resize(columns, rows)

    async def hand_back(self, *, force: bool = False) -> None:
        """Give the shell back to the agent, in its usual size. A half-typed line is cleared.

        Raises ShellBusy when a program still runs in the foreground; with `force` it is ended (INT, TERM, KILL).
        """
        async with self._handing_back:
            if self._person is not None:
                await self._hand_back(self._person, force)

    async def _hand_back(self, person: PersonAtShell, force: bool) -> None:
        bash, command = self._bash, person.command
        if command is not None and not await self._at_prompt_soon(person, force):
            if not force:
                raise ShellBusy(
                    f"`{_short(command.text)}` still runs in the shell. Go back and end it, "
                    "or have it interrupted: what it has not saved is lost."
                )
            await person.stop()
        await person.clear_line()
        self._person, bash.hidden, self._prompt_shown = None, True, False
        self._display(b"\x1b[?2004l\r\x1b[K")  # the prompt of line editing goes, the agent's takes its place
        if not self.alive:
            await self._restart()
        await settle_after_person(bash)
        if not self.alive:
            await self._restart()
        if not self._prompt_shown:
            self._show_prompt()

    async def _at_prompt_soon(self, person: PersonAtShell, force: bool) -> bool:
        """Whether nothing runs in the foreground, or what does is over in a moment: half a second's patience.

        Less where it is to be ended anyway, or waits for somebody to type.
        """
        for patience in (0.02, 0.05, 0.1, 0.1, 0.2, 0.0):
            if person.command is None or not self.alive or await self._bash.stands_at_prompt():
                return True
            if patience == 0.1 and (force or await self._bash.waiting() is not None):
                return False
            await asyncio.sleep(patience)
        return False


def _prompt(cwd: str, workspace: str) -> str:
    home = workspace.rpartition("/")[0]
    if home and (cwd == home or cwd.startswith(home + "/")):
        cwd = "~" + cwd[len(home) :]
    return visible(cwd) + "$ "


def _short(text: str, most: int = 60) -> str:
    line = visible(text.strip().split("\n")[0])
    return line if len(line) <= most else line[: most - 1] + "…"
