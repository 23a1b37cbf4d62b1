"""`shell.cast` is asciicast v2, survives a kill, and holds no keys."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.session.printed import printed
from workbench.session import cast as cast_module
from workbench.session.cast import CAST_FILE, Cast, CastWriter
from workbench.session.secrets import Redactor


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def writer(folder: Path, *, burst: int = 1 << 20, cap: int = 1 << 20) -> CastWriter:
    return CastWriter(folder, Time(), columns=120, rows=40, timestamp=1_700_000_000, burst=burst, cap=cap)


def test_it_is_asciicast_v2(tmp_path: Path) -> None:
    cast = writer(tmp_path)
    cast.feed(b"hello \xc3")
    cast.feed(b"\xa9\r\n")
    cast.flush()
    cast.resize(80, 24)
    cast.feed(b"\xff")
    cast.close()
    header, *lines = [json.loads(line) for line in (tmp_path / CAST_FILE).read_text().splitlines()]
    assert (header["version"], header["width"], header["height"]) == (2, 120, 40)
    assert [line[1:] for line in lines] == [["o", "hello é\r\n"], ["r", "80x24"], ["o", "\ufffd"]]
    times = [line[0] for line in lines]
    assert times == sorted(times)


def test_what_was_printed_by_a_time(tmp_path: Path) -> None:
    cast = writer(tmp_path)
    for word in ("one ", "two ", "three "):
        cast.feed(word.encode())
        cast.flush()
    cast.resize(90, 30)
    cast.close()
    read = Cast(tmp_path / CAST_FILE)
    assert [printed(read, t) for t in (0.5, 1.0, 2.5, 9.0)] == ["", "one ", "one two ", "one two three "]
    assert printed(read, 9.0, limit=3) == "three "
    assert (120, 40) in read.pieces_until(3.0) and (90, 30) in read.pieces_until(4.0)


def test_sizes_stand_between_what_was_printed_before_and_after(tmp_path: Path) -> None:
    cast = writer(tmp_path)
    cast.feed(b"wide ")
    cast.resize(90, 30)
    cast.resize(80, 24)
    cast.feed(b"narrow ")
    cast.resize(120, 40)
    cast.feed(b"wide again")
    cast.close()
    read = Cast(tmp_path / CAST_FILE)
    assert read.pieces_until(99.0) == [(120, 40), "wide ", (80, 24), "narrow ", (120, 40), "wide again"]
    assert read.pieces_until(99.0, limit=3) == [(120, 40), "wide again"]
    assert read.pieces_until(99.0, limit=12) == [(80, 24), "narrow ", (120, 40), "wide again"]


def test_a_torn_last_line_costs_only_itself(tmp_path: Path) -> None:
    cast = writer(tmp_path)
    cast.feed(b"kept")
    cast.close()
    file = tmp_path / CAST_FILE
    file.write_bytes(file.read_bytes() + b'[9.0, "o", "to')
    again = writer(tmp_path)
    again.feed(b" and on")
    again.close()
    read = Cast(file)
    assert printed(read, 99.0) == "kept and on"


def test_a_flood_is_cut_and_said(tmp_path: Path) -> None:
    cast = writer(tmp_path, burst=10)
    cast.feed(b"0123456789abc")
    cast.feed(b"def")
    cast.flush(end_of_command=True)
    cast.feed(b"next")
    cast.close()
    assert printed(Cast(tmp_path / CAST_FILE), 99.0) == "0123456789\r\n[6 bytes not recorded]\r\nnext"


def test_the_file_has_a_cap(tmp_path: Path) -> None:
    cast = writer(tmp_path, cap=400)
    for _ in range(10):
        cast.feed(b"x" * 100)
        cast.flush()
    assert cast.error is not None
    assert (tmp_path / CAST_FILE).stat().st_size <= 400


def test_keys_never_reach_it(tmp_path: Path) -> None:
    redactor = Redactor(["sk-ant-123456"])
    cast = CastWriter(tmp_path, Time(), columns=80, rows=24, timestamp=0, redactor=redactor)
    cast.feed(b"export KEY=sk-ant-123456\r\n")
    cast.close()
    assert "sk-ant" not in (tmp_path / CAST_FILE).read_text()


def test_a_key_that_comes_in_pieces_is_not_recorded(tmp_path: Path) -> None:
    """As when somebody types it: each letter is shown, and written, by itself."""
    redactor = Redactor(["sk-verysecret"])
    cast = CastWriter(tmp_path, Time(), columns=80, rows=24, timestamp=0, redactor=redactor)
    for letter in "ask sk-very, key=sk-verysecret!":
        cast.feed(letter.encode())
        cast.flush()
    cast.feed(b" sk-v")
    cast.close()
    assert printed(Cast(tmp_path / CAST_FILE), 99.0) == "ask sk-very, key=[redacted]! sk-v"


def test_absurd_sizes_are_cut(tmp_path: Path) -> None:
    (tmp_path / CAST_FILE).write_text(
        '{"version": 2, "width": 1000000000, "height": -1}\n[1.0, "r", "99999999999x0"]\n[2.0, "r", "axb"]\n'
    )
    cast = Cast(tmp_path / CAST_FILE)
    assert (cast.columns, cast.rows) == (500, 1) and cast.pieces_until(1.5) == [(500, 1)]


@given(
    items=st.lists(st.sampled_from(["a", "bcd", "é" * 40, 80, 90]), max_size=40),
    moment=st.integers(0, 40),
    limit=st.integers(1, 60),
)
def test_a_moment_is_found_wherever_it_is(
    items: list[str | int], moment: int, limit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As reading the file from its beginning would find it."""
    file = tmp_path_factory.mktemp("cast") / CAST_FILE
    lines: list[object] = [{"version": 2, "width": 100, "height": 30}]
    lines += [[at, "o", item] if isinstance(item, str) else [at, "r", f"{item}x9"] for at, item in enumerate(items)]
    file.write_text("\n".join(map(json.dumps, lines)) + "\n")
    so_far = items[: moment + 1]
    texts = [at for at, item in enumerate(so_far) if isinstance(item, str)]
    begin, size = len(so_far), 0
    while texts and size < limit:
        begin = texts.pop()
        size += len(str(so_far[begin]))
    expected: list[object] = [(100, 30)]
    for at, item in enumerate(so_far):
        if isinstance(item, str) and at >= begin:
            expected.append(item)
        elif isinstance(item, int) and isinstance(expected[-1], tuple):
            expected[-1] = (item, 9)
        elif isinstance(item, int):
            expected.append((item, 9))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cast_module, "_NEAR", 64)
        assert Cast(file).pieces_until(moment, limit) == expected


def test_no_more_is_read_than_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / CAST_FILE).open("w") as stream:
        stream.write('{"version": 2, "width": 80, "height": 24}\n')
        for at in range(100_000):
            stream.write(f'[{at}, "o", "{at:090}"]\n[{at}, "r", "80x24"]\n')
    read: list[int] = []

    class Counting(io.FileIO):
        def readinto(self, buffer: Any) -> int | None:
            count = super().readinto(buffer)
            read.append(count or 0)
            return count

    cast = Cast(tmp_path / CAST_FILE)
    monkeypatch.setattr(cast, "_open", lambda: io.BufferedReader(Counting(tmp_path / CAST_FILE)))
    for moment in (10, 50_000, 99_999):
        assert str(cast.pieces_until(moment, 1000)[-2]).lstrip("0") == str(moment)
    assert sum(read) < 2 << 20 < (tmp_path / CAST_FILE).stat().st_size // 4
