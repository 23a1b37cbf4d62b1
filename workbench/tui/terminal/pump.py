"""From bytes of the shell to the emulator, without ever holding up the event loop.

An emulator pays per line, and a flood (`yes`) is made of short lines: emulating all of it is thousands of scrolls that
nobody sees. So plain bulk text is *fast-forwarded*: the lines that would scroll by go to the scrollback as they are,
and only the last screenful is emulated. All the rest is emulated in small slices, with the loop let go in between, and
the queue in front is bounded by holding back the writer.
"""

from __future__ import annotations

import asyncio
import codecs
import re
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.cells import chop_cells

from workbench.tui.terminal.ring import Ring
from workbench.tui.text import expand_tabs

if TYPE_CHECKING:
    from workbench.tui.terminal.bittty_engine import BitttyEngine

HIGH_WATER = 256 << 10
"""Bytes queued at which the writer is asked to stop."""
LOW_WATER = 64 << 10
"""Bytes queued at which it may go on."""
HARD_LIMIT = 4 * HIGH_WATER
"""Bytes queued at which the oldest are dropped, should the writer not listen."""
BATCH_BYTES = 64 << 10
"""Bytes looked at together: to be skipped in one go (2 ms), or else cut into slices."""
SLICE_CHARACTERS = 1 << 9
"""Characters emulated before the clock is looked at (at worst 3 ms: nothing but newlines)."""
SLICE_SECONDS = 0.008
PAUSE_SECONDS = 0.012
SKIP_SCREENS = 3
"""A batch is fast-forwarded when it has more lines than this many screens."""

_NOT_PLAIN = re.compile("[\x00-\x06\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class Pump:
    """Feeds an engine and a ring. Used on the event loop only.

    Args:
        engine: What interprets the output. The pump takes its `on_scrolled_off` and `on_scrollback_cleared`.
        ring: Where rows go that scrolled off.
        on_high: Called when the writer should stop, on_low: when it may go on.
        on_progress: Called after each slice of work.
    """

    def __init__(
        self,
        engine: BitttyEngine,
        ring: Ring,
        *,
        on_high: Callable[[], object] = lambda: None,
        on_low: Callable[[], object] = lambda: None,
        on_progress: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.engine, self.ring = engine, ring
        self.on_high, self.on_low, self.on_progress = on_high, on_low, on_progress
        self.skipped = 0
        """Bytes that were not emulated: fast-forwarded, or dropped at the hard limit."""
        self._clock = clock
        self._queue: deque[bytes | tuple[int, int]] = deque()
        """Output, and sizes that the terminal takes in between."""
        self._queue_bytes = 0
        self._text = ""
        self._at = 0
        self._held = False
        self._cut = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._timer: asyncio.Handle | None = None
        self._last = float("-inf")
        self._closed = False
        engine.on_scrolled_off = ring.append
        engine.on_scrollback_cleared = ring.clear

    @property
    def queued(self) -> int:
        """Bytes waiting (decoded text is counted by its characters)."""
        return self._queue_bytes + len(self._text) - self._at

    @property
    def idle(self) -> bool:
        """True when all output was interpreted."""
        return not self._queue and self._at >= len(self._text)

    def feed(self, data: bytes) -> None:
        """Queue output of the shell; it is interpreted soon. Never blocks."""
        if not data or self._closed:
            return
        if len(data) > HARD_LIMIT:
            self.skipped += len(data) - HIGH_WATER
            self._cut, data = True, data[-HIGH_WATER:]
        self._queue.append(data)
        self._queue_bytes += len(data)
        if self.queued > HARD_LIMIT:
            self._drop_oldest()
        if self.queued > HIGH_WATER and not self._held:
            self._held = True
            self.on_high()
        self._soon()

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size when what was fed before is interpreted (a recording)."""
        if not self._closed:
            self._queue.append((columns, rows))
            self._soon()

    def _soon(self) -> None:
        if self._timer is None:
            wait = self._last + PAUSE_SECONDS - self._clock()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(wait, self._wake) if wait > 0 else loop.call_soon(self._wake)

    def reset(self) -> None:
        """Forget what is queued, as when another stream is shown."""
        self._queue.clear()
        self._queue_bytes = 0
        self._text, self._at, self._cut = "", 0, False
        self.skipped = 0
        self._decoder.reset()
        self._let_go()

    def close(self) -> None:
        """Stop working. The writer is let go, and nothing more is accepted."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.reset()

    # ---------------------------------------------------------------- the work

    def _wake(self) -> None:
        self._timer = None
        end = self._clock() + SLICE_SECONDS
        while not self.idle:
            self._advance()
            if self._clock() >= end:
                break
        self._last = self._clock()
        self._let_go()
        if not self.idle and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._wake)
        self.on_progress()

    def _advance(self) -> None:
        """One batch skipped, or one slice emulated."""
        if self._at >= len(self._text):
            self._take()
            if self._skip():
                return
        end = self._at + SLICE_CHARACTERS
        self.engine.feed(self._text[self._at : end])
        self._at = end

    def _take(self) -> None:
        """Decode the next batch."""
        parts: list[bytes] = []
        size = 0
        while self._queue and size < BATCH_BYTES:
            part = self._queue.popleft()
            if isinstance(part, tuple):
                if parts:
                    self._queue.appendleft(part)
                    break
                self.engine.resize(*part)
                continue
            if len(part) > BATCH_BYTES:
                self._queue.appendleft(part[BATCH_BYTES:])
                part = part[:BATCH_BYTES]
            parts.append(part)
            size += len(part)
        self._queue_bytes -= size
        data = b"".join(parts)
        self._text, self._at = self._decoder.decode(data), 0
        if self._cut:
            self._cut = False
            self._text = "\x18" + self._text  # what was dropped may have ended in the middle of a sequence

    def _skip(self) -> bool:
        """Fast-forward the text just taken, where that shows the same screen in the end."""
        text, engine = self._text, self.engine
        newlines = text.count("\n")
        # A batch may begin between CR and LF; what is before the first newline goes to the engine anyway.
        if newlines <= SKIP_SCREENS * engine.rows or newlines - text.startswith("\n") != text.count("\r\n"):
            return False
        if _NOT_PLAIN.search(text) or not engine.can_skip():
            return False
        first_end = text.index("\n") + 1
        tail = len(text)
        for _ in range(engine.rows):
            tail = text.rindex("\n", 0, tail)
        tail += 1
        engine.feed(text[:first_end])
        engine.turn_page()
        middle = text[first_end:tail]
        self.ring.extend_text(_ring_lines(middle, engine.columns), engine.pen())
        self.skipped += len(middle) if middle.isascii() else len(middle.encode("utf-8", "replace"))
        self._text, self._at = text[tail:], 0
        return True

    def _drop_oldest(self) -> None:
        while self.queued > HIGH_WATER and len(self._queue) > 1:
            oldest = self._queue.popleft()
            if isinstance(oldest, tuple):
                self.engine.resize(*oldest)
                continue
            dropped = len(oldest)
            self._queue_bytes -= dropped
            self.skipped += dropped
            self._cut = True

    def _let_go(self) -> None:
        if self._held and self.queued <= LOW_WATER:
            self._held = False
            self.on_low()


def _ring_lines(text: str, columns: int) -> list[str]:
    """Plain output ending in a newline, as rows no wider than the screen."""
    if "\x07" in text:
        text = text.replace("\x07", "")
    lines = text.split("\r\n")
    lines.pop()
    if text.count("\r") > len(lines):
        lines = [line.rstrip("\r").rpartition("\r")[2] if "\r" in line else line for line in lines]
    if "\t" in text:
        lines = [expand_tabs(line) for line in lines]
    widest = max(map(len, lines), default=0)
    if widest <= columns and (text.isascii() or widest * 2 <= columns):
        return lines
    return [row for line in lines for row in _wrap(line, columns)]


def _wrap(line: str, columns: int) -> list[str]:
    if line.isascii():
        return [line[at : at + columns] for at in range(0, len(line), columns)] or [line]
    return chop_cells(line, columns)
