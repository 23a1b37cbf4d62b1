"""Whatever a command leaves the terminal in, the emulator of the shell pane is as usual after the step."""

from __future__ import annotations

import pytest

from workbench.sandbox.output import OutputRecord
from workbench.tui.terminal.bittty_engine import BitttyEngine

LEFT = {
    "alternate screen": b"\x1b[?1049h\x1b[2Jscreen",
    "old alternate screen": b"\x1b[?47hscreen",
    "hidden cursor, mouse": b"\x1b[?25l\x1b[?1000;1002;1003;1006h",
    "paste, cursor keys, keypad": b"\x1b[?2004h\x1b[?1h\x1b=",
    "margins, origin": b"\x1b[5;9r\x1b[?6h",
    "side margins": b"\x1b[?69h\x1b[10;20s",
    "insert, no wrap": b"\x1b[4h\x1b[?7l",
    "line drawing": b"\x1b(0x",
    "shifted out": b"\x1b)0\x0ex",
    "locking shift": b"\x1b*0\x1bnx",
    "colours": b"\x1b[31;7mred",
    "frame": b"\x1b[?2026h",
    "status line": b"\x1b[2$~\x1b[1$}",
    "vt52": b"\x1b[?2l",
    "tab stops": b"\x1b[3g",
    "newline mode, keyboard": b"\x1b[20h\x1b[2h",
    "right to left": b"\x1b[?34h",
    "shape": b"\x1b[5 q",
    "open title": b"\x1b]0;title",
    "open title, next line": b"\x1b]0;title\r\n",
    "open title in two pieces": b"\x1b]0;" + b"t" * 40_000 + b"\r\n",
    "open image": b"\x1bPq12",
    "open sequence": b"\x1b[12",
}


@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT.keys())
def test_the_terminal_is_as_usual_after_a_step(left: bytes) -> None:
    usual, engine, record = BitttyEngine(), BitttyEngine(), OutputRecord()
    record.add(left)
    engine.feed("before\r\n" + left.decode() + record.undo().decode() + "\r\n~$ a\tb lqx")
    assert engine.modes == usual.modes and engine.pen() == usual.pen() and engine.can_skip()
    assert engine.cursor.visible and engine.cursor.shape == usual.cursor.shape
    lines = engine.plain_text().rstrip().split("\n")
    assert (lines[0], lines[-1]) == ("before", "~$ a    b lqx")
    assert engine.encode_key("up") == usual.encode_key("up") == b"\x1b[A"
    assert engine.encode_key("enter") == b"\r" and engine.encode_paste("x") == b"x"


@pytest.mark.parametrize(
    "usual", [b"plain\r\n", b"\r 10%\r 20%\x1b[K\r\n", b"\x1b[?25l\x1b[2K\x1b[1A\x1b[?25h\x1b]0;t\x07"]
)
def test_nothing_is_sent_where_nothing_is_left(usual: bytes) -> None:
    record = OutputRecord()
    record.add(usual)
    assert record.undo() == b""
