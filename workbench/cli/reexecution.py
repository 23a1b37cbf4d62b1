"""replay --execute: a recorded session run again with a check, and forks of recordings that hold no files."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import Failure
from workbench.cli.options import consent, read_session, sessions_here
from workbench.cli.output import picked, print_json, progress_line
from workbench.text import visible

if TYPE_CHECKING:
    from workbench.formats.comparing import Divergence
    from workbench.runner.forking import Fork, Heir
    from workbench.runner.reexecution import Answer, Checked
    from workbench.session.recording import Recording
    from workbench.session.spec import SessionSpec

_CHOICES = {"a": "accept and go on", "s": "stop", "f": "fork here", "t": "take over"}


def run_again(
    path: Path, *, as_json: bool, accept: bool, until: int | None, trust: tuple[str, ...], **where: Any
) -> int:
    """Run it, say how far it came out as it was recorded, and return the exit code."""
    from workbench.session.events import Parent

    recording, _ = read_session(path)
    asked = None if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()) else _Asked()
    root = sessions_here()
    with scratch_below(root) as scratch:
        done, session = _run(recording, scratch, until, accept, asked, trust, where)
        choice = asked.choice if asked is not None else ""
        if choice in ("f", "t") and done.divergence is not None:
            from workbench.runner.forking import Heir, make_fork

            step = done.divergence.step
            heir = Heir("human") if choice == "t" else Heir()
            parent = Parent(session=str((recording.folder or recording.path).absolute()), step=step)
            made = make_fork(session, _last_step(session), root, heir, origin=parent)
            click.echo(str(made.session))
            if choice == "t":
                from workbench.cli.driving import go_on

                return go_on(made.session, False, False, False, (), {})
    if as_json:
        print_json(picked(done, "steps verified_to divergence accepted by_design"))
    else:
        if done.divergence is not None and asked is None:
            click.echo(_both_sides(done.divergence))
        if done.by_design:
            steps = ", ".join(str(each.step) for each in done.by_design)
            click.echo(f"otherwise by design, with the same files: step {steps}", err=True)
        click.echo(f"verified to step {done.verified_to} of {done.steps}")
    return 0 if done.verified else 1


def _run(
    recording: Recording,
    root: Path,
    until: int | None,
    accept: bool,
    asked: _Asked | None,
    trust: tuple[str, ...],
    where: dict[str, Any],
) -> tuple[Checked, Path]:
    """Run it in a session below `root`. Ends the command where a signal does."""
    from workbench.runner.reexecution import begin, check
    from workbench.session.spec import SessionSpec
    from workbench.signals import on_signals, stoppable

    async def always(_found: Divergence) -> Answer:
        return "accept"

    spec: SessionSpec = SessionSpec(**{name: value for name, value in where.items() if value})
    decide = always if accept else asked
    received: list[int] = []
    with progress_line() as progress:
        if asked is not None:
            asked.clear = progress.clear

        def told(done: int, total: int) -> None:
            if done < total:
                progress(done / total, f"step {done + 1} of {total} runs again")

        progress(0, "a sandbox is made")
        with stoppable():
            runner, checker = begin(
                recording, root, spec, until=until, decide=decide, on_step=told, consent=consent(trust)
            )

        def stop(number: int) -> None:
            received.append(number)
            runner.controls.stop("interrupted", signal.Signals(number).name)

        async def drive() -> Checked:
            if asked is not None:
                asked.stop = stop
            on_signals(stop)
            return await check(runner, checker)

        done = asyncio.run(drive())
    if received:
        click.echo("stopped", err=True)
        sys.exit(128 + received[0])
    if done.ended is not None and done.ended.exit_status == "error":
        raise Failure(f"it could not be run again: {done.ended.reason}")
    return done, runner.live.folder


class _Asked:
    """Asks what to do about what came out otherwise."""

    def __init__(self) -> None:
        self.choice = ""
        self.clear: Callable[[], None] = lambda: None
        self.stop: Callable[[int], None] = lambda number: None

    async def __call__(self, found: Divergence) -> Answer:
        self.clear()
        click.echo(_both_sides(found), err=True)
        said = ", ".join(f"{key}: {what}" for key, what in _CHOICES.items())
        kind = click.Choice(list(_CHOICES))
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGINT)  # nothing runs meanwhile; ctrl+c is for the question
        try:
            self.choice = click.prompt(said, type=kind, show_choices=False, default="s", err=True)
        except click.Abort:
            self.stop(signal.SIGINT)
        finally:
            loop.add_signal_handler(signal.SIGINT, self.stop, signal.SIGINT)
        return "accept" if self.choice == "a" else "stop"


def _both_sides(found: Divergence) -> str:
    from workbench.formats.checking import CAUSES

    cause = CAUSES.get(found.cause, found.cause)
    return visible(
        f"step {found.step} came out otherwise ({found.what})\n  recorded: {found.expected}\n  now:      {found.got}\n"
        f"  likely:   {cause}"
    )


def _last_step(session: Path) -> int:
    from workbench.session.log import read_log
    from workbench.session.state import fold

    return fold(read_log(session)[0]).last_step


@contextmanager
def scratch_below(root: Path) -> Iterator[Path]:
    """A folder for sessions that are not kept, on the file system of those that are. Raises Failure."""
    from workbench.session.store import SCRATCH

    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=root))
    except OSError as error:
        raise Failure(f"nothing can be written in {root}: {error.strerror}", "name another with --sessions") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fork_recording(
    path: Path, step: int, root: Path, heir: Heir, *, accept: bool, trust: tuple[str, ...], where: dict[str, Any]
) -> Fork:
    """A fork of a recording that holds no files: it is run again up to that step, with a check. Raises Failure where it
    comes out otherwise, unless `accept` is given.
    """
    from workbench.formats.open import open_recording
    from workbench.runner.reexecution import fork_verified
    from workbench.session.state import fold

    recording = open_recording(path)
    last = fold(recording.events).last_step
    if step > last:
        raise Failure(f"{path.name} has no step {step}", f"its last is {last}", 2)
    with scratch_below(root) as scratch:
        done, session = _run(recording, scratch, max(step, 1), accept, None, trust, where)
        if done.verified_to < step and not accept:
            assert done.divergence is not None
            click.echo(_both_sides(done.divergence), err=True)
            raise Failure(
                f"{path.name} could be brought to step {done.verified_to} as it was recorded, and not to {step}",
                f"fork from step {done.verified_to}, or say --accept to take the files as they come out",
            )
        return fork_verified(recording, session, step, root, heir)
