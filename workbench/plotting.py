"""Small plots as plain text: the one place that knows the library that draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby, zip_longest

Points = Sequence[tuple[float, float]]

_LARGEST = 1e15
"""Numbers beyond it are left out: their axis would say nothing of the others."""


def plot(title: str, lines: Mapping[str, Points], width: int, height: int) -> list[str]:
    """Rows of a plot with a line for each entry, drawn in its letter; what is no finite number leaves a gap. Without
    points, a remark in its place.
    """
    import plotext  # it takes long to import

    pieces = [(letter, piece) for letter, points in lines.items() for piece in _pieces(points)]
    if not pieces:
        return [title.center(width), "not known".center(width)]
    plotext.terminal.limit(False, False)
    figure = type(plotext.figure)(parent=plotext.terminal)
    figure.plot_size(width, height)
    figure.theme("colorless")
    for letter, points in pieces:
        xs, ys = zip(*points, strict=True)
        figure.draw(figure.signal(list(xs), list(ys), marker=letter).lines(True))
    figure.title(title)
    return [row.rstrip() for row in figure.build().string(colorless=True).rstrip("\n").split("\n")]


def beside(plots: Mapping[str, Mapping[str, Points]], width: int, height: int) -> list[str]:
    """Several plots by their titles, one beside the other."""
    each = width // len(plots)
    drawn = [plot(title, lines, each - 1, height) for title, lines in plots.items()]
    return ["".join(row.ljust(each) for row in rows).rstrip() for rows in zip_longest(*drawn, fillvalue="")]


def _pieces(points: Points) -> list[list[tuple[float, float]]]:
    """The points between gaps: plotext takes finite numbers only."""
    found = groupby(points, key=lambda at: all(math.isfinite(value) and abs(value) < _LARGEST for value in at))
    return [list(piece) for sound, piece in found if sound]
