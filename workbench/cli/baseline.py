"""baseline: run a task's baseline in a sandbox, and compare it with what is published."""

from __future__ import annotations

import sys
from typing import Any

import click

from workbench.cli.errors import Command
from workbench.cli.options import data_options, gpu_options, json_option, sandbox_option, task_argument
from workbench.cli.output import picked, print_json, print_table, progress_line
from workbench.cli.tasks import prepare_first
from workbench.text import visible


@click.command(cls=Command)
@task_argument
@sandbox_option("Where.", "local")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the evaluation.")
@gpu_options
@data_options
@json_option
def baseline(task: str, dataset: str | None, protocol: str | None, as_json: bool, **how: Any) -> None:
    """Run the baseline of TASK, and compare it with its published score.

    On the real data where they are here, else on the stand-in. Exits with 0 when it agrees, within noise.

    Examples:
      mlgym-tui baseline battleOfSexes
      mlgym-tui baseline regressionKaggleHousePrice --dataset tiny
      mlgym-tui baseline 3SATTime --sandbox docker --json
    """
    from workbench.checks.baseline import run_baseline
    from workbench.signals import run_stoppable
    from workbench.tasks.catalogue import find_task
    from workbench.tasks.needs import examine

    found = find_task(task).under(protocol or "", dataset or "")
    needs = examine(found)
    if not dataset and needs.verdict == "stand-in only":
        for obstacle in needs.obstacles:
            click.echo(f"on the stand-in: {visible(obstacle)}", err=True)
        found = found.under(protocol or "", "tiny")
    with progress_line() as progress:
        prepare_first(found, progress)
        run = run_stoppable(run_baseline(found, **how, progress=progress))
    result = run.evaluation
    for note in run.notes:
        click.echo(f"note: {visible(note)}", err=True)
    if as_json:
        facts = picked(result, "verdict message standard_error split dataset isolation duration")
        metrics = [picked(each, "metric got published tolerance primary reaches agrees") for each in run.comparisons]
        print_json({"task": found.id, **facts, "metrics": metrics, "agrees": run.agrees})
        sys.exit(0 if run.agrees else 1)
    click.echo(f"{found.id}: {result.verdict}" + (f" — {visible(result.message)}" if result.message else ""))
    if run.comparisons:
        print_table(
            ["metric", "here", "published", "±", ""],
            [
                [
                    item.metric,
                    f"{item.got:.10g}",
                    "–" if item.published is None else f"{item.published:.10g}",
                    "–" if item.published is None else f"{item.tolerance:.2g}",
                    ("agrees" if item.agrees else "DIFFERS") + _known(item.reaches) if item.told else "",
                ]
                for item in run.comparisons
            ],
            right=(1, 2, 3),
        )
    said = [f"{result.split} data", *([result.dataset] if result.dataset else []), result.isolation]
    click.echo(f"({', '.join(said)}; {result.duration:.1f} s)")
    sys.exit(0 if run.agrees else 1)


def _known(reaches: float | None) -> str:
    return "" if reaches is None else f" (known to reach {reaches:.10g})"
