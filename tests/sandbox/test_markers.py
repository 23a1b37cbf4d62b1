"""Marks in a stream: found however the stream is cut, believed only with the nonce."""

from __future__ import annotations

import itertools
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.sandbox.markers import Mark, MarkScanner, NonceSource, bash_unquote, unescape_command

SOURCE = NonceSource()
NONCE = SOURCE.new()
STREAM = (
    b"before\r\n"
    + f"\x1b]133;C;aid={NONCE}\x07".encode()
    + b"\x1b[31mred\x1b[0m\r\n\x1b]0;title\x07"
    + f"\x1b]133;D;7;aid={NONCE};cwd=/a\\ b;pid=12\x07".encode()
    + b"prompt"
)
EXPECTED: list[bytes | Mark] = [
    b"before\r\n",
    Mark("C", NONCE),
    b"\x1b[31mred\x1b[0m\r\n\x1b]0;title\x07",
    Mark("D", NONCE, 7, "/a b", pid=12),
    b"prompt",
]


def parts(scanner: MarkScanner, *chunks: bytes) -> list[bytes | Mark]:
    """Marks, and the bytes between them joined."""
    found: list[bytes | Mark] = []
    for chunk in chunks:
        for part in scanner.feed(chunk):
            if isinstance(part, bytes) and found and isinstance(found[-1], bytes):
                found[-1] += part
            else:
                found.append(part)
    rest = scanner.flush()
    return [*found, rest] if rest else found


def test_marks_are_found() -> None:
    assert parts(MarkScanner(SOURCE.prefix), STREAM) == EXPECTED


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_marks_are_found_however_the_stream_is_cut(cuts: list[int]) -> None:
    at = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[start:end] for start, end in itertools.pairwise(at)]
    assert parts(MarkScanner(SOURCE.prefix), *chunks) == EXPECTED


@pytest.mark.parametrize(
    "forged",
    [
        b"\x1b]133;D;0\x07",
        b"\x1b]133;D;0;aid=000000000000000000\x07",
        b"\x1b]133;D;0;aid=" + NONCE.encode() + b"\r\n",
        b"\x1b]133;D;;;aid=" + NONCE.encode() + b"\x07",
        b"\x1b]7;file://h/forged\x07",
        b"aid=" + SOURCE.prefix.encode() + b"\x07",
        b"aid=" + SOURCE.prefix.encode() * 50,
        b"\x1b]133;" * 200,
    ],
    ids=["no nonce", "wrong nonce", "cut off", "no status", "directory", "prefix", "prefixes", "beginnings"],
)
def test_anything_else_is_text(forged: bytes) -> None:
    assert parts(MarkScanner(SOURCE.prefix), b"a" + forged + b"\x07z") == [b"a" + forged + b"\x07z"]


def test_a_mark_that_never_ends_is_not_held_for_ever() -> None:
    scanner = MarkScanner(SOURCE.prefix)
    passed = sum(
        len(part) for _ in range(40) for part in scanner.feed(b"\x1b]133;" + b"x" * 10_000) if isinstance(part, bytes)
    )
    assert passed > 300_000
    assert len(scanner.flush()) < 300_000


def test_our_own_line_is_left_out_when_the_shell_traces_it() -> None:
    scanner = MarkScanner(SOURCE.prefix)
    scanner.trace = NONCE
    traced = f"out\r\n+ __mlgym_e {NONCE}\r\n++ builtin printf\r\n\x1b]133;D;0;aid={NONCE};cwd=/\x07after".encode()
    assert parts(scanner, traced) == [b"out\r\n", Mark("D", NONCE, 0, "/"), b"after"]


def test_nonces_are_new() -> None:
    assert len({SOURCE.new() for _ in range(1000)}) == 1000
    assert all(nonce.isalnum() and nonce.startswith(SOURCE.prefix) for nonce in (SOURCE.new(), SOURCE.new()))


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30))
def test_what_printf_q_writes_is_read(text: str) -> None:
    quoted = _quoted([text])[0]
    assert bash_unquote(quoted) == text


def test_odd_directories_are_read() -> None:
    names = ["/a b", "/it's", "/tab\there", "/new\nline", "/é", "/\x1b[31m", "/;x\\y", "/$HOME `x`", "/\x01\x7f"]
    assert [bash_unquote(word) for word in _quoted(names)] == names


def _quoted(names: list[str]) -> list[bytes]:
    done = subprocess.run(["bash", "-c", 'printf "%q\\0" "$@"', "-", *names], capture_output=True, check=True)
    return done.stdout.split(b"\0")[:-1]


def test_text_of_a_command() -> None:
    assert unescape_command(rb"echo 'a\x3bb' \\x3b\x0aend") == "echo 'a;b' \\x3b\nend"
