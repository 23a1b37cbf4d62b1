"""scores, clock, baselines: what was scored in a session, how long it was worked, and how that compares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import Command, Failure, GroupOr
from workbench.cli.options import json_option, read_session, session_argument, sessions_option, task_argument
from workbench.cli.output import picked, print_json, print_table, read_runs, standing
from workbench.text import clock as time_of
from workbench.text import number, visible

if TYPE_CHECKING:
    from workbench.session.run import Run
    from workbench.session.scores import Entry
    from workbench.session.state import SessionState

# -- scores ------------------------------------------------------------------------------------------------------------


@click.command(cls=Command)
@json_option
@session_argument
def scores(session: Path, as_json: bool) -> None:
    """List the scores that SESSION got: every validate and submit.

    Each with its step, who asked for it, the time worked by then, the split of the data, the metrics, the hash of what
    was scored, and how that differs from what was scored before. `*` marks the best.

    Examples:
      mlgym-tui scores last
      mlgym-tui scores path/to/battleOfSexes.traj --json
    """
    from workbench.library.ledger import FITTED, HEADINGS, cells, change_of, reader
    from workbench.session.scores import ledger

    recording, state = read_session(session)
    entries, read = ledger(state), reader(recording.folder)
    changes = [change_of(entry, read) for entry in entries]
    if as_json:
        rows = [_as_dict(entry, change) for entry, change in zip(entries, changes, strict=True)]
        print_json({"scores": state.final_scores(), "hidden": len(state.sealed), "entries": rows})
        return
    if entries:
        lines = [cells(entry, change, state) for entry, change in zip(entries, changes, strict=True)]
        print_table(HEADINGS, lines, **FITTED)
    else:
        click.echo("nothing was scored")
    if state.sealed:
        click.echo(f"{len(state.sealed)} scores are hidden until this blind session is over", err=True)
    click.echo(standing(state.final_scores()))


def _as_dict(entry: Entry, change: str) -> dict[str, Any]:
    found = entry.recorded
    return {
        **picked(found, "step kind"),
        "author": entry.author,
        "clock": None if entry.clock is None else round(entry.clock, 3),
        **picked(found, "time split verdict score standard_error metrics artifact instead visible_to_agent caveats"),
        "message": found.message,
        "change": change,
        "best": entry.best,
    }


# -- clock -------------------------------------------------------------------------------------------------------------


@click.group(cls=GroupOr, subcommand_metavar="SESSION | fix SESSION …")
@json_option
@sessions_option
def clock(**_options: object) -> None:
    """Say when was worked in SESSION, and correct it.

    The clock stands still in every pause. `clock fix` counts minutes more or fewer, with a reason; what was measured
    stays in the log beside it.

    Examples:
      mlgym-tui clock last --json
      mlgym-tui clock fix last --minutes -25 --reason 'a call'
    """


@click.command("show", cls=Command, hidden=True)
@json_option
@session_argument
def shown(session: Path, as_json: bool) -> None:
    """Say when was worked in SESSION."""
    _, state = read_session(session)
    _show_clock(state, as_json)


clock.otherwise = shown


@clock.command()
@click.option("--minutes", type=float, required=True, metavar="N", help="Worked besides; -N: not worked.")
@click.option("--reason", required=True, metavar="TEXT", help="Why.")
@json_option
@session_argument
def fix(session: Path, minutes: float, reason: str, as_json: bool) -> None:
    """Correct the time worked in SESSION, with a reason.

    Examples:
      mlgym-tui clock fix last --minutes -25 --reason 'a call'
      mlgym-tui clock fix 3fa9c1 --minutes 10 --reason 'thought about it on paper'
    """
    import math

    from workbench.session import events as ev
    from workbench.session.clock import Clock
    from workbench.session.log import EventLog, read_log
    from workbench.session.marks import user_name
    from workbench.session.state import fold

    if not math.isfinite(minutes) or not minutes or not reason.strip():
        raise Failure("a correction is a number of minutes, with a reason", "as in --minutes -25 --reason 'a call'", 2)
    if not session.is_dir():
        raise Failure(f"{session} is a file of another program: its times stay as they are")
    events, problems = read_log(session)
    if problems:
        raise Failure(f"the log of {session.name} is damaged: {problems[0]}", "`resume` mends it first")
    state = fold(events)
    if state.working + 60 * minutes < 0:
        raise Failure(f"only {time_of(state.working)} were worked in {session.name}", "take off less", 2)
    log = EventLog(session, Clock(elapsed=state.elapsed), next_seq=state.last_seq + 1)
    try:
        who = f"human:{user_name()}"
        state.apply(log.append(ev.ClockCorrected(seconds=60 * minutes, reason=reason.strip(), author=who)))
        log.sync()
    finally:
        log.close()
    _show_clock(state, as_json)


def _show_clock(state: SessionState, as_json: bool) -> None:
    periods, corrections = state.clock.periods(state.elapsed), state.clock.corrections
    if as_json:
        print_json({
            "working": round(state.working, 3), "elapsed": round(state.elapsed, 3), "limit": state.limits.seconds,
            "periods": [
                {**each._asdict(), "seconds": round(each.end - each.begin, 3), "reason": each.reason or None}
                for each in periods
            ],
            "corrections": [each._asdict() for each in corrections],
        })  # fmt: skip
        return
    rows = [[each.kind, time_of(each.begin), time_of(each.end), _length(each.end - each.begin), each.reason]
            for each in periods]  # fmt: skip
    rows += [["correction", time_of(each.at), "", _length(each.seconds), f"{each.reason} ({each.author})"]
             for each in corrections]  # fmt: skip
    print_table(["", "from", "to", "time", "reason"], rows, right=(1, 2, 3), cut=(4,))
    limit = f" of {time_of(state.limits.seconds)}" if state.limits.seconds is not None else ""
    click.echo(f"worked {time_of(state.working)}{limit}")


def _length(seconds: float) -> str:
    return f"{'-' if seconds < 0 else ''}{time_of(abs(seconds))}"


# -- baselines ---------------------------------------------------------------------------------------------------------


@click.command(cls=Command)
@task_argument
@click.argument("paths", nargs=-1, metavar="[DIR…]", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FIGURE", help="PNG, SVG or PDF.")
@json_option
@sessions_option
def baselines(task: str, paths: tuple[Path, ...], out: Path | None, as_json: bool, sessions_folder: Path) -> None:
    """List the people and models that worked on TASK, the best first.

    Every scored run among your sessions, or below each DIR, beside the task's baseline. Of other programs' runs, the
    time worked is that of their commands, where it is known.

    Examples:
      mlgym-tui baselines prisonersDilemma
      mlgym-tui baselines blotto ~/runs --json
      mlgym-tui baselines blotto --out people.svg
    """
    found = runs_of(task, paths or (sessions_folder,))
    if not found:
        raise Failure(f"there is no scored run of {task}", "`mlgym-tui sessions` lists what there is")
    if out is not None:
        _draw(found, task, out)
    if as_json:
        print_json({"task": task, "metric": found[0].metric, "direction": found[0].direction,
                    "baseline": _baseline(found), "runs": [_run_as_dict(run) for run in found]})  # fmt: skip
    else:
        print_standings(found)


def runs_of(task: str, paths: Iterable[Path]) -> list[Run]:
    """The scored runs of a task, the best first. Of one metric: that of most of them."""
    from collections import Counter

    found = [run for run in read_runs(paths) if run.task == task and run.best is not None and run.metric]
    if not found:
        return []
    metric = Counter(run.metric for run in found).most_common(1)[0][0]
    sign = -1 if found[0].direction == "maximize" else 1
    return sorted((run for run in found if run.metric == metric), key=lambda run: (sign * (run.best or 0.0), run.path))


def print_standings(found: Sequence[Run], mine: str = "") -> None:
    """The runs of a task as a table; the one of the path `mine` is marked."""
    from workbench.library.columns import SIGNS

    baseline, rows = _baseline(found), []
    placed = baseline is None
    for place, run in enumerate(found, 1):
        if not placed and run.gain is not None and run.gain < 0:
            rows.append(["", "baseline", "", number(baseline), "", "", "", ""])
            placed = True
        error = f" ± {number(run.best_error)}" if run.best_error is not None else ""
        name = f"{_who(run)} ← you" if run.path == mine else _who(run)
        rows.append([
            str(place), name, run.author or "–", f"{number(run.best)}{error} {SIGNS[run.against]:1}",
            number(run.last), str(run.steps),
            time_of(run.working), run.ident,
        ])  # fmt: skip
    if not placed:
        rows.append(["", "baseline", "", number(baseline), "", "", "", ""])
    click.echo(visible(f"{found[0].task}: {found[0].metric}, {found[0].direction}"))
    head = ["", "who", "is", "best", "last", "steps", "worked", "run"]
    print_table(head, rows, right=(0, 3, 4, 5, 6), cut=(1, 7), drop=(4, 5, 6, 7))


def _who(run: Run) -> str:
    from workbench.analysis.scores import competitor

    return competitor(run) or run.ident


def _baseline(found: Iterable[Run]) -> float | None:
    return next((run.baseline for run in found if run.baseline is not None), None)


def _run_as_dict(run: Run) -> dict[str, Any]:
    names = "author best best_error against last best_split steps working cost status path"
    return {"who": _who(run), **picked(run, names)}


def _draw(found: Sequence[Run], task: str, out: Path) -> None:
    from workbench.analysis.figures import FORMATS, draw_people

    kind = out.suffix.lstrip(".").lower()
    if kind not in FORMATS:
        raise Failure(f"{out.name} names no format of a figure", "end it with .png, .svg or .pdf", 2)
    try:
        draw_people(found, task, out, _who)
    except OSError as error:
        raise Failure(f"{out} cannot be written: {error.strerror or error}") from error
    click.echo(f"written to {out}", err=True)
