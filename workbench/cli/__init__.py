"""The command `mlgym-tui`. Each command imports what it needs when it runs: `--help` stays instant."""

from __future__ import annotations

import click

from workbench import __version__
from workbench.cli import agents, baseline, machine, memory, prompt, runs, score, sessions, tasks
from workbench.cli.errors import Group, start_debug_log


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mlgym-tui")
@click.option("--debug", is_flag=True, help="Write a log fit for a bug report (it holds no keys).")
@click.pass_context
def main(context: click.Context, /, debug: bool) -> None:
    """A terminal workbench for machine-learning research agents.

    Watch an agent work on a task; step, pause, edit its next action, take its shell over and give it back. Every
    session is saved, and can be replayed, resumed and scored.

    Examples:
      mlgym-tui run battleOfSexes              watch an agent; pause, edit, step
      mlgym-tui human prisonersDilemma         record a human baseline
      mlgym-tui replay last                    look at the newest session
      mlgym-tui run blotto --headless --json   events as JSON lines, for scripts
      mlgym-tui doctor                         what works on this machine
    """
    if debug:
        start_debug_log(context)


for _command in (
    runs.run, runs.human, runs.replay, runs.resume, tasks.evaluate, tasks.tasks, baseline.baseline, score.score,
    sessions.sessions, memory.memory, prompt.prompt, machine.doctor, machine.image, machine.gc, agents.agents,
):  # fmt: skip
    main.add_command(_command)
