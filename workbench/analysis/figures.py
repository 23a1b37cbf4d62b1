"""The figures of an analysis, drawn by matplotlib: PNG, SVG and PDF, each with its data as CSV.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), which the colour-blind can tell apart; lines differ
by their dashes as well, bars by their hatches. Text stays text in SVG and PDF. `--style FILE` (matplotlib's own format)
replaces any of it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from workbench.analysis.behaviour import action_counts, action_counts_by_step, exit_counts, failed, grouped, incomplete
from workbench.analysis.output import write_csv
from workbench.analysis.scores import BASELINE, Which, profile
from workbench.analysis.summary import Analysis, Table, aup_table, count_table
from workbench.errors import WorkbenchError
from workbench.session.run import Run
from workbench.text import clock, many

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

FORMATS = ("png", "svg", "pdf")
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000", "#999999")
_DASHES = ("-", "--", "-.", ":")
_HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--", "**")
_STYLE: dict[str, Any] = {
    "figure.figsize": (3.4, 2.5),  # inches: a column of a paper
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "savefig.bbox": "tight",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 6,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "svg.fonttype": "none",
    "svg.hashsalt": "mlgym-tui",
    "pdf.fonttype": 42,
}


class Figure(msgspec.Struct, frozen=True):
    """One figure: what is drawn, and how."""

    data: Table
    draw: Callable[[Axes], None]
    wide: float = 1.0
    """Times the width of a column."""

    @property
    def name(self) -> str:
        """Of its files."""
        return self.data.name


def figures(analysis: Analysis) -> Iterator[Figure]:
    """All figures for which there are data."""
    if analysis.sides["best"].scores.tasks:
        yield _profiles(analysis, "best")
        yield _profiles(analysis, "last")
        yield _areas(analysis)
        yield from _area_against_cost(analysis)
    exits = count_table(analysis, "exits", "How runs ended", exit_counts)
    yield _stacked(exits, "runs (one that ended in two ways counts twice)")
    yield _failed(analysis, "model")
    yield _failed(analysis, "task")
    yield _stacked(count_table(analysis, "actions", "Actions by kind", action_counts), "steps")
    yield _stacked(_actions_by_step(analysis), "runs", upright=True)
    for task in analysis.tasks:
        for axis in ("steps", "seconds"):
            yield from _scores_over(analysis, task, axis)
        yield from _people(analysis, task)


@contextmanager
def canvas(style: Path | None = None, wide: float = 1.0) -> Iterator[tuple[Canvas, Axes]]:
    """An empty figure in our style, or in `style`. Raises WorkbenchError when `style` cannot be used."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    own: dict[str, Any] = {}
    if style is not None:
        try:
            own = dict(mpl.rc_params_from_file(str(style), use_default_template=False).items())
        except (OSError, ValueError, UnicodeError) as error:
            raise WorkbenchError(f"the style {style} cannot be used: {error}") from error
    settings: Any = {**_STYLE, **own}
    with mpl.rc_context(settings):
        figure = Canvas(layout="constrained")
        width, height = figure.get_size_inches()
        figure.set_size_inches(width * wide, height)
        FigureCanvasAgg(figure)
        yield figure, figure.add_subplot()


def save(figure: Figure, folder: Path, formats: tuple[str, ...] = FORMATS, style: Path | None = None) -> list[Path]:
    """Write a figure in each format, and its data. Returns the files. Raises OSError."""
    data, *images = (folder / f"{figure.name}.{kind}" for kind in ("csv", *formats))
    write_csv(figure.data, data)
    _draw(figure, dict(zip(formats, images, strict=True)), style)
    return [data, *images]


def as_svg(figure: Figure, style: Path | None = None) -> str:
    """The figure as an SVG element to be put into a page."""
    text = io.StringIO()
    _draw(figure, {"svg": text}, style, transparent=True)
    return "<svg" + text.getvalue().partition("<svg")[2]


def _draw(figure: Figure, outs: Mapping[str, Path | io.StringIO], style: Path | None = None, **more: Any) -> None:
    """Draw it once, and write it in each of these formats."""
    with canvas(style, figure.wide) as (drawing, axes):
        figure.draw(axes)
        for kind, out in outs.items():
            drawing.savefig(out, format=kind, metadata=_undated(kind), **more)


def _undated(kind: str) -> dict[str, Any]:
    return {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})


def colour(place: int) -> str:
    """Of the so manieth competitor."""
    return _COLOURS[place % len(_COLOURS)]


def _legend(axes: Axes) -> None:
    """Beside the drawing, where it hides nothing."""
    if axes.get_legend_handles_labels()[0]:
        axes.figure.legend(loc="outside right upper")


def _name_rows(axes: Axes, rows: Sequence[Sequence[Any]]) -> None:
    """A bar for each row of a table, the first at the top, named by what stands in its first column."""
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.invert_yaxis()


def _bars(axes: Axes, place: int, sizes: Sequence[float], label: str, **more: Any) -> None:
    """The first or the second of two bars in each row."""
    at = [row + (place - 0.5) * 0.38 for row in range(len(sizes))]
    axes.barh(at, sizes, 0.38, label=label, color=colour(place), hatch=_HATCHES[place], **more)


def _line(place: int) -> dict[str, Any]:
    return {"color": colour(place), "linestyle": _DASHES[place // 2 % len(_DASHES)]}


# -- scores ------------------------------------------------------------------------------------------------------------


def _profiles(analysis: Analysis, which: Which) -> Figure:
    side = analysis.sides[which]
    names = side.scores.competitors()
    # A staircase: a point where it begins, at each step, and at its end.
    logs = np.log10(side.ratios)
    tau = np.unique(np.concatenate([[0.0, analysis.end], logs[(logs >= 0) & (logs <= analysis.end)].ravel()]))
    lines = {name: profile(side.ratios[:, place], tau) for place, name in enumerate(names)}
    rows: list[list[Any]] = [[float(t), *(float(lines[name][i]) for name in names)] for i, t in enumerate(tau)]
    title = f"Performance profile, {'best attempt' if which == 'best' else 'best submission'}"

    def draw(axes: Axes) -> None:
        for place, name in enumerate(names):
            axes.step(tau, lines[name], where="post", label=name, **_line(place))
        axes.set(xlabel="log10 of the ratio to the best", ylabel="share of tasks", title=title, ylim=(0, 1.02))
        _legend(axes)

    return Figure(Table(f"profiles_{which}", title, ["log10_ratio", *names], rows), draw)


def _areas(analysis: Analysis) -> Figure:
    rows = aup_table(analysis).rows

    def draw(axes: Axes) -> None:
        for number, which in enumerate(analysis.sides):
            middle = [row[1 + 3 * number] for row in rows]
            low, high = ([row[place + 3 * number] or row[1 + 3 * number] for row in rows] for place in (2, 3))
            spread = [np.subtract(middle, low), np.subtract(high, middle)]
            _bars(axes, number, middle, which, xerr=np.maximum(0, spread), error_kw={"linewidth": 0.8})
        _name_rows(axes, rows)
        axes.set(xlabel=f"AUP up to ratio 10^{analysis.end:g}", title="Area under the performance profile")
        _legend(axes)

    columns = ["model", "best", "best_low", "best_high", "last", "last_low", "last_high"]
    return Figure(Table("aup", "AUP with 95 % intervals", columns, rows), draw)


def _area_against_cost(analysis: Analysis) -> Iterator[Figure]:
    costs: dict[str, float] = {}
    for name, runs in grouped(analysis.runs, analysis.named).items():
        known = [run.cost for run in runs if run.cost is not None]
        if known and any(known):
            costs[name] = float(np.mean(known))
    names = [name for name in analysis.models if name in costs]
    if not names:
        return
    area = analysis.sides["best"].aup
    front = [n for n in names if not any(costs[m] <= costs[n] and area[m] > area[n] for m in names if m != n)]
    rows: list[list[Any]] = [[name, costs[name], area[name], name in front] for name in names]

    def draw(axes: Axes) -> None:
        ordered = sorted(front, key=lambda name: costs[name])
        axes.plot([costs[n] for n in ordered], [area[n] for n in ordered], color="0.6", linestyle="--", zorder=0)
        for place, name in enumerate(names):
            axes.plot(costs[name], area[name], "os^Dvp*h"[place % 8], color=colour(place), markersize=5)
            axes.annotate(name, (costs[name], area[name]), xytext=(4, 3), textcoords="offset points", fontsize=6)
        axes.set(xlabel="US dollars a run (mean)", ylabel="AUP (best)", title="AUP against cost, and its Pareto front")

    yield Figure(Table("aup_cost", "AUP against cost", ["model", "cost", "aup", "on_front"], rows), draw)


# -- behaviour ---------------------------------------------------------------------------------------------------------


def _stacked(data: Table, unit: str, *, upright: bool = False) -> Figure:
    """A bar for each row of a table, of a part for each of its columns but the first, which names the row."""
    rows = data.rows

    def draw(axes: Axes) -> None:
        end = np.zeros(len(rows))
        for place, kind in enumerate(data.columns[1:]):
            size = np.array([row[1 + place] for row in rows], dtype=float)
            if upright:
                axes.bar([row[0] for row in rows], size, 1.0, bottom=end, label=kind, color=colour(place))
            else:
                look: dict[str, Any] = {"color": colour(place), "hatch": _HATCHES[place % len(_HATCHES)]}
                axes.barh(range(len(rows)), size, left=end, label=kind, **look)
            end += size
        if upright:
            axes.set(xlabel=data.columns[0], ylabel=unit, title=data.title)
        else:
            _name_rows(axes, rows)
            axes.set(xlabel=unit, title=data.title)
        _legend(axes)

    return Figure(data, draw, wide=1.4)


def _failed(analysis: Analysis, by: str) -> Figure:
    names = analysis.models if by == "model" else analysis.tasks
    groups = grouped(analysis.runs, analysis.named if by == "model" else lambda run: run.task)
    rows: list[list[Any]] = [
        [name, len(groups.get(name, [])), sum(map(failed, groups.get(name, []))),
         sum(map(incomplete, groups.get(name, [])))]
        for name in names
    ]  # fmt: skip
    title = f"Failed and incomplete runs by {by}"

    def draw(axes: Axes) -> None:
        for place, what in enumerate(("failed", "incomplete")):
            _bars(axes, place, [row[2 + place] for row in rows], what)
        _name_rows(axes, rows)
        axes.set(xlabel="runs", title=title)
        _legend(axes)

    return Figure(Table(f"failed_by_{by}", title, [by, "runs", "failed", "incomplete"], rows), draw, wide=1.2)


def _actions_by_step(analysis: Analysis) -> Table:
    by_step = action_counts_by_step(analysis.runs)
    kinds = list(action_counts(analysis.runs))
    rows: list[list[Any]] = [[step, *(counts.get(kind, 0) for kind in kinds)] for step, counts in by_step.items()]
    return Table("actions_by_step", "Actions at each step", ["step", *kinds], rows)


# -- scores of one task ------------------------------------------------------------------------------------------------


def _scores_over(analysis: Analysis, task: str, axis: str) -> Iterator[Figure]:
    runs = [run for run in analysis.runs if run.task == task and any(score is not None for score in run.attempts)]
    rows: list[list[Any]] = [
        [analysis.named(run), run.ident, at, score]
        for run in runs
        for at, score in _trail(run, axis)
    ]  # fmt: skip
    if not rows:
        return
    baseline = next((run.baseline for run in runs if run.baseline is not None), None)
    title = f"{task}: score over {'steps' if axis == 'steps' else 'time'}"

    def draw(axes: Axes) -> None:
        seen: set[str] = set()
        for run in runs:
            name = analysis.named(run)
            place = analysis.models.index(name)
            points = _trail(run, axis)
            marker = {"marker": ".", "markersize": 3, "linewidth": 0.8, **_line(place)}
            axes.plot(*zip(*points, strict=True), label=None if name in seen else name, **marker)
            seen.add(name)
        if baseline is not None:
            axes.axhline(baseline, color="0.4", linestyle=":", linewidth=1, label=BASELINE)
        if max(abs(row[3]) for row in rows) > 1e4 * max(1.0, abs(baseline or 1.0)):
            axes.set_yscale("symlog")
        axes.set(xlabel="step" if axis == "steps" else "seconds of commands", ylabel=runs[0].metric, title=title)
        _legend(axes)

    yield Figure(Table(f"scores_{axis}_{_word(task)}", title, ["model", "run", axis, "score"], rows), draw)


def _trail(run: Run, axis: str) -> list[tuple[float, float]]:
    """(step or seconds, score) of each attempt."""
    passed = np.concatenate([[0.0], np.cumsum(run.seconds)])
    return [
        (float(step) if axis == "steps" else float(passed[min(step, len(passed) - 1)]), score)
        for step, score in zip(run.scored_at, run.attempts, strict=False)
        if score is not None
    ]


def _people(analysis: Analysis, task: str) -> Iterator[Figure]:
    runs = [run for run in analysis.runs if run.task == task and run.best is not None]
    if any(run.author == "human" for run in runs) and not all(run.author == "human" for run in runs):
        yield people(runs, task, analysis.named)


_MOST_TOLD = 30
"""Runs of which the figure says what they took."""


def draw_people(runs: Sequence[Run], task: str, file: Path, named: Callable[[Run], str]) -> None:
    """The figure of the people and agents of a task, as a file. Raises OSError."""
    _draw(people(runs, task, named), {file.suffix.lstrip(".").lower(): file})


def people(runs: Sequence[Run], task: str, named: Callable[[Run], str]) -> Figure:
    """The best of each run of a task, of people and of agents, and what it took: steps, and seconds of work."""
    rows: list[list[Any]] = [[named(run), run.author == "human", run.best, run.steps, run.working] for run in runs]
    names = sorted({row[0] for row in rows}, key=lambda name: (not any(r[1] for r in rows if r[0] == name), name))
    baseline = next((run.baseline for run in runs if run.baseline is not None), None)
    title = f"{task}: people and agents"

    def draw(axes: Axes) -> None:
        for human, mark, label in ((True, "D", "people"), (False, "o", "agents")):
            those = [row for row in rows if row[1] == human]
            places = [names.index(row[0]) for row in those]
            if those:
                at = [row[2] for row in those]
                axes.plot(at, places, mark, color=colour(0 if human else 1), markersize=5, linestyle="", label=label)
        if baseline is not None:
            axes.axvline(baseline, color="0.4", linestyle=":", label=BASELINE)
        if len(rows) <= _MOST_TOLD:
            for who, _, best, steps, worked in rows:
                told = f"{many(steps, 'step')}, {clock(worked)}"
                place = (best, names.index(who))
                axes.annotate(told, place, (0, 5), textcoords="offset points", ha="center", fontsize="x-small")
        axes.legend(fontsize="x-small", frameon=False)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set(xlabel=runs[0].metric, title=title)

    return Figure(Table(f"people_{_word(task)}", title, ["who", "human", "best", "steps", "worked"], rows), draw)


def _word(text: str) -> str:
    return "".join(c if c.isalnum() or c in "_-" else "_" for c in text)[:80]
