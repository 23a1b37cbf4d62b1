"""What commands that drive a session share: from options to a runner, and to its end, with the workbench or without."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import Failure
from workbench.cli.home import is_terminal
from workbench.cli.options import consent, sessions_here

if TYPE_CHECKING:
    from workbench.runner.runner import Runner
    from workbench.session.events import SessionEnded

RESUMED_DELAY = 1.0
"""Seconds before a proposal of a session that goes on runs by itself."""


def without_screen(headless: bool, as_json: bool, step_mode: bool) -> bool:
    """Whether to run without the workbench. Raises Failure where that cannot be: somebody has to step."""
    plain = headless or as_json or not is_terminal()
    if plain and step_mode:
        raise Failure(
            "in step mode a person decides about each action, and needs a terminal",
            "leave --step out, or run it in a terminal, without --headless and --json",
            2,
        )
    return plain


def go_on(
    folder: Path, headless: bool, as_json: bool, step_mode: bool, trust: tuple[str, ...], options: dict[str, Any]
) -> int:
    """Drive a saved session, with the workbench or without. Returns the exit code."""
    from workbench.runner.start import start
    from workbench.session.spec import spec_of
    from workbench.signals import stoppable

    plain = without_screen(headless, as_json, step_mode)
    spec = spec_of(
        options, mode="step" if step_mode else None, interactive=not plain, delay=0.0 if plain else RESUMED_DELAY
    )
    with stoppable():
        runner = start(spec, resume=folder, consent=consent(trust))
    return drive(runner, plain, as_json)


def detach_from(runner: Runner) -> int:
    """Have a process of its own drive the session, without a terminal, and say how to come back to it."""
    import os

    from workbench.cli.headless import run_headless
    from workbench.session.store import command_for

    folder = runner.live.folder
    if os.fork():
        with contextlib.suppress(OSError):  # nobody may listen any more
            click.echo(f"runs in {folder}\nfollow and drive it with: {command_for(folder, 'attach')}")
            sys.stdout.flush()
        os._exit(0)  # what the session holds is the other process's now
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return run_headless(runner, as_json=False)


def drive(runner: Runner, plain: bool, as_json: bool) -> int:
    if plain:
        from workbench.cli.headless import run_headless

        return run_headless(runner, as_json=as_json)
    from workbench.tui.source import LiveSource

    source = LiveSource(runner)
    ended: SessionEnded | None
    if runner.agent is None and runner.state.started is not None and runner.state.started.interface == "shell":
        from workbench.cli.own_terminal import work_in

        ended = work_in(source)
    else:
        from workbench.tui.app import WorkbenchApp

        ended = WorkbenchApp(source, sessions=sessions_here()).run()
    if ended is None:
        return 1
    from workbench.cli.headless import say_end, succeeded

    say_end(ended)
    if runner.agent is None and ended.scores.best is not None:
        from workbench.cli.ledger import print_standings, runs_of

        folder = runner.live.folder.absolute()
        task = runner.state.started.task if runner.state.started is not None else ""
        if found := runs_of(task, (folder.parent,)):
            click.echo()
            print_standings(found, mine=str(folder))
    return 0 if succeeded(runner, ended) else 1
