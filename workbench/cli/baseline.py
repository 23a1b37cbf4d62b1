"""baseline: run a task's baseline in a sandbox, and compare it with what is published."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from workbench.cli.output import harmless, print_json, print_table
from workbench.cli.progress import data_options, gpu_options, prepare_first, progress_line, run_stoppable

if TYPE_CHECKING:
    from workbench.session.spec import SandboxName


@click.command(
    epilog="""
\b
Examples:
  mlgym-tui baseline battleOfSexes
  mlgym-tui baseline regressionKaggleHousePrice --dataset tiny
  mlgym-tui baseline 3SATTime --sandbox docker --json
"""
)
@click.argument("task")
@click.option("--sandbox", type=click.Choice(["local", "docker"]), default="local", show_default=True, help="Where.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the evaluation.")
@gpu_options
@data_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
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
    """
    from workbench.checks.baseline import run_baseline
    from workbench.tasks.catalogue import find_task
    from workbench.tasks.needs import examine

    found = find_task(task).under(protocol or "", dataset or "")
    needs = examine(found)
    if not dataset and needs.verdict == "stand-in only":
        for obstacle in needs.obstacles:
            click.echo(f"on the stand-in: {harmless(obstacle)}", err=True)
        found = found.under(protocol or "", "tiny")
    with progress_line() as progress:
        prepare_first(found, progress)
        run = run_stoppable(
            run_baseline(found, sandbox=sandbox, seed=seed, gpus=gpus, share_gpus=share_gpus, progress=progress)
        )
    result = run.evaluation
    for note in run.notes:
        click.echo(f"note: {harmless(note)}", err=True)
    if as_json:
        print_json(
            {
                "task": found.id,
                "verdict": result.verdict,
                "message": result.message,
                "metrics": [{**asdict(item), "agrees": item.agrees} for item in run.comparisons],
                "standard_error": result.standard_error,
                "split": result.split,
                "dataset": result.dataset,
                "isolation": result.isolation,
                "agrees": run.agrees,
                "duration": result.duration,
            }
        )
        sys.exit(0 if run.agrees else 1)
    click.echo(f"{found.id}: {result.verdict}" + (f" — {harmless(result.message)}" if result.message else ""))
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
