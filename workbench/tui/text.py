"""Untrusted text made fit for display.

What an agent or a container printed may hold escape sequences, characters that reorder what is read (bidi controls) and
characters that show nothing. None of them may act on the user's terminal or hide text from the reader, so each is shown
as a glyph of its own. The mapping is one character for one, so that columns of the shown text are offsets in the
original.
"""

from __future__ import annotations

import re
import textwrap
from unicodedata import category, east_asian_width

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


def cell_width(character: str) -> int:
    """Columns that a character takes: 2 for wide ones, 0 for accents that stand on the one before."""
    if character.isascii():
        return 1
    if east_asian_width(character) in "WF":
        return 2
    return 0 if category(character) in ("Mn", "Me") else 1


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


_OWN_LINE = re.compile(r"\s|[-*•|>#]|\d+[.)]\s|```")


def flowed(text: str, width: int) -> list[str]:
    """Prose in lines of at most `width` characters (longer only for longer words).

    A paragraph that was broken for another width is joined first; what is indented, or an item of a list, stays.
    """
    lines: list[str] = []
    paragraph: list[str] = []

    def close() -> None:
        if paragraph:
            lines.extend(textwrap.wrap(" ".join(paragraph), width, break_long_words=False) or [""])
            paragraph.clear()

    for line in split_lines(text):
        if not line.strip() or _OWN_LINE.match(line):
            close()
            indent = line[: len(line) - len(line.lstrip())]
            lines += textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False) or [""]
        else:
            paragraph.append(printable(line.strip()))
    close()
    return [printable(line) for line in lines]
