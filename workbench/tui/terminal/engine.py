"""The plain values that pass between the shell pane and its terminal emulator (`bittty_engine`)."""

from __future__ import annotations

from typing import Literal, NamedTuple

from rich.style import Style

MouseKind = Literal["press", "release", "move"]

BUTTON_LEFT, BUTTON_MIDDLE, BUTTON_RIGHT, WHEEL_UP, WHEEL_DOWN = 0, 1, 2, 64, 65


PLAIN = Style()
"""How a cell looks of which nothing was said."""


class Run(NamedTuple):
    """Neighbouring cells of one style. A wide character is one character of text over two cells."""

    text: str
    style: Style
    """Never with a hyperlink: the child may not place links on our screen."""


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
