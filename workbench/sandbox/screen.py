"""A terminal's screen: rows of cells, a cursor, what scrolls off the top. It is as large as the agent's terminal.

What it does is what tmux does, as that is what people see. Only the rows on the screen can change; a row that leaves it
is final and goes to `Scrollback`, so memory is bounded whatever is printed. Text that only scrolls by, and text that
is printed over itself (bars), is dealt with in whole pieces, not by characters.
"""

from __future__ import annotations

from itertools import chain

import msgspec

from workbench.sandbox.base import AGENT_COLUMNS as COLUMNS
from workbench.sandbox.base import AGENT_ROWS as ROWS
from workbench.sandbox.scrollback import KEPT_EACH, Scrollback
from workbench.text import cell_width, visible

FULL_SCREEN_NOTE = "(a full-screen program ran; its screen is not part of this text)"
LEFT_OPEN_NOTE = "(the terminal was left in its alternate screen, which shows:)"
CLEARED_NOTE = "(the screen was cleared here)"

_MOST_MARKS = 32
"""Characters in one cell: a letter and its accents."""
_KNOWN = 8192
_FEW = 16
_TAB = 8
PADDING = " " * 8
"""Blanks at a line's end that are there to fill a box, not to be read. (Fewer may be a file's, or a diff's.)"""
_DRAWN = str.maketrans("`afgjklmnopqrstuvwxyz{|}~", "◆▒°±┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·")
"""The line drawing characters of a VT100."""

_one_cell: set[str] = set()
"""Characters beyond ASCII of which it is known that they take one cell."""


def odd_ones(text: str) -> str:
    """The characters in `text` that take no cell or two, each once (ASCII is taken to have none)."""
    if text.isascii():
        return ""
    beyond = text.encode("utf-8", "replace").translate(None, bytes(range(0x80))).decode()
    if _one_cell.issuperset(beyond):
        return ""
    if len(_one_cell) > _KNOWN:
        _one_cell.clear()
    found = set(beyond) - _one_cell
    odd = {character for character in found if cell_width(character) != 1}
    _one_cell.update(found - odd)
    return "".join(odd)


def _even(text: str, odd: str) -> bool:
    """Whether each character of `text` takes one cell, where only those of `odd` do not."""
    return not odd or text.isascii() or (len(odd) < _FEW and not any(character in text for character in odd))


class Row:
    """One row: a string while each character has one cell, else a list with empty strings behind what is wider."""

    __slots__ = ("cells", "edited", "note", "wrapped")

    def __init__(self) -> None:
        self.cells: str | list[str] = ""
        self.edited = False
        """It was not only appended to: blanks at its end were not meant to be read."""
        self.wrapped = False
        """The line goes on in the next row."""
        self.note = ""
        """A line of ours before it."""

    def append(self, cells: str | list[str]) -> None:
        """Write behind the last cell."""
        if isinstance(self.cells, str):
            self.cells = self.cells + cells if isinstance(cells, str) else [*self.cells, *cells]
        else:
            self.cells.extend(cells)

    def replace(self, start: int, stop: int, cells: str | list[str]) -> None:
        """Put `cells` in the place of those from `start` to `stop`. What is cut in two becomes blank."""
        self.edited = True
        self.fill(start)
        if isinstance(self.cells, str) and not isinstance(cells, str):
            self.cells = list(self.cells)
        if isinstance(self.cells, str):
            self.cells = f"{self.cells[:start]}{cells}{self.cells[stop:]}"
        else:
            self._cut(start)
            self._cut(stop)
            self.cells[start:stop] = cells

    def fill(self, end: int) -> None:
        """Blanks up to `end`."""
        if len(self.cells) < end:
            self.append(" " * (end - len(self.cells)))

    def _cut(self, at: int) -> None:
        cells = self.cells
        assert isinstance(cells, list)
        if at >= len(cells) or cells[at]:
            return
        start = end = at
        while start > 0 and not cells[start]:
            start -= 1
        while end < len(cells) and not cells[end]:
            end += 1
        cells[start:end] = " " * (end - start)

    def mark(self, column: int, character: str) -> bool:
        """Add what takes no cell to the cell before `column`; False when there is none."""
        at = min(column, len(self.cells)) - 1
        if at < 0:
            return False
        if isinstance(self.cells, str):
            self.cells = list(self.cells)
        while at > 0 and not self.cells[at]:
            at -= 1
        if len(self.cells[at]) < _MOST_MARKS:
            self.cells[at] += character
        return True

    @property
    def blank(self) -> bool:
        """Whether it shows nothing."""
        return not self.note and not "".join(self.cells).strip(" \t")

    def text(self) -> str:
        """What it shows, with the newline that ends it."""
        text = self.cells if isinstance(self.cells, str) else "".join(self.cells)
        if (self.edited or text.endswith(PADDING)) and not self.wrapped:
            text = text.rstrip(" \t")
        if not text.isascii() or not isinstance(self.cells, str):
            text = visible(text)
        note = self.note + "\n" if self.note else ""
        return note + text if self.wrapped else f"{note}{text}\n"


NOTHING = Row()
"""Stands for every row that was not written to."""


class _Main(msgspec.Struct):
    """The main screen while the alternate one is shown."""

    rows: list[Row]
    scrollback: Scrollback
    reached: int
    cursor: tuple[int, int]


class Screen:
    """Rows, a cursor, and the modes that say how text is put down."""

    def __init__(self) -> None:
        self.scrollback = Scrollback()
        self._main: _Main | None = None
        self._rows = [NOTHING] * ROWS
        self._reached = 0
        """The lowest row that was printed in or that a new line led to."""
        self._waiting = ""
        self.row = self.column = 0
        self.soft_reset()

    def soft_reset(self) -> None:
        """The modes as they are at first."""
        self.top, self.bottom = 0, ROWS - 1
        self.wraps, self.inserts, self.origin = True, False, False
        self.drawing = [False, False]
        """Whether each of the two character sets is the one of line drawing."""
        self.shifted = 0
        self._saved = (0, 0)

    @property
    def on_alternate(self) -> bool:
        """Whether the alternate screen is shown."""
        return self._main is not None

    @property
    def whole(self) -> bool:
        """Whether all rows scroll."""
        return self.top == 0 and self.bottom == ROWS - 1

    @property
    def room(self) -> int:
        """Cells from the cursor to the end of its row."""
        return COLUMNS - self.column

    # ---------------------------------------------------------------- text

    def lines(self, text: str, odd: str) -> None:
        """Put down text with newlines, carriage returns and tabs. `odd`: see `odd_ones`.

        Lines that are followed by a screenful pass as they are, where nothing is in their way, and the screenful waits
        for `settle`: most likely it will pass as well.
        """
        if self._waiting:
            text, self._waiting = self._waiting + text, ""
            odd = odd_ones(text)
        first, *rest = text.split("\n")
        self._line(first, odd)
        if len(rest) > ROWS and "\r" not in text:
            self._feed_line()
            if self._nothing_in_the_way():
                self.scrollback.write(_texts(self._rows[: self.row]))
                self._rows, self.row, self._reached = [NOTHING] * ROWS, 0, ROWS - 1
                passing = "\n".join(rest[:-ROWS])
                if PADDING + "\n" in passing + "\n":
                    stripped = (line.rstrip(" \t") if line.endswith(PADDING) else line for line in rest[:-ROWS])
                    passing = "\n".join(stripped)
                self.scrollback.write((visible(passing) if odd else passing) + "\n")
                self._waiting = "\n".join(rest[-ROWS:])
                return
            self._line(rest.pop(0), odd)
        for line in rest:
            self._feed_line()
            if line:
                self._line(line, odd)

    def settle(self) -> None:
        """Put down what waits. To be called before anything but `lines`."""
        text, self._waiting = self._waiting, ""
        if text:
            self.lines(text, odd_ones(text))

    def _feed_line(self) -> None:
        self.line_feed()
        if self._main is None:
            self.column = 0  # a program that puts its terminal into raw mode draws the whole screen

    def _nothing_in_the_way(self) -> bool:
        usual = self.wraps and not self.inserts and not self.drawing[self.shifted] and self._main is None
        return usual and self.whole and not any(row.cells or row.note for row in self._rows[self.row :])

    def _here(self) -> Row:
        """The cursor's row, to be changed."""
        return self._at(self.row)

    def _at(self, number: int) -> Row:
        row = self._rows[number]
        if row is NOTHING:
            row = self._rows[number] = Row()
        return row

    def _line(self, text: str, odd: str) -> None:
        if "\r" not in text:
            self._tabbed(text, odd)
            return
        first, *rest = text.split("\r")
        self._tabbed(first, odd)
        if max(map(len, rest)) <= COLUMNS and "\t" not in text and not self.inserts and _even(text, odd):
            # Of what is printed over itself, only that shows which nothing longer follows.
            last = len(rest[-1])
            shown = ""
            for part in reversed(rest):
                if len(part) > len(shown):
                    shown += part[len(shown) :]
            self.column = 0
            self.print(shown, "")
            if rest.count("") < len(rest) - 1:
                self._here().edited = True
            self.column = last
            return
        for part in rest:
            self.column = 0
            self._tabbed(part, odd)

    def _tabbed(self, text: str, odd: str) -> None:
        if "\t" not in text:
            self.print(text, odd)
            return
        for number, part in enumerate(text.split("\t")):
            if number:
                self.tab()
            self.print(part, odd)

    def print(self, text: str, odd: str) -> None:
        """Put down characters, none of them a control."""
        if self.drawing[self.shifted]:
            text = text.translate(_DRAWN)
        if _even(text, odd):
            self._run(text)
            return
        widths = list(map(cell_width, text))
        if 0 not in widths and self.column + sum(widths) <= COLUMNS:
            self._write(
                [*chain.from_iterable((c, "") if cells == 2 else c for c, cells in zip(text, widths, strict=True))]
            )
            return
        for character, cells in zip(text, widths, strict=True):
            if cells == 1:
                self._run(character)
            elif cells == 2:
                if self.column > COLUMNS - 2:
                    if self.wraps:
                        self._wrap()
                    else:
                        self.column = COLUMNS - 2
                self._write([character, ""])
            else:
                self.mark(character)

    def mark(self, character: str) -> None:
        """Put down what takes no cell: with the character before it, where there is one."""
        if not self._here().mark(self.column, character):
            self._write([character])

    def _run(self, text: str) -> None:
        at, end = 0, len(text)
        while at < end:
            if self.column >= COLUMNS:
                if self.wraps:
                    self._wrap()
                else:
                    self.column = COLUMNS - 1
            room = COLUMNS - self.column
            if end - at > room and not self.wraps:
                self._write(text[at : at + room - 1] + text[-1])
                return
            part = text if end - at <= room and not at else text[at : at + room]
            self._write(part)
            at += len(part)

    def _wrap(self) -> None:
        self._here().wrapped = True
        self.line_feed()
        self.column = 0

    def _write(self, cells: str | list[str]) -> None:
        row, start = self._here(), self.column
        stop = self.column = start + len(cells)
        if len(row.cells) == start:
            row.append(cells)
        elif self.inserts:
            row.replace(start, start, cells)
            del_from(row, COLUMNS)
        else:
            row.replace(start, stop, cells)
        if self.row > self._reached:
            self._reached = self.row

    def tab(self) -> None:
        """To the next eighth column. It stays a tab where nothing is printed over it."""
        row, start = self._here(), self.column
        stop = min((start // _TAB + 1) * _TAB, COLUMNS - 1)
        if start >= COLUMNS - 1:
            if start == len(row.cells):
                row.mark(start, "\t")  # there is no room, but columns of a table must not run together
            return
        if start >= len(row.cells):
            row.fill(start)
            row.append(["\t", *[""] * (stop - start - 1)])
        self.column = stop

    # ---------------------------------------------------------------- the cursor

    def line_feed(self) -> None:
        """Down one row; at the bottom the rows scroll."""
        if self.row == self.bottom:
            self.scroll_up(1)
        elif self.row < ROWS - 1:
            self.row += 1
        self._reached = max(self._reached, self.row)

    def reverse_line_feed(self) -> None:
        """Up one row; at the top the rows scroll down."""
        if self.row == self.top:
            self.scroll_down(1)
        elif self.row > 0:
            self.row -= 1

    def up(self, count: int) -> None:
        """Up, within the scroll region or above it."""
        self.row = max(self.top if self.row >= self.top else 0, self.row - count)
        self.column = min(self.column, COLUMNS - 1)

    def down(self, count: int) -> None:
        """Down, within the scroll region or below it."""
        self.row = min(self.bottom if self.row <= self.bottom else ROWS - 1, self.row + count)
        self.column = min(self.column, COLUMNS - 1)

    def back(self, count: int) -> None:
        """Backspaces: from the beginning of a row to the end of the one that it continues."""
        while count > self.column:
            if not self.row or not self._rows[self.row - 1].wrapped:
                count = self.column
                break
            count -= self.column + 1
            self.row -= 1
            self.column = COLUMNS - 1
        self.column -= count

    def go(self, row: int | None, column: int | None) -> None:
        """To a row (from the region's top in origin mode) and a column."""
        if row is not None:
            low, high = (self.top, self.bottom) if self.origin else (0, ROWS - 1)
            self.row = min(max(low + row, low), high)
        if column is not None:
            self.column = min(max(column, 0), COLUMNS - 1)

    def save_cursor(self) -> None:
        """Remember where it is."""
        self._saved = (self.row, self.column)

    def restore_cursor(self) -> None:
        """Back to where it was."""
        self.row, self.column = self._saved

    # ---------------------------------------------------------------- rows

    def region(self, top: int, bottom: int) -> None:
        """Scroll only these rows."""
        bottom = min(bottom, ROWS - 1)
        if top < bottom:
            self.top, self.bottom = top, bottom
            self.row = self.column = 0

    def scroll_up(self, count: int) -> None:
        """Rows leave the region at its top, for good."""
        end = self.top + min(count, self.bottom - self.top + 1)
        self.scrollback.write(_texts(self._rows[self.top : end]))
        self._rows[self.bottom + 1 : self.bottom + 1] = [NOTHING] * (end - self.top)
        del self._rows[self.top : end]

    def scroll_down(self, count: int) -> None:
        """Empty rows come at the region's top; as many fall out of it at its bottom."""
        self._move_rows(self.bottom, self.top, count)

    def insert_rows(self, count: int) -> None:
        """Empty rows come where the cursor is."""
        self._move_rows(self._end, self.row, count)

    def delete_rows(self, count: int) -> None:
        """Rows are taken out from the cursor on."""
        self._move_rows(self.row, self._end, count)

    @property
    def _end(self) -> int:
        return self.bottom if self.top <= self.row <= self.bottom else ROWS - 1

    def _move_rows(self, gone: int, new: int, count: int) -> None:
        for _ in range(min(count, abs(new - gone) + 1)):
            del self._rows[gone]
            self._rows.insert(new, NOTHING)

    def erase_line(self, kind: int) -> None:
        """From the cursor on (0), up to it (1) or all (2)."""
        row = self._here()
        if kind == 1:
            end = min(self.column + 1, len(row.cells))
            row.replace(0, end, " " * end)
        elif kind == 2 or (kind == 0 and self.column < COLUMNS):
            del_from(row, 0 if kind == 2 else self.column)
            row.wrapped = False

    def erase_screen(self, kind: int) -> None:
        """As `erase_line`, for the screen. What is cleared as a whole goes to the scrollback: it was printed."""
        if kind == 2 or (kind == 0 and self.row == self.column == 0) or (kind == 1 and self._nothing_follows()):
            if self._rows.count(NOTHING) == ROWS:
                return
            if self._main is None and (shown := _joined(self._rows, 0, 0)).strip():
                self.scrollback.write(f"{shown}\n{CLEARED_NOTE}\n")
            self._rows = [NOTHING] * ROWS
        elif kind == 0 or kind == 1:
            self.erase_line(kind)
            for row in range(self.row + 1, ROWS) if kind == 0 else range(self.row):
                self._rows[row] = NOTHING

    def _nothing_follows(self) -> bool:
        here = self._rows[self.row]
        return len(here.cells) <= self.column + 1 and all(row is NOTHING for row in self._rows[self.row + 1 :])

    def insert_cells(self, count: int) -> None:
        """Blanks come where the cursor is."""
        self._splice(self.column, " " * min(count, COLUMNS))

    def delete_cells(self, count: int) -> None:
        """Cells are taken out from the cursor on."""
        self._splice(self.column + count, "")

    def erase_cells(self, count: int) -> None:
        """Cells from the cursor on become blank."""
        end = min(self.column + count, len(self._here().cells))
        self._splice(end, " " * (end - self.column))

    def _splice(self, end: int, cells: str) -> None:
        """Put `cells` in the place of those from the cursor to `end`, where the row goes on to the cursor."""
        row = self._here()
        if self.column < len(row.cells):
            row.replace(self.column, min(end, len(row.cells)), cells)
            del_from(row, COLUMNS)

    # ---------------------------------------------------------------- two screens

    def enter_alternate(self) -> None:
        """Show the alternate screen, empty."""
        if self._main is None:
            self._main = _Main(self._rows, self.scrollback, self._reached, (self.row, self.column))
            self._rows, self.scrollback, self._reached = [NOTHING] * ROWS, Scrollback(), 0

    def leave_alternate(self, *, cursor: bool) -> None:
        """Show the main screen again as it was; a note says that there was another."""
        if self._main is None:
            return
        main, self._main = self._main, None
        self._rows, self.scrollback, self._reached = main.rows, main.scrollback, main.reached
        if cursor:
            self.row, self.column = main.cursor
        self._at(min(self.row, self._reached)).note = FULL_SCREEN_NOTE

    # ---------------------------------------------------------------- the text

    def text(self) -> Scrollback:
        """All that was printed, up to now."""
        self.settle()
        shown = _joined(self._rows, self.row, self._reached)
        if self._main is None:
            final = self.scrollback.copy()
            final.write(shown)
            return final
        main, alternate = self._main, self.scrollback.copy()
        final = main.scrollback.copy()
        before = _joined(main.rows, main.cursor[0], main.reached)
        final.write(before if not before or before.endswith("\n") else before + "\n")
        alternate.write(shown)
        text = alternate.capped(2 * KEPT_EACH)[0].lstrip("\n")
        final.write(f"{LEFT_OPEN_NOTE}\n{text}" if text.strip() else FULL_SCREEN_NOTE + "\n")
        return final


def _joined(rows: list[Row], row: int, reached: int) -> str:
    end = min(row, reached)
    for number in range(end + 1, ROWS):
        if rows[number] is not NOTHING and not rows[number].blank:
            end = number
    return _texts(rows[: end + 1]).removesuffix("\n")


def _texts(rows: list[Row]) -> str:
    return "".join(["\n" if row is NOTHING else row.text() for row in rows])


def del_from(row: Row, column: int) -> None:
    """Take out the cells from `column` on."""
    if column < len(row.cells):
        row.replace(column, len(row.cells), "")
