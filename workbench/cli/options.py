"""The options and arguments that several commands have."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import complain
from workbench.text import visible

if TYPE_CHECKING:
    from workbench.runner.trust import Consent, Named
    from workbench.session.recording import Recording
    from workbench.session.state import SessionState

_Function = Callable[..., Any]

sessions_option = click.option(
    "--sessions",
    "sessions_folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of sessions (else $MLGYM_SESSIONS, else sessions/ of the checkout, else the XDG state folder).",
)

json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")


def session_argument(function: _Function | None = None, *, many: bool = False) -> _Function:
    """SESSION and `--sessions`: the command is given the path of the session that is meant, or of `many`."""
    if function is None:
        return functools.partial(session_argument, many=many)

    @functools.wraps(function)
    def with_path(*args: Any, session: Any, sessions_folder: Path | None, **more: Any) -> Any:
        from workbench.session.store import find_session, sessions_root

        root = sessions_root(sessions_folder or click.get_current_context().obj)  # `sessions --sessions DIR show` too
        found = [find_session(root, each) for each in session] if many else find_session(root, session)
        return function(*args, session=found, **more)

    argument = click.argument("session", nargs=-1, required=True) if many else click.argument("session")
    return argument(sessions_option(with_path))


def read_session(path: Path) -> tuple[Recording, SessionState]:
    """What is saved there. What is wrong with it is said."""
    from workbench.formats.open import open_recording
    from workbench.session.state import fold

    recording = open_recording(path)
    for problem in recording.problems:
        complain(f"{recording.path.name}: {problem}")
    return recording, fold(recording.events)


def data_options(function: _Function) -> _Function:
    """`--dataset` and `--protocol`."""
    tiny = click.option(
        "--dataset", type=click.Choice(["tiny"]), help="tiny: the small generated stand-in for the task's data."
    )
    mlgym = click.option(
        "--protocol", type=click.Choice(["mlgym"]), help="mlgym: `validate` scores the test data, by MLGym's metric."
    )
    return tiny(mlgym(function))


def gpu_options(function: _Function) -> _Function:
    """`--gpus` and `--share-gpus`."""
    which = click.option(
        "--gpus",
        default="",
        metavar="N|I,I|none",
        help="GPUs of the sandbox: how many (2), which (0,1 or 3,), or none; else as many as the task needs.",
    )
    share = click.option("--share-gpus", is_flag=True, help="Take GPUs that other sessions have, too.")
    return which(share(function))


def _words(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    words = tuple(part.strip() for part in value.split(",") if part.strip())
    for word in words:
        if word not in ("code", "task", "server"):
            raise click.BadParameter(f"{word!r} is none of code, task and server")
    return words


trust_option = click.option(
    "--trust",
    default="",
    callback=_words,
    metavar="WHAT,…",
    help="What a session that is not yours names and may be used here: code, task, server (else you are asked).",
)


def consent(words: tuple[str, ...]) -> Consent:
    """The user's word on sessions that are not their own: what `--trust` says, else their answer at a terminal."""
    from workbench.runner.trust import Consent

    def ask(name: str, named: Sequence[Named]) -> bool:
        click.echo(visible(f"{name} is not marked as yours: somebody else may have made it, or changed it."), err=True)
        click.echo("It would use:", err=True)
        for item in named:
            click.echo(f"  {item.word:<6}  {visible(item.what)}", err=True)
        return click.confirm("Do you trust that?", default=False, err=True)

    asked = sys.stdin.isatty() and sys.stderr.isatty()
    return Consent(words, ask if asked else None)
