"""The metrics that training programs printed: in a file, or in the steps of a session."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from workbench.formats.open import format_of
from workbench.formats.table import is_mlgym
from workbench.library.curves import points_of
from workbench.library.training import OwnPattern, Parser, Reading, own_patterns
from workbench.session.cast import CAST_FILE, LONGEST_LINE, Cast
from workbench.session.files import open_file
from workbench.session.recording import Recording
from workbench.session.state import SessionState, Step
from workbench.text import visible

_CHUNK = 1 << 16
_ROUNDING = 1e-3
"""Seconds by which the times of events and of the cast may differ."""


def is_terminal(path: Path) -> bool:
    """Whether it holds what a terminal showed: an asciicast, or a file that is no session. Raises OSError."""
    with os.fdopen(open_file(path, follow=True), "rb") as stream:
        head = stream.read(1 << 16)
    known = head.strip() and format_of(path).name
    return known == "cast" or (known == "mlgym" and not is_mlgym(head) and b'"trajectory"' not in head)


def of_file(path: Path, patterns: Sequence[OwnPattern] = ()) -> Iterator[Reading]:
    """Those of a raw recording or of an asciicast. Raises OSError."""
    with os.fdopen(open_file(path, follow=True), "rb") as stream:
        first = stream.readline(LONGEST_LINE)
        if first.startswith(b"{") and b'"version"' in first:
            pieces: Iterable[bytes] = (text.encode(errors="replace") for text in Cast(path).printed())
        else:
            stream.seek(0)
            pieces = iter(lambda: stream.read(_CHUNK), b"")
        yield from _read(pieces, patterns)


def of_session(
    recording: Recording, state: SessionState, step: int | None = None, patterns: Sequence[OwnPattern] = ()
) -> Iterator[Reading]:
    """Those of its steps, or of one. Raises OSError."""
    patterns = patterns_of(state, patterns)
    for each in state.steps:
        if step is None or each.number == step:
            yield from of_step(recording.folder, each, patterns)


def patterns_of(state: SessionState, more: Sequence[OwnPattern] = ()) -> list[OwnPattern]:
    """What finds metrics in its steps beside what is known of programs: one's own patterns, and those of its task."""
    return [*more, *own_patterns(state.started.printed_metrics if state.started is not None else ())]


def of_step(folder: Path | None, step: Step, patterns: Sequence[OwnPattern] = ()) -> Iterator[Reading]:
    """Those of a step of the session in `folder`: from what the shell printed, else from its events, else from the
    observation. Raises OSError.
    """
    if is_scoring(step.action):
        return
    cast = None
    if folder is not None:
        with contextlib.suppress(OSError):  # an imported session has none
            cast = Cast(folder / CAST_FILE)
    if cast is None and step.metrics:
        yield from _kept(step)
    else:
        for reading in _read(_printed(cast, step), patterns, step.action):
            yield msgspec.structs.replace(reading, at=step.number)


def _kept(step: Step) -> Iterator[Reading]:
    """What its events hold."""
    for event in step.metrics:
        for at, value in points_of(event):
            yield Reading(event.name, at, value, event.split, None, event.total, step.number)


def is_scoring(action: str) -> bool:
    """Whether an evaluation answers it, whose scores are known otherwise."""
    return action.split(maxsplit=1)[:1] in (["validate"], ["submit"])


def at_prompt(action: str) -> str:
    """The action as the terminal shows it before its output."""
    return visible(action.rstrip("\n")).replace("\n", "\r\n> ") + "\r\n" if action else ""


def _printed(cast: Cast | None, step: Step) -> Iterator[bytes]:
    if cast is None or step.cast is None:
        yield step.observation.encode(errors="replace")
        return
    begin, end = step.cast
    for text in cast.printed(begin - _ROUNDING, end + _ROUNDING):
        yield text.encode(errors="replace")


def _read(pieces: Iterable[bytes], patterns: Sequence[OwnPattern], action: str = "") -> Iterator[Reading]:
    parser = Parser(at_prompt(action), patterns)
    for piece in pieces:
        yield from parser.feed(piece)
    yield from parser.close()
