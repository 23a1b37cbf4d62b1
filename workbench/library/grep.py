"""Search in what agents did, were shown and thought, over many runs."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from workbench.errors import WorkbenchError
from workbench.formats.open import open_recording
from workbench.library.expression import Expression, TooSlow
from workbench.session import events as ev
from workbench.session.recording import RecordingError
from workbench.session.run import Run

_MOST_IN_A_TEXT = 20
"""Lines of one text that are told of."""
_LONGEST_LINE = 400
PLACES = ("action", "output", "thought")


class PatternError(WorkbenchError):
    """What is no regular expression."""


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A line that matches."""

    path: str
    """As in `Run.path`."""
    task: str
    model: str
    step: int
    where: str
    """`action`, `output` or `thought`."""
    line: int
    """In that text, from 1."""
    text: str
    """The line, or what of it is around the match."""
    match: str = ""
    """What of it matches."""


def pattern(text: str, *, ignore_case: bool = False, fixed: bool = False) -> Expression:
    """What is looked for. Raises PatternError."""
    try:
        return Expression(re.escape(text) if fixed else text, re.MULTILINE | (re.IGNORECASE if ignore_case else 0))
    except ValueError as error:
        raise PatternError(
            f"{text!r} is no regular expression: {error}", "say --fixed to look for it as it is"
        ) from error


def grep(
    wanted: Expression,
    runs: Iterable[Run],
    places: Iterable[str] = PLACES,
    tell: Callable[[Run], None] = lambda run: None,
) -> Iterator[Hit]:
    """The hits in runs, as they are found. `tell` is called with each run before it is read. `wanted.given_up` says how
    many texts were left before their end.
    """
    looked_in = frozenset(places)
    for run in runs:
        tell(run)
        if run.status == "damaged":
            continue
        try:
            events = open_recording(Path(run.path), bare=True).events
        except RecordingError:
            continue
        for event in events:
            for where, step, text in _texts(event):
                if where in looked_in:
                    with contextlib.suppress(TooSlow):
                        yield from _hits(wanted, run, step, where, text)


def _texts(event: ev.Event) -> Iterator[tuple[str, int, str]]:
    if isinstance(event, ev.ActionProposed):
        yield "thought", event.step, event.thought
        yield "action", event.step, event.action
    elif isinstance(event, ev.ActionEdited):
        yield "action", event.step, event.after
        yield "thought", event.step, event.thought_after or ""
    elif isinstance(event, ev.ActionFinished):
        yield "output", event.step, event.observation


def _hits(wanted: Expression, run: Run, step: int, where: str, text: str) -> Iterator[Hit]:
    found, line, counted = 0, 1, 0
    place = 0
    while found < _MOST_IN_A_TEXT and (match := wanted.search(text, place)) is not None:
        start = text.rfind("\n", 0, match.start()) + 1
        end = text.find("\n", match.start())
        end = len(text) if end < 0 else end
        line += text.count("\n", counted, start)
        counted = start
        first = max(start, min(match.start() - _LONGEST_LINE // 4, end - _LONGEST_LINE))
        yield Hit(
            path=run.path, task=run.task, model=run.model, step=step, where=where, line=line,
            text=text[first : min(end, first + _LONGEST_LINE)], match=text[match.start() : min(match.end(), end)][:200],
        )  # fmt: skip
        found += 1
        place = end + 1
        if place > len(text):
            break
