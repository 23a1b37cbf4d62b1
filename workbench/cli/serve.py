"""serve: the same screens in a browser of this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from workbench.cli.errors import Command, Failure
from workbench.cli.options import sessions_option


@click.command(cls=Command)
@click.argument("sessions", nargs=-1, metavar="[SESSION…|home]")
@click.option("--drive", is_flag=True, help="Let browsers drive, start and note things; else they only look.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Port on 127.0.0.1 [any].")
@click.option("--json", "as_json", is_flag=True, help="The address as a line of JSON, first of all.")
@sessions_option
def serve(sessions: tuple[str, ...], drive: bool, port: int, as_json: bool, sessions_folder: Path) -> None:
    """Show sessions in a browser of this machine.

    A SESSION as its terminal has it, running or saved; of several, or with `home`, the browser of runs. Whoever has the
    address, with the token in it, comes in. Neither a browser's end nor this command's is an end of the session.

    Examples:
      mlgym-tui serve last
      mlgym-tui serve last --drive
      mlgym-tui serve home --port 8000     (elsewhere: docs/attach.md)
    """
    from workbench.cli.browsers import Browsers, view_command
    from workbench.cli.output import print_json
    from workbench.session.store import find_session
    from workbench.signals import run_stoppable

    names = () if sessions == ("home",) else sessions
    paths = [find_session(sessions_folder, name).absolute() for name in names]
    browsers = Browsers(view_command("drive" if drive else "watch", sessions_folder, paths))

    async def run() -> None:
        import asyncio

        try:
            try:
                taken = await browsers.start(port)
            except OSError as error:
                raise Failure(f"port {port} cannot be had: {error.strerror}", "name another with --port", 2) from None
            address = f"http://127.0.0.1:{taken}/#{browsers.token}"
            if as_json:
                print_json({"address": address, "port": taken, "drive": drive, "pid": os.getpid()}, in_a_line=True)
            else:
                may = "can drive" if drive else "can only look; --drive lets it drive"
                click.echo(f"{address}\nWho has this address {may}. ctrl+c ends it.")
            sys.stdout.flush()
            await asyncio.get_running_loop().create_future()
        finally:
            await browsers.stop()

    run_stoppable(run())
