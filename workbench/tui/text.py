"""Untrusted text made fit for display.

What an agent or a container printed may hold escape sequences, characters that reorder what is read (bidi controls) and
characters that show nothing. None of them may act on the user's terminal or hide text from the reader, so each is shown
as a glyph of its own. The mapping is one character for one, so that columns of the shown text are offsets in the
original.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from unicodedata import category

from workbench.text import cell_width

TAB_SIZE = 8

BIDI_GLYPH = "⇄"
"""Stands for a bidi control (embedding, override, isolate, mark)."""

INVISIBLE_GLYPH = "∅"
"""Stands for a character that would take no room (zero-width space, word joiner, byte order mark, tag characters)."""

UNDECODABLE = "\N{REPLACEMENT CHARACTER}"
"""Stands for half a surrogate pair, which no terminal can be sent."""

C1_GLYPH = "\N{SYMBOL FOR SUBSTITUTE FORM TWO}"
"""Stands for a C1 control (U+0080 to U+009F), which some terminals obey as an escape sequence."""

_BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_INVISIBLE = "\u00ad\u180e\u200b\u2060\u2061\u2062\u2063\u2064\u206a\u206b\u206c\u206d\u206e\u206f\ufeff"

_CONTROLS = r"\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
_TAGS = r"\U000e0000-\U000e007f"
_UNSAFE = re.compile(f"[{_CONTROLS}{_TAGS}{_BIDI}{_INVISIBLE}]")


def _glyph(match: re.Match[str]) -> str:
    character = match.group()
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\N{SYMBOL FOR DELETE}"
    if code <= 0x9F:
        return C1_GLYPH
    if character in _BIDI:
        return BIDI_GLYPH
    if character in "\u2028\u2029":
        return "\N{SYMBOL FOR NEWLINE}"
    return UNDECODABLE if 0xD800 <= code <= 0xDFFF else INVISIBLE_GLYPH


def printable(text: str) -> str:
    """`text` with every character that is not plainly shown replaced by one glyph; tabs are kept.

    A newline is replaced as well (␊): split into lines first.
    """
    return _UNSAFE.sub(_glyph, text)


def display_line(text: str) -> str:
    """One line as it is drawn: `printable`, with tabs expanded to every eighth column."""
    return expand_tabs(_UNSAFE.sub(_glyph, text))


def expand_tabs(text: str) -> str:
    """A line with each tab as blanks up to the next eighth column."""
    if "\t" not in text:
        return text
    if text.isascii():
        return text.expandtabs(TAB_SIZE)
    parts, column = [], 0
    for part in text.split("\t"):
        column += sum(map(cell_width, part))
        blanks = TAB_SIZE - column % TAB_SIZE
        parts.append(part + " " * blanks)
        column += blanks
    parts[-1] = text.rpartition("\t")[2]
    return "".join(parts)


def one_line(text: str, limit: int = 200) -> str:
    """The text on a single line, for lists: newlines become ⏎, and what is longer than `limit` ends in an ellipsis."""
    head = text[: limit + 1].strip("\n").replace("\n", " ⏎ ").replace("\t", " ")
    shown = printable(head)
    return shown if len(text) <= limit and len(shown) <= limit else shown[: limit - 1] + "…"


def split_lines(text: str) -> list[str]:
    """Lines as a terminal or an editor counts them: cut at LF (and CR LF) only; a final newline starts no line."""
    if not text:
        return []
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines] if "\r\n" in text else lines


NARROW = re.compile(
    r"[\x00-\x08\x0a-\u02ff\u0370-\u0482\u048a-\u058f\u2010-\u2027\u2030-\u205e\u2190-\u2319\u2500-\u25fc\u27c0-\u2b1a]*"
)
"""Text of which every character is drawn in one column (most that is not East Asian): it need not be counted."""

_NOT_FIRST = frozenset(("Pe", "Pf", "Po", "Lm"))
"""Categories of the East Asian characters that do not begin a row: closing brackets, stops, marks of length."""


@lru_cache(64)
def _narrow_row(width: int) -> re.Pattern[str]:
    """A row up to a blank, with the blanks after it. Where the next word needs more than a row, or there is no blank,
    as many characters as have room.
    """
    to_a_blank = rf".{{1,{width}}}(?:\Z|(?= )|(?<= )) *"
    return re.compile(rf"(?s:(?=({to_a_blank}))\1(?![^ ]{{{width + 1}}})|.{{1,{width}}} *)")


def cuts(line: str, width: int) -> list[int]:
    """Where the rows of a printable line begin that is broken at words into rows of `width` columns.

    Blanks at a break stay in the row before it. A word with no room in a row of its own is broken anywhere; between
    East Asian characters a row may always end.
    """
    if len(line) * 2 <= width:
        return [0]
    if NARROW.fullmatch(line):
        return [match.start() for match in _narrow_row(width).finditer(line)] or [0]
    starts, used, after, place, before = [0], 0, 0, 0, " "
    for at, character in enumerate(line):
        size = cell_width(character)
        breaks = before == " " or (
            (_stands_alone(character) or _stands_alone(before)) and category(character) not in _NOT_FIRST
        )
        if at and breaks and character != " ":
            place, after = at, 0
        if used + size > width and character != " ":
            if place <= starts[-1]:
                place, after = at, 0
            if place > starts[-1]:
                starts.append(place)
                used = after
        used += size
        after += size
        before = character
    return starts


def _stands_alone(character: str) -> bool:
    """A wide character, before and after which a row may end; Korean has words between blanks."""
    return character > "\u10ff" and cell_width(character) == 2 and not "\uac00" <= character <= "\ud7a3"


def wrapped(line: str, width: int) -> list[str]:
    """A printable line as rows of at most `width` columns, without the blanks at their ends."""
    return [line[start:end].rstrip() for start, end in pairwise([*cuts(line, width), len(line)])]


_OWN_LINE = re.compile(r"\s|[-*•|>#]|\d+[.)]\s|```")


def flowed(text: str) -> list[str]:
    """Prose for any width: a paragraph that was broken for another one is joined; what is indented, or an item of a
    list, stays.
    """
    lines: list[str] = []
    joins = False
    for line in split_lines(text):
        own = not line.strip() or _OWN_LINE.match(line) is not None
        if joins and not own:
            lines[-1] += " " + printable(line.strip())
        else:
            lines.append(printable(line.rstrip()))
        joins = not own
    return lines
