"""baseline: run a task's baseline in a sandbox, and compare it with what is published."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from workbench.cli.errors import Command
from workbench.cli.options import data_options, gpu_options, json_option
from workbench.cli.output import picked, print_json, print_table, progress_line
from workbench.cli.tasks import prepare_first
from workbench.text import visible

if TYPE_CHECKING:
    from workbench.session.spec import SandboxName


@click.command(cls=Command)
@click.argument("task")
@click.option("--sandbox", type=click.Choice(["local", "docker"]), default="local", show_default=True, help="Where.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the evaluation.")
@gpu_options
@data_options
@json_option
def baseline(
    task: str,
    sandbox: SandboxName,
    seed: int,
    gpus: str,
    share_gpus: bool,
    dataset: str | None,
    protocol: str | None,
    as_json: bool,
) -> None:
    """Run TASK's baseline and compare it with the published score.

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
        run = run_stoppable(
            run_baseline(found, sandbox=sandbox, seed=seed, gpus=gpus, share_gpus=share_gpus, progress=progress)
        )
    result = run.evaluation
    for note in run.notes:
        click.echo(f"note: {visible(note)}", err=True)
    if as_json:
        print_json(
            {
                "task": found.id,
                **picked(result, "verdict message standard_error split dataset isolation duration"),
                "metrics": [
                    picked(item, "metric got published tolerance primary reaches agrees") for item in run.comparisons
                ],
                "agrees": run.agrees,
            }
        )
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
