"""A session without a screen: events as JSON lines, or each step in plain text."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench.cli.errors import complain, silence_output
from workbench.cli.output import ProgressLine, ending, harmless_json, progress_line, standing
from workbench.session import events as ev
from workbench.session.bus import Message
from workbench.session.log import read_log
from workbench.session.state import SessionState, fold
from workbench.session.status import LiveStatus
from workbench.session.store import command_for
from workbench.signals import on_signals
from workbench.text import number, visible

if TYPE_CHECKING:
    from workbench.runner.runner import Runner

_OBSERVATION_LINES = 12
_PROGRAM = "mlgym-tui"
_WAITS = {"starting": "the sandbox is made", "proposing": "the agent thinks", "executing": "running"}
"""What a phase waits for."""
_MARKS = ("refused", "timed_out", "interrupted", "shell_restarted")


def run_headless(runner: Runner, *, as_json: bool) -> int:
    """Drive the session to its end. Returns the exit code: 0 when submitted, 3 when a breakpoint stopped it, 128 + n
    when signal n ended it, else 1. A replay of an agent program is 0 where it came out as it was recorded, else 1.
    """
    received: list[int] = []

    async def drive() -> ev.SessionEnded:
        this = asyncio.current_task()
        assert this is not None

        def stop(signal_number: int) -> None:
            received.append(signal_number)
            name = signal.Signals(signal_number).name
            if len(received) > 1:  # the second time, do not wait for anything
                this.cancel()
            else:
                runner.controls.stop("interrupted", name)

        on_signals(stop)
        for event in read_log(runner.live.folder)[0]:
            if event.seq >= runner.live.first_seq:  # what was logged while the session was put together
                show.hear(event)
        runner.live.bus.subscribe(show.hear)
        return await runner.run()

    with progress_line() as progress:
        show: _Listener = _JsonLines(runner) if as_json else _PlainSteps(runner, progress)
        ended = asyncio.run(drive())
    if not as_json and not show.gone:
        click.echo()
        say_end(ended)
    elif ended.exit_status != "submitted":
        complain(ended.exit_status + (f": {ended.reason}" if ended.reason else ""))
    if succeeded(runner, ended):
        return 0
    if ended.exit_status == "breakpoint":
        return 3
    return 128 + received[0] if received else 1


def succeeded(runner: Runner, ended: ev.SessionEnded) -> bool:
    """Whether it was submitted; of a replay of an agent program, whether it came out as it was recorded."""
    replayed = None if runner.agent is None else runner.agent.replayed
    return ended.exit_status == "submitted" if replayed is None else replayed


class _Listener:
    """Prints what comes. When the reader of the output goes away, the session ends as interrupted."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.gone = False

    def hear(self, message: Message) -> None:
        """What the session publishes."""
        if self.gone:
            return
        try:
            if isinstance(message, ev.Event):
                self.show(message)
                sys.stdout.flush()
            elif isinstance(message, LiveStatus):
                self.show_status(message)
        except OSError as error:
            self.gone = True
            silence_output()
            reader = isinstance(error, BrokenPipeError)
            self.runner.controls.stop(
                "interrupted", "the reader of the output has gone" if reader else f"the output: {error.strerror}"
            )

    def show(self, event: ev.Event) -> None:
        """Print one event."""
        raise NotImplementedError

    def show_status(self, status: LiveStatus) -> None:
        """Print what is true only now."""


class _JsonLines(_Listener):
    """Each event as in `events.jsonl`."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner)
        self._redactor = runner.live.redactor

    def show(self, event: ev.Event) -> None:
        sys.stdout.buffer.write(harmless_json(self._redactor.data(ev.encode(event))) + b"\n")


class _PlainSteps(_Listener):
    """Each step as it is over. Until then a terminal has a line that says what is waited for."""

    def __init__(self, runner: Runner, progress: ProgressLine) -> None:
        super().__init__(runner)
        self._progress = progress
        self._lively = sys.stdout.isatty()
        """Nothing else writes between these lines and the other terminal's end, such as `tee`."""
        self._failing = ""

    def show_status(self, status: LiveStatus) -> None:
        failing = status.problem if status.phase == "proposing" else ""
        if failing and failing != self._failing:
            self._progress.clear()
            click.echo(visible(failing), err=True)
        self._failing = failing
        if self._lively and (waits := status.progress or _WAITS.get(status.phase, "")):
            self._progress(0, waits)

    def show(self, event: ev.Event) -> None:
        self._progress.clear()
        if isinstance(event, ev.NoteAdded):
            click.echo(f"note: {visible(event.text)}", err=True)
        elif isinstance(event, ev.ActionStarted):
            thought = self.runner.state.steps[event.step].thought
            first, *rest = visible(event.action).split("\n")
            said = f"  — {visible(thought)}" if thought else ""
            click.echo(f"\nstep {event.step}  {visible(event.author)}{said}")
            click.echo(f"  $ {first}" + (f"  (+{len(rest)} lines)" if rest else ""))
        elif isinstance(event, ev.ActionRejected):
            step = self.runner.state.steps[event.step]
            click.echo(f"\nstep {event.step}  {visible(step.author)}")
            click.echo(f"  $ {visible(step.action).partition(chr(10))[0]}")
            click.echo(f"  not run{f': {visible(event.comment)}' if event.comment else ''}")
        elif isinstance(event, ev.ActionFinished):
            lines = visible(event.observation).rstrip("\n").split("\n") if event.observation.strip() else []
            if len(lines) > _OBSERVATION_LINES:
                lines[8:-3] = [f"… {len(lines) - 11} lines …"]
            for line in lines:
                click.echo(f"  | {line[:200]}")
            words = [f"exit {'code unknown' if event.exit_code is None else event.exit_code}"]
            words += [f"{event.duration:.2f} s"] if event.duration else []
            words += [mark.replace("_", " ") for mark in _MARKS if getattr(event, mark)]
            click.echo(f"  {', '.join(words)}")
        elif isinstance(event, ev.ScoreRecorded):
            what = f"{event.verdict}: {visible(event.message)}"
            if event.verdict == "ok":
                error = f" ± {event.standard_error:.4f}" if event.standard_error is not None else ""
                what = number(event.score) + error
            note = "".join(f" ({caveat})" for caveat in event.caveats)
            click.echo(f"  {event.kind}: {what}{note}")
        elif isinstance(event, ev.ModelFailed):
            click.echo(f"model failed ({event.cause}): {visible(event.message)}", err=True)


def say_end(ended: ev.SessionEnded) -> None:
    """How the session ended, where it is, and the commands that go on from here."""
    click.echo(ending(ended))
    click.echo(standing(ended.scores))
    folder = Path(ended.session)
    click.echo(f"saved in {folder}")
    if ended.exit_status != "submitted":
        state = fold(read_log(folder)[0])
        if state.started is not None and state.started.agent_command:  # a program cannot be taken up in the middle
            click.echo(f"begin again at a step: {command_for(folder, 'fork')} --step N")
        else:
            click.echo(f"go on with: {command_for(folder, 'resume')}{_further(ended, state)}")
    click.echo(f"replay it with: {command_for(folder, 'replay')}")
    if Path(sys.argv[0]).name == _PROGRAM and shutil.which(_PROGRAM) is None:
        click.echo(f"(here the command is {sys.argv[0]})")


def _further(ended: ev.SessionEnded, state: SessionState) -> str:
    """The option that doubles the limit by which a session has ended: as it was, that would end it again at once."""
    limits = state.limits
    if "max_steps" in ended.exit_status and limits.steps is not None:
        return f" --max-steps {2 * max(limits.steps, ended.steps)}"
    if "max_time" in ended.exit_status and limits.seconds is not None:
        return f" --max-time {2 * limits.seconds:g}"
    if "exit_cost" in ended.exit_status and limits.cost is not None and state.cost >= limits.cost:
        return f" --max-cost {2 * limits.cost:g}"
    if "exit_cost" in ended.exit_status and limits.tokens is not None:
        return f" --max-tokens {2 * limits.tokens}"
    return ""
