"""Escape and a quick key after it reach the shell as they were typed."""

from __future__ import annotations

import pytest
from textual._xterm_parser import XTermParser
from textual.events import Key

from workbench.tui.terminal.alt_keys import keep_alt, raw_alt


def keys(typed: str) -> list[Key]:
    keep_alt()
    return [event for event in XTermParser().feed(typed) if isinstance(event, Key)]


@pytest.mark.parametrize("after", [":", "b", "1", "0", ".", "o", "G", "\x7f", "\r", "é"])
def test_alt_and_a_key_are_kept_as_they_came(after: str) -> None:
    assert [raw_alt(event) for event in keys("\x1b" + after)] == ["\x1b" + after]


def test_what_follows_is_not_gathered() -> None:
    found = keys("\x1b:wq\r\x1bu\x1bu")
    assert [raw_alt(event) or event.character for event in found] == ["\x1b:", "w", "q", "\r", "\x1bu", "\x1bu"]


@pytest.mark.parametrize(("typed", "name"), [("\x1b[A", "up"), ("\x1bOP", "f1"), ("\x1b[1;3A", "alt+up"), ("q", "q")])
def test_other_keys_are_as_before(typed: str, name: str) -> None:
    (event,) = keys(typed)
    assert (event.key, raw_alt(event)) == (name, "")
