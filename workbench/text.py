"""Text of others made safe to show; counts, sizes and times in words. Every room says these alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
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


LONGEST_TIME = 1_000_000_000
"""Seconds that may be given: 31 years."""


def duration(text: str) -> float:
    """Seconds: of `90`, `90s`, `90m`, `4h`, `1h30m`. Raises ValueError, in a sentence, for what is no time over 0, and
    for more than LONGEST_TIME.
    """
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    parts = re.findall(r"(\d+(?:\.\d+)?)([dhms])", text.lower())
    whole = "".join(map("".join, parts)) == text.lower()
    seconds = 0.0
    with suppress(ValueError):
        seconds = sum(float(amount) * units[unit] for amount, unit in parts) if parts and whole else float(text)
    shown = text if len(text) < 60 else text[:59] + "…"
    if not seconds > 0:
        raise ValueError(f"{shown!r} is no time over 0; write 90s, 10m or 1h30m")
    if seconds > LONGEST_TIME:
        raise ValueError(f"{shown!r} is too long: {LONGEST_TIME:,} seconds (31 years) are the most")
    return seconds


def first_of(names: Sequence[str], most: int = 20) -> str:
    """The first of many names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def many(number: float, thing: str) -> str:
    """Like "1 message", "2 messages", "2.5 CPUs", "1,200 tokens"."""
    shown = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{shown} {thing}{'' if number == 1 else 'es' if thing.endswith('ch') else 's'}"


def megabytes(count: float) -> str:
    """Bytes in words, like "12 KB", "3.1 MB", "1,200 MB"."""
    size = count / (1 << 20)
    if size < 0.1:
        return f"{count / 1024:.0f} KB"
    return f"{size:,.0f} MB" if size >= 100 else f"{size:.1f}".removesuffix(".0") + " MB"


def number(value: float | None) -> str:
    """A score with four decimals, or four digits of one too large to read; a dash for none."""
    return "–" if value is None else f"{value:.4f}" if abs(value) < 1e9 else f"{value:.4g}"


def clock(value: float | None) -> str:
    """A time of the session: `0:07`, `12:40`, `1:02:03`; a dash for none."""
    if value is None:
        return "–"
    whole = int(min(value, 1e9))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


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
