"""grep, notes: what is found in, and noted on, many runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench.cli.errors import Command, Failure, complain
from workbench.cli.options import json_option, session_argument, sessions_option
from workbench.cli.output import print_json, print_table, progress_line
from workbench.text import many, visible

if TYPE_CHECKING:
    from workbench.library.notes import Note, Notes
    from workbench.session.run import Run


@click.command(cls=Command)
@click.argument("pattern")
@click.argument("paths", nargs=-1, metavar="[DIR|FILE]…", type=click.Path(path_type=Path, exists=True))
@click.option("--ignore-case", "-i", is_flag=True, help="Upper and lower case alike.")
@click.option("--fixed", "-F", is_flag=True, help="PATTERN is a text, no regular expression.")
@click.option(
    "--in", "places", type=click.Choice(["action", "output", "thought"]), multiple=True,
    help="Where to look (can be given several times); else everywhere.",
)  # fmt: skip
@click.option(
    "--filter", "condition", default="", metavar="EXPR", help="In those runs alone, as in `sessions --filter`."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, one line for each hit.")
@sessions_option
def grep(
    pattern: str, paths: tuple[Path, ...], ignore_case: bool, fixed: bool, places: tuple[str, ...], condition: str,
    as_json: bool, sessions_folder: Path,
) -> None:  # fmt: skip
    """Search actions, outputs and thoughts of all runs for PATTERN.

    PATTERN is a regular expression. Searched are the sessions' folder, or all runs below each DIR. Hits are printed as
    they are found. Exits with 1 when there are none.

    Examples:
      mlgym-tui grep 'CUDA out of memory'
      mlgym-tui grep -i 'early.?stopping' ~/trajectories --in thought
      mlgym-tui grep 'pip install' --filter 'task:blotto status:success' --json
    """
    import sys

    from workbench.library import grep as search
    from workbench.library.columns import FIELDS, fields_of
    from workbench.library.filter import parse
    from workbench.library.index import runs
    from workbench.library.notes import read
    from workbench.session.store import short_id
    from workbench.signals import stoppable

    wanted = search.pattern(pattern, ignore_case=ignore_case, fixed=fixed)
    condition_of = parse(condition, FIELDS)
    colour = sys.stdout.isatty()
    found, looked = 0, 0
    with progress_line() as progress, stoppable():

        def tell(run: Run) -> None:
            nonlocal looked
            looked += 1
            progress(0, f"{looked:,} runs, {many(found, 'hit')}")

        chosen = (
            run for run in runs(paths or (sessions_folder,))
            if not condition or condition_of.matches(fields_of(run, read(run.path)))
        )  # fmt: skip
        for hit in search.grep(wanted, chosen, places or search.PLACES, tell):
            found += 1
            progress.clear()
            if as_json:
                print_json(hit, in_a_line=True)
                continue
            name = short_id(Path(hit.path).name) if not paths else hit.path
            where = visible(f"{name}:{hit.step}:{hit.where}:{hit.line}:")
            click.echo((click.style(where, dim=True) if colour else where) + f" {visible(hit.text.strip())}")
    if wanted.given_up:
        complain(
            f"{many(wanted.given_up, 'text')} not searched to the end", "PATTERN takes too long on them: simplify it"
        )
    if not found:
        if not as_json:
            click.echo(f"no hit in {many(looked, 'run')}", err=True)
        sys.exit(1)


@click.command(cls=Command)
@click.option("--step", type=click.IntRange(min=0), metavar="N", help="About that step; else about the session.")
@click.option("--tag", "tags", multiple=True, metavar="T", help="A word to find it by (can be given several times).")
@click.option("--star", is_flag=True, help="Star it.")
@click.option("--rating", type=click.IntRange(1, 5), metavar="R", help="From 1 to 5.")
@click.option("--comment", "comments", multiple=True, metavar="TEXT", help="A remark.")
@click.option("--failure", "failures", multiple=True, metavar="KIND", help="What went wrong; `--kinds` lists them.")
@click.option("--remove", is_flag=True, help="Take back what is named, rather than noting it.")
@click.option("--kinds", is_flag=True, help="List the kinds of failure, and leave.")
@json_option
@session_argument
def notes(
    session: Path, step: int | None, tags: tuple[str, ...], star: bool, rating: int | None, comments: tuple[str, ...],
    failures: tuple[str, ...], remove: bool, kinds: bool, as_json: bool,
) -> None:  # fmt: skip
    """Note something on SESSION or a step of it, or print the notes.

    Without options, what is noted is printed. Notes stand in notes.jsonl beside the session; on other programs' files,
    in your state folder. The kinds of failure are yours to change: ~/.config/mlgym-tui/failures.yaml takes the place of
    the list that comes with it.

    Examples:
      mlgym-tui notes last --tag ablation --rating 4
      mlgym-tui notes last --step 12 --failure wrong-metric --comment 'not r2'
      mlgym-tui notes last --tag ablation --remove
      mlgym-tui notes run_0/blotto.traj --json
    """
    from workbench.library import notes as library
    from workbench.session.marks import user_name

    if kinds:
        known = library.kinds_of_failure()
        if as_json:
            print_json(known)
        else:
            print_table(["kind", "what it means"], [list(item) for item in known.items()], cut=(1,))
        return
    path = str(session.absolute())
    _check_step(session, step)
    wanted: list[tuple[library.Kind, str | int]] = [("tag", tag) for tag in tags]
    if star:
        wanted.append(("star", 1))
    if rating is not None:
        wanted.append(("rating", rating))
    wanted += [("comment", text) for text in comments]
    wanted += [("failure", kind) for kind in failures]
    for kind, value in wanted:
        library.add(path, f"human:{user_name()}", kind, value, step=step, removed=remove)
    found = library.read(path)
    if as_json:
        print_json(list(found))
    elif not found:
        click.echo(f"nothing is noted on {visible(session.name)}")
    else:
        print_table(
            ["step", "kind", "value", "by", "time"],
            [_noted_row(note) for note in found], right=(0,), cut=(2,),
        )  # fmt: skip


def _noted_row(note: Note) -> list[str]:
    value = "★" if note.kind == "star" else str(note.value)
    return ["–" if note.step is None else str(note.step), note.kind, value, note.author, note.time[:16]]


def _check_step(session: Path, step: int | None) -> None:
    from workbench.cli.options import read_session

    if step is None:
        return
    last = read_session(session)[1].last_step
    if step > last:
        raise Failure(f"{session.name} has no step {step}: its last is {last}")


def noted(found: Notes) -> str:
    """The notes on a run, in a few words."""
    rating = found.rating
    words = ["★"] * found.starred + ([f"{rating:g}/5"] if rating is not None else [])
    comments = len(found.values("comment"))
    words += [f"#{tag}" for tag in found.values("tag")] + [*found.values("failure")]
    return " ".join([*words, many(comments, "comment")] if comments else words)
