"""tour: the workbench explained on a recorded session."""

from __future__ import annotations

import sys

import click

from workbench.cli.errors import Command, Failure


@click.command(cls=Command)
def tour() -> None:
    """Learn the workbench in two minutes, on a recorded session.

    Nothing is run or kept, and no key of a model is needed. `q` leaves at any time.

    Examples:
      mlgym-tui tour
    """
    from workbench.cli.home import is_terminal

    if not is_terminal():
        raise Failure("the tour needs a terminal", "the README says what it shows", 2)
    from workbench.tui.tour import TourApp

    app = TourApp()
    app.run()
    sys.exit(app.return_code or 0)
