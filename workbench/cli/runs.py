"""run, human, replay, resume: the commands that open the workbench or drive a session without it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import Command, Failure
from workbench.cli.options import (
    consent,
    data_options,
    gpu_options,
    session_argument,
    sessions_option,
    trust_option,
)
from workbench.cli.output import progress_line
from workbench.cli.tasks import prepare_data

if TYPE_CHECKING:
    from workbench.runner.runner import Runner
    from workbench.session.events import SessionEnded
    from workbench.session.spec import SessionSpec

_DELAY, _RESUMED_DELAY = 1.5, 1.0
"""Seconds before a proposal runs by itself: a scripted agent answers at once, and nobody could watch it."""

_Function = Callable[..., Any]


class _Amount(click.FloatRange):
    """A finite number over 0."""

    def __init__(self, min_open: bool = True) -> None:
        super().__init__(min=0, min_open=min_open)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number", param, ctx)
        return number


def _shared_options(function: _Function) -> _Function:
    options: list[_Function] = [
        click.option(
            "--sandbox", type=click.Choice(["local", "docker"]), default="local", show_default=True,
            help="Where commands run.",
        ),
        click.option("--unsafe-local", is_flag=True, help="Run commands on this machine, without bubblewrap."),
        click.option("--image", metavar="NAME", help="Docker image, instead of the one `image build` makes."),
        click.option("--max-steps", type=click.IntRange(min=1), metavar="N", help="Limit on steps."),
        click.option("--max-time", type=_Amount(), metavar="S", help="Limit on seconds."),
        click.option("--max-cost", type=_Amount(), metavar="USD", help="Limit on cost."),
        click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="Limit on tokens without a price."),
        click.option("--seed", type=int, metavar="N", help="Seed of the evaluations."),
        data_options,
        gpu_options,
        click.option(
            "--window", type=click.IntRange(min=5, max=10_000), metavar="LINES",
            help="Lines of the agent's file window (else as its configuration says, or 100).",
        ),
        sessions_option,
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def _headless_options(function: _Function) -> _Function:
    function = click.option(
        "--approve", default="", metavar="WHAT",
        help="What waits for your approval: always, never (as a new session has it), or a YAML file of rules.",
    )(function)  # fmt: skip
    function = click.option("--json", "as_json", is_flag=True, help="Without a screen: each event as a line of JSON.")(
        function
    )
    return click.option("--headless", is_flag=True, help="Without a screen: print each step.")(function)


@click.command(cls=Command)
@click.argument("task")
@click.option(
    "-m",
    "--model",
    default="",
    help="scripted:demo (the default), human, replay:PATH, openai:NAME, anthropic:NAME or gemini:NAME.",
)
@click.option("--agent", "-a", default="", metavar="AGENT", help="An agent's name, YAML file, or module:Class.")
@click.option("--base-url", default="", metavar="URL", help="Another server that speaks the model's protocol.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, 2),
    metavar="T",
    help="Temperature of the answers, from 0 to 2 (else as the agent's file says).",
)
@click.option("--step", "step_mode", is_flag=True, help="Begin in step mode: each proposal waits for you.")
@click.option(
    "--starter", default="", metavar="DIR", help="Files that the agent starts with, in place of the task's own."
)
@click.option(
    "--delay", type=_Amount(min_open=False), metavar="SECONDS", help="How long each proposal is shown before it runs."
)
@_headless_options
@_shared_options
def run(
    task: str, model: str, step_mode: bool, delay: float | None, headless: bool, as_json: bool, **options: Any
) -> None:
    """Run an agent on TASK (an id, or the path of a task folder).

    Opens the workbench; with --headless, with --json, or where there is no terminal, runs without it. Exits with 0
    when the agent submitted.

    Examples:
      mlgym-tui run battleOfSexes
      mlgym-tui run battleOfSexes --step               stop at each proposal
      mlgym-tui run blotto --sandbox docker --max-steps 20
      mlgym-tui run blotto --model replay:actions.yaml --headless --json
      mlgym-tui run blotto --model anthropic:claude-sonnet-4-5
      mlgym-tui run blotto -m openai:llama3 --base-url http://localhost:11434/v1
    """
    plain = _without_screen(headless, as_json, step_mode)
    if plain and model == "human":
        raise Failure("a person needs a terminal", "run it in one, without --headless and --json", 2)
    sys.exit(_start(task, model, plain, as_json, step_mode, delay, options))


@click.command(cls=Command)
@click.argument("task")
@_shared_options
def human(task: str, **options: Any) -> None:
    """Work on TASK yourself, as a human baseline.

    You have the agent's commands. Short for `run TASK --model human`.

    Example:
      mlgym-tui human prisonersDilemma
    """
    if not _is_terminal():
        raise Failure("a person needs a terminal", "run it in one", 2)
    sys.exit(_start(task, "human", False, False, False, None, options))


@click.command(cls=Command)
@click.option("--model", "-m", default="", metavar="MODEL", help="Another model from here on: provider:name.")
@click.option("--base-url", default="", metavar="URL", help="Another server that speaks the model's protocol.")
@click.option(
    "--temperature", type=click.FloatRange(0, 2), metavar="T", help="Another temperature from here on, from 0 to 2."
)
@_headless_options
@click.option("--step", "step_mode", is_flag=True, help="Begin in step mode: each proposal waits for you.")
@click.option("--sandbox", type=click.Choice(["local", "docker"]), help="Where commands run (else as before).")
@click.option("--unsafe-local", is_flag=True, help="Run commands on this machine, without bubblewrap.")
@gpu_options
@click.option(
    "--max-steps", type=click.IntRange(min=1), metavar="N", help="New limit on steps, over the whole session."
)
@click.option("--max-time", type=_Amount(), metavar="S", help="New limit on seconds, over the whole session.")
@click.option("--max-cost", type=_Amount(), metavar="USD", help="New limit on cost, over the whole session.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), metavar="N", help="New limit on tokens without a price, likewise."
)
@trust_option
@session_argument
def resume(
    session: Path, headless: bool, as_json: bool, step_mode: bool, trust: tuple[str, ...], **options: Any
) -> None:
    """Go on with a saved SESSION.

    SESSION is a folder, an id, the end of one, or `last`. It comes back in the mode it was left in; without a
    terminal it goes on in auto mode. Of a session that is not yours (from elsewhere, changed, or older than such
    marks) nothing that it names is used without your word.

    Examples:
      mlgym-tui resume last
      mlgym-tui resume 20260102-101500-blotto-3fa9c1 --headless
      mlgym-tui resume last --model openai:gpt-5.4 --temperature 0.5
      mlgym-tui resume ~/from-a-colleague --trust task,server
    """
    from workbench.runner.start import start
    from workbench.session.log import is_locked
    from workbench.signals import stoppable

    plain = _without_screen(headless, as_json, step_mode)
    folder = session if session.is_dir() else session.parent
    if is_locked(folder):
        raise Failure(f"{folder.name} is being driven by another process", "end that one first")
    if not (folder / "events.jsonl").is_file():
        raise Failure(
            f"{folder} is not a session of mlgym-tui", "only its own sessions can be resumed; others can be replayed"
        )
    spec = _spec(
        options, mode="step" if step_mode else None, interactive=not plain, delay=0.0 if plain else _RESUMED_DELAY
    )
    with stoppable():
        runner = start(spec, resume=folder, consent=consent(trust))
    sys.exit(_drive(runner, plain, as_json))


def _without_screen(headless: bool, as_json: bool, step_mode: bool) -> bool:
    """Whether to run without the workbench. Raises Failure where that cannot be: somebody has to step."""
    plain = headless or as_json or not _is_terminal()
    if plain and step_mode:
        raise Failure(
            "in step mode a person decides about each action, and needs a terminal",
            "leave --step out, or run it in a terminal, without --headless and --json",
            2,
        )
    return plain


@click.command(cls=Command)
@session_argument
def replay(session: Path) -> None:
    """Look at a saved SESSION step by step.

    SESSION is one of ours (folder, id, `last`), or a .traj of MLGym. Nothing is run.

    Examples:
      mlgym-tui replay last
      mlgym-tui replay 3fa9c1
      mlgym-tui replay path/to/battleOfSexes.traj
    """
    from workbench.formats.open import open_recording
    from workbench.session.store import command_for

    recording = open_recording(session)
    if not _is_terminal():
        show = command_for(recording.folder or recording.path, "sessions", "show")
        raise Failure("a replay needs a terminal", f"print it with `{show}`", 2)
    from workbench.tui.app import WorkbenchApp
    from workbench.tui.source import RecordedSource

    WorkbenchApp(RecordedSource(recording)).run()


def _start(
    task: str, model: str, plain: bool, as_json: bool, step_mode: bool, delay: float | None, options: dict[str, Any]
) -> int:
    from workbench.runner.start import start
    from workbench.session.store import sessions_root
    from workbench.signals import stoppable
    from workbench.tasks.catalogue import find_task

    with progress_line() as progress:  # here, where it can be shown and stopped; `start` finds it done
        prepare_data(find_task(task).under(options["protocol"] or "", options["dataset"] or ""), progress)
    spec = _spec(
        options,
        task=task,
        model=model,
        mode="human" if model == "human" else "step" if step_mode else "auto",
        interactive=not plain,
        delay=delay if delay is not None else 0.0 if plain else _DELAY,
    )
    with stoppable():
        runner = start(spec, sessions_root(options["sessions_folder"]))
    return _drive(runner, plain, as_json)


def _spec(options: dict[str, Any], **more: Any) -> SessionSpec:
    """What the options of the command line ask for: they have the names of its fields, but for the limits."""
    from workbench.session.events import Limits
    from workbench.session.spec import SessionSpec

    names = {"max_steps": "steps", "max_time": "seconds", "max_cost": "cost", "max_tokens": "tokens"}
    limits = Limits(**{field: options[name] for name, field in names.items()})
    given = {name: options[name] for name in SessionSpec.__struct_fields__ if options.get(name) is not None}
    return SessionSpec(**{**given, **more}, limits=limits)


def _drive(runner: Runner, plain: bool, as_json: bool) -> int:
    if plain:
        from workbench.cli.headless import run_headless

        return run_headless(runner, as_json=as_json)
    from workbench.tui.app import WorkbenchApp
    from workbench.tui.source import LiveSource

    ended: SessionEnded | None = WorkbenchApp(LiveSource(runner)).run()
    if ended is None:
        return 1
    from workbench.cli.headless import say_end

    say_end(ended)
    return 0 if ended.exit_status == "submitted" else 1


def _is_terminal() -> bool:
    import os

    return (
        sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    )
