"""Observation text: what a terminal would show for the bytes that a command printed.

Carriage returns, backspaces and cursor movements of progress bars are carried out, colours dropped, blank lines kept.
Lines are as long as they were printed, not wrapped. What could deceive a reader (control characters, text direction)
is made visible. Time is linear in the input, whatever it contains.
"""

from __future__ import annotations

import re

SCREEN_ROWS = 40
_WIDEST_GAP = 240
"""Blanks put in at most where a program moves the cursor to the right of a line's end."""
_WIDEST_EDIT = 8192
"""Characters of a line beyond which inserting, deleting and blanking inside it is ignored (it costs its length)."""

FULL_SCREEN_NOTE = "(a full-screen program ran; its screen is not part of this text)"

_PLAIN = bytes(range(0x20, 0x7F)) + b"\n\t"
_PLAIN_OR_UTF8 = _PLAIN + bytes(range(0x80, 0x100))
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_SPECIAL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DECEIVING = re.compile(r"[\x80-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_TOKEN = re.compile(
    r"""
    (?P<text>[^\x00-\x08\x0a-\x1f\x7f]+)
    | (?P<csi>\x1b\[(?P<parameters>[0-?]*)[ -/]*(?P<final>[@-~]))
    | (?P<string>\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?)
    | (?P<escape>\x1b[ -/]*(?P<letter>[0-~])?)
    | (?P<control>[\x00-\x08\x0a-\x1f\x7f])
    """,
    re.VERBOSE,
)


def render(data: bytes) -> str:
    """What a terminal shows for `data`, without wrapping. The line ends of the terminal (CR LF) become newlines."""
    data = data.replace(b"\r\n", b"\n")
    if not data.translate(None, _PLAIN):
        return data.decode("ascii")
    text = data.decode("utf-8", "replace")
    if data.translate(None, _PLAIN_OR_UTF8):
        if "\x1b[" in text:
            text = _COLOUR.sub("", text)
        if _SPECIAL.search(text):
            text = _Screen().show(text)
    return _DECEIVING.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)


def cap(text: str, most: int) -> tuple[str, bool]:
    """At most about `most` characters of `text`, its head and its tail, and whether anything was left out."""
    if len(text) <= most:
        return text, False
    head, tail = text[: most // 2], text[len(text) - (most - most // 2) :]
    return head_and_tail(head, tail, len(text) - most, text.count("\n", len(head), len(text) - len(tail))), True


def head_and_tail(head: str, tail: str, characters: int, lines: int) -> str:
    """The two parts with a line between them that says how much is missing."""
    joint = "" if head.endswith("\n") or not head else "\n"
    return f"{head}{joint}[... {characters:,} characters, {lines:,} lines left out ...]\n{tail}"


class _Screen:
    """Lines of text and a cursor. A row becomes a list of characters, once, when it is first changed."""

    def __init__(self) -> None:
        self._rows: list[str | list[str]] = [""]
        self._row = self._column = 0
        self._saved = (0, 0)
        self._main: tuple[list[str | list[str]], int, int] | None = None

    def show(self, text: str) -> str:
        """The lines after `text` was printed."""
        at = 0
        while at < len(text):
            # Whole lines without anything special need no cursor.
            if self._row == len(self._rows) - 1 and not self._rows[-1] and self._column == 0:
                special = _SPECIAL.search(text, at)
                end = text.rfind("\n", at, special.start() if special else len(text)) + 1
                if end > at:
                    self._rows[-1:] = text[at:end].split("\n")
                    self._row = len(self._rows) - 1
                    at = end
                    continue
            at = self._line(text, at)
        if self._main is not None:
            self._leave_full_screen()
        return "\n".join([row if isinstance(row, str) else "".join(row) for row in self._rows])

    def _line(self, text: str, at: int) -> int:
        """Show up to and with the next newline; where it ended."""
        while at < len(text):
            token = _TOKEN.match(text, at)
            assert token is not None
            at = token.end()
            kind = token.lastgroup
            if token["text"]:
                self._print(token["text"])
            elif token["csi"]:
                self._sequence(token["parameters"], token["final"])
            elif token["control"]:
                self._control(token["control"])
                if token["control"] == "\n":
                    return at
            elif kind and token["letter"]:
                self._escape(token["letter"])
        return at

    def _cells(self) -> list[str]:
        row = self._rows[self._row]
        if isinstance(row, str):
            row = self._rows[self._row] = list(row)
        return row

    def _print(self, text: str) -> None:
        cells = self._cells()
        gap = self._column - len(cells)
        if gap > 0:
            cells.extend(" " * min(gap, _WIDEST_GAP))
            self._column = len(cells)
        cells[self._column : self._column + len(text)] = text
        self._column += len(text)

    def _control(self, character: str) -> None:
        if character in "\n\v\f":
            self._go(self._row + 1, 0 if character == "\n" else self._column)
        elif character == "\r":
            self._column = 0
        elif character == "\b":
            self._column = max(0, self._column - 1)
        elif character not in "\x00\x07\x0e\x0f\x7f\x1b":
            self._print("^" + chr(ord(character) ^ 0x40))

    def _escape(self, letter: str) -> None:
        if letter == "7":
            self._saved = (self._row - self._top(), self._column)
        elif letter == "8":
            self._go(self._top() + self._saved[0], self._saved[1])
        elif letter == "M":
            self._go(max(self._top(), self._row - 1), self._column)
        elif letter == "D" or letter == "E":
            self._go(self._row + 1, 0 if letter == "E" else self._column)
        elif letter == "c":
            self._sequence("2", "J")
            self._go(self._top(), 0)

    def _top(self) -> int:
        return max(0, len(self._rows) - SCREEN_ROWS)

    def _go(self, row: int, column: int) -> None:
        row = min(max(row, 0), self._top() + SCREEN_ROWS)
        while row >= len(self._rows):
            self._rows.append("")
        self._row = row
        self._column = max(0, column)

    def _sequence(self, parameters: str, final: str) -> None:
        if parameters[:1] in ("?", ">", "<", "="):
            if parameters in ("?1049", "?47", "?1047") and final in "hl":
                self._enter_full_screen() if final == "h" else self._leave_full_screen()
            return
        numbers = [int(number[:5] or 0) for number in parameters.replace(":", ";").split(";")]
        first = numbers[0]
        count = max(1, first)
        if final == "A":
            self._go(max(self._top(), self._row - count), self._column)
        elif final in "Be":
            self._go(min(len(self._rows) - 1, self._row + count), self._column)
        elif final in "Ca":
            self._column += count
        elif final == "D":
            self._column = max(0, self._column - count)
        elif final in "EF":
            self._go(max(self._top(), self._row + (count if final == "E" else -count)), 0)
        elif final in "G`":
            self._column = count - 1
        elif final in "Hf":
            self._go(self._top() + min(count, SCREEN_ROWS) - 1, max(1, numbers[1] if len(numbers) > 1 else 1) - 1)
        elif final == "d":
            self._go(self._top() + min(count, SCREEN_ROWS) - 1, self._column)
        elif final == "s":
            self._escape("7")
        elif final == "u":
            self._escape("8")
        elif final in "JKP@XLM":
            self._edit(final, first, count)

    def _edit(self, final: str, first: int, count: int) -> None:
        cells = self._cells()
        if final == "K" and first == 0:
            del cells[self._column :]
        elif final == "K" and first == 2:
            cells.clear()
        elif final == "J" and first == 0:
            del cells[self._column :]
            del self._rows[self._row + 1 :]
        elif final == "J" and first in (2, 3):
            cells.clear()
            top = self._top()
            # An erased screen scrolls nothing away: what was on it is gone, and the cursor stays in its row.
            self._rows[top:] = [""] * (self._row - top + 1)
        elif len(cells) <= _WIDEST_EDIT:
            self._edit_cells(cells, final, first, min(count, _WIDEST_GAP))

    def _edit_cells(self, cells: list[str], final: str, first: int, count: int) -> None:
        column = self._column
        if final in "KJ" and first == 1:
            width = min(column + 1, len(cells))
            cells[:width] = " " * width
            if final == "J":
                for row in range(self._top(), self._row):
                    self._rows[row] = ""
        elif final == "P":
            del cells[column : column + count]
        elif final == "X":
            width = max(0, min(count, len(cells) - column))
            cells[column : column + width] = " " * width
        elif final == "@" and column < len(cells):
            cells[column:column] = " " * count
        elif final in "LM":
            count = min(count, SCREEN_ROWS)
            if final == "L":
                self._rows[self._row : self._row] = [""] * count
            else:
                del self._rows[self._row : self._row + count]
                if self._row >= len(self._rows):
                    self._rows.append("")

    def _enter_full_screen(self) -> None:
        if self._main is None:
            self._main = (self._rows, self._row, self._column)
            self._rows, self._row, self._column = [""], 0, 0

    def _leave_full_screen(self) -> None:
        if self._main is None:
            return
        self._rows, self._row, self._column = self._main
        self._main = None
        if FULL_SCREEN_NOTE not in self._rows[-2:]:
            if self._rows[self._row]:
                self._go(self._row + 1, 0)
            self._rows[self._row] = FULL_SCREEN_NOTE
            self._go(self._row + 1, 0)
