"""The places where a session holds what was searched for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from workbench.session.state import Step

_AROUND = 60
"""Characters of the line that are shown before a place, where it is long."""


class Hit(NamedTuple):
    """A place where the text was found."""

    step: int
    field: str
    """`thought`, `action` or `observation`."""
    place: int
    """Which of the places in that field, from 0."""
    line: str
    """The line that it stands in, or a part of it."""


def hits_in(step: Step, pattern: re.Pattern[str]) -> Iterator[Hit]:
    """The places in a step, as they stand on the screen."""
    action = step.action if step.action == step.proposed else f"{step.proposed}\n{step.action}"
    for field, text in (("thought", step.thought), ("action", action), ("observation", step.observation)):
        for place, found in enumerate(pattern.finditer(text)):
            begin = max(text.rfind("\n", 0, found.start()) + 1, found.start() - _AROUND)
            end = text.find("\n", found.end())
            yield Hit(step.number, field, place, text[begin : end if end >= 0 else None][:500])
