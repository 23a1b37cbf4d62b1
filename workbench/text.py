"""Texts of others made fit to be shown, and counts, sizes and times in words: what every room says alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal acts upon (but for newlines and tabs), what sets the direction of writing, and halves of surrogate
pairs, which stand for bytes that are no text."""


def visible(text: str) -> str:
    """The text with what could drive a terminal or deceive its reader spelt out: `^[` for escape, `<U+202E>`."""
    return _HIDDEN.sub(_spelt, text.replace("\r\n", "\n"))


def _spelt(found: re.Match[str]) -> str:
    code = ord(found[0])
    return "^" + chr(code ^ 0x40) if code < 0x80 else f"<U+{code:04X}>"


@lru_cache(8192)
def cell_width(character: str) -> int:
    """Columns of a terminal that a character takes: 2 for wide ones, 0 for accents that stand on the one before."""
    if " " <= character <= "~":
        return 1
    if unicodedata.east_asian_width(character) in "WF":
        return 2
    if "\u1160" <= character <= "\u11ff":
        return 0  # vowels and finals of Korean syllables
    return 0 if unicodedata.category(character) in ("Mn", "Me", "Cf", "Cc", "Zl", "Zp") and character != "\xad" else 1


def many(number: float, thing: str) -> str:
    """Like "1 message", "2 messages", "2.5 CPUs", "1,200 tokens"."""
    shown = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{shown} {thing}{'' if number == 1 else 'es' if thing.endswith('ch') else 's'}"


def number(value: float | None) -> str:
    """A score with four decimals; a dash for none."""
    return "–" if value is None else f"{value:.4f}" if abs(value) < 1e15 else f"{value:.4g}"


def age(seconds: float) -> str:
    """Like "5 min"."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known one, else all of them."""
    import difflib  # only where somebody erred

    by_case = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(name.casefold(), by_case, 1, cutoff=0.5)
    return f"did you mean {by_case[near[0]]!r}?" if near else f"there are {', '.join(by_case.values())}"
