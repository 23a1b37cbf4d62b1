"""What one command printed: its text, rendered as it comes, and its bytes (head and tail) in case they are no text."""

from __future__ import annotations

import codecs
from collections import deque

from workbench.sandbox.render import Renderer, plain
from workbench.sandbox.scrollback import cap

_KEPT_EACH = 4 << 20
"""Raw bytes kept at the beginning, and as many at the end."""
_BATCH = 32 << 10
"""Bytes rendered together: few enough for an event loop, enough for the work on each piece to not count."""


class OutputRecord:
    """Collects output; `observation` and `raw` tell what it was."""

    def __init__(self) -> None:
        self.total = 0
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._is_text = True
        self._renderer: Renderer | None = None

    def add(self, data: bytes) -> None:
        """Append what was printed."""
        self.total += len(data)
        self._waiting.append(data)
        self._waiting_size += len(data)
        if self._waiting_size >= _BATCH:
            self._render()
        room = _KEPT_EACH - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail.append(data)
            self._tail_size += len(data)
            while self._tail_size - len(self._tail[0]) >= _KEPT_EACH:
                self._tail_size -= len(self._tail.popleft())

    def _render(self, *, final: bool = False) -> None:
        """Render what waits. `final`: half a character at the end will not be completed."""
        if not self._waiting and not (final and self._renderer):
            return
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_size = 0
        if b"\0" in data:
            self._is_text = False
        try:
            text = self._decoder.decode(data, final)
        except UnicodeDecodeError:
            self._is_text = False
            state = self._decoder.getstate()
            self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
            self._decoder.setstate(state)
            text = self._decoder.decode(data, final)
        self._renderer = self._renderer or Renderer()
        for at in range(0, len(text), _BATCH):
            self._renderer.feed(text[at : at + _BATCH])

    def _short_and_plain(self) -> str | None:
        """The output, where it is shown as it is and came in one batch: most is, and needs no screen."""
        return plain(b"".join(self._waiting)) if self._renderer is None else None

    @property
    def raw(self) -> bytes | None:
        """The bytes themselves (head and tail) when they were no plain text; else None."""
        if self._short_and_plain() is not None:
            return None
        self._render()
        if self._is_text and not self._decoder.getstate()[0]:
            return None
        return b"".join((self._head, *self._tail))

    def observation(self, most: int) -> tuple[str, bool]:
        """The text a terminal shows, of at most about `most` characters, and whether something was left out."""
        text = self._short_and_plain()
        if text is None:
            self._render(final=True)
        return self._renderer.text().capped(most) if self._renderer else cap(text or "", most)

    def undo(self) -> bytes:
        """What puts a terminal that shows the output into its usual state: see `Renderer.undo`."""
        if self._short_and_plain() is None:
            self._render()
        return self._renderer.undo() if self._renderer else b""
