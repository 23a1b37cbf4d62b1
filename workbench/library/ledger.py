"""The score ledger as people read it: its lines as cells of a table, and how artifacts differ from those before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from workbench.session.diff import DiffLine, diff_lines
from workbench.session.objects import ObjectStore
from workbench.session.scores import Entry
from workbench.session.state import SessionState
from workbench.text import clock, number

LARGEST_TEXT = 1 << 20
"""Bytes of an artifact of which lines are compared."""
HEADINGS = ("step", "what", "author", "worked", "split", "score", "metrics", "artifact", "change")
FITTED = {"right": (0, 3, 5), "cut": (6,), "drop": (6, 7, 3, 4, 2, 8)}
"""How they are fitted into the room that there is (`text_columns`)."""

Read = Callable[[str], bytes | None]
"""The first bytes of an artifact by its hash, one more than `LARGEST_TEXT` at most; None where it is not there."""


def reader(folder: Path | None) -> Read:
    """Of the artifacts of a session of ours."""

    def read(digest: str) -> bytes | None:
        if folder is None:
            return None
        try:
            with ObjectStore(folder / "artifacts").open(digest) as stream:
                return stream.read(LARGEST_TEXT + 1)
        except (OSError, ValueError):
            return None

    return read


def cells(entry: Entry, change: str, state: SessionState) -> list[str]:
    """A line of the ledger; `*` marks the best."""
    found = entry.recorded
    primary = state.started.metric.name if state.started and state.started.metric else ""
    error = f" ± {number(found.standard_error)}" if found.standard_error is not None else ""
    score = f"{number(found.score)}{error}{' *' if entry.best else ''}" if found.verdict == "ok" else found.verdict
    others = [f"{name} {number(value)}" for name, value in found.metrics.items() if name != primary]
    instead = f"that of step {found.instead}, " if found.instead is not None else ""
    return [
        str(found.step), found.kind, entry.author or "–", clock(entry.clock),
        found.split, score, ", ".join(others), (found.artifact or "–")[:8], f"{instead}{change}",
    ]  # fmt: skip


def change_of(entry: Entry, read: Read) -> str:
    """How what was scored differs from what was scored before, in a few words."""
    now, before = entry.recorded.artifact, entry.artifact_before
    if now is None or before is None:
        return "first" if now else "–"
    if now == before:
        return "the same"
    lines = difference(entry, read)
    if lines is None:
        return "changed"
    return f"+{sum(line.mark == '+' for line in lines)} -{sum(line.mark == '-' for line in lines)} lines"


def difference(entry: Entry, read: Read) -> list[DiffLine] | None:
    """The lines of what was scored beside those of what was scored before; all are new in the first. None where either
    is no text, or not there.
    """
    texts = [
        [] if digest is None else _lines(read(digest)) for digest in (entry.artifact_before, entry.recorded.artifact)
    ]
    return None if None in texts else diff_lines(*(text or [] for text in texts))


def _lines(data: bytes | None) -> list[str] | None:
    if data is None or len(data) > LARGEST_TEXT or b"\0" in data:
        return None
    try:
        return data.decode().splitlines()
    except UnicodeDecodeError:
        return None
