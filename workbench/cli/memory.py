"""memory: what agents noted about a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from workbench.cli.errors import Command, Failure, complain
from workbench.cli.options import json_option, task_argument
from workbench.cli.output import print_json
from workbench.text import visible

if TYPE_CHECKING:
    from workbench.environment.services.notes import Note


@click.command(cls=Command)
@task_argument
@json_option
@click.option("--remove", "removed", multiple=True, metavar="ID", help="Remove this note; may be given several times.")
def memory(task: str, as_json: bool, removed: tuple[str, ...]) -> None:
    """What agents with a memory noted about TASK, the oldest first.

    The notes are lines of a file that can be edited; its place is shown.

    Examples:
      mlgym-tui memory battleOfSexes
      mlgym-tui memory battleOfSexes --json | jq -r '.[].text'
      mlgym-tui memory battleOfSexes --remove m-1a2b3c4d
    """
    import msgspec

    from workbench.environment.services.notes import NoteFile
    from workbench.tasks.catalogue import find_task

    file = NoteFile(find_task(task).id)
    try:
        gone = file.remove(removed) if removed else []
        notes, problems = file.read()
    except OSError as error:
        raise Failure(
            f"{file.file}: {error.strerror or error}", "mend its permissions, or set $MLGYM_MEMORY"
        ) from error
    for problem in problems:
        complain(problem)
    missing = [name for name in removed if name not in gone]
    if missing:
        raise Failure(f"no note {', '.join(missing)} in {file.file}", f"`mlgym-tui memory {task}` shows their ids")
    if as_json:
        print_json([msgspec.to_builtins(note) for note in notes])
    elif removed:
        click.echo(f"{len(gone)} removed, {len(notes)} left in {file.file}")
    elif not notes:
        click.echo(f"no notes in {file.file} yet; an agent with a memory makes some: --agent memory")
    else:
        click.echo("\n\n".join(_shown(note) for note in notes))
        click.echo(f"\n{len(notes)} in {file.file}")


def _shown(note: Note) -> str:
    origin = [note.id, note.time, f"step {note.step} of {note.session}" if note.session else "", note.author]
    text = "\n".join(f"  {visible(line)}" for line in note.text.split("\n"))
    return f"{visible('  '.join(part for part in origin if part))}\n{text}"
