"""Tables as text: CSV, JSON, Markdown, LaTeX (booktabs)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from workbench.analysis.summary import Table
from workbench.text import number, visible


def csv_text(table: Table) -> str:
    """As CSV. Numbers stand in full, missing values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([table.columns, *table.rows])
    return text.getvalue()


def write_csv(table: Table, path: Path) -> None:
    """Write `path`. Raises OSError."""
    path.write_text(csv_text(table), encoding="utf-8")


def as_records(table: Table) -> list[dict[str, Any]]:
    """One object for each row; what JSON has no number for is None."""
    return [
        {name: None if isinstance(value, float) and not math.isfinite(value) else value
         for name, value in zip(table.columns, row, strict=True)}
        for row in table.rows
    ]  # fmt: skip


def json_text(table: Table) -> str:
    """As JSON, with title and note."""
    value = {"title": table.title, "note": table.note, "rows": as_records(table)}
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def cell(value: Any) -> str:
    """A value for people: numbers with four digits."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    return visible(str(value))


def md_text(table: Table) -> str:
    """As a table of Markdown."""
    lines = [f"### {_md(table.title)}", "", "| " + " | ".join(map(_md, table.columns)) + " |"]
    lines.append("|" + "|".join("---:" if i else "---" for i in range(len(table.columns))) + "|")
    lines += ["| " + " | ".join(_md(cell(value)) for value in row) + " |" for row in table.rows]
    return "\n".join([*lines, "", *([table.note, ""] if table.note else [])])


def _md(text: str) -> str:
    return "".join("\\" + c if c in "\\`*_{}[]<>#|" else c for c in text.replace("\n", " "))


_TEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--"}  # fmt: skip


def tex_text(table: Table) -> str:
    """As a table of LaTeX, which needs the package booktabs."""

    def line(values: list[Any]) -> str:
        return " & ".join("".join(_TEX.get(c, c) for c in cell(value)) for value in values) + r" \\"

    return "\n".join([
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}", r"\toprule", line(table.columns), r"\midrule",
        *map(line, table.rows), r"\bottomrule", r"\end{tabular}", *([f"% {table.note}"] if table.note else []), "",
    ])  # fmt: skip


WRITERS: dict[str, Callable[[Table], str]] = {"csv": csv_text, "json": json_text, "md": md_text, "tex": tex_text}
"""Format → how a table is written in it."""
