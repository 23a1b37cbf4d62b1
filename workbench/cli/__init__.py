"""The command `mlgym-tui`. Each command's module is imported when it is asked for: `--help` stays instant."""

from __future__ import annotations

import os
import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from workbench import __version__
from workbench.cli.errors import Group, start_debug_log

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "agents": ("agents", "List the agents that ship."),
    "analyze": ("analyze", "Compare the runs in DIR…: scores, AUP, ranks, endings, behaviour."),
    "attach": ("attach", "Follow and drive a running SESSION of yours."),
    "baseline": ("baseline", "Run the baseline of TASK, and compare it with its published score."),
    "baselines": ("ledger", "List the people and models that worked on TASK, the best first."),
    "clock": ("ledger", "Say when was worked in SESSION, and correct it."),
    "compare": ("compare", "Align the steps of SESSIONs, and say where they part."),
    "completion": ("completion", "Have the tab key complete commands, options and ids."),
    "config": ("config", "Show what holds unless an option says otherwise."),
    "doctor": ("machine", "Say what works on this machine, and how to mend what does not."),
    "evaluate": ("tasks", "Score ARTEFACT, a submission for TASK, in the clean room."),
    "export": ("exchange", "Write SESSION as a file of another program, or as a page."),
    "fork": ("time_machine", "Begin a new session where SESSION was after step N."),
    "gateway": ("gateway", "Be the model of an agent that was started elsewhere."),
    "gc": ("machine", "Remove what killed sessions left behind."),
    "grep": ("library", "Search actions, outputs and thoughts of all runs for PATTERN."),
    "home": ("home", "Browse runs and tasks: open, compare, tag, start."),
    "human": ("runs", "Work on TASK yourself, as a human baseline."),
    "image": ("machine", "The image of the containers (Docker, Podman) that agents work in."),
    "import": ("exchange", "Store what other programs recorded as sessions."),
    "memory": ("memory", "What agents with a memory noted about TASK, the oldest first."),
    "metrics": ("metrics", "Print the metrics that a training program printed."),
    "notes": ("library", "Note something on SESSION or a step of it, or print the notes."),
    "plot": ("metrics", "Draw the curve of a metric that SESSIONs printed."),
    "prompt": ("prompt", "Show what the model of SESSION was sent for a step."),
    "replay": ("runs", "Look at a saved SESSION step by step, or run it again."),
    "restore": ("time_machine", "Write the files of SESSION as they were after a step to a folder."),
    "resume": ("runs", "Go on with a saved SESSION."),
    "run": ("runs", "Run an agent on TASK (an id, or the path of a task folder)."),
    "score": ("score", "Score the submission of SESSION once more, in a fresh clean room."),
    "scores": ("ledger", "List the scores that SESSION got: every validate and submit."),
    "serve": ("serve", "Show sessions in a browser of this machine."),
    "sessions": ("sessions", "List the saved sessions, or all runs below DIR."),
    "share": ("exchange", "Pack SESSION into one archive for somebody else."),
    "sweep": ("sweep", "Run every combination in PLAN, each as a session of its own."),
    "tasks": ("tasks", "List the tasks: those that ship, and your own."),
    "tour": ("tour", "Learn the workbench in two minutes, on a recorded session."),
}
"""Name → the module that has the function of that name, and the first sentence of its help."""


_WITHOUT_CONFIG = ("completion", "config")
"""What works where the configuration has faults, too."""


class _Commands(Group):
    """Those of COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"workbench.cli.{COMMANDS[cmd_name][0]}")
        command: Any = getattr(module, "import_" if cmd_name == "import" else cmd_name)
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=said) for name, (_, said) in COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, said) for name, (_, said) in COMMANDS.items()])


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="mlgym-tui")
@click.option("--debug", is_flag=True, help="Write a log fit for a bug report (it holds no keys).")
@click.pass_context
def main(context: click.Context, /, debug: bool) -> None:
    """A terminal workbench for machine-learning research agents.

    Watch an agent work on a task; step, pause, edit its next action, take its shell over and give it back. Every
    session is saved, and can be replayed, resumed and scored.

    Without a command, it opens the browser of sessions and tasks.

    Examples:
      mlgym-tui tour                           two minutes that show how it works
      mlgym-tui run battleOfSexes              watch an agent; pause, edit, step
      mlgym-tui human prisonersDilemma         record a human baseline
      mlgym-tui replay last                    look at the newest session
      mlgym-tui run blotto --headless --json   events as JSON lines, for scripts
      mlgym-tui doctor                         what works on this machine
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what libraries say to programmers
    if debug:
        start_debug_log(context)
    if context.invoked_subcommand not in _WITHOUT_CONFIG:
        _apply_config(context)
    if context.invoked_subcommand is None:
        from workbench.cli.home import is_terminal, open_home
        from workbench.session.store import sessions_root

        if is_terminal():
            open_home((), sessions_root())
        else:
            click.echo(context.get_help())


def _apply_config(context: click.Context) -> None:
    """Have options that nobody gives be as the user's configuration says."""
    from workbench import config

    said = config.settings()
    context.default_map = config.defaults(said)
    if said.sessions is not None:
        os.environ["MLGYM_SESSIONS"] = said.sessions  # for every process of ours
