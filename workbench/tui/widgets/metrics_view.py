"""What training programs printed: the curves of the shown step, as they grow while its command runs, and over steps."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from string import ascii_lowercase
from typing import ClassVar, NamedTuple

from textual.binding import BindingType
from textual.content import Content

from workbench.library.curves import is_loss, points_of
from workbench.session.events import MetricLogged
from workbench.tui.actions import bindings_of, keyed
from workbench.tui.text import one_line, wrapped
from workbench.tui.widgets.line_view import Line, PanelView
from workbench.tui.widgets.pane import Retitled
from workbench.tui.workers import work_on

_LEAST_ROWS, _MOST_ROWS, _LEAST_COLUMNS = 8, 16, 54
_MOST_PLOTS = 24
_MOST_POINTS = 4000
_SPLIT = re.compile(r"(?:^|(?<=[\W_]))(?:train(?:ing)?|valid(?:ation)?|val|test(?:ing)?|eval|dev)(?=[\W_]|$)", re.I)
_COLOURS = ("$primary", "$warning", "$success", "$error", "$secondary", "$accent")
_MUTED = "$foreground 55%"

Read = Callable[[int | None], Mapping[int, Sequence[MetricLogged]]]
"""The metrics of a step, or of all, by step. It takes a while where they stand in no event."""
Points = list[tuple[float, float]]


class _Wanted(NamedTuple):
    """What is to be seen, and in which size."""

    number: int
    live: Sequence[MetricLogged] | None
    used: str
    compared: bool
    width: int
    height: int


class MetricsView(PanelView):
    """A plot for each metric, with its kin of other splits. `=` shows each metric of all steps instead."""

    BINDINGS: ClassVar[list[BindingType]] = bindings_of({"metrics.compare": "compare"})

    def __init__(self, read: Read, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name for it)
        super().__init__(id=id)
        self._read = read
        self._wanted: _Wanted | None = None
        self._drawn: _Wanted | None = None
        self._drawing = False
        self.compared = False
        self.number = -1

    def show_step(self, number: int, live: Sequence[MetricLogged] | None = None, used: str = "") -> None:
        """Show the metrics of a step, drawn in a thread; `live`: of the command that runs in it, which uses `used`."""
        self.number = number
        self._wanted = _Wanted(number, live, used, self.compared, *self.size)
        if not self._drawing and self._wanted != self._drawn:
            self._drawing = True
            work_on(self, self._draw, group="metrics")

    async def _draw(self) -> None:
        """Draw what is wanted, and what was wanted meanwhile."""
        try:
            while (wanted := self._wanted) is not None and wanted != self._drawn and self.is_attached:
                lines = await asyncio.to_thread(self._made, wanted)
                self._drawn = wanted
                self.show(lines, place=(wanted.number, wanted.compared))
        finally:
            self._drawing = False

    def _made(self, wanted: _Wanted) -> list[Line]:
        live, width = wanted.live, max(30, wanted.width - 2)
        if wanted.compared:
            known = dict(self._read(None))
            if live:
                known[wanted.number] = live
            figures = _over_steps(known)
        else:
            figures = of_step(live if live is not None else self._read(wanted.number).get(wanted.number, ()))
        lines: list[Line] = []
        if wanted.used:
            lines += [Content.styled(row, _MUTED) for row in wrapped(f"uses {wanted.used}", width)]
        if figures:
            return [*lines, *drawn(figures, width, wanted.height - len(lines))]
        nothing = "(no step printed any metrics)" if wanted.compared else "(no metrics were printed in this step)"
        return [*lines, Content.styled("(no metrics so far)" if live is not None else nothing, _MUTED)]

    def _again(self) -> None:
        """Draw what is shown for another size, or in another way."""
        if self._wanted is not None:
            self.show_step(self._wanted.number, self._wanted.live, self._wanted.used)

    def on_resize(self) -> None:
        super().on_resize()
        self._again()

    def action_compare(self) -> None:
        """All steps that printed a metric, or the shown step again."""
        self.compared = not self.compared
        self._again()
        self.post_message(Retitled())

    @property
    def title(self) -> str:
        """For the border."""
        return "Metrics · over steps" if self.compared else f"Metrics · step {self.number}"

    @property
    def subtitle(self) -> str:
        """For the lower border: the keys."""
        other = "this step" if self.compared else "all steps"
        return keyed(f"{{metrics.compare}} {other} · {{prompt.close}} closes")


class Figure:
    """One plot: a title, and lines by what they are called."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.lines: dict[str, Points] = {}


def of_step(metrics: Sequence[MetricLogged]) -> list[Figure]:
    """A plot for each metric and its kin of other splits; losses first."""
    figures: dict[str, Figure] = {}
    for metric in sorted(metrics, key=lambda each: not is_loss(each.name)):
        if points := _points(metric):
            kin = re.sub(r"[\W_]+", "_", _SPLIT.sub("", metric.name)).strip("_").lower()
            last = metric.values[-1]
            at = metric.steps[-1]
            newest = "nan" if last is None else f"{last:.4g}"
            total = f"/{metric.total:g}" if metric.total and at is not None and at <= metric.total else ""
            where = f"at {at:g}{total}" if at is not None else ""
            figure = figures.setdefault(kin, Figure(where))
            figure.lines[f"{metric.name} {newest}{'' if where == figure.title else f' {where}'}"] = points
    return list(figures.values())


def _over_steps(known: Mapping[int, Iterable[MetricLogged]]) -> list[Figure]:
    """A plot for each metric, with a line for each step that printed it: the newest of them."""
    figures: dict[str, Figure] = {}
    for number in sorted(known, reverse=True):
        for metric in known[number]:
            figure = figures.setdefault(metric.name, Figure(metric.name))
            if len(figure.lines) < len(ascii_lowercase) and (points := _points(metric)):
                figure.lines[f"step {number}"] = points
    ordered = sorted(figures.values(), key=lambda each: (not is_loss(each.title), each.title))
    return [each for each in ordered if each.lines]


def _points(metric: MetricLogged) -> Points:
    """Over the program's own count; where it has none, over the order in which they came."""
    known = points_of(metric)
    points = [(at, value) for at, value in known if at is not None]
    points = points or [(float(place), value) for place, (_, value) in enumerate(known)]
    return points[:: len(points) // _MOST_POINTS + 1]  # a log may be anybody's


def drawn(figures: Sequence[Figure], width: int, height: int) -> list[Line]:
    """Plots below, and where there is room beside, each other."""
    from workbench.plotting import plot  # it takes long to import, in a thread

    columns = min(max(1, width // _LEAST_COLUMNS), len(figures))
    rows = -(-len(figures) // columns)
    each = max(_LEAST_ROWS, min(_MOST_ROWS, height // rows - 1))
    lines: list[Line] = []
    for first in range(0, min(len(figures), _MOST_PLOTS), columns):
        blocks = []
        for figure in figures[first : first + columns]:
            signs = ascii_lowercase if len(figure.lines) > 1 else "•"
            shown = dict(zip(signs, figure.lines.values(), strict=False))
            names = list(zip(signs, figure.lines, strict=False))
            block = plot(" ", shown, width // columns - 1, each)
            blocks.append([_heading(figure.title, names, width // columns - 2), *map(_coloured, block[1:])])
        lines += _side_by_side(blocks, width // columns)
    if len(figures) > _MOST_PLOTS:
        lines.append(Content.styled(f"(and {len(figures) - _MOST_PLOTS} more metrics)", _MUTED))
    return lines


def _heading(title: str, names: Sequence[tuple[str, str]], width: int) -> Content:
    parts: list[str | tuple[str, str]] = [(f" {one_line(title, 60)}  ", "bold")] if title else [" "]
    for place, (sign, name) in enumerate(names):
        parts += [(sign, f"bold {_COLOURS[place % len(_COLOURS)]}"), f" {one_line(name, 60)}  "]
    return Content.assemble(*parts).truncate(width, ellipsis=True)


def _coloured(row: str) -> Content:
    """A row of a plot: its lines in colours of the theme, which are not the only sign."""
    begin = max(row.find("│"), row.find("┤")) + 1
    end = row.rfind("│")
    if not 0 < begin < end:
        return Content.styled(row, _MUTED)
    parts: list[tuple[str, str]] = [(row[:begin], _MUTED)]
    for found in re.finditer(r"(\S)\1*| +", row[begin:end]):
        sign = found[0][0]
        colour = _COLOURS[0] if sign == "•" else _COLOURS[(ord(sign) - ord("a")) % len(_COLOURS)]
        parts.append((found[0], "" if sign == " " else colour))
    return Content.assemble(*parts, (row[end:], _MUTED))


def _side_by_side(blocks: Sequence[Sequence[Content]], width: int) -> list[Line]:
    rows: list[Line] = []
    for place in range(max(map(len, blocks))):
        cells = [block[place] if place < len(block) else Content("") for block in blocks]
        padded = [cell.pad_right(max(0, width - cell.cell_length)) for cell in cells[:-1]]
        rows.append(Content.assemble(*padded, cells[-1]))
    return rows
