"""tasks, evaluate: what can be worked on, and scoring a submission without a session."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from workbench.cli.errors import FriendlyGroup
from workbench.cli.output import harmless, print_json, print_table


@click.group(
    cls=FriendlyGroup,
    invoke_without_command=True,
    epilog="""
\b
Examples:
  mlgym-tui tasks
  mlgym-tui tasks --json
  MLGYM_TASKS=~/my-tasks mlgym-tui tasks
""",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def tasks(context: click.Context, as_json: bool) -> None:
    """List the tasks: those that ship, and your own in the folders of $MLGYM_TASKS."""
    if context.invoked_subcommand is not None:
        return
    from workbench.tasks.catalogue import list_tasks

    found = list_tasks()
    if as_json:
        print_json(
            [
                {
                    "id": task.id,
                    "name": task.name,
                    "domain": task.spec.domain,
                    "metric": task.primary_metric.name,
                    "direction": task.primary_metric.direction,
                    "baseline": task.primary_metric.baseline,
                    "artifact": task.artifact.path,
                    "folder": str(task.folder),
                }
                for task in found
            ]
        )
        return
    arrows = {"maximize": "▲ higher is better", "minimize": "▼ lower is better"}
    print_table(
        ["task", "domain", "metric", "baseline", "submission", "name"],
        [
            [
                task.id,
                task.spec.domain,
                f"{task.primary_metric.name} {arrows[task.primary_metric.direction]}",
                "–" if task.primary_metric.baseline is None else f"{task.primary_metric.baseline:.4f}",
                task.artifact.path,
                task.name,
            ]
            for task in found
        ],
        right=(3,),
    )


@click.command(
    epilog="""
\b
Examples:
  mlgym-tui evaluate battleOfSexes strategy.py
  mlgym-tui evaluate blotto strategy.py --seed 7 --json
"""
)
@click.argument("task")
@click.argument("artefact", type=click.Path(path_type=Path))
@click.option("--seed", type=int, metavar="N", help="Seed of the evaluation (else a random one, that is printed).")
@click.option(
    "--room",
    type=click.Choice(["auto", "bubblewrap", "docker", "reduced"]),
    default="auto",
    show_default=True,
    help="Where the submission runs: a sandbox of its own, or a process under limits (reduced isolation).",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def evaluate(task: str, artefact: Path, seed: int | None, room: str, as_json: bool) -> None:
    """Score ARTEFACT, a submission for TASK, in the clean room. Exits with 0 when the verdict is ok."""
    import asyncio
    import secrets

    from workbench.tasks.catalogue import find_task
    from workbench.tasks.evaluation import evaluate as score

    found = find_task(task)
    shown = sys.stderr.isatty()
    # A seed that a submission could guess would tell it the opponent's dice.
    seed = secrets.randbits(48) if seed is None else seed

    def progress(fraction: float, text: str) -> None:
        if shown:
            click.echo(f"\r\x1b[K{text} {fraction:.0%}", nl=False, err=True)

    try:
        result = asyncio.run(score(found, artefact, seed=seed, room=room, progress=progress))  # type: ignore[arg-type]
    except KeyboardInterrupt:
        click.echo("\nstopped", err=True)
        sys.exit(130)
    finally:
        if shown:
            click.echo("\r\x1b[K", nl=False, err=True)
    if as_json:
        print_json(
            {
                "task": found.id,
                "verdict": result.verdict,
                "metrics": result.metrics,
                "score": result.score,
                "standard_error": result.standard_error,
                "message": result.message,
                "isolation": result.isolation,
                "seed": seed,
                "artifact": result.artifact_hash,
                "duration": result.duration,
            }
        )
    else:
        _print_result(result, found, seed)
    sys.exit(0 if result.verdict == "ok" else 1)


def _print_result(result: Any, task: Any, seed: int) -> None:
    click.echo(f"{task.id}: {result.verdict}" + (f" — {harmless(result.message)}" if result.message else ""))
    for name, value in result.metrics.items():
        primary = name == task.primary_metric.name
        error = f" ± {result.standard_error:.4f}" if primary and result.standard_error is not None else ""
        baseline = task.primary_metric.baseline
        against = f"  (baseline {baseline:.4f})" if primary and baseline is not None else ""
        click.echo(f"  {name}: {value:.4f}{error}{against}")
    click.echo(f"  isolation: {result.isolation}, seed {seed}, {result.duration:.1f} s")
