"""A terminal drawn row by row, with scrollback: what `TerminalPane` is without its keyboard and mouse."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.timer import Timer

from workbench.text import megabytes
from workbench.tui.terminal.engine import Row
from workbench.tui.terminal.pump import Pump
from workbench.tui.terminal.ring import Ring
from workbench.tui.text import printable
from workbench.tui.workers import work_on

if TYPE_CHECKING:
    from workbench.tui.terminal.bittty_engine import BitttyEngine

AGENT_COLUMNS, AGENT_ROWS = 120, 40
"""Size of the terminal while nobody has taken over: what an agent sees does not depend on somebody's window."""

FRAME_SECONDS = 1 / 30
_EMULATOR_SECONDS = 0.15
_EMULATOR = "workbench.tui.terminal.bittty_engine"
REPLAY_BYTES = 256 << 10
"""How much of the end of a recorded stream `show_bytes` draws."""


class TerminalView(ScrollView, inherit_bindings=False):
    """Feeds a terminal, and draws it at most 30 times a second."""

    interactive: reactive[bool] = reactive(False, init=False)
    """Somebody has taken over: the terminal has the size of the pane, and shows a full cursor."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name for it)
        super().__init__(id=id)
        self.on_high: Callable[[], object] = lambda: None
        """Called when output should be held back."""
        self.on_low: Callable[[], object] = lambda: None
        """Called when output may come again."""
        self.paints = 0
        """Times that something was repainted."""
        self._follow = True
        self._shown: bytes | None = b""
        self._shown_sizes: tuple[tuple[int, int, int], ...] = ()
        self._frame: Timer | None = None
        self._after_import: list[Callable[[], None]] = []
        self._ring_strips: LRUCache[int, Strip] = LRUCache(512)
        self._screen_strips: dict[int, Strip] = {}
        self._start()

    def _start(self) -> None:
        """A fresh terminal, empty."""
        columns, rows = self._wanted_size()
        self._engine: BitttyEngine | None = None
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
        """The pump, made with its emulator when first needed."""
        if self._pump is None:
            from workbench.tui.terminal.bittty_engine import BitttyEngine

            self._engine = BitttyEngine(*self._size_wanted)
            self._engine.on_reply = self._reply
            self._pump = Pump(
                self._engine,
                self._ring,
                on_high=lambda: self.on_high(),
                on_low=lambda: self.on_low(),
                on_progress=self._progress,
            )
        return self._pump

    # ---------------------------------------------------------------- output

    def _emulator_there(self, then: Callable[[], None]) -> bool:
        """Whether the emulator is imported. If not, that is done in a thread (it takes 90 ms), and `then` after it."""
        # A module is in `sys.modules` as soon as its import begins; and what waits already comes first.
        loaded = hasattr(sys.modules.get(_EMULATOR), "BitttyEngine") and not self._after_import
        if loaded or not self.is_running:
            return True
        self._after_import.append(then)
        if len(self._after_import) == 1:
            # Not before there is something to see: a thread that imports takes turns with what draws.
            asyncio.get_running_loop().call_later(_EMULATOR_SECONDS, self.call_next, self._begin_import)
        return False

    def _begin_import(self) -> None:
        work_on(self, self._import_emulator, group="emulator")

    async def _import_emulator(self) -> None:
        await asyncio.to_thread(importlib.import_module, _EMULATOR)
        waiting, self._after_import = self._after_import, []
        for then in waiting:
            then()

    def feed(self, data: bytes) -> None:
        """Show output of the shell. Returns at once; it is drawn at most 30 times a second."""
        if not self._emulator_there(lambda: self.feed(data)):
            return
        self._shown = None
        self._ready_pump().feed(data)

    def show_bytes(self, data: bytes, sizes: Sequence[tuple[int, int, int]] = ()) -> None:
        """Show the terminal as it is after `data` (a recorded stream up to some moment), instead of what it showed.

        Only the last 256 KB are interpreted; stepping forward interprets only what is new. Drawn once, when done.
        `sizes`: the terminal's columns and rows, each from some byte of the data on.
        """
        if not self._emulator_there(lambda: self.show_bytes(data, sizes)):
            return
        shown, known = self._shown, len(self._shown_sizes)
        if (
            shown is not None
            and data.startswith(shown)
            and len(data) - len(shown) <= REPLAY_BYTES
            and self._shown_sizes == tuple(sizes[:known])
            and all(position >= len(shown) for position, _, _ in sizes[known:])
        ):
            begin, new_sizes = len(shown), sizes[known:]
        else:
            follow = self._follow
            self.reset()
            self._follow = follow  # who has scrolled back reads on at the same place
            begin, new_sizes = 0, sizes
            if len(data) > REPLAY_BYTES:
                begin = data.find(b"\n", len(data) - REPLAY_BYTES) + 1
        if data[begin:] or new_sizes:
            self._quiet = True
            for position, columns, rows in new_sizes:
                if position > begin:
                    self.feed(data[begin:position])
                    begin = position
                self._ready_pump().resize(columns, rows)
            self.feed(data[begin:])
        self._shown, self._shown_sizes = data, tuple(sizes)
        self._wake_painter()

    def reset(self) -> None:
        """Forget everything, and show an empty terminal."""
        if self._pump is not None:
            self._pump.close()
        self._shown, self._shown_sizes = b"", ()
        self._follow = True
        self._after_import.clear()
        self._start()
        self._wake_painter()

    @property
    def skipped(self) -> int:
        """Bytes that were fast-forwarded: in the scrollback, but never drawn as they came."""
        return self._pump.skipped if self._pump is not None else 0

    @property
    def idle(self) -> bool:
        """True when all output was interpreted."""
        return not self._after_import and (self._pump is None or self._pump.idle)

    def screen_text(self) -> str:
        """What is on the terminal's screen, as text."""
        return self._engine.plain_text() if self._engine is not None else ""

    def _reply(self, data: bytes) -> None:
        """The terminal's answer to a question of the child. A view has nobody to pass it to."""

    # ---------------------------------------------------------------- painting

    def on_mount(self) -> None:
        self._frame = self.set_interval(FRAME_SECONDS, self._paint, name="terminal frames")

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
        strip = strip.crop_extend(column, column + width, base)
        span = self.text_selection.get_span(row) if self.text_selection is not None else None
        if span is not None:
            start, end = max(0, span[0] - column), width if span[1] == -1 else max(0, min(width, span[1] - column))
            before, selected, after = strip.divide([start, max(start, end), width])
            style = self.screen.get_component_rich_style("screen--selection")
            strip = Strip.join([before, over(selected, style), after])
        return strip.apply_offsets(column, row)

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
            strip = Strip.join([before, over(at, style), after])
        return strip

    def _show_badge(self) -> None:
        badge = f"▼ {megabytes(self.skipped)} skipped from view" if self.skipped else ""
        if badge != (self.border_subtitle or ""):
            self.border_subtitle = badge

    def _pane_size(self) -> tuple[int, int]:
        # Not the scrollable region: that may still be without the row of a scrollbar that take-over removes.
        size = self.content_region.size
        return max(2, size.width - self.scrollbar_size_vertical), max(1, size.height)

    def _wanted_size(self) -> tuple[int, int]:
        """The size that the terminal should have now."""
        return self._pane_size() if self.interactive else (AGENT_COLUMNS, AGENT_ROWS)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        engine = self._engine
        rows = list(self._ring.texts())
        if engine is not None:
            rows += ["".join(run.text for run in engine.line(y)) for y in range(engine.rows)]
        return selection.extract("\n".join(rows)), "\n"


def over(strip: Strip, style: RichStyle) -> Strip:
    """The strip with a style laid over its own."""
    return Strip([Segment(text, own + style if own else style) for text, own, _ in strip])


def row_strip(row: Row, base: RichStyle) -> Strip:
    """A row as Textual draws it, over the pane's own colours."""
    return Strip([Segment(printable(run.text), base + run.style) for run in row])
