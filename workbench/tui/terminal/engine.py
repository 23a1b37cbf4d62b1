"""The plain values that pass between the shell pane and its terminal emulator (`bittty_engine`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Colour = int | str | None
"""A palette index (0 to 255), `#rrggbb`, or None for the terminal's default."""

MouseKind = Literal["press", "release", "move"]

BUTTON_LEFT, BUTTON_MIDDLE, BUTTON_RIGHT, WHEEL_UP, WHEEL_DOWN = 0, 1, 2, 64, 65


@dataclass(frozen=True, slots=True)
class CellStyle:
    """How a run of cells looks. Hyperlinks are left out on purpose: the child may not place links on our screen."""

    foreground: Colour = None
    background: Colour = None
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    blink: bool = False
    reverse: bool = False
    strike: bool = False
    conceal: bool = False


PLAIN = CellStyle()


class Run(NamedTuple):
    """Neighbouring cells of one style. A wide character is one character of text over two cells."""

    text: str
    style: CellStyle


Row = tuple[Run, ...]
"""One row, without trailing blanks."""


class Cursor(NamedTuple):
    """Where the cursor is (0-based), whether the child shows it, and its shape."""

    x: int
    y: int
    visible: bool
    shape: str


class Modes(NamedTuple):
    """What the child switched on."""

    alternate_screen: bool
    mouse: bool
    """It wants mouse events (or the wheel as arrow keys, on the alternate screen)."""
    bracketed_paste: bool
    synchronized: bool
    """It is in the middle of drawing a frame (mode 2026): do not paint now."""
