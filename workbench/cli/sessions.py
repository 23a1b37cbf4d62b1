"""sessions, sessions show, rm, artifact: what is saved."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import Command, Failure, GroupOr
from workbench.cli.library import noted
from workbench.cli.options import json_option, read_session, session_argument, sessions_option, several
from workbench.cli.output import picked, print_json, print_table, read_runs, standing
from workbench.cli.time_machine import prune
from workbench.text import many, number, visible

if TYPE_CHECKING:
    from workbench.library.notes import Notes
    from workbench.session.events import ScoreRecorded
    from workbench.session.recording import Recording
    from workbench.session.run import Run
    from workbench.session.spending import Spending
    from workbench.session.state import SessionState, Step


_list_options = several(
    click.option("--wide", is_flag=True, help="All that is known of each, with whole names, however wide."),
    click.option(
        "--filter", "condition", default="", metavar="EXPR",
        help="Those alone, as in `task:blotto score>1.2 not by:human`.",
    ),
    json_option,
    sessions_option,
)  # fmt: skip


@click.group(cls=GroupOr, invoke_without_command=True, subcommand_metavar="[DIR|FILE]… | COMMAND …")
@_list_options
@click.pass_context
def sessions(context: click.Context, /, sessions_folder: Path, **options: Any) -> None:
    """List the saved sessions, or all runs below DIR.

    Runs are sessions of ours and the files of other programs that `replay` opens. A file of several runs lists
    like a folder. What --filter understands is in docs/library.md.

    Examples:
      mlgym-tui sessions --wide
      mlgym-tui sessions ~/runs --filter 'task:blotto status:format score>1.2'
      mlgym-tui sessions --json | jq '.[0].scores.best'
      mlgym-tui sessions show last
      mlgym-tui sessions artifact last --best -o strategy.py
    """
    if context.invoked_subcommand is None:
        _list((), sessions_folder, **options)


@click.command("list", cls=Command, hidden=True)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@_list_options
def listed(paths: tuple[Path, ...], **options: Any) -> None:
    """List the runs below PATHS."""
    _list(paths, **options)


sessions.otherwise = listed


def _list(paths: tuple[Path, ...], sessions_folder: Path, wide: bool, condition: str | None, as_json: bool) -> None:
    from workbench.library.columns import FIELDS, NOTED, fields_of
    from workbench.library.filter import parse
    from workbench.library.notes import NONE, read_all

    missing = next((path for path in paths if not os.path.lexists(path)), None)
    if missing is not None:
        raise Failure(
            f"there is no file or folder {str(missing)!r}, and no such command",
            f"the commands are {', '.join(sessions.commands)}", 2,
        )  # fmt: skip
    wanted = parse(condition or "", FIELDS)
    folders = list(paths) or [sessions_folder]
    rows = read_runs(folders)
    notes = read_all(rows) if as_json or wide or wanted.names & NOTED else {}
    rows = [row for row in rows if wanted.matches(fields_of(row, notes.get(row.path, NONE)))]
    if as_json:
        print_json([_row_as_dict(row, notes.get(row.path, NONE)) for row in rows])
    elif not rows:
        there = ", ".join(map(str, folders))
        click.echo(
            f"no run in {visible(there)} meets that filter" if condition else f"no runs in {visible(there)}"
            if paths else f"no sessions in {visible(there)} yet; `mlgym-tui run battleOfSexes` makes one"
        )  # fmt: skip
    else:
        _print_rows(rows, notes, wide)


def _row_as_dict(run: Run, notes: Notes) -> dict[str, Any]:
    import msgspec

    return {
        "id": run.ident,
        **msgspec.structs.asdict(run),
        "scores": run.scores,
        "gain": run.gain,
        "against": run.against,
        "age_seconds": round(run.age, 1),
        "tags": notes.values("tag"),
        "star": notes.starred,
        "rating": notes.rating,
        "failures": notes.values("failure"),
        "comments": notes.values("comment"),
    }


def _print_rows(rows: list[Run], notes: dict[str, Notes], wide: bool) -> None:
    from workbench.library.columns import COLUMNS, Column, table_lines
    from workbench.library.notes import NONE
    from workbench.session.store import short_id

    def name(run: Run) -> str:
        whole = run.ident if run.format == "mlgym-tui" else run.path
        return whole if wide else short_id(run.ident)

    columns = [Column("session", name, name, 0, least=8), *COLUMNS]
    if wide:
        columns[4] = columns[4]._replace(text=lambda run: run.status + (f" ({run.problem})" if run.problem else ""))
        columns.append(Column("notes", lambda run: noted(notes.get(run.path, NONE)), name, 11))
    cells = [[visible(column.text(run)).replace("\n", " ") for column in columns] for run in rows]
    width = 10**6 if wide else shutil.get_terminal_size().columns
    for line in table_lines(cells, columns, width, keep_ends=True):
        click.echo(line)
    if not wide and any(run.format == "mlgym-tui" for run in rows):
        click.echo("--wide tells all; a session is also called by what stands here, or `last`", err=True)


@sessions.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, with whole observations.")
@session_argument
def show(session: Path, as_json: bool) -> None:
    """Print the steps and scores of SESSION.

    SESSION is a folder, an id, `last`, or any file that `replay` opens.

    Examples:
      mlgym-tui sessions show last
      mlgym-tui sessions show run_0/blotto.traj --json | jq '.steps[].action'
    """
    recording, state = read_session(session)
    if as_json:
        print_json(_as_dict(state, recording))
        return
    _print_session(state, recording)


@sessions.command()
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also what may be running, where the file system gives no locks.")
@json_option
@session_argument(many=True)
def rm(session: list[Path], yes: bool, force: bool, as_json: bool) -> None:
    """Delete saved sessions, for good.

    Examples:
      mlgym-tui sessions rm last
      mlgym-tui sessions rm 3fa9c1 20260102-101500-blotto-0c77d2 --yes
    """
    from workbench.session.store import check_removable, remove_session

    try:
        for folder in session:
            check_removable(folder, force=force)
        if not yes:
            if not sys.stdin.isatty():
                raise Failure("nobody is there to confirm", "say --yes", 2)
            click.confirm(f"Delete {visible(', '.join(folder.name for folder in session))}?", abort=True, err=as_json)
        for folder in session:
            remove_session(folder, force=force)
            if not as_json:
                click.echo(f"removed {visible(folder.name)}")
    except ValueError as error:
        raise Failure(str(error)) from error
    if as_json:
        print_json({"removed": session})


@sessions.command()
@click.option("--best", "which", flag_value="best", default=True, help="The submission with the best score (default).")
@click.option("--last", "which", flag_value="last", help="The last one that was scored.")
@click.option("--step", type=click.IntRange(min=0), metavar="N", help="The one scored in step N.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Where to write it (else stdout)."
)
@session_argument
def artifact(session: Path, which: str, step: int | None, output: Path | None) -> None:
    """Get a submission out of SESSION, as it was when it was scored.

    Examples:
      mlgym-tui sessions artifact last --best -o strategy.py
      mlgym-tui sessions artifact 3fa9c1 --step 4
    """
    from workbench.session.log import read_log
    from workbench.session.objects import ObjectStore
    from workbench.session.state import fold
    from workbench.session.store import command_for

    if not session.is_dir():
        raise Failure(
            f"{session} is a file: submissions are kept in session folders only", "name the folder of a session"
        )
    state = fold(read_log(session)[0])
    entry = _entry(state, which, step)
    if entry is None or entry.artifact is None:
        raise Failure(
            f"{session.name} has no such submission", f"`{command_for(session, 'sessions', 'show')}` lists its scores"
        )
    with contextlib.ExitStack() as kept:
        try:
            stored = kept.enter_context(ObjectStore(session / "artifacts").open(entry.artifact))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise Failure(f"the submission of step {entry.step} is lost: {why}") from error
        if output is None:
            shutil.copyfileobj(stored, sys.stdout.buffer)
            return
        with open(output, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as copy:
            shutil.copyfileobj(stored, copy)
    click.echo(f"{visible(entry.artifact_name)} of step {entry.step} ({number(entry.score)}) → {output}", err=True)


def _entry(state: SessionState, which: str, step: int | None) -> ScoreRecorded | None:
    if step is not None:
        scored = [entry for entry in state.scores_until() if entry.step == step and entry.artifact]
        return scored[-1] if scored else None
    return state.best_score() if which == "best" else state.last_score()


def _as_dict(state: SessionState, recording: Recording) -> dict[str, Any]:
    from workbench.library.notes import read
    from workbench.session.events import SessionStarted
    from workbench.session.outcome import Failures, category, verdict

    ended, failures = state.ended, Failures(state)
    judged = verdict(state, failures)
    unknown = None if recording.foreign else 0  # where nothing was counted: other programs may just not say
    priced = not recording.foreign or (state.spending_by and not state.unpriced_tokens)
    tokens = {"input": state.input_tokens or unknown, "output": state.output_tokens or unknown}
    return {
        "path": recording.reference,
        "format": recording.source,
        **picked(state.started or SessionStarted(format=0, task=""), "session task agent model sandbox seed"),
        "exit_status": ended.exit_status if ended else None,
        "category": category(ended.exit_status) if ended else None,
        "reason": ended.reason if ended else "",
        "verdict": {"step": judged.step or None, "sentences": judged.sentences, "last_answer": judged.answer or None},
        "scores": state.final_scores(),
        "cost": state.cost if priced else None,
        "tokens": {**tokens, "price_unknown": state.unpriced_tokens},
        "spending_by_author": {author: spent.as_dict() for author, spent in state.spending_by.items()},
        "limits": state.limits,
        "elapsed": state.elapsed,
        "problems": recording.problems,
        "notes": [note.text for note in state.notes],
        "annotations": list(read(str((recording.folder or Path(recording.reference)).absolute()))),
        "steps": [
            {
                **_step_as_dict(step),
                "failures": [picked(failure, "kind text") for failure in failures.at(step.number)],
            }
            for step in state.steps[1:]
        ],
    }


def _step_as_dict(step: Step) -> dict[str, Any]:
    return {
        "step": step.number,
        **picked(step, "author thought proposed action"),
        "edited_by": step.edited_by or None,
        **picked(step, "edit_told proposed_thought"),
        "alternative": step.chosen,
        "alternatives": [
            {
                "alternative": item.number,
                **picked(item, "author thought action temperature"),
                **item.spending.as_dict(),
            }
            for item in step.alternatives.values()
        ],
        "conversation": step.conversation or None,
        "relation": step.relation or None,
        "model_changed": step.agent_change.model if step.agent_change else None,
        "status": step.status,
        "executed": step.executed,
        "comment": step.comment or None,
        "time": step.time or None,
        "duration": step.duration or None,
        **picked(step, "exit_code observation truncated cwd interrupted timed_out shell_restarted score"),
        **picked(step, "scores tools"),
        "changed_files": [change.path for change in step.changes],
        **step.spending.as_dict(),
    }


def _print_session(state: SessionState, recording: Recording) -> None:
    from workbench.session.outcome import verdict

    started, ended = state.started, state.ended
    click.echo(visible(recording.reference))
    if started is not None:
        seed = f", seed {started.seed}" if started.seed is not None else ""
        click.echo(
            visible(f"{started.task}, {started.model or started.agent}, {started.sandbox or 'no'} sandbox{seed}")
        )
    click.echo(standing(state.final_scores()))
    if state.spending_by:
        click.echo("; ".join(_spent(author, spent) for author, spent in state.spending_by.items()))
    reason = f" ({visible(ended.reason)})" if ended and ended.reason else ""
    click.echo(f"status: {visible(ended.exit_status) if ended else 'not ended'}{reason}")
    judged = verdict(state)
    if judged.tells:
        click.echo(visible(f"verdict: {' '.join(judged.sentences)}"))
    click.echo()
    print_table(
        ["step", "author", "action", "exit", "time", "score"],
        [
            [
                str(step.number),
                step.author,
                _first_line(step),
                "–" if step.exit_code is None else str(step.exit_code),
                f"{step.duration:.2f} s" if step.duration else "–",
                "" if step.score is None else number(step.score),
            ]
            for step in state.steps[1:]
        ],
        right=(0, 3, 4, 5),
        cut=(1, 2),
        drop=(4, 1),
    )


def _spent(author: str, spent: Spending) -> str:
    cost = f"${spent.cost:.4f}" if spent.cost or spent.known else ""
    unknown = "" if spent.known else f"price unknown ({spent.unpriced_tokens:,} tokens)"
    tokens = f"{spent.input_tokens:,} tokens in, {spent.output_tokens:,} out, {many(spent.calls, 'call')}"
    return visible(f"{author}: {' and '.join(part for part in (cost, unknown) if part)}, {tokens}")


def _first_line(step: Step) -> str:
    first, _, rest = step.action.strip().partition("\n")
    text = first[:60] + ("…" if rest or len(first) > 60 else "")
    chosen = f"alternative {step.chosen} of {max(step.alternatives, default=0)}"
    ended = step.status if step.status in ("rejected", "refused") else ""
    marks = [chosen] * bool(step.chosen) + ["edited"] * step.edited + [ended] + ["timed out"] * step.timed_out
    said = ", ".join(filter(None, marks))
    return f"{text} [{said}]" if said else text


sessions.add_command(prune)
