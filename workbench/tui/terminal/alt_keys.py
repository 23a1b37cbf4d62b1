"""Escape, alt and a key: what the shell's terminal must get is what the person's terminal sent.

A terminal sends alt with a key as escape and the key, which is also what a quick person types who leaves insert mode in
vim and goes on. Textual makes a name of it (`ctrl+left` of alt and b, `¡` of alt and 1, a mere `colon` of alt and `:`),
from which the two cannot be told again. So the key event carries them as well, see `raw_alt`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from textual import constants, events
from textual._xterm_parser import XTermParser

_ESCAPE = "\x1b"
_ESCAPE_SECONDS = 0.03
_BEGINS_SEQUENCE = frozenset("[O]P^_X" + _ESCAPE)
"""What follows escape in a longer sequence of a terminal."""


def raw_alt(event: events.Key) -> str:
    """Escape and the character that this key was; empty for any other key."""
    raw = getattr(event, "raw_alt", "")
    return raw if isinstance(raw, str) else ""


def keep_alt() -> None:
    """Have Textual's parser keep what it was sent, and wait for the rest of a sequence for less than a person takes
    between two keys. For the whole process; can be called again."""
    if "ESCDELAY" not in os.environ:
        vars(constants)["ESCAPE_DELAY"] = _ESCAPE_SECONDS
    if XTermParser._sequence_to_key_events is not _with_alt:
        setattr(XTermParser, "_sequence_to_key_events", _with_alt)  # noqa: B010 (mypy: a method is assigned to)


_plain = XTermParser._sequence_to_key_events


def _with_alt(self: XTermParser, sequence: str, alt: bool = False) -> Iterable[events.Key]:
    found = list(_plain(self, sequence, alt=alt))
    raw = _ESCAPE + sequence if alt else sequence
    if len(raw) != 2 or raw[0] != _ESCAPE:
        return found
    if not found and raw[1] not in _BEGINS_SEQUENCE:
        # Nothing more belongs to it: Textual would gather what comes next as well.
        found = list(_plain(self, raw[1], alt=True))
    for event in found:
        vars(event)["raw_alt"] = raw
    return found
