"""sessions, sessions show, rm, artifact: what is saved."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import Failure, Group
from workbench.cli.options import json_option, read_session, session_argument, sessions_option
from workbench.cli.output import picked, print_json, print_table, standing
from workbench.text import age, many, number, visible

if TYPE_CHECKING:
    from workbench.session.events import FinalScores, ScoreRecorded
    from workbench.session.spending import Spending
    from workbench.session.state import SessionState, Step


@click.group(cls=Group, invoke_without_command=True)
@click.option("--wide", is_flag=True, help="All that is known of each, with whole names, however wide.")
@json_option
@sessions_option
@click.pass_context
def sessions(context: click.Context, wide: bool, as_json: bool, sessions_folder: Path | None) -> None:
    """List the saved sessions.

    `show`, `rm` and `artifact` work on one.

    Examples:
      mlgym-tui sessions --wide
      mlgym-tui sessions --json | jq '.[0].scores.best'
      mlgym-tui sessions show last
      mlgym-tui sessions artifact last --best -o strategy.py
    """
    context.obj = sessions_folder
    if context.invoked_subcommand is not None:
        return
    from workbench.session.store import list_sessions, sessions_root, short_id

    root = sessions_root(sessions_folder)
    rows = list(list_sessions(root))
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo(f"no sessions in {root} yet; `mlgym-tui run battleOfSexes` makes one")
        return
    if wide:
        print_table(
            ["session", "task", "model", "steps", "best", "last", "status", "age"],
            [
                [r.id, r.task, r.model, str(r.steps), _best(r.scores), number(r.scores.last),
                 r.status + (f" ({r.problem})" if r.problem else ""), age(r.age_seconds)]
                for r in rows
            ],
            right=(3, 4, 5),
        )  # fmt: skip
        return
    print_table(
        ["session", "task", "model", "steps", "best", "status", "age"],
        [[short_id(r.id), r.task, r.model, str(r.steps), _best(r.scores), r.status, age(r.age_seconds)] for r in rows],
        right=(3, 4),
        cut=(0, 1, 2, 5),
    )
    click.echo("--wide tells all; a session is also called by what stands here, or `last`", err=True)


def _best(scores: FinalScores) -> str:
    """The best score; with its split where the last is of another, for the two cannot be compared."""
    mixed = scores.best is not None and scores.best_split != scores.last_split
    return f"{scores.best_split} {number(scores.best)}" if mixed else number(scores.best)


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
        print_json(_as_dict(state, recording.path, recording.problems))
        return
    _print_session(state, recording.path)


@sessions.command()
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@session_argument(many=True)
def rm(session: list[Path], yes: bool, as_json: bool) -> None:
    """Delete saved sessions, for good.

    Examples:
      mlgym-tui sessions rm last
      mlgym-tui sessions rm 3fa9c1 20260102-101500-blotto-0c77d2 --yes
    """
    from workbench.session.store import check_removable, remove_session

    try:
        for folder in session:
            check_removable(folder)
        if not yes:
            if not sys.stdin.isatty():
                raise Failure("nobody is there to confirm", "say --yes", 2)
            click.confirm(f"Delete {visible(', '.join(folder.name for folder in session))}?", abort=True, err=as_json)
        for folder in session:
            remove_session(folder)
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


def _as_dict(state: SessionState, path: Path, problems: list[str]) -> dict[str, Any]:
    from workbench.session.events import SessionStarted

    ended = state.ended
    return {
        "path": path.absolute(),
        **picked(state.started or SessionStarted(format=0, task=""), "session task agent model sandbox seed"),
        "exit_status": ended.exit_status if ended else None,
        "reason": ended.reason if ended else "",
        "scores": state.final_scores(),
        "cost": state.cost,
        "tokens": {"input": state.input_tokens, "output": state.output_tokens, "price_unknown": state.unpriced_tokens},
        "spending_by_author": {author: spent.as_dict() for author, spent in state.spending_by.items()},
        "limits": state.limits,
        "elapsed": state.elapsed,
        "problems": problems,
        "notes": [note.text for note in state.notes],
        "steps": [_step_as_dict(step) for step in state.steps[1:]],
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
        "model_changed": step.agent_change.model if step.agent_change else None,
        "status": step.status,
        "comment": step.comment or None,
        **picked(step, "exit_code observation truncated cwd duration interrupted timed_out shell_restarted score"),
        **picked(step, "scores tools"),
        "changed_files": [change.path for change in step.changes],
        **step.spending.as_dict(),
    }


def _print_session(state: SessionState, path: Path) -> None:
    started, ended = state.started, state.ended
    click.echo(visible(str(path)))
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
    click.echo()
    print_table(
        ["step", "author", "action", "exit", "time", "score"],
        [
            [
                str(step.number),
                step.author,
                _first_line(step),
                "–" if step.exit_code is None else str(step.exit_code),
                f"{step.duration:.2f} s",
                "" if step.score is None else number(step.score),
            ]
            for step in state.steps[1:]
        ],
        right=(0, 3, 4, 5),
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
