"""metrics, plot: what training programs printed, as rows and as curves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import Command, Failure
from workbench.cli.options import json_option, pattern_option, read_session, session_argument
from workbench.cli.output import print_json, print_table, progress_line
from workbench.text import many, visible

if TYPE_CHECKING:
    from workbench.library.training import Reading

_step_option = click.option("--step", type=click.IntRange(min=0), metavar="N", help="Of that step of SESSION alone.")


@click.command(cls=Command)
@_step_option
@pattern_option
@json_option
@session_argument
def metrics(session: Path, step: int | None, printed_metrics: tuple[str, ...], as_json: bool) -> None:
    """Print the metrics that a training program printed.

    SESSION may also be a file: the raw output of a terminal (as `script` records it), or an asciicast. `step` is the
    program's own count: of steps, rounds, epochs or trials. What repaints itself is read repaint by repaint.

    Examples:
      mlgym-tui metrics last --step 4
      mlgym-tui metrics train.raw --json
    """
    found = list(_metrics(session, step, printed_metrics))
    if as_json:
        import msgspec

        print_json([{**msgspec.structs.asdict(each), "value": _finite(each.value)} for each in found])
    elif not found:
        click.echo(f"no metrics in {visible(session.name)}")
    else:
        placed = any(metric.at is not None for metric in found)
        rows = [
            [_short(metric.at)] * placed + [metric.name, _short(metric.step), f"{metric.value:g}", metric.split or "–"]
            for metric in found
        ]
        right = (0, 2, 3) if placed else (1, 2)
        print_table(["at"] * placed + ["name", "step", "value", "split"], rows, right=right, cut=(int(placed),))


@click.command(cls=Command)
@click.option("--metric", required=True, metavar="NAME", help="As `mlgym-tui metrics` names it.")
@_step_option
@pattern_option
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Draw it there (.png, .svg, .pdf)."
)
@json_option
@session_argument(many=True)
def plot(
    session: list[Path],
    metric: str,
    step: int | None,
    printed_metrics: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Draw the curve of a metric that SESSIONs printed.

    One curve for each step of a session that printed it, over the program's own step. Without --out, it is drawn in the
    terminal. SESSION may also be a file, as for `metrics`.

    Examples:
      mlgym-tui plot last --metric val_loss
      mlgym-tui plot 4f1c2a 9be01d --metric val_loss --out loss.svg
    """
    if out is not None and out.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise Failure(f"{out.name}: the name must end with .png, .svg or .pdf")
    curves: dict[str, list[tuple[float, float]]] = {}
    names: set[str] = set()
    for path in session:
        for found in _metrics(path, step, printed_metrics):
            names.add(found.name)
            if found.name == metric and found.step is not None:
                title = path.name if found.at is None else f"{path.name} step {found.at}"
                curves.setdefault(title, []).append((found.step, found.value))
    if not curves:
        known = f"; there are {', '.join(sorted(names)[:20])}" if names else "; nor any other metric"
        raise Failure(f"no {metric!r} was printed with a step{known}")
    if out is not None:
        _draw(curves, metric, out)
    if as_json:
        plain = {name: [(at, _finite(value)) for at, value in points] for name, points in curves.items()}
        print_json({"metric": metric, "curves": plain, "out": out})
    elif out is not None:
        click.echo(f"{many(len(curves), 'curve')} of {visible(metric)}: {visible(str(out))}")
    else:
        _print(curves, metric)


def _metrics(path: Path, step: int | None, printed_metrics: tuple[str, ...]) -> Iterator[Reading]:
    """Those of a session, or of any other file."""
    from workbench.library import metrics as library
    from workbench.library.training import OwnPattern
    from workbench.signals import stoppable

    own = [OwnPattern(pattern) for pattern in printed_metrics]

    with progress_line() as progress, stoppable():
        progress(0, f"reading {path.name}")
        raw = path.is_file() and library.is_terminal(path)
        if raw and step is not None:
            raise Failure(f"{path.name} is no session: it has no step {step}")
        if raw:
            yield from library.of_file(path, own)
            return
        recording, state = read_session(path)
        if step is not None and step > state.last_step:
            raise Failure(f"{path.name} has no step {step}: its last is {state.last_step}")
        yield from library.of_session(recording, state, step, own)


def _print(curves: dict[str, list[tuple[float, float]]], metric: str) -> None:
    import shutil

    from workbench.plotting import plot as drawn

    size = shutil.get_terminal_size()
    letters = "abcdefghijklmnopqrstuvwxyz"
    shown = dict(zip(letters, curves.values(), strict=False))
    for row in drawn(visible(metric), shown, min(size.columns, 120), min(max(size.lines - 4, 10), 24)):
        click.echo(row)
    for letter, name in zip(letters, curves, strict=False):
        click.echo(f"{letter} {visible(name)}")
    if len(curves) > len(letters):
        click.echo(f"and {len(curves) - len(letters)} more, which are not drawn", err=True)


def _draw(curves: dict[str, list[tuple[float, float]]], metric: str, out: Path) -> None:
    from workbench.analysis.figures import canvas, colour

    with canvas() as (figure, axes):
        for place, (name, points) in enumerate(curves.items()):
            steps, values = zip(*points, strict=True)
            axes.plot(steps, values, color=colour(place), label=visible(name).replace("$", r"\$"))
        axes.set(xlabel="step", ylabel=visible(metric).replace("$", r"\$"))
        if len(curves) > 1:
            figure.legend(loc="outside right upper")
        figure.savefig(out, format=out.suffix[1:].lower())


def _finite(value: float) -> float | None:
    """JSON knows no NaN."""
    return value if math.isfinite(value) else None


def _short(value: Any) -> str:
    return "–" if value is None else f"{value:g}"
