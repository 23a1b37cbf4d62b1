"""sessions, sessions show, rm, artifact: what is saved."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import Failure, FriendlyGroup
from workbench.cli.output import age, harmless, number, print_json, print_table, standing
from workbench.cli.runs import sessions_option
from workbench.runner.places import command_for, sessions_of

if TYPE_CHECKING:
    from workbench.session.events import FinalScores, ScoreRecorded
    from workbench.session.spending import Spending
    from workbench.session.state import Alternative, SessionState, Step


@click.group(
    cls=FriendlyGroup,
    invoke_without_command=True,
    epilog="""
\b
Examples:
  mlgym-tui sessions --wide
  mlgym-tui sessions --json | jq '.[0].scores.best'
  mlgym-tui sessions show last
  mlgym-tui sessions artifact last --best -o strategy.py
""",
)
@click.option("--wide", is_flag=True, help="All that is known of each, with whole names, however wide.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@sessions_option
@click.pass_context
def sessions(context: click.Context, wide: bool, as_json: bool, sessions_folder: Path | None) -> None:
    """List the saved sessions.

    `show`, `rm` and `artifact` work on one.
    """
    context.obj = sessions_folder
    if context.invoked_subcommand is not None:
        return
    from workbench.session.store import list_sessions, short_id

    root = sessions_of(sessions_folder)
    rows = list(list_sessions(root))
    if as_json:
        import msgspec

        print_json(
            [
                {
                    "id": row.id,
                    "path": str(row.path),
                    "task": row.task,
                    "agent": row.agent,
                    "model": row.model,
                    "steps": row.steps,
                    "status": row.status,
                    "scores": msgspec.to_builtins(row.scores),
                    "started": row.started,
                    "age_seconds": round(row.age_seconds, 1),
                    "problem": row.problem,
                }
                for row in rows
            ]
        )
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


@sessions.command(
    epilog="""
\b
Examples:
  mlgym-tui sessions show last
  mlgym-tui sessions show run_0/blotto.traj --json | jq '.steps[].action'
"""
)
@click.argument("session")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with whole observations.")
@sessions_option
@click.pass_obj
def show(outer_folder: Path | None, session: str, as_json: bool, sessions_folder: Path | None) -> None:
    """Print the steps and scores of SESSION.

    SESSION is a folder, an id, `last`, or any file that `replay` opens.
    """
    from workbench.formats.open import open_recording
    from workbench.session.state import fold
    from workbench.session.store import find_session

    recording = open_recording(find_session(sessions_of(sessions_folder or outer_folder), session))
    state = fold(recording.events)
    for problem in recording.problems:
        click.echo(f"mlgym-tui: {harmless(f'{recording.path.name}: {problem}')}", err=True)
    if as_json:
        print_json(_as_dict(state, recording.path, recording.problems))
        return
    _print_session(state, recording.path)


@sessions.command(
    epilog="""
\b
Examples:
  mlgym-tui sessions rm last
  mlgym-tui sessions rm 3fa9c1 20260102-101500-blotto-0c77d2 --yes
"""
)
@click.argument("session", nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@sessions_option
@click.pass_obj
def rm(
    outer_folder: Path | None, session: tuple[str, ...], yes: bool, as_json: bool, sessions_folder: Path | None
) -> None:
    """Delete saved sessions, for good."""
    from workbench.session.store import check_removable, find_session, remove_session

    root = sessions_of(sessions_folder or outer_folder)
    folders = [find_session(root, reference) for reference in session]
    try:
        for folder in folders:
            check_removable(folder)
        if not yes:
            if not sys.stdin.isatty():
                raise Failure("nobody is there to confirm", "say --yes", 2)
            click.confirm(f"Delete {harmless(', '.join(folder.name for folder in folders))}?", abort=True, err=as_json)
        for folder in folders:
            remove_session(folder)
            if not as_json:
                click.echo(f"removed {harmless(folder.name)}")
    except ValueError as error:
        raise Failure(str(error)) from error
    if as_json:
        print_json({"removed": [str(folder) for folder in folders]})


@sessions.command(
    epilog="""
\b
Examples:
  mlgym-tui sessions artifact last --best -o strategy.py
  mlgym-tui sessions artifact 3fa9c1 --step 4
"""
)
@click.argument("session")
@click.option("--best", "which", flag_value="best", default=True, help="The submission with the best score (default).")
@click.option("--last", "which", flag_value="last", help="The last one that was scored.")
@click.option("--step", type=click.IntRange(min=0), metavar="N", help="The one scored in step N.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Where to write it (else stdout)."
)
@sessions_option
@click.pass_obj
def artifact(
    outer_folder: Path | None,
    session: str,
    which: str,
    step: int | None,
    output: Path | None,
    sessions_folder: Path | None,
) -> None:
    """Get a submission out of SESSION, as it was when it was scored."""
    from workbench.session.log import read_log
    from workbench.session.objects import ObjectStore
    from workbench.session.state import fold
    from workbench.session.store import find_session

    folder = find_session(sessions_of(sessions_folder or outer_folder), session)
    if not folder.is_dir():
        raise Failure(
            f"{folder} is a file: submissions are kept in session folders only", "name the folder of a session"
        )
    state = fold(read_log(folder)[0])
    entry = _entry(state, which, step)
    if entry is None or entry.artifact is None:
        raise Failure(
            f"{folder.name} has no such submission", f"`{command_for(folder, 'sessions', 'show')}` lists its scores"
        )
    with contextlib.ExitStack() as kept:
        try:
            stored = kept.enter_context(ObjectStore(folder / "artifacts").open(entry.artifact))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise Failure(f"the submission of step {entry.step} is lost: {why}") from error
        if output is None:
            shutil.copyfileobj(stored, sys.stdout.buffer)
            return
        with open(output, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as copy:
            shutil.copyfileobj(stored, copy)
    click.echo(f"{harmless(entry.artifact_name)} of step {entry.step} ({number(entry.score)}) → {output}", err=True)


def _entry(state: SessionState, which: str, step: int | None) -> ScoreRecorded | None:
    if step is not None:
        scored = [entry for entry in state.scores_until() if entry.step == step and entry.artifact]
        return scored[-1] if scored else None
    return state.best_score() if which == "best" else state.last_score()


def _as_dict(state: SessionState, path: Path, problems: list[str]) -> dict[str, Any]:
    import msgspec

    started, ended = state.started, state.ended
    return {
        "path": str(path.absolute()),
        "session": started.session if started else "",
        "task": started.task if started else "",
        "agent": started.agent if started else "",
        "model": started.model if started else "",
        "sandbox": started.sandbox if started else "",
        "seed": started.seed if started else None,
        "exit_status": ended.exit_status if ended else None,
        "reason": ended.reason if ended else "",
        "scores": msgspec.to_builtins(state.final_scores()),
        "cost": state.cost,
        "tokens": {"input": state.input_tokens, "output": state.output_tokens, "price_unknown": state.unpriced_tokens},
        "spending_by_author": {author: spent.as_dict() for author, spent in state.spending_by.items()},
        "limits": msgspec.to_builtins(state.limits),
        "elapsed": state.elapsed,
        "problems": problems,
        "notes": [note.text for note in state.notes],
        "steps": [_step_as_dict(step) for step in state.steps[1:]],
    }


def _step_as_dict(step: Step) -> dict[str, Any]:
    import msgspec

    return {
        "step": step.number,
        "author": step.author,
        "thought": step.thought,
        "proposed": step.proposed,
        "action": step.action,
        "edited_by": step.edited_by or None,
        "edit_told": step.edit_told,
        "proposed_thought": step.proposed_thought,
        "alternative": step.chosen,
        "alternatives": [_alternative_as_dict(item) for item in step.alternatives.values()],
        "model_changed": step.agent_change.model if step.agent_change else None,
        "status": step.status,
        "comment": step.comment or None,
        "exit_code": step.exit_code,
        "observation": step.observation,
        "truncated": step.truncated,
        "cwd": step.cwd,
        "duration": step.duration,
        "interrupted": step.interrupted,
        "timed_out": step.timed_out,
        "shell_restarted": step.shell_restarted,
        "score": step.score,
        "scores": [msgspec.to_builtins(score) for score in step.scores],
        "tools": [msgspec.to_builtins(use) for use in step.tools],
        "changed_files": [change.path for change in step.changes],
        **step.spending.as_dict(),
    }


def _alternative_as_dict(item: Alternative) -> dict[str, Any]:
    return {
        "alternative": item.number,
        "author": item.author,
        "thought": item.thought,
        "action": item.action,
        "temperature": item.temperature,
        **item.spending.as_dict(),
    }


def _print_session(state: SessionState, path: Path) -> None:
    started, ended = state.started, state.ended
    click.echo(harmless(str(path)))
    if started is not None:
        seed = f", seed {started.seed}" if started.seed is not None else ""
        click.echo(
            harmless(f"{started.task}, {started.model or started.agent}, {started.sandbox or 'no'} sandbox{seed}")
        )
    click.echo(standing(state.final_scores()))
    if state.spending_by:
        click.echo("; ".join(_spent(author, spent) for author, spent in state.spending_by.items()))
    reason = f" ({harmless(ended.reason)})" if ended and ended.reason else ""
    click.echo(f"status: {harmless(ended.exit_status) if ended else 'not ended'}{reason}")
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
    calls = f"{spent.calls} {'call' if spent.calls == 1 else 'calls'}"
    tokens = f"{spent.input_tokens:,} tokens in, {spent.output_tokens:,} out, {calls}"
    return harmless(f"{author}: {' and '.join(part for part in (cost, unknown) if part)}, {tokens}")


def _first_line(step: Step) -> str:
    first, _, rest = step.action.strip().partition("\n")
    text = first[:60] + ("…" if rest or len(first) > 60 else "")
    chosen = f"alternative {step.chosen} of {max(step.alternatives, default=0)}"
    marks = [name for name, on in ((chosen, step.chosen), ("edited", step.edited), ("rejected", step.status == "rejected"), ("refused", step.status == "refused"), ("timed out", step.timed_out)) if on]  # fmt: skip  # noqa: E501
    return f"{text} [{', '.join(marks)}]" if marks else text
