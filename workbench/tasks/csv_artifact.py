"""Submissions that are tables: read as text, by us, row by row; no code of theirs is run.

Rows are matched by an id, in any order. What is wrong is said with the line or the ids that it is about.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from workbench.tasks.submission import Failure

MAX_ROWS = 1_000_000
MAX_FIELD = 10_000
MAX_NUMBER = 1e100
"""Larger ones would overflow when squared; no sensible prediction comes near."""
_SHOWN = 5
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity|)", re.IGNORECASE)
_WHOLE = re.compile(r"\d+\.0+", re.ASCII)


def read_predictions(
    data: bytes,
    name: str,
    *,
    key: str,
    column: str,
    wanted: Sequence[str],
    allowed: Iterable[str] = (),
) -> dict[str, float]:
    """One finite number for each id in `wanted`. `name` is the file's, for messages.

    Ids in `allowed` (of another split) may be there too. Raises Failure("invalid") for anything else: columns, rows or
    ids that are missing, doubled or unknown, values that are no finite numbers.
    """
    found: dict[str, str] = {}
    lines: dict[str, int] = {}
    doubled: list[str] = []
    for line, ident, value in _rows(data, name, key, column):
        ident = _plain(ident)
        if ident in found:
            doubled.append(ident)
        found[ident] = value
        lines[ident] = line
    known = {*wanted, *allowed}
    problems = [
        _count(doubled, f"{key} is there more than once", f"{key}s are there more than once"),
        _count([ident for ident in found if ident not in known], f"{key} is unknown", f"{key}s are unknown"),
        _count([ident for ident in wanted if ident not in found], f"{key} is missing", f"{key}s are missing"),
    ]
    numbers: dict[str, float] = {}
    not_finite: list[str] = []
    no_number: list[str] = []
    for ident in wanted:
        value = found.get(ident, "0").strip()
        if _NOT_FINITE.fullmatch(value):
            not_finite.append(f"{ident} ({value or 'empty'})")
        elif not _NUMBER.fullmatch(value):
            no_number.append(f"{ident} ({value[:40]!r}, line {lines[ident]})")
        elif not math.isfinite(number := float(value)) or abs(number) > MAX_NUMBER:
            not_finite.append(f"{ident} ({value[:40]})")
        else:
            numbers[ident] = number
    problems += [
        _count(not_finite, f"{column} is not finite: {key}", f"{column}s are not finite: {key}", after=True),
        _count(no_number, f"{column} is no number: {key}", f"{column}s are no numbers: {key}", after=True),
    ]
    said = [problem for problem in problems if problem]
    if said:
        raise Failure("invalid", f"{name}: {'; '.join(said)}")
    return numbers


def root_mean_squared_error(predicted: Mapping[str, float], truth: Mapping[str, float]) -> float:
    """Over the ids of `truth`."""
    return math.sqrt(_squares(predicted[ident] - value for ident, value in truth.items()) / len(truth))


def r_squared(predicted: Mapping[str, float], truth: Mapping[str, float]) -> float:
    """1 for perfect predictions, 0 for predicting the mean, without a lower end."""
    mean = math.fsum(truth.values()) / len(truth)
    return 1.0 - _squares(predicted[ident] - value for ident, value in truth.items()) / _squares(
        value - mean for value in truth.values()
    )


def _squares(values: Iterable[float]) -> float:
    return math.fsum(value * value for value in values)


def _rows(data: bytes, name: str, key: str, column: str) -> Iterable[tuple[int, str, str]]:
    """(line, id, value) of each row. Raises Failure."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Failure("invalid", f"{name}, line {line}: not UTF-8 text: write it as a CSV file") from None
    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [field.strip() for field in next((row for row in reader if row), [])]
        for wanted in (key, column):
            if header.count(wanted) != 1:
                how = "has no" if wanted not in header else "has more than one"
                there = ", ".join(header)[:200] or "nothing"
                raise Failure("invalid", f"{name} {how} column {wanted}; the first line must name {key},{column} "
                              f"(it has {there})")  # fmt: skip
        at, value_at = header.index(key), header.index(column)
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
            yield reader.line_num, row[at], row[value_at]
    except csv.Error as error:
        raise Failure("invalid", f"{name}, line {reader.line_num}: {error}") from None


def _plain(ident: str) -> str:
    """An id as it is meant: without spaces, and 1461.0, as some libraries write it, is 1461."""
    ident = ident.strip()
    return ident.partition(".")[0] if _WHOLE.fullmatch(ident) else ident


def _count(items: Sequence[str], one: str, many: str, *, after: bool = False) -> str:
    """ "3 Ids are missing: 1, 2, 3"; empty for no items."""
    if not items:
        return ""
    shown = ", ".join(item[:80] for item in items[:_SHOWN]) + (", …" if len(items) > _SHOWN else "")
    text = f"{len(items):,} {one if len(items) == 1 else many}"
    return f"{text} {shown}" if after else f"{text}: {shown}"
