"""home: the browser of runs and tasks."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench.cli.errors import Command, Failure
from workbench.cli.options import sessions_option

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(cls=Command)
@click.argument("paths", nargs=-1, metavar="[DIR|FILE]…", type=click.Path(path_type=Path, exists=True))
@sessions_option
def home(paths: tuple[Path, ...], sessions_folder: Path) -> None:
    """Browse runs and tasks: open, compare, tag, start.

    Without DIR, your sessions. Below DIR, sessions and the files of other programs alike. `mlgym-tui` alone does the
    same.

    Examples:
      mlgym-tui home
      mlgym-tui home ~/trajectories ~/sessions
    """
    if not is_terminal():
        raise Failure("home needs a terminal", "`mlgym-tui sessions` prints the list", 2)
    open_home(paths, sessions_folder)


def open_home(paths: Sequence[Path], sessions: Path) -> None:
    """Show the runs below some paths, else the user's own `sessions`, until the person leaves."""
    from workbench.tui.app import WorkbenchApp
    from workbench.tui.screens.home import HomeScreen

    app = WorkbenchApp(home=HomeScreen(paths or (sessions,), own=not paths), sessions=sessions)
    app.run()
    sys.exit(app.return_code or 0)


def is_terminal() -> bool:
    """Whether there is one that a screen can be shown on."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return all(stream.isatty() for stream in streams) and os.environ.get("TERM", "dumb") != "dumb"
