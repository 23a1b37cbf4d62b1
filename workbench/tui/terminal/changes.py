"""What of a frame the terminal does not show yet: over a slow link every byte is waited for.

Textual paints whole widgets, and often whole screens. Here is kept what each cell of the terminal shows, and of what is
painted only the cells that differ are sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from rich.cells import cell_len, get_character_cell_size
from rich.color import Color, ColorSystem
from rich.console import Console
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Size
from textual.strip import SGR_STYLES, Strip

Look = tuple[str, str]
"""The parameters of the sequence that sets a style, and of one that has a blank look the same."""
Cell = tuple[str, Look]
"""What a cell shows, and how. Text with characters that are not one cell wide stands in its first cell, and the others
have none: terminals differ about it, so that it is sent as a whole.
"""
_PLAIN: Look = ("", "")
_UNKNOWN: Cell = ("", ("?", "?"))
_GAP = 4
"""Cells that are shown already, and sent all the same: to jump over them takes as much."""
_BLANKS = 12
"""So many blank cells are erased, and not sent."""
_SEEN_WHERE_BLANK = sum(1 << bit for bit in (3, 4, 5, 6, 8, 9, 10, 11, 12))
"""Attributes that show where no letter is: lines, frames, blinking, reversal."""


class Shown(CompositorUpdate):
    """What a terminal shows, as far as it is known; and, for Textual, the frame that is to be sent next."""

    def __init__(self) -> None:
        self._rows: list[list[Cell]] = []
        self._size = Size()
        self._frame: LayoutUpdate | ChopsUpdate | None = None

    def forget(self) -> None:
        """Something else may have written to the terminal."""
        self._size = Size()

    def next(self, frame: LayoutUpdate | ChopsUpdate, size: Size) -> CompositorUpdate:
        """A frame, which is compared when it is sent, if it ever is. `size`: of the terminal."""
        if size != self._size:
            self._size, self._rows = size, [[_UNKNOWN] * size.width for _ in range(size.height)]
        self._frame = frame
        return self

    def render_segments(self, console: Console) -> str:
        """What brings the terminal up to date with the frame."""
        assert self._frame is not None
        pen, system = _Pen(self._size.width), console._color_system or ColorSystem.TRUECOLOR
        width, height = self._size
        for y, x, strip in _pieces(self._frame):
            if y < height and x < width:  # a frame may be of the size that the terminal had before
                self._paint(pen, y, x, _cells_of(strip, system)[: width - x])
        return pen.finished()

    def _paint(self, pen: _Pen, y: int, x: int, cells: list[Cell]) -> None:
        row, count = self._rows[y], len(cells)
        shown = row[x : x + count]
        if shown == cells:
            return
        row[x : x + count] = cells
        if _UNKNOWN in shown:
            pen.draw(y, x, cells)
            return
        first, last = 0, -_GAP - 1
        for at in (at for at, (old, new) in enumerate(zip(shown, cells, strict=True)) if old != new):
            if at > last + _GAP:
                if last > 0:
                    pen.draw(y, x + first, cells[first:last])
                first = at
                while not cells[first][0]:
                    first -= 1
            last = max(last, at + 1)
            while last < count and not cells[last][0]:
                last += 1
        pen.draw(y, x + first, cells[first:last])


def _pieces(frame: LayoutUpdate | ChopsUpdate) -> Iterator[tuple[int, int, Strip]]:
    """(row, column, what stands from there) of all that a frame paints."""
    if isinstance(frame, LayoutUpdate):
        for y, strips in enumerate(frame.strips, frame.region.y):
            yield y, frame.region.x, Strip.join(strips)
        return
    for y, first, last in frame.spans:
        for end, (x, strip) in zip(frame.chop_ends[y], frame.chops[y].items(), strict=True):
            if strip is not None and x <= last and end > first:
                yield y, x, strip if x >= first and end <= last else strip.crop(0, min(end, last) - x)


def _cells_of(strip: Strip, system: ColorSystem) -> list[Cell]:
    cells: list[Cell] = []
    for text, style, control in strip:
        if control:
            continue
        look = _PLAIN
        if style is not None:
            look = _look(style.color, style.bgcolor, style._attributes & style._set_attributes, system)
        if text.isascii() or _is_plain(text):
            blank = (" ", (look[1], look[1]))
            cells += [blank if letter == " " else (letter, look) for letter in text]
        elif width := cell_len(text):
            cells += [(text, look), *[("", look)] * (width - 1)]
    return cells


@lru_cache(maxsize=4096)
def _is_plain(text: str) -> bool:
    return all(get_character_cell_size(letter) == 1 for letter in text)


@lru_cache(maxsize=4096)
def _look(colour: Color | None, ground: Color | None, attributes: int, system: ColorSystem) -> Look:
    """After a reset; what a terminal has by itself needs no parameters."""
    codes = [code for bit, code in enumerate(SGR_STYLES) if attributes & (1 << bit)]
    for each, foreground in ((colour, True), (ground, False)):
        if each is not None and not each.is_default:
            codes += each.downgrade(system).get_ansi_codes(foreground)
    whole = ";".join(codes)
    blank = attributes & _SEEN_WHERE_BLANK or (colour is None and not attributes)
    return whole, whole if blank else _look(None, ground, 0, system)[1]


class _Pen:
    """Makes the sequence, and knows where the cursor is and which style is set."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._parts: list[str] = []
        self._place: tuple[int, int] | None = None
        self._look = _PLAIN

    def draw(self, y: int, x: int, cells: list[Cell]) -> None:
        """Cells that stand side by side."""
        at = 0
        while at < len(cells):
            text, look = cells[at]
            plain, stop = len(text) == 1, at + 1
            if text == " " and self._look[1] == look[0]:
                look = self._look
            for text, each in cells[stop:]:
                if (len(text) == 1) != plain or (
                    each is not look and each != look and (text, each[0]) != (" ", look[1])
                ):
                    break
                stop += 1
            self._go(y, x + at)
            self._set(look)
            text = "".join(text for text, _ in cells[at:stop])
            if look == _PLAIN and stop - at >= _BLANKS and text == " " * (stop - at):
                self._parts.append(f"\x1b[{stop - at}X")
            else:
                self._parts.append(text)
                # After the last column, and after text that terminals differ about, nobody knows where the cursor is.
                self._place = (y, x + stop) if plain and x + stop < self._width else None
            at = stop

    def _go(self, y: int, x: int) -> None:
        if self._place != (y, x):
            in_row = self._place is not None and self._place[0] == y
            self._parts.append(f"\x1b[{x + 1}G" if in_row else f"\x1b[{y + 1};{x + 1}H")
            self._place = y, x

    def _set(self, look: Look) -> None:
        if look[0] != self._look[0]:
            self._parts.append(f"\x1b[0;{look[0]}m" if look[0] and self._look[0] else f"\x1b[{look[0]}m")
        self._look = look

    def finished(self) -> str:
        """All of it, with no style set at the end."""
        self._set(_PLAIN)
        return "".join(self._parts)
