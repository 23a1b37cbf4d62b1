"""What two texts, or two lists of anything that can be compared, have in common."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec


class DiffLine(msgspec.Struct, frozen=True):
    """A line of a text compared with another."""

    mark: Literal[" ", "+", "-"]
    text: str


_COMPARED = 4_000
"""Lines or messages among which the longest runs are looked for, which takes time with their square."""
_MOST_PAIRS = 100_000
"""Pairs of equal ones, likewise."""


def diff_lines(old: Sequence[str], new: Sequence[str]) -> list[DiffLine]:
    """The lines of both texts, those of the old one that went before those that came in their place."""
    result: list[DiffLine] = []
    for same, i, j, k, m in runs(old, new):
        result += [DiffLine(" " if same else "-", line) for line in old[i:j]]
        result += [DiffLine("+", line) for line in ([] if same else new[k:m])]
    return result


def runs(a: Sequence[str], b: Sequence[str]) -> Iterator[tuple[bool, int, int, int, int]]:
    """Where two lists are the same and where not: spans of both. No list can make it take long."""
    head = 0
    while head < min(len(a), len(b)) and a[head] == b[head]:
        head += 1
    tail = 0
    while tail < min(len(a), len(b)) - head and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    end_a, end_b = len(a) - tail, len(b) - tail
    yield True, 0, head, 0, head
    times_b = Counter(b[head:end_b])
    pairs = sum(times * times_b[each] for each, times in Counter(a[head:end_a]).items())
    if pairs > _MOST_PAIRS or end_a + end_b - 2 * head > _COMPARED:
        yield from _sparing_runs(a, b, head, end_a, end_b)
    else:
        import difflib  # when first needed: it slows the start

        matcher = difflib.SequenceMatcher(None, a[head:end_a], b[head:end_b], autojunk=False)
        for tag, i, j, k, m in matcher.get_opcodes():
            yield tag == "equal", head + i, head + j, head + k, head + m
    yield True, end_a, len(a), end_b, len(b)


def _sparing_runs(
    a: Sequence[str], b: Sequence[str], begin: int, end_a: int, end_b: int
) -> Iterator[tuple[bool, int, int, int, int]]:
    """The same for spans of both from `begin` on. What repeats is told apart by how often it came before; of these the
    most that stand in the same order in both are the same (the longest increasing subsequence of their places).
    """
    places = {each: begin + place for place, each in enumerate(_numbered_apart(b[begin:end_b]))}
    numbered = enumerate(_numbered_apart(a[begin:end_a]), begin)
    common = [(place, places[each]) for place, each in numbered if each in places]
    ends: list[int] = []  # where in b an increasing sequence of 1, 2, … can end at the earliest
    last: list[int] = []  # the number of the pair there
    before: list[int] = []  # of each pair: the one before it in its sequence
    for number, (_, place) in enumerate(common):
        length = bisect.bisect_left(ends, place)
        ends[length : length + 1] = [place]
        last[length : length + 1] = [number]
        before.append(last[length - 1] if length else -1)
    same: list[tuple[int, int]] = []
    number = last[-1] if last else -1
    while number >= 0:
        same.append(common[number])
        number = before[number]
    i = k = begin
    for place_a, place_b in reversed(same):
        yield False, i, place_a, k, place_b
        yield True, place_a, place_a + 1, place_b, place_b + 1
        i, k = place_a + 1, place_b + 1
    yield False, i, end_a, k, end_b


def _numbered_apart(items: Iterable[str]) -> list[tuple[str, int]]:
    seen = Counter[str]()
    found: list[tuple[str, int]] = []
    for item in items:
        seen[item] += 1
        found.append((item, seen[item]))
    return found
