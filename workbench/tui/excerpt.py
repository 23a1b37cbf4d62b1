"""What a pane shows of a file, of a large one a part around the agent's window, and where two files differ.

Pure functions over bytes, for a thread: none holds the interpreter for long at a time.
"""

from __future__ import annotations

from typing import NamedTuple

LARGE = 512 << 10
"""Bytes; larger files are shown in part."""
_PART = 256 << 10
"""Bytes that are shown, at most."""
_PIECE = 1 << 20


class Excerpt(NamedTuple):
    """Whole lines of a file."""

    text: str
    first: int
    """Number of the first of them, from 1."""
    whole: bool
    """They are all of it."""


def excerpt(data: bytes, line: int) -> Excerpt:
    """A file; of a large one the part in whose middle `line` is, or its end where it has fewer lines."""
    if len(data) <= LARGE:
        return Excerpt(data.decode("utf-8", "replace"), 1, True)
    middle, number = _offset_of(data, max(1, line))
    start = data.rfind(b"\n", 0, max(0, middle - _PART // 2)) + 1 if middle > _PART // 2 else 0
    if middle - start > _PART:  # one endless line
        start = middle - _PART // 2
    end = data.find(b"\n", start + _PART, start + 2 * _PART) + 1 or min(len(data), start + _PART)
    first = number - count_lines(data, start, middle)
    return Excerpt(data[start:end].decode("utf-8", "replace"), first, False)


class Difference(NamedTuple):
    """Where two files differ: whole lines, in bytes."""

    start: int
    """Up to here they are the same."""
    old_end: int
    new_end: int
    """From here on they are the same again."""


def difference(old: bytes, new: bytes) -> Difference:
    """The lines between the common beginning and the common end of two files."""
    shorter = min(len(old), len(new))
    start = 0
    while start < shorter and old[start : start + _PIECE] == new[start : start + _PIECE]:
        start += _PIECE
    start = min(shorter, start)
    start += _common(old[start : start + _PIECE], new[start : start + _PIECE])
    start = new.rfind(b"\n", 0, start) + 1
    back = 0
    most = shorter - start
    while back < most:
        piece = min(_PIECE, most - back)
        ends = (old[len(old) - back - piece : len(old) - back], new[len(new) - back - piece : len(new) - back])
        if ends[0] != ends[1]:
            back += _common(ends[0][::-1], ends[1][::-1])
            break
        back += piece
    behind = new.find(b"\n", len(new) - back)  # a line that ends alike is another line all the same
    new_end = len(new) if behind < 0 else max(start, behind + 1)
    return Difference(start, max(start, len(old) - (len(new) - new_end)), new_end)


def _common(a: bytes, b: bytes) -> int:
    """How many bytes the two have in common from their beginning."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        half = (low + high + 1) // 2
        if a[low:half] == b[low:half]:
            low = half
        else:
            high = half - 1
    return low


def count_lines(data: bytes, start: int, end: int) -> int:
    """Line ends between two places."""
    return sum(data.count(b"\n", place, min(end, place + _PIECE)) for place in range(start, end, _PIECE))


def _offset_of(data: bytes, line: int) -> tuple[int, int]:
    """Where a line begins, and its number; those of the last one where there are fewer."""
    left, place = line - 1, 0
    while left and place < len(data):
        found = data.count(b"\n", place, place + _PIECE)
        if found >= left:
            for _ in range(left):
                place = data.index(b"\n", place) + 1
            return place, line
        left -= found
        place += _PIECE
    return (0, 1) if line == 1 else (data.rfind(b"\n") + 1, line - left)
