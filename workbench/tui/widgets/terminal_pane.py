"""The live shell: a terminal inside the app, drawn row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.timer import Timer

from workbench.tui.terminal.engine import (
    BUTTON_LEFT,
    BUTTON_MIDDLE,
    BUTTON_RIGHT,
    WHEEL_DOWN,
    WHEEL_UP,
    CellStyle,
    Colour,
    MouseKind,
    Row,
    TerminalEngine,
)
from workbench.tui.terminal.pump import Pump
from workbench.tui.terminal.ring import Ring
from workbench.tui.text import printable

AGENT_COLUMNS, AGENT_ROWS = 120, 40
"""Size of the terminal while nobody has taken over: what an agent sees does not depend on somebody's window."""

FRAME_SECONDS = 1 / 30
REPLAY_BYTES = 256 << 10
"""How much of the end of a recorded stream `show_bytes` draws."""

RELEASE_KEY = "ctrl+right_square_bracket"

_BUTTONS = {1: BUTTON_LEFT, 2: BUTTON_MIDDLE, 3: BUTTON_RIGHT}


class TerminalPane(ScrollView, can_focus=True, inherit_bindings=False):
    """A terminal with scrollback.

    While nobody has taken over, the terminal is 120 by 40 whatever the size of the pane, which shows the part with the
    cursor. In take-over (`interactive`) the terminal has the pane's size, and every key but ctrl+] goes to the child.

    Set `on_high` and `on_low` to hold back the shell's output while more than 256 KB wait to be drawn.
    """

    DEFAULT_CSS = """
    TerminalPane {
        overflow-x: auto;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        scrollbar-size-horizontal: 1;
        background: $background;
        color: $foreground;
    }
    TerminalPane.-taken-over {
        overflow-x: hidden;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k,up", "move(-1)", "Up", show=False, id="terminal.up"),
        Binding("j,down", "move(1)", "Down", show=False, id="terminal.down"),
        Binding("ctrl+u,pageup,shift+pageup", "page(-1)", "Page up", show=False, id="terminal.page_up"),
        Binding("ctrl+d,pagedown,shift+pagedown", "page(1)", "Page down", show=False, id="terminal.page_down"),
        Binding("g,home", "first", "First line", show=False, id="terminal.first"),
        Binding("G,end", "last", "Follow the end", show=False, id="terminal.last"),
        Binding("shift+left", "sideways(-8)", "Left", show=False, id="terminal.left"),
        Binding("shift+right", "sideways(8)", "Right", show=False, id="terminal.right"),
    ]

    interactive: reactive[bool] = reactive(False, init=False)
    """Somebody has taken over: keys, mouse and paste go to the child."""

    @dataclass
    class Input(Message):
        """Bytes for the child: typed, pasted, a mouse event, or the terminal's answer to a question of the child."""

        pane: TerminalPane
        data: bytes

        @property
        def control(self) -> TerminalPane:
            return self.pane

    @dataclass
    class Release(Message):
        """ctrl+] was pressed in take-over. The app decides, and sets `interactive` to False."""

        pane: TerminalPane

        @property
        def control(self) -> TerminalPane:
            return self.pane

    @dataclass
    class Resized(Message):
        """The terminal has another size, which the pseudo-terminal should take as well."""

        pane: TerminalPane
        columns: int
        rows: int

        @property
        def control(self) -> TerminalPane:
            return self.pane

    def __init__(
        self,
        *,
        engine_factory: Callable[[int, int], TerminalEngine] | None = None,
        id: str | None = None,  # noqa: A002 (Textual's name for it)
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.on_high: Callable[[], None] | None = None
        """Called when output should be held back."""
        self.on_low: Callable[[], None] | None = None
        """Called when output may come again."""
        self.paints = 0
        """Times that something was repainted."""
        self._engine_factory = engine_factory
        self._follow = True
        self._shown: bytes | None = b""
        self._frame: Timer | None = None
        self._ring_strips: LRUCache[int, Strip] = LRUCache(512)
        self._screen_strips: dict[int, Strip] = {}
        self._start()

    def _start(self) -> None:
        """A fresh terminal, empty."""
        columns, rows = (AGENT_COLUMNS, AGENT_ROWS) if not self.interactive else self._pane_size()
        self._engine: TerminalEngine | None = None
        self._size_wanted = (columns, rows)
        self._pump: Pump | None = None
        self._ring = Ring()
        self._first_painted = 0
        self._ring_painted = 0
        self._cursor_painted: int | None = None
        self._all_dirty = True
        self._held_frames = 0
        self._quiet = False
        self._ring_strips.clear()
        self._screen_strips.clear()

    def _ready_pump(self) -> Pump:
        """The pump, made with its emulator when first needed (importing the emulator takes 90 ms)."""
        if self._pump is None:
            factory = self._engine_factory
            if factory is None:
                from workbench.tui.terminal.bittty_engine import BitttyEngine

                factory = BitttyEngine
            self._engine = factory(*self._size_wanted)
            self._engine.on_reply = self._reply
            self._pump = Pump(
                self._engine, self._ring, on_high=self._high, on_low=self._low, on_progress=self._progress
            )
        return self._pump

    # ---------------------------------------------------------------- output

    def feed(self, data: bytes) -> None:
        """Show output of the shell. Returns at once; it is drawn at most 30 times a second."""
        self._shown = None
        self._ready_pump().feed(data)

    def show_bytes(self, data: bytes) -> None:
        """Show the terminal as it is after `data` (a recorded stream up to some moment), instead of what it showed.

        Only the last 256 KB are interpreted; stepping forward interprets only what is new. Drawn once, when done.
        """
        shown = self._shown
        if shown is not None and data.startswith(shown) and len(data) - len(shown) <= REPLAY_BYTES:
            new = data[len(shown) :]
        else:
            self.reset()
            new = data
            if len(data) > REPLAY_BYTES:
                new = data[-REPLAY_BYTES:]
                new = new[new.find(b"\n") + 1 :]
        if new:
            self._quiet = True
            self.feed(new)
        self._shown = data
        self._wake_painter()

    def show_text(self, lines: Sequence[str]) -> None:
        """Show plain lines instead of what the terminal showed, drawn once, when done."""
        self.reset()
        if lines:
            self._quiet = True
        self.feed("\r\n".join(printable(line) for line in lines).encode("utf-8", "replace"))

    def reset(self) -> None:
        """Forget everything, and show an empty terminal."""
        if self._pump is not None:
            self._pump.close()
        self._shown = b""
        self._follow = True
        self._start()
        self._wake_painter()

    @property
    def skipped(self) -> int:
        """Bytes that were fast-forwarded: in the scrollback, but never drawn as they came."""
        return self._pump.skipped if self._pump is not None else 0

    @property
    def idle(self) -> bool:
        """True when all output was interpreted."""
        return self._pump is None or self._pump.idle

    def screen_text(self) -> str:
        """What is on the terminal's screen, as text."""
        return self._engine.plain_text() if self._engine is not None else ""

    def _reply(self, data: bytes) -> None:
        if self.interactive:
            self.post_message(self.Input(self, data))

    def _high(self) -> None:
        if self.on_high is not None:
            self.on_high()

    def _low(self) -> None:
        if self.on_low is not None:
            self.on_low()

    # ---------------------------------------------------------------- painting

    def on_mount(self) -> None:
        self._frame = self.set_interval(FRAME_SECONDS, self._paint, name="terminal frames")
        self._show_state()

    def on_unmount(self) -> None:
        if self._pump is not None:
            self._pump.close()

    def _progress(self) -> None:
        if self._quiet and not self.idle:
            return
        self._quiet = False
        self._wake_painter()

    def _wake_painter(self) -> None:
        if self._frame is not None:
            self._frame.resume()

    def _paint(self) -> None:
        """One frame: refresh what changed since the last one."""
        engine, ring = self._engine, self._ring
        if self._frame is not None:
            self._frame.pause()
        if self._quiet:
            return
        if engine is not None and engine.modes.synchronized and self._held_frames < 6:
            self._held_frames += 1  # the child is in the middle of a frame; wait, but not for ever
            self._wake_painter()
            return
        self._held_frames = 0
        self.paints += 1
        moved = ring.appended != self._first_painted + self._ring_painted or ring.first != self._first_painted
        evicted = ring.first - self._first_painted
        self._first_painted, self._ring_painted = ring.first, len(ring)
        dirty = set(engine.dirty_rows()) if engine is not None else set()
        cursor = engine.cursor if engine is not None else None
        if cursor is not None:
            dirty.add(cursor.y)
            if self._cursor_painted is not None:
                dirty.add(self._cursor_painted)
            self._cursor_painted = cursor.y
        for y in dirty:
            self._screen_strips.pop(y, None)
        size = Size(engine.columns if engine is not None else AGENT_COLUMNS, self._ring_painted + self._screen_rows())
        resized = size != self.virtual_size
        if resized:
            self.virtual_size = size
        if self._follow:
            self._scroll_rows(self.max_scroll_y)
            if resized:
                self.call_after_refresh(self._stay_at_end)  # a scrollbar may have come, and taken a row
        elif evicted > 0:
            self._scroll_rows(max(0, self.scroll_offset.y - evicted))
            self._follow = False
        if moved or resized or self._all_dirty or evicted:
            self._all_dirty = False
            self.refresh()
        else:
            top = self._ring_painted - self.scroll_offset.y
            width = self.size.width
            self.refresh(*(Region(0, top + y, width, 1) for y in dirty if 0 <= top + y < self.size.height))
        self._show_badge()

    def _screen_rows(self) -> int:
        engine = self._engine
        if engine is None:
            return 0
        if self.interactive or engine.modes.alternate_screen:
            return engine.rows
        return engine.content_rows()

    def _scroll_rows(self, y: float) -> None:
        follow = self._follow
        self.scroll_to(y=y, animate=False, force=True)
        self._follow = follow

    def _stay_at_end(self) -> None:
        if self._follow and self.scroll_offset.y != self.max_scroll_y:
            self._scroll_rows(self.max_scroll_y)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._follow = round(new_value) >= self.max_scroll_y

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._ring_strips.clear()
        self._screen_strips.clear()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        base = self.rich_style
        column, row = self.scroll_offset.x, y + self.scroll_offset.y
        screen_row = row - self._ring_painted
        if screen_row < 0:
            strip = self._ring_strip(self._first_painted + row, base)
        elif self._engine is not None and screen_row < self._engine.rows:
            strip = self._screen_strip(screen_row, base)
        else:
            return Strip.blank(width, base)
        return strip.crop_extend(column, column + width, base).apply_offsets(column, row)

    def _ring_strip(self, number: int, base: RichStyle) -> Strip:
        strip = self._ring_strips.get(number)
        if strip is None:
            index = number - self._ring.first
            if not 0 <= index < len(self._ring):
                return Strip([])  # evicted since the last frame
            strip = self._ring_strips[number] = row_strip(self._ring.row(index), base)
        return strip

    def _screen_strip(self, y: int, base: RichStyle) -> Strip:
        assert self._engine is not None
        strip = self._screen_strips.get(y)
        if strip is None:
            strip = self._screen_strips[y] = row_strip(self._engine.line(y), base)
        cursor = self._engine.cursor
        if cursor.visible and cursor.y == y:
            style = RichStyle(reverse=True) if self.interactive and self.has_focus else RichStyle(underline=True)
            strip = strip.adjust_cell_length(max(strip.cell_length, cursor.x + 1), base)
            before, at, after = strip.divide([cursor.x, cursor.x + 1, strip.cell_length])
            strip = Strip.join([before, at.apply_style(style), after])
        return strip

    def _show_badge(self) -> None:
        badge = f"▼ {megabytes(self.skipped)} skipped from view" if self.skipped else ""
        if badge != (self.border_subtitle or ""):
            self.border_subtitle = badge

    # ---------------------------------------------------------------- take-over

    def _pane_size(self) -> tuple[int, int]:
        size = self.scrollable_content_region.size
        return max(2, size.width), max(1, size.height)

    def watch_interactive(self, interactive: bool) -> None:
        self.set_class(interactive, "-taken-over")
        self._follow = True
        if interactive:
            self.scroll_to(x=0, animate=False)
            self.focus()
        self._fit()
        self._show_state()

    def on_resize(self) -> None:
        self._all_dirty = True
        if self.interactive:
            self._fit()
        self._wake_painter()

    def _fit(self) -> None:
        """Give the terminal the size that it should have now, and say so when that is new."""
        wanted = self._pane_size() if self.interactive else (AGENT_COLUMNS, AGENT_ROWS)
        if wanted != self._size_wanted:
            self._size_wanted = wanted
            if self._engine is not None:
                self._engine.resize(*wanted)
            self.post_message(self.Resized(self, *wanted))
        self._screen_strips.clear()
        self._all_dirty = True
        self._wake_painter()

    def _show_state(self) -> None:
        self.border_title = "Shell · TAKEN OVER · ctrl+] gives it back" if self.interactive else "Shell"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        # In take-over no key of ours works: it is the child's.
        return not self.interactive

    def _send(self, data: bytes) -> None:
        if data:
            self._follow = True
            self.post_message(self.Input(self, data))

    def on_key(self, event: events.Key) -> None:
        if not self.interactive:
            return
        event.stop()
        event.prevent_default()
        if event.key in (RELEASE_KEY, "ctrl+]"):
            self.post_message(self.Release(self))
            return
        self._ready_pump()
        if self._engine is not None:
            self._send(self._engine.encode_key(event.key, event.character))

    def on_paste(self, event: events.Paste) -> None:
        if self.interactive:
            event.stop()
            self._ready_pump()
            if self._engine is not None:
                self._send(self._engine.encode_paste(event.text))

    # ---------------------------------------------------------------- mouse

    @property
    def _mouse_is_childs(self) -> bool:
        return self.interactive and self._engine is not None and self._engine.modes.mouse

    @property
    def allow_select(self) -> bool:
        return not self._mouse_is_childs

    def _send_mouse(self, event: events.MouseEvent, button: int, kind: MouseKind) -> None:
        offset = event.get_content_offset(self)
        if self._engine is None or offset is None:
            return
        y = offset.y + self.scroll_offset.y - self._ring_painted
        if not (0 <= y < self._engine.rows and 0 <= offset.x < self._engine.columns):
            return
        held = {"shift": event.shift, "meta": event.meta, "ctrl": event.ctrl}
        modifiers = frozenset(name for name, on in held.items() if on)
        data = self._engine.encode_mouse(offset.x, y, button, kind, modifiers)
        if data:
            self.post_message(self.Input(self, data))
        event.stop()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        if self._mouse_is_childs:
            self._send_mouse(event, _BUTTONS.get(event.button, BUTTON_LEFT), "press")

    def on_mouse_up(self, event: events.MouseUp) -> None:
        if self._mouse_is_childs:
            self._send_mouse(event, _BUTTONS.get(event.button, BUTTON_LEFT), "release")

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._mouse_is_childs:
            self._send_mouse(event, _BUTTONS.get(event.button, BUTTON_LEFT), "move")

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        event.prevent_default()
        if self._mouse_is_childs:
            self._send_mouse(event, WHEEL_DOWN, "press")
        else:
            self._move_view(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        event.prevent_default()
        if self._mouse_is_childs:
            self._send_mouse(event, WHEEL_UP, "press")
        else:
            self._move_view(-3)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        engine = self._engine
        rows = list(self._ring.texts())
        if engine is not None:
            rows += ["".join(run.text for run in engine.line(y)) for y in range(engine.rows)]
        return selection.extract("\n".join(rows)), "\n"

    # ---------------------------------------------------------------- scrollback

    def _move_view(self, rows: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + rows, animate=False, force=True)

    def action_move(self, rows: int) -> None:
        self._move_view(rows)

    def action_page(self, pages: int) -> None:
        self._move_view(pages * max(1, self.scrollable_content_region.height - 1))

    def action_first(self) -> None:
        self.scroll_to(y=0, animate=False, force=True)

    def action_last(self) -> None:
        self._follow = True
        self.scroll_to(y=self.max_scroll_y, animate=False, force=True)

    def action_sideways(self, columns: int) -> None:
        self.scroll_to(x=self.scroll_offset.x + columns, animate=False, force=True)


def megabytes(count: int) -> str:
    """`3.1 MB`, or KB below a tenth of that."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.0f} KB"


def row_strip(row: Row, base: RichStyle) -> Strip:
    """A row as Textual draws it, over the pane's own colours."""
    return Strip([Segment(printable(run.text), base + _rich_style(run.style)) for run in row])


@lru_cache(maxsize=4096)
def _rich_style(style: CellStyle) -> RichStyle:
    return RichStyle(
        color=_rich_colour(style.foreground),
        bgcolor=_rich_colour(style.background),
        bold=style.bold or None,
        dim=style.dim or None,
        italic=style.italic or None,
        underline=style.underline or None,
        blink=style.blink or None,
        reverse=style.reverse or None,
        strike=style.strike or None,
        conceal=style.conceal or None,
    )


def _rich_colour(colour: Colour) -> RichColor | None:
    if colour is None:
        return None
    return RichColor.from_ansi(colour) if isinstance(colour, int) else RichColor.parse(colour)
