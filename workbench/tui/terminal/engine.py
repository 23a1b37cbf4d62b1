"""What the shell pane needs of a terminal emulator, and the plain values that pass between them.

One emulator stands behind this protocol today (`bittty_engine`); everything of its API that can change stays there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

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
    application_cursor: bool
    synchronized: bool
    """It is in the middle of drawing a frame (mode 2026): do not paint now."""


class TerminalEngine(Protocol):
    """A terminal emulator without a window. Not thread-safe: used on the event loop only."""

    on_reply: Callable[[bytes], None] | None
    """Called with answers to the child's questions (device attributes, cursor position)."""
    on_scrolled_off: Callable[[Row], None] | None
    """Called with each row that leaves the top of the primary screen."""
    on_scrollback_cleared: Callable[[], None] | None
    """Called when the child asks for the saved lines to be erased."""

    @property
    def columns(self) -> int: ...

    @property
    def rows(self) -> int: ...

    def feed(self, text: str) -> None:
        """Interpret output of the child. Sequences may be cut anywhere between calls."""

    def resize(self, columns: int, rows: int) -> None:
        """Set the size, in cells. Rows that no longer fit go to `on_scrolled_off`; the cursor's row stays."""

    def dirty_rows(self) -> Sequence[int]:
        """Rows that changed since the last call."""

    def line(self, y: int) -> Row: ...

    def content_rows(self) -> int:
        """Rows down to the last one with anything in it, or with the cursor."""

    def plain_text(self) -> str:
        """The screen as text, without trailing blanks."""

    @property
    def cursor(self) -> Cursor: ...

    @property
    def modes(self) -> Modes: ...

    def can_skip(self) -> bool:
        """True when plain text would only scroll by: primary screen, no margins, no special modes, no open sequence."""

    def pen(self) -> CellStyle:
        """The style that text is being written in."""

    def turn_page(self) -> None:
        """Send the rows above the cursor to `on_scrolled_off`, clear the screen and put the cursor at its top left."""

    def encode_key(self, key: str, character: str | None = None) -> bytes:
        """Bytes for a key, in the child's current modes.

        `key` is a name such as `a`, `ctrl+c`, `shift+tab`, `alt+left` or `f5`; `character` is the text that it types.
        A key with no meaning for a terminal gives no bytes.
        """

    def encode_mouse(self, x: int, y: int, button: int, kind: MouseKind, modifiers: frozenset[str]) -> bytes:
        """Bytes for a mouse event at a 0-based cell; none when the child did not ask for it.

        Modifiers are of `shift`, `meta`, `ctrl`.
        """

    def encode_paste(self, text: str) -> bytes:
        """Bytes for pasted text, bracketed when the child asked for that; control characters are taken out."""
