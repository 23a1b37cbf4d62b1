"""Text that can change no more: its head and its tail are kept, and how much was between them."""

from __future__ import annotations

KEPT_EACH = 128 << 10
"""Characters kept of the head, and at least as many of the tail."""
_PIECES = 4096


def cap(text: str, most: int) -> tuple[str, bool]:
    """At most about `most` characters of `text`, its head and its tail, and whether anything was left out."""
    if len(text) <= most:
        return text, False
    head, tail = text[: most // 2], text[len(text) - (most - most // 2) :]
    return head_and_tail(head, tail, len(text) - most, text.count("\n", len(head), len(text) - len(tail))), True


def head_and_tail(head: str, tail: str, characters: int, lines: int) -> str:
    """The two parts with a line between them that says how much is missing."""
    joint = "" if head.endswith("\n") or not head else "\n"
    return f"{head}{joint}[... {characters:,} characters, {lines:,} lines left out ...]\n{tail}"


class Scrollback:
    """Text that can change no more. Its head and tail are kept, and how much was between them."""

    def __init__(self) -> None:
        self.head = ""
        self.lost = 0
        """Characters between head and tail."""
        self.lost_lines = 0
        self._pieces: list[str] = []
        self._size = 0

    def write(self, text: str) -> None:
        """Append."""
        self._pieces.append(text)
        self._size += len(text)
        if self._size > 2 * KEPT_EACH or len(self._pieces) > _PIECES:
            self._pack()

    def _pack(self) -> None:
        text = "".join(self._pieces)
        if self._size > 2 * KEPT_EACH:
            start = 0
            if not self.head:
                self.head, start = text[:KEPT_EACH], KEPT_EACH
            end = len(text) - KEPT_EACH
            self.lost += end - start
            self.lost_lines += text.count("\n", start, end)
            text = text[end:]
        self._pieces, self._size = [text], len(text)

    @property
    def tail(self) -> str:
        """What follows the head, without what was lost."""
        return "".join(self._pieces)

    def copy(self) -> Scrollback:
        """Another of the same text."""
        other = Scrollback()
        other.head, other.lost, other.lost_lines = self.head, self.lost, self.lost_lines
        other._pieces, other._size = self._pieces.copy(), self._size
        return other

    def capped(self, most: int) -> tuple[str, bool]:
        """At most about `most` characters, head and tail, and whether anything was left out."""
        head, tail = self.head, self.tail
        if not self.lost:
            return cap(head + tail, most)
        cut_head, cut_tail = head[: most // 2], tail[max(0, len(tail) - (most - most // 2)) :]
        missing = self.lost + len(head) - len(cut_head) + len(tail) - len(cut_tail)
        lines = self.lost_lines + head.count("\n", len(cut_head)) + tail.count("\n", 0, len(tail) - len(cut_tail))
        return head_and_tail(cut_head, cut_tail, missing, lines), True
