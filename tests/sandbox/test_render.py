"""Observation text is what a terminal shows, in linear time."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sandbox.rendered import render
from workbench.sandbox.base import AGENT_COLUMNS as COLUMNS
from workbench.sandbox.output import OutputRecord
from workbench.sandbox.render import Renderer
from workbench.sandbox.screen import CLEARED_NOTE, FULL_SCREEN_NOTE, LEFT_OPEN_NOTE, Row
from workbench.sandbox.scrollback import cap

SHOWN = [
    (b"", ""),
    (b"a\r\n\r\nb", "a\n\nb"),
    (b"tab\there\r\n", "tab\there\n"),
    (b"10%\r50%\r100%\r\ndone\r\n", "100%\ndone\n"),
    (b"long line\rab\r\n", "abng line\n"),
    (b"\r 10%|#   |\r 99%|### |\r\x1b[K", ""),
    (b"abc\b\bX\r\n", "aXc\n"),
    (b"\x1b[1;31mred\x1b[0m \x1b[38;2;1;2;3mx\x1b[m\r\n", "red x\n"),
    (b"one\r\ntwo\r\n\x1b[2A\x1b[Knew\x1b[2B\r\n", "new\ntwo\n\n"),
    (b"a\x1b[5Gb\r\n", "a   b\n"),
    (b"abcdef\x1b[3D\x1b[Kx\r\n", "abcx\n"),
    (b"abcdef\r\x1b[2Pz\r\n", "zdef\n"),
    (b"old\r\n\x1b[H\x1b[2J\x1b[3Jnew\r\n", f"old\n{CLEARED_NOTE}\nnew\n"),
    (b"old\r\n\x1b[H\x1b[Jnew", f"old\n{CLEARED_NOTE}\nnew"),
    (b"old\r\n\x1b[1Jnew", f"old\n{CLEARED_NOTE}\n\nnew"),
    (b"above\r\nbelow\x1b[A\x1b[1Jnew", "     new\nbelow"),
    (b"old\x1bcnew", f"old\n{CLEARED_NOTE}\nnew"),
    (b"\x1b[H\x1b[2Jnew", "new"),
    (b"x\x1b[s1\x1b[u2\r\n", "x2\n"),
    (b"a\x00b\x07c\x0e\x0f", "abc"),
    (b"\x01\x1a", "^A^Z"),
    (b"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\x1bPq#0\x1b\\c\x1b(Bd\x1b[6n", "abcd"),
    (b"\x1b]0;never ends\r\nnext\r\n", "\nnext\n"),
    ("\u202eevil\u2066".encode(), "<U+202E>evil<U+2066>"),
    ("\u009b31m \u4e2d\u00e9".encode(), "<U+009B>31m \u4e2d\u00e9"),
    (b"\xff\xfe", "\ufffd\ufffd"),
    (b"go\r\n\x1b[?1049h\x1b[Hscreen\x1b[?1049lback\r\n", f"go\n{FULL_SCREEN_NOTE}\nback\n"),
    (b"a\r\nb\r\n\x1b[?1049hleft\r\nopen", f"a\nb\n{LEFT_OPEN_NOTE}\nleft\nopen"),
    (b"go\r\n\x1b[?1049h\x1b[2J", f"go\n{FULL_SCREEN_NOTE}\n"),
    (b"go\r\n\x1b[?47h" + b"row\r\n" * 99, f"go\n{LEFT_OPEN_NOTE}\n" + "row\n" * 99),
    (b"\x1b[?25l\x1b[?2004hx", "x"),
    (b"\x1b[999999999Cx\x1b[99999999999999A\r!", "!" + " " * 118 + "x"),
    # Tabs move the cursor, and stay tabs where nothing is printed over them.
    (b"\rlr 10.0\tloss 0.1\rlr 9.9\tloss 0.2\n", "lr 9.90\tloss 0.2\n"),
    (b"[0]\tauc:0.5\tloss:0.1\r\n", "[0]\tauc:0.5\tloss:0.1\n"),
    (b"a\tb\rlonger text", "longer text"),
    (b"a" * 115 + b"\tb\tc\td", "a" * 115 + "\tb\tc\td"),
    # A line of 130 cells takes two rows.
    (b"A\n" + b"0" * 130 + b"\n\x1b[1A\x1b[2K\x1b[1A\x1b[2Kdone\n", "A\ndone\n"),
    (b"0" * 120 + b"\r1\r\n", "1" + "0" * 119 + "\n"),
    (b"0" * 121 + b"\r1\r\n", "0" * 120 + "1\n"),
    (b"0" * 121 + b"\b\b2\r\n", "0" * 119 + "20"),
    (b"\x1b[?7l" + b"0" * 130 + b"1\r\n", "0" * 119 + "1\n"),
    # Wide characters take two cells, accents none.
    ("val loss=0.95]\r训练 loss=0.4]\n".encode(), "训练 loss=0.4]\n"),
    ("训练\rab".encode(), "ab练"),
    ("训练\ra".encode(), "a 练"),
    (("x" * 119 + "训\r\x1b[A\x1b[2K").encode(), "\n训"),
    ("e\u0301te\rab".encode(), "abe"),
    # Blanks count where they were printed, not where they cleared.
    (b"diff \r\n \r\n", "diff \n \n"),
    (b"box" + b" " * 117 + b"\r\n" + b"x" + b" " * 9, "box\nx"),
    ((b"box" + b" " * 99 + b"\r\na \r\n") * 99, "box\na \n" * 99),
    (b"bar 100%\r        \rdone\r\n", "done\n"),
    # Scroll regions, as package managers use them for a bar at the bottom.
    (b"\x1b[1;39r\x1b[40;1Hbar\x1b[39;1H" + b"x\r\n" * 50 + b"\x1b[r", "\n" * 38 + "x\n" * 50 + "\nbar"),
    (b"\x1b(0lqk\x1b(B|", "┌─┐|"),
    (b"ab\r\x1b[4hX\x1b[4lY", "XYb"),
    (b"=\x1b[3b|", "====|"),
    (b"a\x1b[2 Pb\x1b[!pc", "abc"),
    (b"a\x1b[12", "a"),
    (b"a\x1b[12\nb", "a\nb"),
    (b"a\x1bPq\x1bb", "a"),
]  # fmt: skip


@pytest.mark.parametrize(("printed", "shown"), SHOWN)
def test_shown(printed: bytes, shown: str) -> None:
    assert render(printed) == shown


def test_lines_are_not_wrapped_and_blank_ones_kept() -> None:
    assert render(b"x" * 5000 + b"\r\n\r\n\r\nend") == "x" * 5000 + "\n\n\nend"


def test_frames_of_a_program_that_redraws_leave_the_last() -> None:
    frames = b"".join(
        b"\x1b[H" + b"".join(b"row %d of %d\x1b[K\r\n" % (row, frame) for row in range(5)) for frame in range(30)
    )
    assert render(frames) == "".join(f"row {row} of 29\n" for row in range(5))


@given(st.binary(max_size=300))
def test_anything_can_be_shown(data: bytes) -> None:
    shown = render(data)
    assert not any(ord(character) < 32 and character not in "\n\t" for character in shown)


_MOVES = "A 2J K L M H ?1049h ?1049l 1J J 9B 2K @ X 50;9H 3P 1K d G s u E F"
MOVES = [b"\x1b[" + move.encode() for move in _MOVES.split()]


@given(st.lists(st.sampled_from([*MOVES, b"\r\n", b"ab", b"\b", b"\x1b7", b"\x1b8", b"\x1bM", b"\x1bD", b"\x1bc"])))
def test_any_cursor_movement_can_be_shown(pieces: list[bytes]) -> None:
    assert "\x1b" not in render(b"".join(pieces))


@pytest.mark.parametrize(
    "piece",
    [b"\r 50%|##", b"\b", b"\x1b", b"\x1b[A\x1b[B", b"\x1b[2J\r\n", b"\x1b[99999Gx\x1b[2K", b"\x1b]0;a", b"\x1bM\x1bD",
     b"\x1b[99999L", b"\x1b[99999@x", b"\xcc\x81", b"\t", b"x\x1b[9999b", b"\x1b[1;", b"\x1b[?1049hx"],
)  # fmt: skip
def test_work_grows_with_the_input_only(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are of bounded size, so what is counted is how many are changed, not seconds."""
    changed = 0
    original = Row.append, Row.replace

    def append(row: Row, *arguments: Any) -> None:
        nonlocal changed
        changed += 1
        original[0](row, *arguments)

    def replace(row: Row, *arguments: Any) -> None:
        nonlocal changed
        changed += 1
        original[1](row, *arguments)
        assert len(row.cells) <= COLUMNS and sum(map(len, row.cells)) < 100 * COLUMNS

    monkeypatch.setattr(Row, "append", append)
    monkeypatch.setattr(Row, "replace", replace)
    data = b"a" * 20_000 + piece * 2_000
    render(data)
    assert changed <= 2 * len(data)


_PIECES = st.sampled_from(
    [*MOVES, b"\r\n", b"\r", b"\n", b"\b", b"\t", b"ab", b"x" * 121, "训é█".encode(), b"\x1b[31m",
     b"\x1b]0;t\x07", b"\x1b]8;;", b"\x1b7", b"\x1b8", b"\x1b(0", b"\x1b(B", b"line\r\n" * 60, b"  \r\n", b"\x1b[4h"]
)  # fmt: skip


@given(st.lists(_PIECES), st.lists(st.integers(1, 40), min_size=1))
def test_where_the_output_is_cut_makes_no_difference(pieces: list[bytes], sizes: list[int]) -> None:
    text = b"".join(pieces).decode()
    renderer, at = Renderer(), 0
    for size in itertools.cycle(sizes):
        renderer.feed(text[at : at + size])
        at += size
        if at >= len(text):
            break
    final, record = renderer.text(), OutputRecord()
    record.add(text.encode())
    assert final.capped(1 << 40)[0] == render(text.encode()) == record.observation(1 << 40)[0]


def test_results_between_megabytes_of_bars_are_there() -> None:
    """12 results, and 12 bars of thousands of repaints that are cleared."""
    record = OutputRecord()
    for epoch in range(1, 13):
        for step in range(2500):
            bar = f"{step:4}/2500|{'█' * (step // 100):25}| loss={step * 7 % 1000 / 1000:.3f}"
            record.add(f"\repoch {epoch}: {bar}\repoch {epoch}: {bar}, lr=0.1".encode())
        record.add(b"\r" + b" " * 80 + b"\r" + f"epoch {epoch} val_acc=0.{epoch}\r\n".encode())
    record.add(b"done\r\n")
    assert record.total > 5e6
    assert record.observation(30_000) == ("".join(f"epoch {n} val_acc=0.{n}\n" for n in range(1, 13)) + "done\n", False)
    assert record._renderer and sum(map(len, record._renderer.screen.scrollback._pieces)) < 1000, (
        "what is kept is what is shown"
    )


def test_blanks_of_bars_do_not_use_up_the_observation() -> None:
    record = OutputRecord()
    for step in range(400):
        record.add(b"\r" + b" " * 100 + b"\r" + b"step %d loss 0.5\r\n" % step + b"\r  50%|####    |")
    shown, truncated = record.observation(30_000)
    assert not truncated and shown.count("\n") == 400 and len(shown) < 9_000


def test_repaints_are_not_counted_as_left_out() -> None:
    record = OutputRecord()
    for number in range(1000):
        record.add(b"".join(b"\r\x1b[2K\x1b[1A\x1b[2K\r\n%d%%" % step for step in range(100)))
        record.add(b"\r\x1b[2Kresult %03d\r\n\r\n" % number)
    shown, truncated = record.observation(1000)
    assert truncated and shown.startswith("\nresult 000\n") and shown.endswith("result 999\n\n")
    found = re.search(r"\[\.\.\. ([\d,]+) characters, ([\d,]+) lines left out \.\.\.\]\n", shown)
    assert found is not None
    assert int(found[1].replace(",", "")) == 1 + 12 * 1000 - 1000


def test_the_screen_says_what_puts_it_right_again() -> None:
    def undone(data: bytes) -> bytes:
        record = OutputRecord()
        record.add(data)
        return record.undo()

    assert undone(b"plain\r\n") == undone(b"\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l") == b""
    assert undone(b"\x1b[31mred\x1b[m") == b"\x1b[m"
    assert undone(b"\x1b[?1049h\x1b[?25l\x1b[?1000;1006h") == b"\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1006l"
    assert undone(b"\x1b[?7l\x1b[4h") == b"\x1b[?7h\x1b[4l"
    assert undone(b"\x1b(B\x1b[mx\x1b7\x1b8") == b"\x1b[m"
    assert undone(b"\x1b]0;never ends") == undone(b"x\x1b[1") == b"\x18"
    assert undone(b"\x1b[?1000h\x1bc") == b""


def test_cap_keeps_head_and_tail() -> None:
    text = "".join(f"line {number}\n" for number in range(1000))
    shown, truncated = cap(text, 200)
    assert truncated and shown.startswith("line 0\n") and shown.endswith("line 999\n")
    kept_head, _, rest = shown.partition("[... ")
    _, _, kept_tail = rest.partition("...]\n")
    assert len(kept_head.rstrip("\n")) <= 100 and len(kept_tail) == 100
    assert f"{len(text) - 200:,} characters" in shown
    assert cap("short", 200) == ("short", False)


def test_record_is_bounded_and_says_what_is_missing() -> None:
    record = OutputRecord()
    line = b"x" * 99 + b"\r\n"
    for _ in range(3000):
        record.add(line * 100)
    shown, truncated = record.observation(1000)
    assert truncated and record.total == 300_000 * len(line)
    assert len(shown) < 1100 and shown.startswith("x" * 99 + "\nx") and shown.endswith("x\n")
    assert "299,99" in shown, "lines left out"
    assert record.raw is None
    record.add(b"\0")
    raw = record.raw
    assert raw is not None and len(raw) < 9 << 20 and raw.endswith(line + b"\0")


@pytest.mark.parametrize(
    ("chunks", "text"),
    [((b"plain\n",), True), (("é".encode()[:1], "é".encode()[1:]), True), ((b"\xff",), False), ((b"a\0b",), False)],
)
def test_raw_bytes_are_kept_of_what_is_no_text(chunks: tuple[bytes, ...], text: bool) -> None:
    record = OutputRecord()
    for chunk in chunks:
        record.add(chunk)
    assert (record.raw is None) == text
    if not text:
        assert record.raw == b"".join(chunks)
