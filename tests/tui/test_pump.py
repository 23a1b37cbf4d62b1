"""The pump: what a flood costs, counted and not timed; and that skipping shows the same screen as not skipping."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.style import Style

from workbench.tui.terminal.bittty_engine import BitttyEngine
from workbench.tui.terminal.engine import PLAIN, Run
from workbench.tui.terminal.pump import (
    BATCH_BYTES,
    HARD_LIMIT,
    HIGH_WATER,
    LOW_WATER,
    SLICE_CHARACTERS,
    Pump,
)
from workbench.tui.terminal.ring import Ring

YES = b"y\r\n" * 20_000


class CountingEngine(BitttyEngine):
    """Counts the characters that it has to interpret."""

    def __init__(self, columns: int = 120, rows: int = 40) -> None:
        super().__init__(columns, rows)
        self.fed: list[int] = []

    def feed(self, text: str) -> None:
        self.fed.append(len(text))
        super().feed(text)


class Clock:
    """A clock that the test moves on."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


def make(
    engine: BitttyEngine | None = None,
    *,
    on_high: Callable[[], object] = lambda: None,
    on_low: Callable[[], object] = lambda: None,
) -> Pump:
    return Pump(engine or CountingEngine(), Ring(), on_high=on_high, on_low=on_low)


async def finish(pump: Pump) -> None:
    async with asyncio.timeout(15):
        while not pump.idle:  # noqa: ASYNC110 (the pump's own timers are under test)
            await asyncio.sleep(0.001)


async def test_a_flood_is_skipped() -> None:
    engine = CountingEngine()
    pump = make(engine)
    for _ in range(10):
        pump.feed(YES)
        await finish(pump)
    assert sum(engine.fed) < 0.02 * 10 * len(YES), "nearly nothing is emulated"
    assert pump.skipped + sum(engine.fed) == 10 * len(YES), "and all the rest is counted as skipped"
    assert engine.plain_text() == "\n".join(["y"] * 39)
    assert len(pump.ring) == 50_000
    assert pump.ring.appended == 10 * 20_000 - 39


async def test_the_queue_is_bounded_by_holding_back_the_writer() -> None:
    calls: list[str] = []
    pump = make(on_high=lambda: calls.append("high"), on_low=lambda: calls.append("low"))
    chunk = b"\x1b[31mred\x1b[0m" * 256
    written = 0
    for _ in range(400):
        if not calls or calls[-1] == "low":
            pump.feed(chunk)
            assert pump.queued <= HIGH_WATER + len(chunk)
            written += 1
        await asyncio.sleep(0)
    assert calls[0] == "high"
    await finish(pump)
    assert calls[-1] == "low"
    assert calls == ["high", "low"] * (len(calls) // 2)
    assert written < 400, "the writer was held back"


async def test_a_writer_that_does_not_listen_loses_the_oldest() -> None:
    pump = make()
    chunk = b"\x1b[31mred\x1b[0m" * 256
    for _ in range(1000):
        pump.feed(chunk)
    assert pump.queued <= HARD_LIMIT + len(chunk)
    pump.feed(b"x" * (3 * HARD_LIMIT))
    assert pump.queued <= HARD_LIMIT
    assert pump.skipped > 0
    pump.feed(b"\r\nthe end")
    await finish(pump)
    assert pump.engine.plain_text().endswith("the end")


async def test_work_is_done_in_slices() -> None:
    engine = CountingEngine()
    clock = Clock(tick=0.003)
    progress: list[int] = []
    pump = Pump(engine, Ring(), on_progress=lambda: progress.append(sum(engine.fed)), clock=clock)
    pump.feed(b"\x1b[31mred\x1b[0m " * 2000)
    await finish(pump)
    assert max(engine.fed) <= SLICE_CHARACTERS
    steps = [after - before for before, after in zip([0, *progress], progress, strict=False)]
    assert max(steps) <= 3 * SLICE_CHARACTERS, "at 3 ms for each slice, three fit into the time of one wake-up"
    assert len(progress) > 10


async def test_low_water_comes_before_the_end() -> None:
    queued_at_low: list[int] = []
    pump = make(on_low=lambda: queued_at_low.append(pump.queued))
    pump.feed(b"\x1b[31mred\x1b[0m" * 30_000)
    await finish(pump)
    assert 0 < queued_at_low[0] <= LOW_WATER


async def test_characters_cut_between_chunks() -> None:
    pump = make()
    for byte in "é中🙂 \x1b[1mbold".encode():
        pump.feed(bytes([byte]))
        await finish(pump)
    assert pump.engine.plain_text() == "é中🙂 bold"
    pump.feed(b"\xff\xfe!")
    await finish(pump)
    assert pump.engine.plain_text().endswith("bold\ufffd\ufffd!")


@pytest.mark.parametrize("cut", [1, 2, 3, 4094, 4095, 4096, BATCH_BYTES - 1, BATCH_BYTES])
async def test_a_flood_cut_anywhere_is_skipped(cut: int) -> None:
    engine = CountingEngine()
    pump = make(engine)
    stream = b"".join(b"%d\r\n" % n for n in range(30_000))
    pump.feed(stream[:cut])
    await finish(pump)
    pump.feed(stream[cut:])
    await finish(pump)
    assert engine.plain_text().split("\n") == [str(n) for n in range(30_000 - 39, 30_000)]
    assert list(pump.ring.texts()) == [str(n) for n in range(30_000 - 39)]
    assert sum(engine.fed) < 0.1 * len(stream)


LINES = st.lists(
    st.text(st.sampled_from("ab \té中"), max_size=50) | st.just("x" * 20) | st.just("x" * 21), min_size=30, max_size=60
)


@settings(max_examples=25, deadline=None)
@given(lines=LINES, start=st.sampled_from(["", "before", "one\r\ntwo\r\n", "\x1b[1mbold\r\n", "a\r\n" * 9]))
def test_skipping_shows_what_emulation_shows(lines: list[str], start: str) -> None:
    """The same screen and the same scrollback, whether the middle was emulated or not."""
    # (A tab stops at the last column, where the scrollback starts a new row: not compared.)
    lines = [line if len(line.expandtabs(8)) < 15 else line.replace("\t", " ") for line in lines]
    text = "\r\n".join(lines) + "\r\n$ "
    skipping, slow = BitttyEngine(20, 5), BitttyEngine(20, 5)
    ring, slow_ring = Ring(), Ring()
    pump = Pump(skipping, ring)
    slow.on_scrolled_off = slow_ring.append
    skipping.feed(start)
    pump._queue.append(text.encode())
    pump._queue_bytes = len(text.encode())
    while not pump.idle:
        pump._advance()
    slow.feed(start + text)
    assert pump.skipped > 0
    assert skipping.plain_text() == slow.plain_text()
    assert skipping.cursor == slow.cursor
    assert [row.rstrip() for row in ring.texts()] == [row.rstrip() for row in slow_ring.texts()]


@pytest.mark.parametrize("sequence", ["\x1b[?1049h", "\x1b[1;10r", "\x1b[?7l", "\x1b(0", "\x1b]0;"])
async def test_no_skipping_when_it_would_show_something_else(sequence: str) -> None:
    pump = make()
    pump.feed(sequence.encode())
    await finish(pump)
    pump.feed(YES[:3000])
    await finish(pump)
    assert pump.skipped == 0


@pytest.mark.parametrize("special", ["\x1b[31m", "\x0e", "\x08", "\x0b", "\x9b31m"])
async def test_text_with_sequences_is_not_skipped(special: str) -> None:
    pump = make()
    pump.feed(YES[:1500] + special.encode() + YES[:1500])
    await finish(pump)
    assert pump.skipped == 0


async def test_colour_and_carriage_returns_in_skipped_lines() -> None:
    pump = make()
    pump.feed(b"\x1b[32m")
    await finish(pump)
    pump.feed(b"10%\r50%\r100%\r\n\x07bell\r\n" + b"line\r\n" * 200)
    await finish(pump)
    green = Style(color="color(2)")
    assert pump.skipped > 0
    assert pump.ring.row(0) == (Run("100%", green),)
    assert pump.ring.row(1) == (Run("bell", green),)


async def test_closing_lets_the_writer_go() -> None:
    calls: list[str] = []
    pump = make(on_high=lambda: calls.append("high"), on_low=lambda: calls.append("low"))
    pump.feed(b"x" * (HIGH_WATER + 1))
    pump.close()
    assert calls == ["high", "low"]
    pump.feed(b"more")
    assert pump.idle


def test_the_ring_is_bounded_in_lines_and_in_colours() -> None:
    ring = Ring(max_lines=100, max_runs=50)
    ring.extend_text([str(n) for n in range(250)])
    assert (len(ring), ring.first, next(ring.texts())) == (100, 150, "150")
    red = Style(color="color(1)")
    for n in range(20):
        ring.append((Run("a", red), Run("b", PLAIN), Run(f"{n}", red), Run("d", PLAIN), Run("e", red)))
    assert len(ring) == 10
    assert next(ring.texts()) == "ab10de"
    assert ring.appended == 270
    ring.clear()
    ring.append((Run("plain", PLAIN),))
    ring.append(())
    assert [ring.row(0), ring.row(1)] == [(Run("plain", PLAIN),), (Run("", PLAIN),)]


def test_no_textual_below_the_widgets() -> None:
    code = (
        "import sys, workbench.tui.terminal.pump, workbench.tui.terminal.bittty_engine;"
        "sys.exit('textual' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
