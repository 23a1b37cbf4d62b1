"""Plain output: tables, JSON, a line of progress, and how a session ended."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.errors import Failure
from workbench.text import many, number, visible

if TYPE_CHECKING:
    from workbench.session.events import FinalScores, SessionEnded
    from workbench.session.run import Run


def print_json(value: Any, *, in_a_line: bool = False) -> None:
    """`value` as JSON on stdout: plain values, records and paths."""
    import msgspec

    try:
        plain = msgspec.to_builtins(value, enc_hook=str)
        text = json.dumps(plain, indent=None if in_a_line else 2, ensure_ascii=False).encode("utf-8", "replace")
    except RecursionError:
        raise Failure("it is nested too deeply to be printed") from None
    click.echo(harmless_json(text).decode())


def picked(record: object, names: str) -> dict[str, Any]:
    """Some fields of a record, for JSON."""
    return {name: getattr(record, name) for name in names.split()}


_LET_STAND = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]"
)  # DEL, C1, and what sets the direction of writing


def harmless_json(text: bytes) -> bytes:
    """The same JSON, with the characters as escapes that JSON lets stand but a terminal may act upon."""
    return _LET_STAND.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), text)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], **how: Sequence[int]) -> None:
    """A table as wide as it must be; in a terminal no wider than that, as far as it may be cut (see `text_columns`)."""
    for line in as_table(header, rows, **how):
        click.echo(line)


def as_table(header: Sequence[str], rows: Sequence[Sequence[str]], **how: Sequence[int]) -> Iterator[str]:
    """The lines of `print_table`."""
    from workbench.library.columns import table_lines, text_columns

    columns = text_columns([visible(name) for name in header], **how)
    cells = [[visible(cell).replace("\n", " ") for cell in row] for row in rows]
    whole = (1000, 24)  # in a pipe or a file: all that anybody means to be read
    yield from table_lines(cells, columns, shutil.get_terminal_size(whole).columns)


def ending(ended: SessionEnded) -> str:
    """How a session ended, and why where something is to be said of it."""
    why = f": {visible(ended.reason)}" if ended.reason else ""
    return f"{ended.exit_status} after {many(ended.steps, 'step')}{why}"


def standing(scores: FinalScores) -> str:
    """Metric, last and best score, baseline; with the split of the data where last and best are of different ones."""
    from workbench.session.events import AGAINST

    mixed = bool(scores.last_split and scores.best_split) and scores.last_split != scores.best_split
    last = number(scores.last) + (f" ({scores.last_split})" if mixed else "")
    best = number(scores.best) + (f" ({scores.best_split})" if mixed else "")
    found = scores.against_baseline or ("worse" if scores.worse_than_baseline else "")
    against = f" {AGAINST[found]} of " if found else ", baseline "
    caveats = "".join(f" ({caveat})" for caveat in scores.caveats)
    return visible(f"{scores.metric or 'score'}: last {last}, best {best}{against}{number(scores.baseline)}{caveats}")


class ProgressLine:
    """One line of standard error that is written over and over; nothing where that is no terminal, or a dumb one."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def __call__(self, fraction: float, text: str) -> None:
        if self._shown:
            from workbench.library.columns import fit

            share = f" {fraction:.0%}" if fraction > 0 else ""
            room = shutil.get_terminal_size().columns - len(share) - 1  # a line that wraps is not written over
            said = fit(visible(text).replace("\n", " "), room).rstrip()
            click.echo(f"\r\x1b[K{said}{share}", nl=False, err=True)

    def clear(self) -> None:
        """Take it off the screen."""
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)


@contextmanager
def progress_line() -> Iterator[ProgressLine]:
    """A line of progress, gone at the end."""
    line = ProgressLine()
    try:
        yield line
    finally:
        line.clear()


def read_runs(paths: Iterable[Path], *, whole: bool = False) -> list[Run]:
    """The rows of all runs. What is long is said as it goes on, and can be stopped."""
    from workbench.library.index import runs
    from workbench.signals import stoppable

    found: list[Run] = []
    with progress_line() as progress, stoppable():
        for run in runs(paths, whole=whole):
            found.append(run)
            if whole or len(found) % 50 == 0:
                progress(0, f"{len(found):,} runs read")
    return found
