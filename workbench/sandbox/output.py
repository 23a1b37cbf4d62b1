"""What one command printed, kept within bounds: all of it up to a few megabytes, head and tail beyond."""

from __future__ import annotations

import codecs
from collections import deque

from workbench.sandbox.render import cap, head_and_tail, render

_KEPT_EACH = 4 << 20
"""Raw bytes kept at the beginning, and as many at the end."""
_RENDERED_WHOLE = 2 << 20
"""Bytes of output up to which the whole is rendered; above, its first and last parts are, each by itself."""
_RENDERED_PART = 512 << 10

SLOW_TO_RENDER = 64 << 10
"""Bytes from which `observation` may take longer than an event loop should be held."""


class OutputRecord:
    """Collects output; `observation` and `raw` tell what it was."""

    def __init__(self) -> None:
        self.total = 0
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._lost = 0
        self._lost_lines = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._decoding = False
        self._is_text = True

    def add(self, data: bytes) -> None:
        """Append what was printed."""
        self.total += len(data)
        if self._is_text:
            self._look_at(data)
        room = _KEPT_EACH - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail.append(data)
            self._tail_size += len(data)
            while self._tail_size - len(self._tail[0]) >= _KEPT_EACH:
                gone = self._tail.popleft()
                self._tail_size -= len(gone)
                self._lost += len(gone)
                self._lost_lines += gone.count(b"\n")

    def _look_at(self, data: bytes) -> None:
        if b"\0" in data:
            self._is_text = False
        elif self._decoding or not data.isascii():
            try:
                self._decoder.decode(data)
            except UnicodeDecodeError:
                self._is_text = False
            self._decoding = bool(self._decoder.getstate()[0])

    @property
    def raw(self) -> bytes | None:
        """The bytes themselves (head and tail) when they were no plain text; else None."""
        if self._is_text and not self._decoding:
            return None
        return b"".join((self._head, *self._tail))

    def observation(self, most: int) -> tuple[str, bool]:
        """The text a terminal shows, of at most about `most` characters, and whether something was left out."""
        if self.total <= _RENDERED_WHOLE:
            return cap(render(b"".join((self._head, *self._tail))), most)
        head = bytes(self._head[:_RENDERED_PART])
        if not self._lost:
            whole = b"".join((self._head, *self._tail))
            tail = whole[-_RENDERED_PART:]
            missing_lines = whole.count(b"\n", len(head), len(whole) - len(tail))
        else:
            kept = b"".join(self._tail)
            tail = kept[-_RENDERED_PART:]
            missing_lines = self._lost_lines + kept.count(b"\n", 0, len(kept) - len(tail))
            missing_lines += self._head.count(b"\n", len(head))
        shown_head, shown_tail = render(_whole_characters(head)), render(_whole_characters(tail))
        cut_head, cut_tail = shown_head[: most // 2], shown_tail[max(0, len(shown_tail) - (most - most // 2)) :]
        missing_lines += shown_head.count("\n", len(cut_head))
        missing_lines += shown_tail.count("\n", 0, len(shown_tail) - len(cut_tail))
        missing = self.total - len(head) - len(tail)
        missing += len(shown_head) - len(cut_head) + len(shown_tail) - len(cut_tail)
        return head_and_tail(cut_head, cut_tail, missing, missing_lines), True


def _whole_characters(data: bytes) -> bytes:
    """`data` without the parts of a UTF-8 character that was cut at its beginning or end."""
    start = 0
    while start < min(3, len(data)) and data[start] & 0xC0 == 0x80:
        start += 1
    end = len(data)
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            if needed > back:
                end -= back
            break
    return data[start:end]
