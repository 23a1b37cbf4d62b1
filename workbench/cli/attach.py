"""attach: a session that another process drives, from this terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench.cli.errors import Command, Failure
from workbench.cli.options import session_argument, sessions_here

if TYPE_CHECKING:
    from workbench.session.bus import Message
    from workbench.tui.source import AttachedSource

_PATIENCE = 2.0
"""Seconds that a session has, which has just begun, to be reachable."""


@click.command(cls=Command)
@click.option("--watch", "--read-only", "watch", is_flag=True, help="Look at it only: no key changes anything.")
@click.option("--json", "as_json", is_flag=True, help="Without a screen: each event as a line of JSON, to its end.")
@session_argument
def attach(session: Path, watch: bool, as_json: bool) -> None:
    """Follow and drive a running SESSION of yours.

    It goes on when you leave (`q`), however this terminal ends. One terminal drives at a time: the first, until another
    asks for the wheel (`D`).

    Examples:
      mlgym-tui run blotto --detach
      mlgym-tui attach last
      mlgym-tui attach last --watch
      mlgym-tui attach last --json | jq -r .event
    """
    from workbench.cli.home import is_terminal

    wait_for_socket(session)
    if as_json:
        sys.exit(_print(session))
    if not is_terminal():
        raise Failure("attaching needs a terminal", "or --json, which prints each event", 2)
    from workbench.cli.headless import say_end
    from workbench.tui.app import WorkbenchApp
    from workbench.tui.source import AttachedSource

    source = AttachedSource(session, look_only=watch)
    ended = WorkbenchApp(source, sessions=sessions_here()).run()
    if ended is not None:
        say_end(ended)
    else:
        click.echo(left(source))


def wait_for_socket(session: Path) -> None:
    """Until a session that runs can be reached. Raises Failure where it does not run, or cannot be."""
    from workbench.session.log import is_locked
    from workbench.session.socket import socket_of
    from workbench.session.store import command_for

    if not session.is_dir() or not is_locked(session):
        raise Failure(
            f"{session.name} is not running", f"look at it with `{command_for(session, 'replay')}`, or resume it", 1
        )
    patience = time.monotonic() + _PATIENCE
    while not socket_of(session).exists():
        if time.monotonic() > patience:
            raise Failure(
                f"{session.name} runs, but cannot be reached",
                "its process is another user's or on another machine: `home` follows its log",
            )
        time.sleep(0.05)


def left(source: AttachedSource) -> str:
    """What becomes of a session that was left, and how to come back."""
    from workbench.session.store import command_for

    assert source.folder is not None and source.status is not None
    back = f"`{command_for(source.folder, 'attach')}` comes back to it"
    if source.status.phase == "ended":  # without a word: its process was killed
        return f"{source.name} broke off; go on: `{command_for(source.folder, 'resume')}`"
    waits = source.status.phase in ("review", "waiting", "human") and source.state.mode != "auto"
    return f"{source.name} {'waits for somebody to go on' if waits else 'runs on'}; {back}"


def _print(session: Path) -> int:
    """Every event, from the first to the last. 0 when the session was submitted."""
    from workbench.cli.output import harmless_json
    from workbench.session import events as ev
    from workbench.session.log import read_log
    from workbench.session.socket import RemoteSession, SocketError, socket_of
    from workbench.session.store import command_for
    from workbench.signals import run_stoppable

    last = -1
    unheard: list[OSError] = []

    def show(message: Message) -> None:
        nonlocal last
        if isinstance(message, ev.Event) and message.seq > last:
            last = message.seq
            try:
                sys.stdout.buffer.write(harmless_json(ev.encode(message)) + b"\n")
                sys.stdout.flush()
            except OSError as error:
                unheard.append(error)
                raise

    async def follow() -> None:
        with contextlib.suppress(SocketError):  # it ended, or was killed, since it was looked for
            remote = await RemoteSession.connect(socket_of(session))
            remote.bus.subscribe(show)
            await remote.over()

    for event in read_log(session)[0]:
        show(event)
    run_stoppable(follow())
    for event in (events := read_log(session)[0]):
        show(event)  # what came while nobody was connected
    ended = events[-1] if events and isinstance(events[-1], ev.SessionEnded) else None
    if unheard:
        raise unheard[0]
    if ended is None:
        raise Failure(f"{session.name} broke off: its process is gone", f"go on: `{command_for(session, 'resume')}`")
    return 0 if ended.exit_status == "submitted" else 1
