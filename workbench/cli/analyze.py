"""analyze: scores, profiles, behaviour and figures of many runs."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import Command, Failure
from workbench.cli.options import json_option
from workbench.cli.output import print_json, print_table, read_runs

if TYPE_CHECKING:
    from workbench.analysis.summary import Analysis, Table

_HINT = "name a folder of sessions, or of run folders of MLGym"
_WIDEST = 32
"""Characters of a name above a column."""
_SHOWN = ("best_scores", "last_scores", "aup_scores", "exits", "habits", "noted_failures")
"""Tables that are printed where no folder is given for all of them."""


def _names(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> list[str]:
    return [name.strip() for each in value for name in each.split(",") if name.strip()]


@click.command(cls=Command)
@click.argument("paths", nargs=-1, metavar="[DIR…]", type=click.Path(path_type=Path))
@click.option("--by", type=click.Choice(["model", "agent", "person"]), default="model", help="What is compared.")
@click.option("--models", multiple=True, callback=_names, metavar="A,B", help="Only these, in this order.")
@click.option("--tasks", multiple=True, callback=_names, metavar="A,B", help="Only these, in this order.")
@click.option("--compat", type=click.Choice(["mlgym"]), help="MLGym's definitions, rounding and file names.")
@click.option("--format", "form", type=click.Choice(["csv", "json", "md", "tex"]), help="Of the files in --out [csv].")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Where files are written.")
@click.option("--figures", is_flag=True, help="Also draw the figures into --out (PNG, SVG, PDF, each with its CSV).")
@click.option("--style", type=click.Path(path_type=Path, dir_okay=False), help="A style file of matplotlib.")
@click.option("--report", is_flag=True, help="Also write report.html (one page) and report.md into --out.")
@click.option("--plot", is_flag=True, help="Draw the profiles in the terminal.")
@click.option("--without-tampered", is_flag=True, help="Leave out runs that changed a protected file of their task.")
@click.option(
    "--epsilon", type=click.FloatRange(0, 1e6), default=0.05, show_default=True, help="Penalty; see the docs."
)
@click.option("--largest-tau", type=click.FloatRange(0.01, 100), help="Where profiles end (log10 of the ratio).")
@click.option("--no-negatives", is_flag=True, help="Scores below zero are infeasible, as in MLGym.")
@click.option("--samples", type=click.IntRange(min=0, max=100_000), default=1000, show_default=True, help="Bootstrap.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap.")
@json_option
def analyze(paths: tuple[Path, ...], as_json: bool, **chosen: Any) -> None:
    """Compare the runs in DIR…: scores, AUP, ranks, endings, behaviour.

    Sessions, run folders of MLGym and recordings of other programs may be mixed. Without DIR: your sessions.
    `docs/analysis.md` has the definitions.

    Examples:
      mlgym-tui analyze
      mlgym-tui analyze runs/ --by agent --plot
      mlgym-tui analyze runs/ --out results --figures --report
      mlgym-tui analyze runs/ --compat mlgym --format csv --out tables
    """
    from workbench.analysis import mlgym
    from workbench.analysis.output import as_records
    from workbench.analysis.summary import analyze as analyzed
    from workbench.analysis.summary import held, tables
    from workbench.library.notes import read_all
    from workbench.session.store import sessions_root

    if (chosen["figures"] or chosen["report"] or chosen["form"]) and chosen["out"] is None:
        raise Failure("figures, reports and tables are written to a folder", "name one with --out DIR", 2)
    folders = list(paths) or [sessions_root()]
    for folder in folders:
        if not folder.exists():
            raise Failure(f"{folder} does not exist", _HINT, 2)
    runs = read_runs(folders, whole=True)
    if not runs:
        raise Failure(
            f"there are no runs in {', '.join(map(str, folders))}",
            "name a folder of sessions or of MLGym's run folders",
        )
    behaviour: dict[str, Any] = {}
    if chosen["compat"]:
        analysis, found = mlgym.published(runs, chosen["models"], chosen["tasks"])
        behaviour = mlgym.behaviour(analysis)
    else:
        noted = {path: found.values("failure") for path, found in read_all(runs).items()}
        analysis = analyzed(runs, _question(chosen), {path: kinds for path, kinds in noted.items() if kinds})
        found = tables(analysis, () if as_json or chosen["out"] is not None else _SHOWN)
    if not analysis.runs:
        raise Failure(f"nothing can be compared: {held(analysis)}", "see `mlgym-tui sessions DIR`")
    if chosen["out"] is not None:
        _write(chosen["out"], analysis, found, behaviour, chosen)
    if as_json:
        print_json({
            "held": len(analysis.runs), "left_out": analysis.left_out, "warnings": analysis.warnings,
            "largest_tau": analysis.end, **{table.name: as_records(table) for table in found},
            **({"behaviour": behaviour} if behaviour else {}),
        })  # fmt: skip
        return
    if chosen["out"] is None:
        _print(found)
    if chosen["plot"]:
        _plot(analysis)
    for said in [held(analysis), *analysis.warnings]:
        click.echo(_wrapped(said), err=True)


def _wrapped(text: str) -> str:
    """As wide as the terminal, for whom reads it there."""
    return click.wrap_text(text, shutil.get_terminal_size().columns) if sys.stdout.isatty() else text


def _question(chosen: dict[str, Any]) -> Any:
    from workbench.analysis.scores import Rules
    from workbench.analysis.summary import Question

    rules = Rules(chosen["epsilon"], negative_is_infeasible=chosen["no_negatives"], largest_tau=chosen["largest_tau"])
    return Question(
        chosen["by"], chosen["models"], chosen["tasks"], rules, chosen["without_tampered"], chosen["samples"],
        chosen["seed"],
    )  # fmt: skip


def _write(
    out: Path, analysis: Analysis, found: list[Table], behaviour: dict[str, Any], chosen: dict[str, Any]
) -> None:
    """Every file that was asked for. What was written is said."""
    import json

    from workbench.analysis.figures import figures, save
    from workbench.analysis.output import WRITERS
    from workbench.analysis.report import html_page, markdown
    from workbench.cli.output import progress_line

    form = chosen["form"] or "csv"
    command = shlex.join(["mlgym-tui", *sys.argv[1:]])
    try:
        out.mkdir(parents=True, exist_ok=True)
        for table in found:
            (out / f"{table.name}.{form}").write_text(WRITERS[form](table), encoding="utf-8")
        if behaviour:
            (out / "behaviour.json").write_text(json.dumps(behaviour, indent=1) + "\n", encoding="utf-8")
        with progress_line() as say:
            if chosen["figures"]:
                for figure in figures(analysis):
                    say(0, f"drawing {figure.name}")
                    save(figure, out, style=chosen["style"])
            if chosen["report"]:
                say(0, "writing the report")
                (out / "report.html").write_text(html_page(analysis, command, chosen["style"]), encoding="utf-8")
                (out / "report.md").write_text(markdown(analysis, command), encoding="utf-8")
    except OSError as error:
        raise Failure(f"{error.filename or out} cannot be written: {error.strerror or error}") from error
    click.echo(f"written to {out}: {len(list(out.iterdir()))} files", err=True)


def _print(found: list[Table]) -> None:
    from workbench.analysis.output import cell

    for table in (table for table in found if table.name in _SHOWN):
        click.echo(click.style(table.title, bold=True))
        rows = [[_short(name) for name in table.columns], *([cell(value) for value in row] for row in table.rows)]
        for part in _parts(rows, shutil.get_terminal_size().columns):
            print_table(part[0], part[1:], right=tuple(range(1, len(part[0]))), cut=(0,))
        click.echo(f"{_wrapped(table.note)}\n" if table.note else "")


def _short(name: str) -> str:
    return name if len(name) <= _WIDEST else f"{name[: _WIDEST - 1]}…"


def _parts(rows: Sequence[Sequence[str]], width: int) -> Iterator[list[list[str]]]:
    """A table as several that fit side by side on a terminal, each of which begins with the first column."""
    first, *others = zip(*rows, strict=True)
    left = room = width - min(max(map(len, first)), width // 3)
    part = [first]
    for column in others:
        needs = max(map(len, column)) + 2
        if needs > left and len(part) > 1:
            yield [list(row) for row in zip(*part, strict=True)]
            part, left = [first], room
        part.append(column)
        left -= needs
    yield [list(row) for row in zip(*part, strict=True)]


def _plot(analysis: Analysis) -> None:
    from workbench.analysis.plot import plot_profiles
    from workbench.analysis.summary import WHICH

    for which in WHICH:
        click.echo(plot_profiles(analysis, which, shutil.get_terminal_size().columns, 20))
