"""The values of a metric as they come: thinned to a bounded number of points, with how long they have been rising."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from workbench.session.events import MetricLogged

if TYPE_CHECKING:
    from workbench.library.training import Reading

_MOST_NAMES = 200
_MOST_POINTS = 4000
"""Of a curve in a log, which may be anybody's."""
_BLOCKS = 13
"""Sizes of blocks by whose means a rise is judged: 1, 2, 4, … points."""
_IN_A_ROW = 7
"""Means of blocks that must rise one after the other: of values that only vary, one in 40,000 does so by chance."""


class Curve:
    """One metric of one command."""

    def __init__(self, first: Reading, most: int = 2000) -> None:
        """`most`: points that are kept: the first, the last, and evenly from between."""
        self.newest = first
        self.rising = 0
        """Over so many points it rose, up to now: point by point, or in the means of seven blocks of points or more."""
        self._most = most
        self._points: list[Reading] = []
        self._every, self._since = 1, 0
        self._blocks = [_Block(1 << power) for power in range(_BLOCKS)]
        self.add(first)

    def add(self, reading: Reading) -> None:
        """Take a value in."""
        self.newest = reading
        if not self._since:
            self._points.append(reading)
            if len(self._points) >= self._most:
                self._points = [_odd_one(*self._points[at : at + 2]) for at in range(0, len(self._points), 2)]
                self._every *= 2
        elif not math.isfinite(reading.value):  # what is no number is not thinned out
            self._points[-1] = _odd_one(self._points[-1], reading)
        self._since = (self._since + 1) % self._every
        if math.isfinite(reading.value):
            mean = reading.value
            for block in self._blocks:
                larger = block.add(mean)
                if larger is None:
                    break
                mean = larger
            self.rising = max(block.over for block in self._blocks)

    def event(self, step: int, most: int | None = None) -> MetricLogged:
        """What is logged of it in a step of the session, with at most so many points."""
        points = self._points if self._points[-1] is self.newest else [*self._points, self.newest]
        most = most or self._most
        if len(points) > most:
            points = [points[place * (len(points) - 1) // (most - 1)] for place in range(most)]
        return MetricLogged(
            step=step,
            name=self.newest.name,
            split=self.newest.split,
            steps=tuple(each.step for each in points),
            values=tuple(each.value if math.isfinite(each.value) else None for each in points),
            total=self.newest.total,
        )


class _Block:
    """The means of so many points each, and over how many points they rose one after the other."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._before = math.inf
        self._rises = 0
        self._half: float | None = None
        self.over = 0

    def add(self, mean: float) -> float | None:
        """Take the next mean in. Returns that of a block twice as large, where it is complete."""
        self._rises = self._rises + 1 if mean > self._before else 0
        self._before = mean
        self.over = self._rises * self._size if self._size == 1 or self._rises >= _IN_A_ROW else 0
        half, self._half = self._half, mean if self._half is None else None
        return None if half is None else (half + mean) / 2


class Curves:
    """All metrics of one command, by name: at most 200."""

    def __init__(self, readings: Iterable[Reading] = (), most: int = 2000) -> None:
        self.by_name: dict[str, Curve] = {}
        self._most = most
        self.add(readings)

    def add(self, readings: Iterable[Reading]) -> None:
        """Take values in."""
        for reading in readings:
            if (curve := self.by_name.get(reading.name)) is not None:
                curve.add(reading)
            elif len(self.by_name) < _MOST_NAMES:
                self.by_name[reading.name] = Curve(reading, self._most)

    @property
    def losses_first(self) -> list[Curve]:
        """In the order in which they came, but the losses before all others."""
        return sorted(self.by_name.values(), key=lambda curve: not is_loss(curve.newest.name))

    def events(self, step: int) -> Iterator[MetricLogged]:
        """What is logged of a step."""
        return (curve.event(step) for curve in self.by_name.values())


def of_event(event: MetricLogged) -> Curve | None:
    """The end of the curve that was logged; None where it has no points."""
    from workbench.library.training import Reading  # when first needed: its many patterns slow the start

    readings = [Reading(event.name, at, value, event.split) for at, value in points_of(event, _MOST_POINTS)]
    if not readings:
        return None
    curve = Curve(readings[0], len(readings) + 1)
    for reading in readings[1:]:
        curve.add(reading)
    return curve


def points_of(event: MetricLogged, most: int = 1 << 40) -> list[tuple[float | None, float]]:
    """(the program's own count, value) of what was logged, the last `most` of it; what is no number is NaN."""
    values = (math.nan if value is None else value for value in event.values[-most:])
    return list(zip(event.steps[-most:], values, strict=False))


def is_loss(name: str) -> bool:
    """Whether it should fall."""
    return "loss" in name.lower()


def _odd_one(first: Reading, second: Reading | None = None) -> Reading:
    """The one of two that is no number, else the first."""
    return second if second is not None and math.isfinite(first.value) and not math.isfinite(second.value) else first
