"""score: what a saved session submitted, scored again and compared with its ledger."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import Command, complain, failing_with
from workbench.cli.options import consent, gpu_options, json_option, room_option, session_argument, trust_option
from workbench.cli.output import picked, print_json, print_table, progress_line
from workbench.cli.tasks import prepare_first
from workbench.text import number, visible

if TYPE_CHECKING:
    from workbench.checks.rescore import Rescored, SavedSession

DIFFERS, NOT_SCORED = 1, 3
"""Exit codes: something does not agree; something, or everything, could not be scored."""


@click.command(cls=Command)
@failing_with(NOT_SCORED)
@click.option("--step", type=click.IntRange(min=0), metavar="N", help="What was scored in step N.")
@click.option("--best", "which", flag_value="best", help="The one with the best score.")
@click.option("--all", "which", flag_value="all", help="Every entry of the ledger that has a submission.")
@click.option("--task", default="", metavar="TASK", help="Where the task is now, if it was moved.")
@room_option("Where the submissions run (else as in the session).")
@gpu_options
@trust_option
@json_option
@session_argument
def score(
    session: Path,
    step: int | None,
    which: str | None,
    task: str,
    room: str | None,
    gpus: str,
    share_gpus: bool,
    trust: tuple[str, ...],
    as_json: bool,
) -> None:
    """Score the submission of SESSION once more, in a fresh clean room.

    It says if the result agrees with the session's ledger. Only its folder and its task are needed; nothing is
    written there. The same task, data and seed must give the same score; where one of them is not what it was, a
    score within the noise. Exits with 0 when all agree, 1 when one does not, 3 when one cannot be scored.

    Examples:
      mlgym-tui score last            the last submission, else the last score
      mlgym-tui score 3fa9c1 --best
      mlgym-tui score last --all --json
    """
    from workbench.checks.rescore import choose, open_session, rescore
    from workbench.environment.resources import lease_gpus
    from workbench.signals import run_stoppable

    if step is not None and which is not None:
        raise click.UsageError(f"--step and --{which} exclude each other")
    done: list[Rescored] = []
    saved = open_session(session, task, consent(trust))
    entries = choose(saved, which or "last", step)  # type: ignore[arg-type]
    for problem in saved.problems:
        complain(f"{saved.folder.name}: {problem}")

    async def run() -> None:
        with progress_line() as progress:
            async for result in rescore(saved, entries, room=room, gpus=lease.gpus, progress=progress):  # type: ignore[arg-type]
                done.append(result)

    with progress_line() as progress:
        prepare_first(saved.task, progress)
    notes: list[str] = []
    holder = f"the rescoring of {saved.folder.name}"
    models = saved.task.artifact.bundled  # nothing else of a submission is computed on a GPU
    lease = lease_gpus(saved.task, gpus if models else "none", share=share_gpus, holder=holder, notes=notes)
    for note in notes:
        click.echo(f"note: {visible(note)}", err=True)
    run_stoppable(run())
    lease.release()
    if as_json:
        print_json(_as_dict(saved, done))
    else:
        _print(saved, done)
    outcomes = {result.outcome for result in done}
    sys.exit(DIFFERS if "differs" in outcomes else NOT_SCORED if "not scored" in outcomes else 0)


def _print(saved: SavedSession, done: list[Rescored]) -> None:
    protocol = f", {saved.task.protocol} protocol" if saved.task.protocol else ""
    click.echo(visible(f"{saved.folder.name}: {saved.task.id}, {saved.task.primary_metric.name}{protocol}"))
    rows = []
    for result in done:
        entry, now = result.entry, result.now
        error = f" ± {now.standard_error:.4f}" if now is not None and now.standard_error is not None else ""
        said = [f"{entry.split} data", *([entry.dataset] if entry.dataset else [])]
        rows.append(
            [
                str(entry.step),
                entry.kind,
                ", ".join(said),
                number(entry.score) if entry.verdict == "ok" else entry.verdict,
                "–" if now is None else number(now.score) + error if now.verdict == "ok" else now.verdict,
                result.outcome if result.outcome == "agrees" else result.outcome.upper(),
                (entry.artifact or "")[:12],
            ]
        )
    print_table(["step", "by", "on", "ledger", "now", "", "submission"], rows, right=(0, 3, 4), cut=(2, 4), drop=(6, 2))
    for result in done:
        click.echo(f"step {result.entry.step}: {visible(result.why)}")
    rooms = sorted({result.now.isolation for result in done if result.now is not None})
    if rooms:
        click.echo(f"({', '.join(rooms)}; {sum(r.now.duration for r in done if r.now is not None):.1f} s)")


_FACTS = "verdict score metrics standard_error dataset isolation"
"""Of any evaluation, as JSON."""


def _as_dict(saved: SavedSession, done: list[Rescored]) -> dict[str, Any]:
    return {
        "session": saved.folder.name,
        "path": saved.folder,
        "task": saved.task.id,
        "metric": saved.task.primary_metric.name,
        "dataset": saved.started.dataset,
        "protocol": saved.started.protocol,
        "agrees": all(result.outcome == "agrees" for result in done),
        "problems": saved.problems,
        "scores": [
            {
                **picked(result.entry, "step kind split artifact"),
                **picked(result, "outcome why exact"),
                "changed": result.changes,
                "ledger": picked(result.entry, _FACTS),
                "now": result.now
                and {**picked(result.now, f"{_FACTS} message duration split"), "artifact_hash": result.now.artifact},
            }
            for result in done
        ],
    }
