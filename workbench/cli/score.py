"""score: what a saved session submitted, scored again and compared with its ledger."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.output import harmless, number, print_json, print_table
from workbench.cli.progress import gpu_options, prepare_first, progress_line, run_stoppable
from workbench.cli.runs import consent, sessions_option, trust_option
from workbench.errors import WorkbenchError
from workbench.runner.places import sessions_of

if TYPE_CHECKING:
    from workbench.checks.rescore import Rescored, SavedSession
    from workbench.session.events import Evaluation

DIFFERS, NOT_SCORED = 1, 3
"""Exit codes: something does not agree; something, or everything, could not be scored."""


@click.command(
    epilog="""
\b
Examples:
  mlgym-tui score last            the last submission, else the last score
  mlgym-tui score 3fa9c1 --best
  mlgym-tui score last --all --json
"""
)
@click.argument("session")
@click.option("--step", type=click.IntRange(min=0), metavar="N", help="What was scored in step N.")
@click.option("--best", "which", flag_value="best", help="The one with the best score.")
@click.option("--all", "which", flag_value="all", help="Every entry of the ledger that has a submission.")
@click.option("--task", default="", metavar="TASK", help="Where the task is now, if it was moved.")
@click.option(
    "--room",
    type=click.Choice(["auto", "bubblewrap", "docker", "reduced"]),
    help="Where the submissions run (else as in the session).",
)
@gpu_options
@trust_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@sessions_option
def score(
    session: str,
    step: int | None,
    which: str | None,
    task: str,
    room: str | None,
    gpus: str,
    share_gpus: bool,
    trust: tuple[str, ...],
    as_json: bool,
    sessions_folder: Path | None,
) -> None:
    """Score what SESSION submitted once more, in a fresh clean room.

    It says if the result agrees with the session's ledger. Only its folder and its task are needed; nothing is
    written there. The same task, data and seed must give the same score; where one of them is not what it was, a
    score within the noise. Exits with 0 when all agree, 1 when one does not, 3 when one cannot be scored.
    """
    from workbench.checks.rescore import choose, open_session, rescore
    from workbench.environment.resources import lease_gpus
    from workbench.session.store import find_session

    if step is not None and which is not None:
        raise click.UsageError(f"--step and --{which} exclude each other")
    done: list[Rescored] = []
    try:
        saved = open_session(find_session(sessions_of(sessions_folder), session), task, consent(trust))
        entries = choose(saved, which or "last", step)  # type: ignore[arg-type]
        for problem in saved.problems:
            click.echo(f"mlgym-tui: {harmless(f'{saved.folder.name}: {problem}')}", err=True)

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
            click.echo(f"note: {harmless(note)}", err=True)
        run_stoppable(run())
        lease.release()
    except WorkbenchError as error:
        error.exit_code = NOT_SCORED
        raise
    if as_json:
        print_json(_as_dict(saved, done))
    else:
        _print(saved, done)
    outcomes = {result.outcome for result in done}
    sys.exit(DIFFERS if "differs" in outcomes else NOT_SCORED if "not scored" in outcomes else 0)


def _print(saved: SavedSession, done: list[Rescored]) -> None:
    protocol = f", {saved.task.protocol} protocol" if saved.task.protocol else ""
    click.echo(harmless(f"{saved.folder.name}: {saved.task.id}, {saved.task.primary_metric.name}{protocol}"))
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
    print_table(["step", "by", "on", "ledger", "now", "", "submission"], rows, right=(0, 3, 4))
    for result in done:
        click.echo(f"step {result.entry.step}: {harmless(result.why)}")
    rooms = sorted({result.now.isolation for result in done if result.now is not None})
    if rooms:
        click.echo(f"({', '.join(rooms)}; {sum(r.now.duration for r in done if r.now is not None):.1f} s)")


_FACTS, _MORE = (
    ("verdict", "score", "metrics", "standard_error", "dataset", "isolation"),
    ("message", "duration", "split"),
)
"""Of an evaluation, as JSON: of any, and of one that was made now."""


def _facts(evaluation: Evaluation, *more: str) -> dict[str, Any]:
    return {name: getattr(evaluation, name) for name in (*_FACTS, *more)}


def _as_dict(saved: SavedSession, done: list[Rescored]) -> dict[str, Any]:
    return {
        "session": saved.folder.name,
        "path": str(saved.folder),
        "task": saved.task.id,
        "metric": saved.task.primary_metric.name,
        "dataset": saved.started.dataset,
        "protocol": saved.started.protocol,
        "agrees": all(result.outcome == "agrees" for result in done),
        "problems": saved.problems,
        "scores": [
            {
                "step": result.entry.step,
                "kind": result.entry.kind,
                "split": result.entry.split,
                "artifact": result.entry.artifact,
                "outcome": result.outcome,
                "why": result.why,
                "exact": result.exact,
                "changed": list(result.changes),
                "ledger": _facts(result.entry),
                "now": result.now and {**_facts(result.now, *_MORE), "artifact_hash": result.now.artifact},
            }
            for result in done
        ],
    }
