"""Plain output: tables, ages, and text of agents made harmless for a terminal."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from workbench.session.events import FinalScores, SessionEnded

_LEAST = 8
"""Characters to which a column is cut at most."""
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c\ud800-\udfff]")


def harmless(text: str) -> str:
    """`text` with control and bidirectional characters made visible, so that it cannot drive the terminal.

    Bytes of file names that are no text are made visible, too: they could not be printed.
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text.replace("\r\n", "\n"))


def print_json(value: Any) -> None:
    """`value` as JSON on stdout."""
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "replace")
    except RecursionError:
        from workbench.cli.errors import Failure

        raise Failure("it is nested too deeply to be printed") from None
    click.echo(harmless_json(text).decode())


_LET_STAND = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]"
)  # DEL, C1, and what sets the direction of writing


def harmless_json(text: bytes) -> bytes:
    """The same JSON, with the characters as escapes that JSON lets stand but a terminal may act upon."""
    return _LET_STAND.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), text)


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), cut: Sequence[int] = ()
) -> None:
    """Columns, as wide as they must be; those in `right` are aligned to the right, those in `cut` are cut where the
    table is wider than the terminal.
    """
    cells = [[harmless(cell).replace("\n", " ") for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(header), *cells]) for i in range(len(header))]
    over = sum(widths) + 2 * (len(widths) - 1) - shutil.get_terminal_size().columns
    while cut and over > 0 and max(widths[i] for i in cut) > _LEAST:
        widths[max(cut, key=lambda i: widths[i])] -= 1
        over -= 1
    for line in [list(header), *cells]:
        shown = [cell if len(cell) <= w else cell[: w - 1] + "…" for cell, w in zip(line, widths, strict=True)]
        padded = [
            cell.rjust(w) if i in right else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(shown, widths, strict=True))
        ]
        click.echo("  ".join(padded).rstrip())


def age(seconds: float) -> str:
    """Like "5 min"; a word for a script is in the JSON."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def number(value: float | None) -> str:
    """A score, or a dash."""
    return "–" if value is None else f"{value:.4f}" if abs(value) < 1e15 else f"{value:.4g}"


def ending(ended: SessionEnded) -> str:
    """How a session ended, and why where something is to be said of it."""
    why = f": {harmless(ended.reason)}" if ended.reason else ""
    return f"{ended.exit_status} after {ended.steps} {'step' if ended.steps == 1 else 'steps'}{why}"


def standing(scores: FinalScores) -> str:
    """Metric, last and best score, baseline; with the split of the data where last and best are of different ones."""
    mixed = bool(scores.last_split and scores.best_split) and scores.last_split != scores.best_split
    last = number(scores.last) + (f" ({scores.last_split})" if mixed else "")
    best = number(scores.best) + (f" ({scores.best_split})" if mixed else "")
    worse = " ▼ worse than the baseline" if scores.worse_than_baseline else ""
    caveats = "".join(f" ({caveat})" for caveat in scores.caveats)
    return harmless(
        f"{scores.metric or 'score'}: last {last}, best {best}{worse}, baseline {number(scores.baseline)}{caveats}"
    )
