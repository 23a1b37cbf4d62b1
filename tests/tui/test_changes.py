"""Only what differs is sent to the terminal, and it shows the same as if all had been."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region, Size
from textual.strip import Strip

from workbench.tui.terminal.bittty_engine import BitttyEngine
from workbench.tui.terminal.changes import Shown

WIDTH, HEIGHT = 24, 4
SIZE = Size(WIDTH, HEIGHT)
CONSOLE = Console(color_system="truecolor", force_terminal=True)
STYLES = [None, Style(bold=True), Style(color="red", bgcolor="blue"), Style(reverse=True), Style(underline=True)]
STYLES += [Style(color="default", bgcolor="default"), Style(bgcolor="green"), Style(dim=True, meta={"@click": "x"})]


def strip_of(parts: list[tuple[str, int]], width: int) -> Strip:
    return Strip([Segment(text, STYLES[style]) for text, style in parts]).adjust_cell_length(width)


parts = st.lists(st.tuples(st.text("ab  ─漢é", max_size=14), st.integers(0, len(STYLES) - 1)), max_size=4)
rows = st.lists(parts, min_size=HEIGHT, max_size=HEIGHT)


def whole(lines: list[list[tuple[str, int]]]) -> LayoutUpdate:
    return LayoutUpdate([[strip_of(line, WIDTH)] for line in lines], Region(0, 0, WIDTH, HEIGHT))


@st.composite
def frames(draw: st.DrawFn) -> LayoutUpdate | ChopsUpdate:
    """A whole frame, or two pieces of each of some rows, the second one cut off at its end."""
    lines = draw(rows)
    if draw(st.booleans()):
        return whole(lines)
    at, end = draw(st.integers(1, WIDTH - 2)), draw(st.integers(0, WIDTH))
    chops = [{0: strip_of(line, at), at: strip_of(line[::-1], WIDTH - at)} for line in lines]
    spans = [
        (y, draw(st.integers(0, at)), max(end, at))
        for y in sorted(draw(st.sets(st.integers(0, HEIGHT - 1), min_size=1)))
    ]
    return ChopsUpdate(chops, spans, [[at, WIDTH]] * HEIGHT)


def visible(engine: BitttyEngine) -> list[list[tuple[str, Style]]]:
    """Each character, with what of its style can be seen."""
    found = []
    for y in range(HEIGHT):
        cells = [(letter, run.style) for run in engine.line(y) for letter in run.text]
        seen = [
            (
                letter,
                Style(bgcolor=style.bgcolor) if letter == " " and not (style.reverse or style.underline) else style,
            )
            for letter, style in cells
        ]
        while seen and seen[-1] == (" ", Style()):
            seen.pop()
        found.append(seen)
    return found


@given(st.lists(frames(), min_size=1, max_size=6))
@settings(max_examples=150)
def test_the_terminal_shows_the_same(painted: list[LayoutUpdate | ChopsUpdate]) -> None:
    every, changes, shown = BitttyEngine(WIDTH, HEIGHT), BitttyEngine(WIDTH, HEIGHT), Shown()
    for frame in painted:
        every.feed(frame.render_segments(CONSOLE))
        changes.feed(shown.next(frame, SIZE).render_segments(CONSOLE))
        assert visible(changes) == visible(every)


def test_what_is_shown_is_not_sent_again() -> None:
    shown = Shown()
    frame = whole([[("some text that is there", 1)]] * HEIGHT)
    first = shown.next(frame, SIZE).render_segments(CONSOLE)
    assert "some text" in first and shown.next(frame, SIZE).render_segments(CONSOLE) == ""
    other = whole([[("some text that is here", 1)], *[[("some text that is there", 1)]] * (HEIGHT - 1)])
    assert shown.next(other, SIZE).render_segments(CONSOLE) == "\x1b[1;19H\x1b[1mhere \x1b[m"
    shown.forget()
    assert "some text" in shown.next(other, SIZE).render_segments(CONSOLE)
    assert "some text" in shown.next(other, Size(WIDTH + 1, HEIGHT)).render_segments(CONSOLE)


@given(frames(), st.integers(1, WIDTH + 2), st.integers(1, HEIGHT + 1))
def test_a_frame_of_the_size_before_is_drawn_as_far_as_it_fits(
    frame: LayoutUpdate | ChopsUpdate, width: int, height: int
) -> None:
    shown, size = Shown(), Size(width, height)
    shown.next(whole([[("there", 0)]] * HEIGHT), size).render_segments(CONSOLE)
    drawn = shown.next(frame, size).render_segments(CONSOLE)
    rows = [int(row) for row in re.findall(r"\x1b\[(\d+);\d+H", drawn)]
    columns = [int(column) for column in re.findall(r"\x1b\[(?:\d+;)?(\d+)[GH]", drawn)]
    assert max(rows, default=1) <= height and max(columns, default=1) <= width
