"""Terminal recordings of asciinema, versions 2 and 3: what a screen showed, without the commands.

No action can be told from what was printed, so there are no steps; markers become notes. The third version counts
seconds from the event before, and may say how the shell ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from workbench.formats.building import TrajectoryBuilder
from workbench.formats.reading import number, record, text
from workbench.session.events import ClockPaused, NoteAdded
from workbench.session.files import open_file
from workbench.session.recording import Recording, RecordingError

SOURCE = "cast"
HEADER, DAMAGED = "header", "damaged"
_LONGEST_LINE = 16 << 20


def lines_of(path: Path) -> Iterator[tuple[float, str, Any]]:
    """The header, then each event: seconds since the beginning, which never go back, its code, and its data."""
    header: dict[str, Any] | None = None
    at = 0.0
    with os.fdopen(open_file(path, follow=True), "rb") as stream:
        while line := stream.readline(_LONGEST_LINE):
            if not line.strip() or line.startswith(b"#"):
                continue
            try:
                value = msgspec.json.decode(line)
            except (ValueError, RecursionError):
                value = None
            if header is None:
                header = record(value)
                yield 0.0, HEADER, header
                continue
            when = number(value[0]) if isinstance(value, list) and len(value) == 3 else None
            if when is None or not isinstance(value[1], str):
                yield at, DAMAGED, None
                continue
            at = max(at, at + when if header.get("version") == 3 else when)
            yield at, value[1], value[2]


def read_asciicast(path: Path, _sample: str = "") -> Recording:
    """Header, markers, duration and exit status of a recording. Raises RecordingError."""
    builder = TrajectoryBuilder(path, SOURCE)
    version, status, damaged = None, "", 0
    for at, code, data in lines_of(path):
        if code == HEADER:
            version = data.get("version")
            if version not in (2, 3):
                raise RecordingError(f"{path} is an asciicast of version {version!r}", "versions 2 and 3 can be read")
            builder.at(data.get("timestamp"))
            builder.start(text(data.get("title")) or path.stem, description=text(data.get("command")))
        builder.elapsed = at
        damaged += code == DAMAGED
        if code == "m":
            label = text(data)
            builder.emit(NoteAdded(text=f"{label} (at {at:.1f} s)" if label else f"a marker at {at:.1f} s"))
        elif code == "x" and version == 3:
            status = str(data)[:40]
    if damaged:
        builder.problems.append(f"{damaged} of its lines cannot be read, and are left out")
    builder.problems.append("a terminal recording holds what was printed, not the commands: there are no steps")
    builder.emit(ClockPaused(reason="the recording ends here"))
    builder.end(status)
    return Recording(builder.events, SOURCE, path, None, builder.problems)
