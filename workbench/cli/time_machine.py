"""restore, fork, sessions prune: what saved sessions held at a step, and going on from there."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import Command, Failure, complain
from workbench.cli.options import (
    consent,
    json_option,
    read_session,
    sandbox_option,
    session_argument,
    sessions_option,
    trust_option,
)
from workbench.cli.output import print_json
from workbench.text import first_of, many, visible

if TYPE_CHECKING:
    from workbench.runner.forking import Fork
    from workbench.session.state import SessionState

step_option = click.option(
    "--step", type=click.IntRange(min=0), metavar="N", required=True, help="0: before the first."
)


@click.command(cls=Command)
@step_option
@click.option(
    "--to", "target", type=click.Path(path_type=Path), metavar="DIR", required=True, help="Made where it is missing."
)
@json_option
@session_argument
@click.argument("path", default="")
def restore(session: Path, path: str, step: int, target: Path, as_json: bool) -> None:
    """Write the files of SESSION as they were after a step to a folder.

    With PATH, that file or folder of the workspace only. Folders, links and permissions are as they were; nothing
    that is in DIR is written over. Exits with 1 where something was not kept or is lost.

    Examples:
      mlgym-tui restore last --step 12 --to /tmp/at-12
      mlgym-tui restore 3fa9c1 src/train.py --step 4 --to .
    """
    from workbench.session.objects import ObjectStore
    from workbench.session.snapshot import restore as write_files

    recording, state = read_session(session)
    if recording.folder is None:
        raise Failure(
            f"{session} holds no files of the workspace", "only sessions of mlgym-tui do; `fork` runs it again"
        )
    if step > state.last_step:
        raise Failure(f"{session.name} has no step {step}", f"its last is {state.last_step}", 2)
    wanted = path.strip("/")
    files, folders = (
        [each for each in found if not wanted or each.path == wanted or each.path.startswith(f"{wanted}/")]
        for found in (state.files_at(step), state.folders_at(step))
    )
    if wanted and not files and not folders:
        raise Failure(f"there is no {wanted} after step {step}", "`sessions show --json` names the files of each step")
    target.mkdir(parents=True, exist_ok=True)
    lost = write_files(files, ObjectStore(recording.folder / "objects"), target, folders)
    if as_json:
        print_json({"to": target.absolute(), "step": step, "files": len(files) - len(lost), "lost": lost})
    else:
        click.echo(f"{many(len(files) - len(lost), 'file')} of step {step} → {visible(str(target))}")
        for name in lost:
            there = "something is there already, and nothing is written over: name another folder with --to"
            lacking = "it was not kept, is lost, or something is in its place"
            complain(f"not restored: {name}", there if os.path.lexists(target / name) else lacking)
    sys.exit(1 if lost else 0)


@click.command(cls=Command)
@click.option("--dry-run", "-n", is_flag=True, help="Say only what would be removed.")
@json_option
@sessions_option
def prune(dry_run: bool, as_json: bool, sessions_folder: Path) -> None:
    """Remove what saved sessions hold for nothing.

    That is: objects that their session's log does not name, shared objects that no session has any more (those of
    sessions that were deleted), second copies of one object, and folders of sessions in which nothing happened. No
    session loses anything that it shows; one that is running is left alone.

    Examples:
      mlgym-tui sessions prune --dry-run
      mlgym-tui sessions prune --json
    """
    from msgspec.structs import asdict

    from workbench.session.pruning import prune as remove

    done = remove(sessions_folder, dry_run=dry_run)
    if as_json:
        print_json({"sessions_folder": sessions_folder, "dry_run": dry_run, **asdict(done)})
        return
    removed = done.unnamed + done.unshared
    click.echo(
        f"{'would free' if dry_run else 'freed'} {done.freed / 1e6:,.1f} MB: {many(removed, 'object')} that no session "
        f"names, {done.joined:,} that were there twice, {many(len(done.sessions), 'empty session')}"
    )
    for folder in done.running:
        click.echo(f"left alone, for it is running: {visible(folder.name)}", err=True)


@click.command(cls=Command)
@step_option
@click.option("--model", "-m", default="", metavar="MODEL", help="Who goes on, as `run` takes it (else as before).")
@click.option("--agent", "-a", default="", metavar="AGENT", help="An agent's name, YAML file, or module:Class.")
@click.option("--as", "person", type=click.Choice(["human"]), help="human: you go on.")
@click.option("--edit", is_flag=True, help="Edit what the session did next; it runs first.")
@click.option("--run", "go_on", is_flag=True, help="Go on at once, as `resume` does.")
@click.option("--headless", is_flag=True, help="With --run: without a screen.")
@click.option("--agent-env", multiple=True, metavar="NAME=VALUE", help="Of an agent program: another setting.")
@click.option("--accept", is_flag=True, help="Of a recording without files: take what running it again gives.")
@click.option("--starter", default="", metavar="DIR", help="Of such a recording: the files that it began with.")
@sandbox_option("Of such a recording: where it is run again.")
@trust_option
@json_option
@sessions_option
@click.argument("session")
def fork(
    session: str,
    step: int,
    model: str,
    agent: str,
    person: str | None,
    edit: bool,
    go_on: bool,
    headless: bool,
    agent_env: tuple[str, ...],
    accept: bool,
    trust: tuple[str, ...],
    as_json: bool,
    sessions_folder: Path,
    **where: Any,
) -> None:
    """Begin a new session where SESSION was after step N.

    It has the files of that step, the steps up to it, and what was left of the budget. Nothing is started: `resume`
    goes on with it, or --run. A recording of another program, which holds no files, is run again up to that step, with
    a check. An agent program begins anew with --run, is answered from the log up to that step (and once more with
    --edit), and then by its model.

    Examples:
      mlgym-tui fork last --step 12
      mlgym-tui fork 3fa9c1 --step 12 --model openai:gpt-5.4 --run
      mlgym-tui fork last --step 4 --as human --run
    """
    from workbench.cli.driving import go_on as drive
    from workbench.formats.open import open_recording
    from workbench.runner.forking import Heir, make_fork
    from workbench.session.events import Parent, SessionStarted
    from workbench.session.log import EVENTS_FILE
    from workbench.session.state import fold
    from workbench.session.store import find_session

    if person and (model or agent):
        raise click.UsageError("--as human leaves no place for --model and --agent")
    parent = find_session(sessions_folder, session)
    edited = _edited(parent, step) if edit else None
    heir = Heir(person or model, agent, edited)
    recording = open_recording(parent)  # an archive has a session in it
    first = recording.events[0] if recording.events else None
    if isinstance(first, SessionStarted) and first.agent_command and not (person or model or agent):
        if not go_on or recording.folder is None:
            raise Failure("an agent program has to be run again for a fork", "say --run", 2)
        state = fold(recording.events)
        sys.exit(_fork_program(recording.folder, state, step, sessions_folder, agent_env, headless, trust, edited))
    if recording.folder is not None and (recording.folder / EVENTS_FILE).is_file():
        origin = None if parent.is_dir() else Parent(session=str(parent), step=step)
        made = make_fork(recording.folder, step, sessions_folder, heir, consent=consent(trust), origin=origin)
    else:
        from workbench.cli.reexecution import fork_recording

        made = fork_recording(parent, step, sessions_folder, heir, accept=accept, trust=trust, where=where)
    _say(made, as_json, go_on)
    if go_on:
        sys.exit(drive(made.session, headless, as_json, False, trust, {}))


def _fork_program(
    folder: Path,
    state: SessionState,
    step: int,
    root: Path,
    settings: tuple[str, ...],
    headless: bool,
    trust: tuple[str, ...],
    edited: str | None,
) -> int:
    """Run an agent program again, with the answers of a session up to a step, and one more where that is `edited`.
    Returns the exit code.
    """
    import msgspec

    from workbench.cli.driving import drive, without_screen
    from workbench.cli.runs import program_of
    from workbench.gateway.forking import fork_spec
    from workbench.runner.start import start
    from workbench.session.events import Parent

    plain = without_screen(headless, False, False)
    spec = fork_spec(folder, state, step if edited is None else step + 1, settings, consent(trust))
    spec = msgspec.structs.replace(spec, mode="auto", interactive=not plain)
    name = folder.name if folder.parent == root else str(folder.absolute())
    runner = start(spec, root, agent=program_of(spec, root, edited), parent=Parent(session=name, step=step))
    return drive(runner, plain, False)


def _edited(session: Path, step: int) -> str:
    """The action after a step, as the user wants it. Raises Failure."""
    _, state = read_session(session)
    if step + 1 > state.last_step:
        raise Failure(f"{session.name} did nothing after step {step}", "leave --edit out", 2)
    if not (sys.stdin.isatty() or os.environ.get("VISUAL") or os.environ.get("EDITOR")):
        raise Failure("an editor needs a terminal", "run it in one, or without --edit", 2)
    following = state.steps[step + 1]
    text = click.edit(following.proposed or following.action, require_save=False)
    if text is None or not text.strip():
        raise Failure("there is nothing to run", "the fork was not made")
    return text.rstrip("\n")


def _say(made: Fork, as_json: bool, go_on: bool) -> None:
    from workbench.session.store import command_for

    command = command_for(made.session, "resume")
    if as_json:
        said: dict[str, Any] = {"session": made.session, "parent": made.parent, "step": made.step}
        print_json({**said, "left": made.left, "lost": made.lost, "shell_gone": made.shell_gone, "resume": command})
        return
    click.echo(str(made.session))
    if made.lost:
        complain(f"not restored: {first_of(made.lost)}", "what was too large to have been kept, or is lost")
    if made.shell_gone:
        complain(f"not restored of the shell: {', '.join(made.shell_gone)}")
    if not go_on:
        click.echo(f"go on with: {command}", err=True)
