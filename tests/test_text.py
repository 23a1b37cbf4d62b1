"""Texts of others, made fit to be shown; counts in words."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from workbench.text import age, cell_width, first_of, many, megabytes, number, visible


def test_nothing_that_drives_a_terminal_or_deceives_is_left() -> None:
    every = "".join(map(chr, (*range(0x2100), 0xD800, 0xDFFF)))
    shown = visible(every)
    assert all(character.isprintable() or character in "\n\t" for character in shown if ord(character) < 0xA0)
    assert not set(shown) & set("\x1b\x9b\u061c\u200e\u202e\u2066\ud800\udfff")
    assert visible("a\tb\r\nc") == "a\tb\nc"
    assert visible("\x1b[2J\u202e\x9b\udce9") == "^[[2J<U+202E><U+009B><U+DCE9>"


@pytest.mark.parametrize("character", ["a", "é", "漢", "\u0301", "ᅡ", "🎉", "│", "한"])
def test_widths_are_those_that_are_drawn(character: str) -> None:
    assert cell_width(character) == cell_len(character)


def test_in_words() -> None:
    assert [many(count, "call") for count in (0, 1, 1200)] == ["0 calls", "1 call", "1,200 calls"]
    assert first_of("abc", 3) == "a, b, c" and first_of("abcde", 2) == "a, b and 3 more"
    assert many(2, "match") == "2 matches" and many(2.5, "CPU") == "2.5 CPUs"
    assert [age(seconds) for seconds in (5, 300, 7200, 200_000)] == ["5 s", "5 min", "2 h", "2 d"]
    values = (None, 0.5, -123456789.5, -5.0917e13)
    assert [number(value) for value in values] == ["–", "0.5000", "-123456789.5000", "-5.092e+13"]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(500, "0 KB"), (90_000, "88 KB"), (3_250_000, "3.1 MB"), (64 << 20, "64 MB"), (5 << 30, "5,120 MB")],
)
def test_sizes(count: int, shown: str) -> None:
    assert megabytes(count) == shown
