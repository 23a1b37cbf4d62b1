"""run, human, replay, resume: the commands that open the workbench or drive a session without it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.driving import detach_from, drive, go_on, without_screen
from workbench.cli.errors import Command, Failure
from workbench.cli.home import is_terminal, open_home
from workbench.cli.options import (
    Amount,
    data_options,
    execute_options,
    gpu_options,
    headless_options,
    limit_options,
    pattern_option,
    program_options,
    sandbox_option,
    session_argument,
    sessions_here,
    sessions_option,
    several,
    task_argument,
    trust_option,
)
from workbench.cli.output import progress_line
from workbench.text import visible

if TYPE_CHECKING:
    from workbench.gateway.program_agent import ProgramAgent
    from workbench.session.spec import SessionSpec
    from workbench.tasks.catalogue import Task
    from workbench.tasks.datasets import Prepared

_DELAY = 1.5
"""Seconds before a proposal runs by itself: a scripted agent answers at once, and nobody could watch it."""


def _person(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    from workbench.session.spec import is_name

    if value and not is_name(value):
        raise click.BadParameter("a name has up to 60 letters, digits and . _ - @")
    return value


_shared_options = several(
    sandbox_option("Where commands run.", "local"),
    click.option("--unsafe-local", is_flag=True, help="Run commands on this machine, without bubblewrap."),
    click.option("--image", metavar="NAME", help="Docker image, instead of the one `image build` makes."),
    limit_options(),
    click.option("--seed", type=int, metavar="N", help="Seed of the evaluations."),
    data_options,
    gpu_options,
    click.option(
        "--window", type=click.IntRange(min=5, max=10_000), metavar="LINES",
        help="Lines of the agent's file window (else as its configuration says, or 100).",
    ),
    pattern_option,
    sessions_option,
)  # fmt: skip


@click.command(cls=Command)
@task_argument
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
    "--delay", type=Amount(min_open=False), metavar="SECONDS", help="How long each proposal is shown before it runs."
)
@click.option("--submit-best", is_flag=True, help="Submit the best that was validated, where the last is worse.")
@click.option("--detach", is_flag=True, help="In the background; `attach` follows and drives it.")
@program_options
@headless_options
@_shared_options
def run(
    task: str, model: str, step_mode: bool, delay: float | None, headless: bool, as_json: bool, detach: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Run an agent on TASK (an id, or the path of a task folder).

    Opens the workbench; with --headless, with --json, or where there is no terminal, runs without it. Exits with 0
    when the agent submitted.

    Examples:
      mlgym-tui run battleOfSexes
      mlgym-tui run battleOfSexes --step               stop at each proposal
      mlgym-tui run battleOfSexes --detach             in the background: `attach`
      mlgym-tui run blotto --sandbox docker --max-steps 20
      mlgym-tui run blotto --break kind:submit --break 'once exit!=0 => notify'
      mlgym-tui run blotto --model replay:actions.yaml --headless --json
      mlgym-tui run blotto --model anthropic:claude-sonnet-4-5
      mlgym-tui run blotto -m openai:llama3 --base-url http://localhost:11434/v1
      mlgym-tui run blotto --agent-command 'agent --go' --upstream openai:gpt-4o
    """
    plain = not detach and without_screen(headless, as_json, step_mode)
    model = _who_acts(model, options)
    if (plain or detach) and model == "human":
        raise Failure("a person needs a terminal", "run it in one, without --headless, --json and --detach", 2)
    sys.exit(_start(task, model, plain, as_json, step_mode, delay, options, detached=detach))


@click.command(cls=Command)
@task_argument
@click.option("--as", "person", default="", callback=_person, metavar="NAME", help="Who works [you].")
@click.option(
    "--interface",
    type=click.Choice(["agent", "shell"]),
    default="agent",
    show_default=True,
    help="The workbench, or the shell alone in your own terminal.",
)
@click.option("--blind", is_flag=True, help="Show no score before the end.")
@_shared_options
def human(task: str, interface: str, **options: Any) -> None:
    """Work on TASK yourself, as a human baseline.

    You have the agent's commands. The clock stands still whenever you give the shell back (P names the reason), and
    asks whether you were away when nothing happens for ten minutes.

    Examples:
      mlgym-tui human prisonersDilemma
      mlgym-tui human blotto --as ann --time-limit 4h --blind
      mlgym-tui human blotto --interface shell
    """
    options["interface"] = "" if interface == "agent" else interface
    if not is_terminal():
        raise Failure("a person needs a terminal", "run it in one", 2)
    sys.exit(_start(task, "human", False, False, False, None, options))


@click.command(cls=Command)
@click.option("--model", "-m", default="", metavar="MODEL", help="Another model from here on: provider:name.")
@click.option("--base-url", default="", metavar="URL", help="Another server that speaks the model's protocol.")
@click.option(
    "--temperature", type=click.FloatRange(0, 2), metavar="T", help="Another temperature from here on, from 0 to 2."
)
@headless_options
@click.option("--step", "step_mode", is_flag=True, help="Begin in step mode: each proposal waits for you.")
@sandbox_option("Where commands run (else as before).")
@click.option("--unsafe-local", is_flag=True, help="Run commands on this machine, without bubblewrap.")
@gpu_options
@limit_options("New limit", ", over the whole session")
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
    from workbench.session.log import is_locked

    folder = session if session.is_dir() else session.parent
    if is_locked(folder):
        raise Failure(f"{folder.name} is being driven by another process", "end that one first")
    if not (folder / "events.jsonl").is_file():
        raise Failure(
            f"{folder} is not a session of mlgym-tui", "only its own sessions can be resumed; others can be replayed"
        )
    sys.exit(go_on(folder, headless, as_json, step_mode, trust, options))


@click.command(cls=Command)
@execute_options
@session_argument
def replay(session: Path, execute: bool, **options: Any) -> None:
    """Look at a saved SESSION step by step, or run it again.

    SESSION is one of ours (folder, id, `last`), an archive of `share`, or a file of MLGym, SWE-agent, mini-swe-agent,
    Inspect, Harbor or asciinema; `FILE#SAMPLE/EPOCH` names one run of several; of a folder or a file of many the
    browser opens. Nothing is run, unless --execute is given: then its actions are run again in a fresh sandbox, and
    each step is compared with what was recorded (exit code, output, scores, files). Exits with 0 only where all came
    out as it was recorded.

    Examples:
      mlgym-tui replay last
      mlgym-tui replay 3fa9c1
      mlgym-tui replay path/to/battleOfSexes.traj
      mlgym-tui replay last --execute --json
    """
    if execute:
        from workbench.cli.reexecution import run_again

        sys.exit(run_again(session, **options))
    from workbench.formats.open import holds_many, open_recording
    from workbench.session.store import command_for

    if is_terminal() and holds_many(session):
        open_home([session], sessions_here())
        return
    recording = open_recording(session)
    if not is_terminal():
        show = command_for(
            recording.folder if recording.folder and session.is_dir() else Path(recording.reference), "sessions", "show"
        )
        raise Failure("a replay needs a terminal", f"print it with `{show}`", 2)
    from workbench.tui.app import WorkbenchApp
    from workbench.tui.source import RecordedSource

    app = WorkbenchApp(RecordedSource(recording), sessions=sessions_here())
    ended = app.run()
    if ended is not None:  # of a fork that was opened
        from workbench.cli.headless import say_end

        say_end(ended)
    sys.exit(app.return_code or 0)


def _who_acts(model: str, options: dict[str, Any]) -> str:
    """The model to begin with; none where a program is the agent. The agent and the server in the user's
    configuration are for the model there: no other is sent to that server. Raises Failure for what goes not together.
    """
    from click.core import ParameterSource

    from workbench.config import OF_A_MODEL

    context = click.get_current_context()
    configured = {
        name for name in ("model", *OF_A_MODEL) if context.get_parameter_source(name) == ParameterSource.DEFAULT_MAP
    }
    if options["agent_command"]:
        options.update(dict.fromkeys(configured - {"model"}))
        given = [name for name in ("agent", "temperature") if options[name] not in (None, "")]
        if model and "model" not in configured:
            given.append("model")
        if given:
            raise Failure(f"--agent-command goes without --{given[0]}", "--upstream says where its model calls go", 2)
        if not options["upstream"]:
            raise Failure("--agent-command needs a model for the program", "--upstream openai:gpt-4o, for example", 2)
        return ""
    for name in ("agent_mount", "agent_env", "agent_on_host", "upstream", "upstream_model"):
        if options[name]:
            raise Failure(f"--{name.replace('_', '-')} goes with --agent-command", "it says what a program gets", 2)
    if "model" not in configured and model != (context.lookup_default("model") or ""):
        options.update(dict.fromkeys(configured))
    return model


def _start(
    task: str, model: str, plain: bool, as_json: bool, step_mode: bool, delay: float | None, options: dict[str, Any],
    *, detached: bool = False,
) -> int:  # fmt: skip
    from workbench.runner.start import start
    from workbench.session.spec import spec_of
    from workbench.signals import stoppable

    spec = spec_of(
        options,
        task=task,
        model=model,
        mode="human" if model == "human" else "step" if step_mode else "auto",
        interactive=not plain,
        delay=delay if delay is not None else 0.0 if plain or detached or options.get("agent_command") else _DELAY,
    )
    with stoppable():
        root = options["sessions_folder"]
        program = program_of(spec, root) if spec.agent_command else None
        spec = spec if program is None else program.as_recorded(spec)
        runner = start(spec, root, agent=program, prepare=_prepare)
    if detached:
        return detach_from(runner)
    return drive(runner, plain, as_json)


def program_of(spec: SessionSpec, root: Path, edited: str | None = None) -> ProgramAgent:
    """The agent that is a program, as `program_agent` has it. What it is and what it sees is said."""
    from workbench.gateway.program_agent import program_agent

    agent = program_agent(spec, root, edited)
    for line in agent.program.described():
        click.echo(visible(line), err=True)
    return agent


def _prepare(task: Task) -> dict[str, Prepared]:
    from workbench.cli.tasks import prepare_data

    with progress_line() as progress:
        return prepare_data(task, progress)
