"""The terminal emulator `bittty`, without a window. No other file names it: what may change of its API is all here.

Its API still moves between releases, so it is pinned exactly, and the golden screens of the tests are what tells an
upgrade from a surprise. Clipboard writes, titles and hyperlinks of the child (OSC 52, 0 and 8) end here: they are
parsed and dropped, because what runs in the sandbox must not reach the user's own terminal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from bittty import Board, KeyEvent, KeyModifiers  # type: ignore[import-untyped]
from bittty.devices.modes import MouseProtocol  # type: ignore[import-untyped]
from bittty.present import RowsScrolledOff, ScrollbackCleared  # type: ignore[import-untyped]
from bittty.style import Color, Style  # type: ignore[import-untyped]
from bittty.video import Cell  # type: ignore[import-untyped]
from rich.color import Color as RichColor
from rich.style import Style as RichStyle

from workbench.tui.terminal.engine import PLAIN, Cursor, Modes, MouseKind, Row, Run

MAX_OPEN_SEQUENCE = 8 << 10
"""Characters kept of a control string that does not end: the parser would keep it all, and scan it again each time."""

_OPENERS = {"osc": "\x1b]", "dcs": "\x1bP", "apc": "\x1b_", "pm": "\x1b^", "sos": "\x1bX", "csi": "\x1b["}
_CANCEL = "\x18"

_MODIFIERS = {name: KeyModifiers[name.upper()] for name in ("shift", "alt", "ctrl", "super", "hyper", "meta")}
_NAMED_KEYS = frozenset(["up", "down", "left", "right", "home", "end", "pageup", "pagedown"]) | frozenset(
    ["insert", "delete", "enter", "tab", "backspace", "escape", "backtab"]
)
_LOOKS = ("bold", "dim", "italic", "underline", "blink", "reverse", "strike", "conceal")
_STYLE, _TEXT = itemgetter(0), itemgetter(1)
_FUNCTION_KEY = re.compile(r"f[1-9]\d?")
_NOT_PASTED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class _Line:
    """The cable toward the child: collects what the board transmits."""

    closed = False

    def __init__(self, deliver: Callable[[bytes], None]) -> None:
        self._deliver = deliver

    def write(self, data: str) -> int:
        self._deliver(data.encode("utf-8", "replace"))
        return len(data)

    def write_bytes(self, data: bytes) -> int:
        self._deliver(data)
        return len(data)

    def flush(self) -> None: ...

    async def read_bytes_async(self, size: int) -> bytes:
        return b""

    def configure_line(self, line: object) -> None: ...

    def resize(self, rows: int, cols: int) -> None: ...

    def close(self) -> None: ...


class _Display:
    """The plug in the board's display port: keeps rows that scroll off, ignores every other request of the child."""

    keeps_scrollback = True

    def __init__(self, engine: BitttyEngine) -> None:
        self._engine = engine

    def present(self, event: object) -> None:
        if isinstance(event, RowsScrolledOff):
            for line in event.lines:
                self._engine._scrolled_off(line.cells)
        elif isinstance(event, ScrollbackCleared):
            self._engine.on_scrollback_cleared()


class BitttyEngine:
    """A terminal emulator. Not thread-safe: used on the event loop only."""

    def __init__(self, columns: int = 120, rows: int = 40) -> None:
        self.on_reply: Callable[[bytes], object] = lambda data: None
        """Called with answers to the child's questions (device attributes, cursor position)."""
        self.on_scrolled_off: Callable[[Row], object] = lambda row: None
        """Called with each row that leaves the top of the primary screen."""
        self.on_scrollback_cleared: Callable[[], object] = lambda: None
        """Called when the child asks for the saved lines to be erased."""
        self._columns, self._rows = columns, rows
        self._captured: list[bytes] | None = None
        self._board: Any = Board(width=columns, height=rows)
        self._board.host.attach(_Line(self._transmit))
        self._board.attach_display(_Display(self))
        self._page: Any = None
        self._seen = -1

    # ---------------------------------------------------------------- output of the child

    @property
    def columns(self) -> int:
        return self._columns

    @property
    def rows(self) -> int:
        return self._rows

    def feed(self, text: str) -> None:
        """Interpret output of the child. Sequences may be cut anywhere between calls."""
        board = self._board
        board.parser.feed(text)
        parser = board.parser
        if len(parser.buffer) > MAX_OPEN_SEQUENCE and parser.mode in _OPENERS:
            # Drop what came of the string so far, and go on swallowing it.
            parser.feed(_CANCEL + _OPENERS[parser.mode])
        if (board.width, board.height) != (self._columns, self._rows):
            board.resize(self._columns, self._rows)  # the child asked for another size; the pane decides, not it

    def resize(self, columns: int, rows: int) -> None:
        """Set the size, in cells. Rows that no longer fit go to `on_scrolled_off`; the cursor's row stays."""
        if columns < 1 or rows < 1:
            raise ValueError("a terminal has at least one column and one row")
        board = self._board
        same_width = columns == self._columns
        if rows < self._rows:
            if board.blitter.in_alt_screen:
                self._make_room_below_alternate(rows)
            elif same_width:
                # Rows are cut at the bottom, where the prompt is: scroll them off at the top first. (With a new width
                # the screen is wrapped anew, and that keeps the cursor's row by itself.)
                self._scroll_primary(board.cursor.y - (rows - 1))
        self._columns, self._rows = columns, rows
        board.resize_from_frontend(columns, rows)

    def _scroll_primary(self, count: int) -> None:
        if count <= 0:
            return
        board = self._board
        column, row = board.cursor.display_x, board.cursor.y
        board.blitter.set_scroll_region(0, self._rows - 1)
        board.blitter.reset_left_right_margins()
        board.blitter.scroll(count)
        board.cursor.set_position(column, row - count)

    def _make_room_below_alternate(self, rows: int) -> None:
        """The same for the primary screen under a full-screen program, whose cursor is the saved one."""
        board = self._board
        saved = board.cursor.saved[False]
        count = saved.y - (rows - 1)
        if count <= 0:
            return
        page = board.blitter.primary_page
        for y in range(count):
            self._scrolled_off(page.line(y).cells)
        page.scroll_region_up(0, self._rows - 1, count)
        board.cursor.saved[False] = replace(saved, y=saved.y - count)

    def can_skip(self) -> bool:
        """True when plain text would only scroll by: primary screen, no margins, no special modes, no open sequence."""
        board = self._board
        modes, blitter, charset = board.modes, board.blitter, board.charset
        return bool(
            not blitter.in_alt_screen
            and not blitter.status_active
            and not blitter.right_to_left
            and board.parser.mode is None
            and not board.parser.vt52
            and not board.parser.buffer[board.parser.pos :]
            and blitter.scroll_top == 0
            and blitter.scroll_bottom == self._rows - 1
            and blitter.left_margin == 0
            and blitter.right_margin == self._columns - 1
            and modes.auto_wrap
            and not modes.origin_mode
            and not modes.insert_mode
            and charset.current_charset == 0
            and charset.single_shift is None
            and charset.g0_charset == "B"
            and not board.printer.controller_mode
        )

    def pen(self) -> RichStyle:
        """The style that text is being written in."""
        return _rich_style(self._board.style.current)

    def turn_page(self) -> None:
        """Send the rows above the cursor to `on_scrolled_off`, clear the screen and put the cursor at its top left."""
        board = self._board
        page = board.blitter.primary_page
        for y in range(board.cursor.y):
            self._scrolled_off(page.line(y).cells)
        board.cursor.set_position(0, 0)
        board.blitter.clear_screen(2)

    def _scrolled_off(self, cells: Sequence[Cell]) -> None:
        self.on_scrolled_off(_row(cells))

    # ---------------------------------------------------------------- the screen

    def dirty_rows(self) -> Sequence[int]:
        """Rows that changed since the last call."""
        page = self._board.blitter.main_page
        rows: Sequence[int] = page.dirty_rows(self._seen) if page is self._page else range(self._rows)
        self._page, self._seen = page, page.observe()
        return rows

    def line(self, y: int) -> Row:
        return _row(self._board.blitter.main_page.line(y).cells)

    def content_rows(self) -> int:
        """Rows down to the last one with anything in it, or with the cursor."""
        page = self._board.blitter.main_page
        last = self._rows - 1
        cursor_row = self._board.cursor.y
        while last > cursor_row and not page.get_line_text(last).strip():
            last -= 1
        return last + 1

    def plain_text(self) -> str:
        """The screen as text, without trailing blanks."""
        return str(self._board.capture_text())

    @property
    def cursor(self) -> Cursor:
        board = self._board
        visible = board.modes.cursor_visible and board.blitter.cursor_on_display
        return Cursor(board.cursor.display_x, board.cursor.y, bool(visible), str(board.cursor.shape))

    @property
    def modes(self) -> Modes:
        board = self._board
        modes = board.modes
        return Modes(
            alternate_screen=bool(board.blitter.in_alt_screen),
            mouse=board.mouse.capture() != "off",
            bracketed_paste=bool(modes.bracketed_paste),
            synchronized=bool(modes.synchronized_output),
        )

    # ---------------------------------------------------------------- toward the child

    def _transmit(self, data: bytes) -> None:
        if self._captured is not None:
            self._captured.append(data)
        else:
            self.on_reply(data)

    def _capture(self, action: Callable[[], None]) -> bytes:
        """What the board transmits while `action` runs."""
        self._captured = []
        try:
            action()
            return b"".join(self._captured)
        finally:
            self._captured = None

    def encode_key(self, key: str, character: str | None = None) -> bytes:
        """Bytes for a key, in the child's current modes.

        `key` is a name such as `a`, `ctrl+c`, `shift+tab`, `alt+left` or `f5`; `character` is the text that it types.
        A key with no meaning for a terminal gives no bytes.
        """
        event = _key_event(key, character)
        if event is None:
            return b""
        return self._capture(lambda: self._board.input_key_event(event))

    def encode_mouse(self, x: int, y: int, button: int, kind: MouseKind, modifiers: frozenset[str]) -> bytes:
        """Bytes for a mouse event at a 0-based cell; none when the child did not ask for it.

        Modifiers are of `shift`, `meta`, `ctrl`.
        """
        if self._board.mouse.protocol is MouseProtocol.LOCATOR:
            return b""
        return self._capture(lambda: self._board.input_mouse(x + 1, y + 1, button, kind, set(modifiers)))

    def encode_paste(self, text: str) -> bytes:
        """Bytes for pasted text, bracketed when the child asked for that; control characters are taken out."""
        # An escape in the pasted text could end the brackets early and so type commands.
        pasted = _NOT_PASTED.sub("", text.replace("\r\n", "\r").replace("\n", "\r"))
        data = pasted.encode("utf-8", "replace")
        return b"\x1b[200~" + data + b"\x1b[201~" if self._board.modes.bracketed_paste else data


def _key_event(key: str, character: str | None) -> KeyEvent | None:
    modifiers = KeyModifiers.NONE
    name = key
    while "+" in name[1:]:
        prefix, rest = name.split("+", 1)
        if prefix not in _MODIFIERS:
            break
        modifiers |= _MODIFIERS[prefix]
        name = rest
    if name in _NAMED_KEYS or _FUNCTION_KEY.fullmatch(name):
        return KeyEvent(name, modifiers)
    text = character if character and character.isprintable() and not modifiers & ~KeyModifiers.SHIFT else None
    base = text if text is not None and len(text) == 1 else _key_character(name, character)
    if base is None:
        return KeyEvent(text[0], text=text) if text else None
    return KeyEvent(base, modifiers if text is None else KeyModifiers.NONE, text=text)


def _key_character(name: str, character: str | None) -> str | None:
    """The character that a key's name stands for."""
    from textual.keys import KEY_NAME_REPLACEMENTS, key_to_character  # the names are Textual's; nothing else is

    unicode_names = {short: long for long, short in KEY_NAME_REPLACEMENTS.items()}
    typed = character if character and len(character) == 1 and character.isprintable() else None
    return key_to_character(unicode_names.get(name, name)) or typed


@lru_cache(maxsize=4096)
def _rich_style(style: Style) -> RichStyle:
    looks: dict[str, Any] = {name: True for name in _LOOKS if getattr(style, name)}
    foreground, background = _colour(style.fg), _colour(style.bg)
    plain = not looks and foreground is background is None
    return PLAIN if plain else RichStyle(color=foreground, bgcolor=background, **looks)


def _colour(colour: Color | None) -> RichColor | None:
    if colour is None or colour.mode == "default" or colour.value is None:
        return None
    return RichColor.from_rgb(*colour.value) if isinstance(colour.value, tuple) else RichColor.from_ansi(colour.value)


def _row(cells: Sequence[Cell]) -> Row:
    """Cells joined to runs, trailing unstyled blanks left out. (A wide character's second cell holds no text.)"""
    text = "".join(map(_TEXT, cells))
    if len(text) == len(cells):
        # Most cells of most rows are blank: find that by string operations, and loop over the rest.
        end = len(text.rstrip(" "))
        blanks = cells[end:]
        if blanks and _rich_style(blanks[-1][0]) is PLAIN and blanks.count(blanks[-1]) == len(blanks):
            cells = cells[:end]
    runs = [Run("".join(map(_TEXT, group)), _rich_style(style)) for style, group in groupby(cells, _STYLE)]
    while runs and runs[-1].style is PLAIN:
        stripped = runs[-1].text.rstrip(" ")
        if stripped:
            runs[-1] = Run(stripped, PLAIN)
            break
        runs.pop()
    return tuple(runs)
