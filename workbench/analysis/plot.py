"""Performance profiles drawn with characters."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from itertools import pairwise
from string import ascii_uppercase

from workbench.analysis.scores import Which, profile
from workbench.analysis.summary import Analysis
from workbench.plotting import Points, plot

_LOWEST = 6
"""Rows of a plot."""


def plot_profiles(analysis: Analysis, which: Which, width: int, height: int) -> str:
    """The profile of each competitor, drawn in a letter of its own; below it, whose letter it is."""
    import numpy as np

    side = analysis.sides[which]
    grid = np.linspace(0, analysis.end, 200)
    names = dict(zip(ascii_uppercase, side.scores.competitors(), strict=False))
    lines = {
        letter: _stairs(list(zip(grid.tolist(), profile(side.ratios[:, place], grid).tolist(), strict=True)))
        for place, letter in enumerate(names)
    }
    kind = "best attempt" if which == "best" else "best submission"
    return with_names(f"{kind}: share of tasks within a ratio, over its log10", lines, names, width, height)


def with_names(title: str, lines: Mapping[str, Points], names: Mapping[str, str], width: int, height: int) -> str:
    """A plot of lines, each in its letter, and below it what the letters stand for, in so many rows together."""
    width = max(20, width)
    named = textwrap.wrap("   ".join(f"{letter} {name}" for letter, name in names.items()), width)
    return "\n".join([*plot(title, lines, width, max(_LOWEST, height - len(named))), *named])


def _stairs(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A value holds until the next."""
    found = points[:1]
    for (_, before), (x, y) in pairwise(points):
        found += [(x, before), (x, y)]
    return found
