"""Observation text is what a terminal shows, in linear time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.sandbox.output import OutputRecord
from workbench.sandbox.render import FULL_SCREEN_NOTE, cap, render

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
    (b"old\r\n\x1b[H\x1b[2J\x1b[3Jnew\r\n", "new\n"),
    (b"x\x1b[s1\x1b[u2\r\n", "x2\n"),
    (b"a\x00b\x07c\x0e\x0f", "abc"),
    (b"\x01\x1a", "^A^Z"),
    (b"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\x1bPq#0\x1b\\c\x1b(Bd\x1b[6n", "abcd"),
    (b"\x1b]0;never ends\r\nnext\r\n", "\nnext\n"),
    ("\u202eevil\u2066".encode(), "<U+202E>evil<U+2066>"),
    ("\u009b31m \u4e2d\u00e9".encode(), "<U+009B>31m \u4e2d\u00e9"),
    (b"\xff\xfe", "\ufffd\ufffd"),
    (b"go\r\n\x1b[?1049h\x1b[Hscreen\x1b[?1049lback\r\n", f"go\n{FULL_SCREEN_NOTE}\nback\n"),
    (b"\x1b[?1049hkilled inside", f"{FULL_SCREEN_NOTE}\n"),
    (b"\x1b[?25l\x1b[?2004hx", "x"),
    (b"\x1b[999999999Cx\x1b[99999999999999A\r!", "!" + " " * 239 + "x"),
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
    [b"\r 50%|##", b"\b", b"\x1b", b"\x1b[A\x1b[B", b"\x1b[2J\r\n", b"\x1b[99999Gx\x1b[2K", b"\x1b]0;a", b"\x1bM\x1bD"],
)
def test_work_grows_with_the_input_only(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells written and erased are counted, not seconds."""
    from workbench.sandbox import render as module

    steps = 0
    original = module._Screen._cells

    def counted(screen: module._Screen) -> list[str]:
        nonlocal steps
        row = screen._rows[screen._row]
        steps += 1 + (len(row) if isinstance(row, str) else 0)
        return original(screen)

    monkeypatch.setattr(module._Screen, "_cells", counted)
    data = b"a" * 20_000 + piece * 2_000
    render(data)
    assert steps <= 2 * len(data)


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
