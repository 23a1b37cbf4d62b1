"""Submissions that are tables. The workbench reads them as text, row by row, and runs no code of theirs. Rows are
matched by an id, in any order, or are in the order of the data. What is wrong is said with the line or the ids that it
is about.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from workbench.tasks.submission import Failure

MAX_ROWS = 1_000_000
MAX_FIELD = 10_000
MAX_NUMBER = 1e100
"""Larger ones would overflow when squared; no sensible prediction comes near."""
_SHOWN = 5
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity|)", re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?\d{1,15}(\.0*)?", re.ASCII)
_WHOLE = re.compile(r"\d+\.0+", re.ASCII)


def read_predictions(
    data: bytes,
    name: str,
    *,
    key: str,
    column: str,
    wanted: Sequence[str],
    allowed: Iterable[str] = (),
    in_order: bool = False,
) -> dict[str, float]:
    """One finite number for each id in `wanted`. `name` is the file's, for messages.

    Ids in `allowed` (of another split) may be there too. With `in_order`, a table without ids is taken to have the rows
    of `wanted`, in that order. Raises Failure("invalid") for anything else: columns, rows or ids that are missing,
    doubled or unknown, values that are no finite numbers.
    """
    problems: list[str] = []
    if in_order and key not in columns_of(data, name):
        found = _by_row(data, name, column, wanted)
    else:
        found, problems = _by_id(data, name, key, column, wanted, allowed)
    numbers: dict[str, float] = {}
    not_finite: list[str] = []
    no_number: list[str] = []
    for ident in wanted:
        line, value = found.get(ident, (0, "0"))
        value = value.strip()
        if _NOT_FINITE.fullmatch(value):
            not_finite.append(f"{ident} ({value or 'empty'})")
        elif not _NUMBER.fullmatch(value):
            no_number.append(f"{ident} ({value[:40]!r}, line {line})")
        elif not math.isfinite(number := float(value)) or abs(number) > MAX_NUMBER:
            not_finite.append(f"{ident} ({value[:40]})")
        else:
            numbers[ident] = number
    problems += [_count(not_finite, column, "not finite", f"{key} "), _count(no_number, column, "no number", f"{key} ")]
    _raise_for(name, problems)
    return numbers


def read_texts(
    data: bytes, name: str, *, key: str, column: str, wanted: Sequence[str], allowed: Iterable[str] = ()
) -> dict[str, str]:
    """A text for each id in `wanted`, which may be empty; otherwise as `read_predictions`."""
    found, problems = _by_id(data, name, key, column, wanted, allowed)
    _raise_for(name, problems)
    return {ident: found[ident][1] for ident in wanted}


def read_labels(data: bytes, name: str, *, column: str, rows: int, classes: int) -> list[int]:
    """A whole number from 0 to `classes` - 1 for each row of the data, in their order; other columns are ignored.

    Raises Failure("invalid") for rows that are missing or too many, and values that are no such numbers.
    """
    labels: list[int] = []
    not_there: list[str] = []
    no_number: list[str] = []
    outside: list[str] = []
    for number, (line, (value,)) in enumerate(_rows(data, name, (column,))):
        value = value.strip()
        if _NOT_FINITE.fullmatch(value):
            not_there.append(f"{number} ({value or 'empty'})")
        elif not _INTEGER.fullmatch(value):
            no_number.append(f"{number} ({value[:40]!r}, line {line})")
        elif not 0 <= (label := int(float(value))) < classes:
            outside.append(f"{number} ({value})")
        else:
            labels.append(label)
    got = len(labels) + len(not_there) + len(no_number) + len(outside)
    first, last = min(got, rows), max(got, rows) - 1
    those = f"row {first}" if first == last else f"rows {first} to {last}"
    off = f"{those} (counted from 0) {'missing' if got < rows else 'too many'}" if got != rows else ""
    _raise_for(
        name,
        [
            off and f"{got:,} rows, where the data have {rows:,}: {off}",
            _count(not_there, column, "missing", "row "),
            _count(no_number, column, "no whole number", "row "),
            _count(outside, column, f"not 0 to {classes - 1}", "row "),
        ],
    )
    return labels


def columns_of(data: bytes, name: str) -> list[str]:
    """The names in the first line. Raises Failure where that is no text."""
    return _open(data, name)[1]


def accuracy(predicted: Sequence[int], truth: Sequence[int]) -> float:
    """The share of predictions that are equal to the truth."""
    return sum(map(int.__eq__, predicted, truth)) / len(truth)


def root_mean_squared_error(predicted: Mapping[str, float], truth: Mapping[str, float]) -> float:
    """The root of the mean squared error over the ids of `truth`."""
    return math.sqrt(_squares(predicted[ident] - value for ident, value in truth.items()) / len(truth))


def r_squared(predicted: Mapping[str, float], truth: Mapping[str, float]) -> float:
    """1 for perfect predictions, 0 for predicting the mean, without a lower end."""
    mean = math.fsum(truth.values()) / len(truth)
    return 1.0 - _squares(predicted[ident] - value for ident, value in truth.items()) / _squares(
        value - mean for value in truth.values()
    )


def _squares(values: Iterable[float]) -> float:
    return math.fsum(value * value for value in values)


def _by_id(
    data: bytes, name: str, key: str, column: str, wanted: Sequence[str], allowed: Iterable[str]
) -> tuple[dict[str, tuple[int, str]], list[str]]:
    """Line and value of each id, and what is wrong with the ids. Raises Failure for what is no such table."""
    found: dict[str, tuple[int, str]] = {}
    doubled: list[str] = []
    for line, (ident, value) in _rows(data, name, (key, column)):
        ident = _plain(ident)
        if ident in found:
            doubled.append(ident)
        found[ident] = line, value
    known = {*wanted, *allowed}
    problems = [
        _count(doubled, key, "there more than once"),
        _count([ident for ident in found if ident not in known], key, "unknown"),
        _count([ident for ident in wanted if ident not in found], key, "missing"),
    ]
    return found, problems


def _by_row(data: bytes, name: str, column: str, wanted: Sequence[str]) -> dict[str, tuple[int, str]]:
    """As `_by_id`, for a table without ids."""
    rows = list(_rows(data, name, (column,)))
    if len(rows) != len(wanted):
        raise Failure("invalid", f"{name}: {len(rows):,} rows without an id, where the data have {len(wanted):,}")
    return {ident: (line, value) for ident, (line, (value,)) in zip(wanted, rows, strict=True)}


def _raise_for(name: str, problems: Iterable[str]) -> None:
    said = [problem for problem in problems if problem]
    if said:
        raise Failure("invalid", f"{name}: {'; '.join(said)}")


def _open(data: bytes, name: str) -> tuple[Any, list[str]]:
    """A reader of the rows after the first line, and the names in that. Raises Failure."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Failure("invalid", f"{name}, line {line}: not UTF-8 text: write it as a CSV file") from None
    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [field.strip() for field in next((row for row in reader if row), [])]
    except csv.Error as error:
        raise Failure("invalid", f"{name}, line {reader.line_num}: {error}") from None
    return reader, header


def _rows(data: bytes, name: str, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """The line and the values of the columns, for each row. Raises Failure."""
    reader, header = _open(data, name)
    for wanted in columns:
        if header.count(wanted) != 1:
            how = "has no" if wanted not in header else "has more than one"
            there = ", ".join(header)[:200] or "nothing"
            raise Failure("invalid", f"{name} {how} column {wanted}; the first line must name {','.join(columns)} "
                          f"(it has {there})")  # fmt: skip
    places = [header.index(wanted) for wanted in columns]
    try:
        for number, row in enumerate(reader):
            if not row:
                continue
            if len(row) != len(header):
                raise Failure(
                    "invalid",
                    f"{name}, line {reader.line_num}: {len(row)} fields, where the first line has {len(header)}",
                )
            if number >= MAX_ROWS:
                raise Failure("invalid", f"{name} has more than {MAX_ROWS:,} rows")
            yield reader.line_num, [row[place] for place in places]
    except csv.Error as error:
        raise Failure("invalid", f"{name}, line {reader.line_num}: {error}") from None


def _plural(name: str) -> str:
    return name if name.endswith("s") else f"{name}s"


def _plain(ident: str) -> str:
    """An id in its plain form: without spaces, and 1461 where some libraries write 1461.0."""
    ident = ident.strip()
    return ident.partition(".")[0] if _WHOLE.fullmatch(ident) else ident


def _count(items: Sequence[str], subject: str, what: str, where: str = "") -> str:
    """ "3 Ids are missing: 1, 2, 3"; empty for no items. `where` comes before them: "row "."""
    if not items:
        return ""
    shown = ", ".join(item[:80] for item in items[:_SHOWN]) + (", …" if len(items) > _SHOWN else "")
    if len(items) == 1:
        return f"1 {subject} is {what}: {where}{shown}"
    several = f"{what}s" if what.endswith("number") else what
    return f"{len(items):,} {_plural(subject)} are {several}: {'rows ' if where == 'row ' else where}{shown}"
