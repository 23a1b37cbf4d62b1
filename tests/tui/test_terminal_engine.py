"""The emulator: screens of real programs, keys, and what hostile output may not do."""

from __future__ import annotations

import pytest
from rich.style import Style

from tests.tui.record import DATA, RECORDINGS, last_alternate, screen
from workbench.tui.terminal.bittty_engine import MAX_OPEN_SEQUENCE, BitttyEngine
from workbench.tui.terminal.engine import BUTTON_LEFT, PLAIN, WHEEL_UP, Row, Run


def stream(name: str) -> bytes:
    return (DATA / f"{name}.bytes").read_bytes()


@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_golden_screens(name: str) -> None:
    """Inside a full-screen program, and after it. (Checked against tmux when they were recorded.)"""
    data = stream(name)
    assert screen(data[: last_alternate(data)]) + screen(data) == (DATA / f"{name}.screen").read_text("utf-8")


@pytest.mark.parametrize("name", ["vim", "less", "progress"])
def test_cut_anywhere(name: str) -> None:
    """A stream fed in pieces of one character gives the same screen as in one piece."""
    text = stream(name).decode()
    whole, pieces = BitttyEngine(100, 30), BitttyEngine(100, 30)
    whole.feed(text)
    for character in text:
        pieces.feed(character)
    assert pieces.plain_text() == whole.plain_text()
    assert pieces.cursor == whole.cursor
    assert [pieces.line(y) for y in range(30)] == [whole.line(y) for y in range(30)]


def test_styles() -> None:
    engine = BitttyEngine(40, 5)
    engine.feed("a\x1b[1;31mb\x1b[0m\x1b[38;5;208mc\x1b[48;2;1;2;3md\x1b[0m 中\x1b[7m \x1b[0m  ")
    row = engine.line(0)
    assert [run.text for run in row] == ["a", "b", "c", "d", " 中", " "]
    assert row[0].style == PLAIN
    assert row[1].style == Style(color="color(1)", bold=True)
    assert row[2].style == Style(color="color(208)")
    assert row[3].style == Style(color="color(208)", bgcolor="#010203")
    assert row[5].style.reverse, "a styled blank at the end is no trailing blank"


def test_dirty_rows_are_those_that_changed() -> None:
    engine = BitttyEngine(40, 5)
    engine.feed("one\r\ntwo")
    assert set(engine.dirty_rows()) == set(range(5))
    assert list(engine.dirty_rows()) == []
    engine.feed("\x1b[4;1Hx")
    assert list(engine.dirty_rows()) == [3]
    engine.feed("\x1b[?1049h")
    assert set(engine.dirty_rows()) == set(range(5)), "another page: all rows"


def test_rows_that_scroll_off() -> None:
    engine = BitttyEngine(40, 3)
    gone: list[Row] = []
    engine.on_scrolled_off = gone.append
    engine.feed("".join(f"row {n}\r\n" for n in range(5)))
    assert ["".join(run.text for run in row) for row in gone] == ["row 0", "row 1", "row 2"]
    engine.feed("\x1b[?1049h" + "alternate\r\n" * 10)
    assert len(gone) == 3, "the alternate screen has no scrollback"


@pytest.mark.parametrize("columns", [40, 30])
def test_shrinking_keeps_the_prompt(columns: int) -> None:
    engine = BitttyEngine(40, 10)
    gone: list[Row] = []
    engine.on_scrolled_off = gone.append
    engine.feed("".join(f"row {n}\r\n" for n in range(9)) + "$ ")
    engine.resize(columns, 4)
    assert engine.plain_text() == "row 6\nrow 7\nrow 8\n$"
    assert engine.cursor[:2] == (2, 3)
    assert len(gone) == 6
    engine.feed("ls")
    assert engine.plain_text().endswith("$ ls")


def test_shrinking_under_a_full_screen_program_keeps_the_prompt() -> None:
    engine = BitttyEngine(40, 10)
    engine.feed("".join(f"row {n}\r\n" for n in range(9)) + "$ vi\x1b[?1049h\x1b[2J\x1b[Htext")
    engine.resize(40, 4)
    assert engine.plain_text() == "text"
    engine.feed("\x1b[?1049l")
    assert engine.plain_text().splitlines() == ["row 6", "row 7", "row 8", "$ vi"]
    assert engine.cursor[:2] == (4, 3)


KEYS = [
    ("a", "a", b"a"),
    ("A", "A", b"A"),
    ("upper_a", "A", b"A"),
    ("é", "é", "é".encode()),
    ("space", " ", b" "),
    ("exclamation_mark", "!", b"!"),
    ("plus", "+", b"+"),
    ("enter", "\r", b"\r"),
    ("tab", "\t", b"\t"),
    ("shift+tab", None, b"\x1b[Z"),
    ("escape", "\x1b", b"\x1b"),
    ("backspace", "\x7f", b"\x7f"),
    ("delete", None, b"\x1b[3~"),
    ("ctrl+c", "\x03", b"\x03"),
    ("ctrl+d", None, b"\x04"),
    ("ctrl+z", None, b"\x1a"),
    ("ctrl+@", None, b"\x00"),
    ("ctrl+backslash", None, b"\x1c"),
    ("ctrl+underscore", None, b"\x1f"),
    ("ctrl+p", None, b"\x10"),
    ("alt+b", None, b"\x1bb"),
    ("alt+enter", None, b"\x1b\r"),
    ("up", None, b"\x1b[A"),
    ("ctrl+left", None, b"\x1b[1;5D"),
    ("shift+up", None, b"\x1b[1;2A"),
    ("home", None, b"\x1b[H"),
    ("pageup", None, b"\x1b[5~"),
    ("f1", None, b"\x1bOP"),
    ("f5", None, b"\x1b[15~"),
    ("f12", None, b"\x1b[24~"),
]


@pytest.mark.parametrize(("key", "character", "expected"), KEYS, ids=[key for key, _, _ in KEYS])
def test_keys(key: str, character: str | None, expected: bytes) -> None:
    assert BitttyEngine(40, 5).encode_key(key, character) == expected


def test_keys_follow_the_modes_of_the_child() -> None:
    engine = BitttyEngine(40, 5)
    engine.feed("\x1b[?1h")
    assert engine.encode_key("up") == b"\x1bOA"
    engine.feed("\x1b[?1l")
    assert engine.encode_key("up") == b"\x1b[A"
    assert engine.encode_key("no_such_key_at_all") == b""


def test_paste_cannot_leave_its_brackets() -> None:
    engine = BitttyEngine(40, 5)
    assert engine.encode_paste("a\nb\tc") == b"a\rb\tc"
    engine.feed("\x1b[?2004h")
    assert engine.encode_paste("ls\x1b[201~\nrm\x03 x\x9b") == b"\x1b[200~ls[201~\rrm x\x1b[201~"


def test_mouse_only_when_asked() -> None:
    engine = BitttyEngine(40, 5)
    assert engine.encode_mouse(2, 3, BUTTON_LEFT, "press", frozenset()) == b""
    engine.feed("\x1b[?1000h\x1b[?1006h")
    assert engine.modes.mouse
    assert engine.encode_mouse(2, 3, BUTTON_LEFT, "press", frozenset()) == b"\x1b[<0;3;4M"
    assert engine.encode_mouse(2, 3, BUTTON_LEFT, "release", frozenset({"ctrl"})) == b"\x1b[<16;3;4m"
    assert engine.encode_mouse(0, 0, WHEEL_UP, "press", frozenset()) == b"\x1b[<64;1;1M"
    assert engine.encode_mouse(0, 0, BUTTON_LEFT, "move", frozenset()) == b""


def test_answers_go_to_on_reply_and_not_into_keys() -> None:
    engine = BitttyEngine(40, 5)
    replies: list[bytes] = []
    engine.feed("\x1b[c")  # nobody listens: no error
    engine.on_reply = replies.append
    engine.feed("ab\x1b[6n\x1b[c")
    assert replies[0] == b"\x1b[1;3R"
    assert replies[1].startswith(b"\x1b[?6")
    assert engine.encode_key("x", "x") == b"x"
    assert len(replies) == 2


def test_hostile_output_stays_in_the_terminal() -> None:
    engine = BitttyEngine(40, 5)
    replies: list[bytes] = []
    engine.on_reply = replies.append
    engine.feed("\x1b]52;c;aGVsbG8=\x07\x1b]0;title\x07\x1b]8;;http://example.com\x07link\x1b]8;;\x07")
    assert engine.line(0) == (Run("link", PLAIN),), "no link, no trace of the title"
    engine.feed("\x1b[8;500;500t\x1b[?40h\x1b[?3h")
    assert (engine.columns, engine.rows) == (40, 5)
    engine.feed("\x1bc" + "x" * 45)
    assert engine.plain_text() == "x" * 40 + "\nxxxxx", "and the real width is that, too"
    assert not replies


@pytest.mark.parametrize("opener", ["\x1b]0;", "\x1bP", "\x1b_", "\x1b["])
def test_a_sequence_that_never_ends_takes_no_memory(opener: str) -> None:
    engine = BitttyEngine(40, 5)
    engine.feed("before" + opener)
    for _ in range(40):
        engine.feed("1" * 1024)
        assert len(engine._board.parser.buffer) <= MAX_OPEN_SEQUENCE + 1024
    engine.feed("\x18\x1b\\\r\nafter")
    assert engine.plain_text() == "before\nafter"


def test_skipping_is_for_plain_scrolling_only() -> None:
    for sequence in ("\x1b[?1049h", "\x1b[2;4r", "\x1b[?7l", "\x1b[?6h", "\x1b[4h", "\x1b(0", "\x0e", "\x1b[3", "\x1b"):
        engine = BitttyEngine(40, 5)
        assert engine.can_skip()
        engine.feed(sequence)
        assert not engine.can_skip(), repr(sequence)


def test_turning_the_page() -> None:
    engine = BitttyEngine(40, 5)
    gone: list[Row] = []
    engine.on_scrolled_off = gone.append
    engine.feed("one\r\ntwo\r\n")
    engine.turn_page()
    assert [row[0].text for row in gone] == ["one", "two"]
    assert engine.plain_text() == ""
    assert engine.cursor[:2] == (0, 0)
    assert engine.content_rows() == 1


def test_sizes() -> None:
    with pytest.raises(ValueError, match="at least one"):
        BitttyEngine(40, 5).resize(0, 5)
