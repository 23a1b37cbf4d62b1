"""The options and arguments that several commands have."""

from __future__ import annotations

import contextlib
import functools
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from workbench.cli.errors import complain
from workbench.text import duration, visible

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from workbench.runner.trust import Consent, Named
    from workbench.session.recording import Recording
    from workbench.session.state import SessionState

_Function = Callable[..., Any]
_OFFERED = 100
"""Sessions, for a tab."""


def task_ids(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Tasks that an argument may be completed to."""
    from workbench.tasks.catalogue import task_folders

    return sorted({folder.name for folder in task_folders() if folder.name.startswith(incomplete)})


def session_ids(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Sessions that an argument may be completed to, the newest first; files where none begins like that."""
    from click.shell_completion import CompletionItem

    from workbench.config import settings
    from workbench.errors import WorkbenchError
    from workbench.session.store import session_names, sessions_root

    root: Path | None = context.params.get("sessions_folder")
    if not given(context, "sessions_folder"):
        said = None
        with contextlib.suppress(WorkbenchError):  # a configuration with faults, which the command will tell
            said = settings().sessions
        root = sessions_root(Path(said) if said else None)
    names = [*session_names(root or sessions_root()), "last"]
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found[:_OFFERED] or [CompletionItem(incomplete, type="file")]


def given(context: click.Context, name: str) -> bool:
    """Whether the user said what an option has."""
    return context.get_parameter_source(name) == ParameterSource.COMMANDLINE


class Duration(click.ParamType[float]):
    """Seconds: `90`, `90s`, `90m`, `4h`, `1h30m`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return float(value) if isinstance(value, int | float) else duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Amount(click.FloatRange):
    """A finite number over 0."""

    def __init__(self, min_open: bool = True) -> None:
        super().__init__(min=0, min_open=min_open)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number", param, ctx)
        return number


task_argument = click.argument("task", shell_complete=task_ids)


def _root(_context: click.Context, _parameter: click.Parameter, value: Path | None) -> Path:
    from workbench.session.store import sessions_root

    return sessions_root(value)


sessions_option = click.option(
    "--sessions",
    "sessions_folder",
    type=click.Path(path_type=Path, file_okay=False),
    callback=_root,
    metavar="DIR",
    help="Folder of sessions (else $MLGYM_SESSIONS, else sessions/ of the checkout, else the XDG state folder).",
)


def sessions_here() -> Path:
    """Where this command keeps new sessions."""
    folder: Path = click.get_current_context().params["sessions_folder"]
    return folder


def _patterns(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    from workbench.yamlfile import pattern_problem

    for pattern in given:
        if problem := pattern_problem(pattern):
            raise click.BadParameter(f"{pattern!r} {problem}")
    return given


pattern_option = click.option(
    "--pattern",
    "printed_metrics",
    multiple=True,
    callback=_patterns,
    metavar="REGEX",
    help="What else that programs print is a metric: 'dice (?P<dice>[0-9.]+)'. Repeatable.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")


def session_argument(function: _Function | None = None, *, many: bool = False) -> _Function:
    """SESSION and `--sessions`: the command is given the path of the session that is meant, or of `many`."""
    if function is None:
        return functools.partial(session_argument, many=many)

    @functools.wraps(function)
    def with_path(*args: Any, session: Any, sessions_folder: Path, **more: Any) -> Any:
        from workbench.session.store import find_session

        root = sessions_folder
        found = [find_session(root, each) for each in session] if many else find_session(root, session)
        return function(*args, session=found, **more)

    more = {"nargs": -1, "required": True} if many else {}
    argument = click.argument("session", shell_complete=session_ids, **more)  # type: ignore[arg-type]
    return argument(sessions_option(with_path))


def read_session(path: Path) -> tuple[Recording, SessionState]:
    """What is saved there. What is wrong with it is said."""
    from workbench.formats.open import open_recording
    from workbench.session.state import fold

    recording = open_recording(path)
    for problem in recording.problems:
        complain(f"{recording.path.name}: {problem}")
    return recording, fold(recording.events)


def several(*options: _Function) -> _Function:
    """Options that belong together as one decorator; the first is the first in the help."""

    def decorate(function: _Function) -> _Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def limit_options(limit: str = "Limit", over: str = "") -> _Function:
    """What may be spent, in these words."""
    whole = click.IntRange(min=1)
    return several(
        click.option("--max-steps", type=whole, metavar="N", help=f"{limit} on steps{over}."),
        click.option(
            "--max-time", "--time-limit", type=Duration(), metavar="TIME",
            help=f"{limit} on time{over}: seconds, 90m or 4h.",
        ),
        click.option("--max-cost", type=Amount(), metavar="USD", help=f"{limit} on cost{over}."),
        click.option("--max-tokens", type=whole, metavar="N", help=f"{limit} on tokens without a price{over}."),
    )  # fmt: skip


def sandbox_option(said: str, default: str | None = None) -> _Function:
    """`--sandbox`, in these words."""
    backends = click.Choice(["local", "docker"])
    return click.option("--sandbox", type=backends, default=default, show_default=default is not None, help=said)


def room_option(said: str, default: str | None = None) -> _Function:
    """`--room`, in these words."""
    rooms = click.Choice(["auto", "bubblewrap", "docker", "landlock", "reduced"])
    return click.option("--room", type=rooms, default=default, show_default=default is not None, help=said)


tiny_option = click.option(
    "--dataset", type=click.Choice(["tiny"]), help="tiny: the small generated stand-in for the task's data."
)
data_options = several(
    tiny_option,
    click.option(
        "--protocol", type=click.Choice(["mlgym"]), help="mlgym: `validate` scores the test data, by MLGym's metric."
    ),
)

program_options = several(
    click.option(
        "--agent-command", default="", metavar="COMMAND",
        help="A program that is the agent, as bash is given it (docs/agent-programs.md).",
    ),
    click.option(
        "--agent-mount", multiple=True, metavar="DIR",
        help="A folder that the program sees in the sandbox, read-only, besides its own. Repeatable.",
    ),
    click.option("--agent-env", multiple=True, metavar="NAME=VALUE", help="A setting of the program. Repeatable."),
    click.option("--agent-on-host", is_flag=True, help="The program runs on this machine, with all your rights."),
    click.option(
        "--upstream", default="", metavar="MODEL",
        help="Who answers it: openai:NAME, anthropic:NAME, gemini:NAME, human, replay:SESSION, scripted[:FILE].",
    ),
    click.option("--upstream-model", default="", metavar="NAME", help="Model in place of the one that it names."),
)  # fmt: skip
"""What `run` takes for an agent that is a program of its own."""

headless_options = several(
    click.option("--headless", is_flag=True, help="Without a screen: print each step."),
    click.option("--json", "as_json", is_flag=True, help="Without a screen: each event as a line of JSON."),
    click.option(
        "--break", "breakpoints", multiple=True, metavar="COND",
        help="Stop where this holds: kind:submit, exit!=0, worse:*, file:data/* (docs/breakpoints.md). Repeatable.",
    ),
    click.option(
        "--approve", default="", metavar="WHAT",
        help="What waits for your approval: always, never (as a new session has it), or a YAML file of rules.",
    ),
)  # fmt: skip

gpu_options = several(
    click.option(
        "--gpus", default="", metavar="N|I,I|none",
        help="GPUs of the sandbox: how many (2), which (0,1 or 3,), or none; else as many as the task needs.",
    ),
    click.option("--share-gpus", is_flag=True, help="Take GPUs that other sessions have, too."),
)  # fmt: skip


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


execute_options = several(
    click.option("--execute", is_flag=True, help="Run its actions again, and check what comes of them."),
    click.option("--until", type=click.IntRange(min=1), metavar="N", help="With --execute: up to this step."),
    click.option("--accept", is_flag=True, help="With --execute: go on past what came out otherwise."),
    click.option("--starter", default="", metavar="DIR", help="With --execute: files that it began with."),
    sandbox_option("With --execute: where (else as then)."),
    click.option("--unsafe-local", is_flag=True, help="With --execute: without bubblewrap."),
    trust_option,
    json_option,
)
"""What `replay` takes for that."""


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
