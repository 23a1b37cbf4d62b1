"""sweep: every combination of a plan as a session."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import Command
from workbench.cli.options import json_option
from workbench.cli.output import as_table, print_json, print_table, progress_line
from workbench.text import clock, many, number, visible

if TYPE_CHECKING:
    from workbench.sweep.estimate import Estimate
    from workbench.sweep.plan import Job
    from workbench.sweep.sweep import Progress, Sweep


_FIRST = ("running", "failed", "interrupted", "no budget", "done", "waiting")
"""In which order the table has the sessions, where not all have room."""
_DRAWN_SECONDS = 0.5


@click.command(cls=Command)
@click.argument("plan", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--sessions", "folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Where the sessions are saved (else a folder beside the plan, of its name).",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be run, and what it may cost; run nothing.")
@click.option("--only", metavar="N,M", help="Only these sessions of the plan, by their numbers from 0.")
@click.option("--parallel", type=click.IntRange(min=1), metavar="N", help="Sessions at a time (else as the plan says).")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", help="What runs them [local].")
@click.option("--address", metavar="HOST:PORT", help="The head of a Ray cluster (else one on this machine).")
@click.option("--emit", type=click.Choice(["slurm"]), help="Print a job script for a batch system; run nothing.")
@json_option
def sweep(plan: Path, folder: Path | None, as_json: bool, **chosen: Any) -> None:
    """Run every combination in PLAN, each as a session of its own.

    Called again, it goes on where it stopped: sessions that broke off are resumed, finished ones stay as they are.
    `docs/sweeps.md` describes plans. Exits with 0 when every session has ended.

    Examples:
      mlgym-tui sweep plan.yaml --dry-run
      mlgym-tui sweep plan.yaml --parallel 4
      mlgym-tui sweep plan.yaml --json > result.json
      mlgym-tui sweep plan.yaml --engine ray --address 10.0.0.5:6379
      mlgym-tui sweep plan.yaml --emit slurm > job.sh
    """
    import msgspec

    from workbench.sweep.plan import PlanError, jobs, only, read_plan
    from workbench.sweep.slurm import script

    read = read_plan(plan)
    if chosen["parallel"]:
        read = msgspec.structs.replace(read, parallel=chosen["parallel"])
    found = jobs(read)
    if chosen["only"]:
        try:
            found = only(found, map(int, chosen["only"].split(",")))
        except ValueError as error:
            if isinstance(error, PlanError):
                raise
            raise PlanError(f"--only takes numbers, not {chosen['only']!r}", "as in --only 0,3") from None
    folder = (folder or plan.absolute().with_suffix("")).absolute()
    if chosen["emit"]:
        click.echo(script(plan, folder, len(found), read.parallel or 16), nl=False)
        return
    from workbench.sweep.sweep import Sweep

    with progress_line() as say:
        say(0, f"looking for sessions in {folder}")
        sweep = Sweep(read, found, folder)
    if chosen["dry_run"]:
        _dry_run(sweep, as_json)
        return
    if chosen["engine"] == "ray":
        from workbench.sweep.ray_engine import use_ray

        click.echo("Ray listens on all interfaces of a machine: its ports belong behind a firewall", err=True)
        use_ray(sweep, chosen["address"])
    sys.exit(_drive(sweep, as_json, chosen["engine"] == "ray"))


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Ray prints to stdout what happens to its nodes."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _drive(sweep: Sweep, as_json: bool, quiet: bool) -> int:
    import asyncio

    from workbench.signals import on_signals

    stopped: list[int] = []
    table = not as_json and sys.stdout.isatty() and sys.stderr.isatty()
    with progress_line() as line:

        def changed(progress: Progress) -> None:
            if not as_json and progress.state not in ("running", "waiting"):
                line.clear()
                click.echo(_line(progress))
            line(_over(sweep) / max(1, len(sweep.progress)), _standing(sweep))

        if not table:
            sweep.on_change = changed

        async def drive() -> None:
            def stop(signal_number: int) -> None:
                stopped.append(signal_number)
                sweep.stop() if len(stopped) == 1 else sweep.kill()

            on_signals(stop)
            drawing = asyncio.create_task(_draw(sweep)) if table else None
            try:
                await sweep.run()
            finally:
                if drawing is not None:
                    drawing.cancel()
                    await asyncio.gather(drawing, return_exceptions=True)

        with _stdout_to_stderr() if quiet else contextlib.nullcontext():
            asyncio.run(drive())
    counts = +sweep.counts
    if as_json:
        print_json(
            {"folder": sweep.folder, "counts": dict(counts), "sessions": [_record(p) for p in sweep.progress.values()]}
        )
    else:
        if table:
            begun = [progress for progress in sweep.progress.values() if progress.state != "waiting"]
            click.echo("\n".join(_table(begun)))
        said = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        click.echo(f"{many(len(sweep.progress), 'session')}: {said}")
        click.echo(f"saved in {sweep.folder}; look at them with: mlgym-tui home {sweep.folder}")
        if counts["waiting"] or counts["interrupted"]:
            click.echo("the same command goes on with those that are not over")
    if stopped:
        return 128 + stopped[0]
    return 0 if counts["done"] == len(sweep.progress) else 1


def _standing(sweep: Sweep) -> str:
    cost = f", ${sweep.spent:.2f}" if sweep.spent else ""
    return f"{_over(sweep)} over, {sweep.counts['running']} running, {sweep.counts['waiting']} waiting{cost}"


def _over(sweep: Sweep) -> int:
    return len(sweep.progress) - sweep.counts["waiting"] - sweep.counts["running"]


async def _draw(sweep: Sweep) -> None:
    """Draw the table of the sessions over and over, as much of it as the terminal has lines, until it is cancelled."""
    import asyncio

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    def drawn() -> Text:
        ranked = sorted(sweep.progress.values(), key=lambda progress: _FIRST.index(progress.state))
        room = max(1, shutil.get_terminal_size().lines - 4)
        lines = _table(ranked[:room])
        more = f", {many(len(ranked) - room, 'session')} not shown" if len(ranked) > room else ""
        return Text("\n".join([*lines, "", _standing(sweep) + more]), no_wrap=True)

    with Live(drawn(), console=Console(), auto_refresh=False, transient=True) as live:
        while True:
            live.update(drawn(), refresh=True)
            await asyncio.sleep(_DRAWN_SECONDS)


def _table(found: Iterable[Progress]) -> list[str]:
    """Sessions as the lines of a table."""
    head = ["task", "by", "seed", "state", "step", "score", "cost", "time", "ended"]
    rows = [
        [each.job.spec.task, each.job.who, "–" if each.job.spec.seed is None else str(each.job.spec.seed), each.state,
         str(each.steps or "–"), number(each.best), f"${each.cost:.2f}" if each.cost else "–",
         clock(each.took or None), each.problem or each.status]
        for each in found
    ]  # fmt: skip
    return list(as_table(head, rows, right=(2, 4, 5, 6, 7), cut=(0, 1, 8), drop=(7, 6, 4, 8)))


def _record(progress: Progress) -> dict[str, Any]:
    spec = progress.job.spec
    return {
        "job": progress.job.key, "task": spec.task, "model": spec.model, "agent": spec.agent, "seed": spec.seed,
        "state": progress.state, "session": progress.session or None, "exit_status": progress.status or None,
        "problem": progress.problem or None, "best": progress.best, "cost": progress.cost,
        "steps": progress.steps, "seconds": round(progress.took, 3),
    }  # fmt: skip


def _line(progress: Progress) -> str:
    best = "" if progress.best is None else f"  best {number(progress.best)}"
    why = f": {progress.problem}" if progress.problem and progress.state != "done" else ""
    status = f" ({progress.status})" if progress.status not in ("", progress.state) else ""
    return visible(f"{progress.job.name}  {progress.state}{status}{best}{why}").replace("\n", " ")


def _dry_run(sweep: Sweep, as_json: bool) -> None:
    from workbench.sweep.estimate import estimates

    found = estimates([progress.job for progress in sweep.progress.values()])
    if as_json:
        print_json({
            "folder": sweep.folder, "counts": dict(+sweep.counts), "parallel": sweep.parallel,
            "sessions": [{**_record(p), "estimate": found.get(k)} for k, p in sweep.progress.items()],
            "total": _total(found, sweep),
        })  # fmt: skip
        return
    shown: dict[tuple[str, str, str], list[Job]] = {}
    for progress in sweep.progress.values():
        if progress.state == "waiting":
            spec = progress.job.spec
            shown.setdefault((spec.task, spec.model, spec.agent), []).append(progress.job)
    print_table(
        ["task", "model", "agent", "sessions", "cost each", "time each"],
        [[task, model or "as the agent says", agent or "default", str(len(jobs)), *_each(found.get(jobs[0].key))]
         for (task, model, agent), jobs in shown.items()],
        right=(3, 4, 5), cut=(0, 1, 2), drop=(2, 3),
    )  # fmt: skip
    total = _total(found, sweep)
    for what, unit in (("cost", "US dollars"), ("seconds", "seconds of work")):
        click.echo(f"{what}: {'unknown' if total[what] is None else f'{total[what]:.2f} {unit}, by the medians'}")
    click.echo(f"{sweep.counts['done']} of {many(len(sweep.progress), 'session')} done; saved in {sweep.folder}")


def _each(estimate: Estimate | None) -> tuple[str, str]:
    if estimate is None:
        return "unknown", "unknown"
    cost = "unknown" if estimate.cost is None else "${:.2f} ({:.2f}–{:.2f})".format(*estimate.cost)
    time = "unknown" if estimate.seconds is None else "{:.0f} s ({:.0f}–{:.0f})".format(*estimate.seconds)
    return cost, time


def _total(found: dict[str, Estimate], sweep: Sweep) -> dict[str, float | None]:
    waiting = [key for key, progress in sweep.progress.items() if progress.state == "waiting"]
    total: dict[str, float | None] = {}
    for what in ("cost", "seconds"):
        each = [getattr(found[key], what) if key in found else None for key in waiting]
        known = [value[0] for value in each if value is not None]
        total[what] = sum(known) if len(known) == len(waiting) else None
    return total
