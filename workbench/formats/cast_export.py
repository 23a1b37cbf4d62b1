"""Sessions as terminal recordings: asciicast v2, which asciinema 2 and 3 and the web player show.

A session of ours has its shell on record; others are written out as prompts and outputs. Steps become markers. Times
never go back, for players take the last event's as the end, and a last line that was cut off is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from workbench.formats.asciicast import lines_of
from workbench.formats.reading import moment, number, passing_folder, record
from workbench.session.cast import CAST_FILE
from workbench.session.files import is_file
from workbench.session.recording import Recording
from workbench.session.state import SessionState, fold

_COLUMNS, _ROWS = 120, 40
_TYPED = 0.5
"""Seconds that a step takes at least, where nothing says when it was."""


def write_cast(recording: Recording, _out: Path) -> bytes:
    """The session as lines of JSON."""
    state = fold(recording.events)
    shell = recording.folder / CAST_FILE if recording.folder is not None else recording.path
    recorded = recording.source == "cast" if recording.folder is None else is_file(shell)
    lines = list(lines_of(shell)) if recorded else []
    header = lines[0][2] if lines else {}
    events = [(at, code, data) for at, code, data in lines if code in ("o", "r", "m") and isinstance(data, str)]
    if not events:
        events = list(_written(state))
    else:
        starts = ((step.cast[0], "m", _label(step.number, step.action)) for step in state.steps[1:] if step.cast)
        events = sorted([*events, *starts], key=lambda event: event[0])
    term = record(header.get("term"))
    head = {
        "version": 2,
        "width": int(number(header.get("width", term.get("cols"))) or _COLUMNS),
        "height": int(number(header.get("height", term.get("rows"))) or _ROWS),
        "timestamp": int(moment(state.started.time) or 0) if state.started else 0,
        "title": recording.name,
        "env": {"TERM": "xterm-256color", "SHELL": "/bin/bash"},
    }
    written = [msgspec.json.encode(head)]
    written += [msgspec.json.encode([round(at, 6), kind, data]) for at, kind, data in events]
    return b"\n".join(written) + b"\n"


def shown_cast(recording: Recording) -> Path:
    """A terminal recording of another program as a file that our terminal shows; it goes with this process."""
    folder = passing_folder()
    (folder / CAST_FILE).write_bytes(write_cast(recording, folder))
    return folder / CAST_FILE


def _written(state: SessionState) -> Iterator[tuple[float, str, str]]:
    at = 0.0
    for step in state.steps[1:]:
        at = max(at, step.started)
        yield at, "m", _label(step.number, step.action)
        yield at, "o", _terminal(f"$ {step.action.rstrip()}\n")
        at = max(at + _TYPED, step.finished)
        if step.status == "rejected":
            yield at, "o", _terminal(f"(not run: {step.comment or 'rejected'})\n")
        elif step.observation:
            yield at, "o", _terminal(step.observation.rstrip("\n") + "\n")


def _label(number_: int, action: str) -> str:
    return f"{number_}: {action.strip().partition(chr(10))[0][:60]}"


def _terminal(said: str) -> str:
    """As a terminal gets it: what could drive one is spelt out."""
    from workbench.text import visible

    return visible(said).replace("\n", "\r\n")
