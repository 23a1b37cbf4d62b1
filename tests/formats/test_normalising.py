"""What is chance in texts and files, and what is none."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from workbench.formats.normalising import FILE_KINDS, NORMALISERS, normalised_lines, same_file

CHANCE = [
    ("clock", "Sat Nov 28 21:13:46 UTC 2026", "Sun Jan  3 01:02:03 UTC 2027"),
    ("clock", "[2026-11-28 21:13:46,123] INFO go", "[2027-01-03 01:02:03,456] INFO go"),
    ("clock", "-rw-r--r-- 1 a a 5 Nov 28 21:13 f", "-rw-r--r-- 1 a a 5 Jan  3 01:02 f"),
    ("clock", "-rw-r--r-- 1 a a 5 Nov 28  2024 f", "-rw-r--r-- 1 a a 5 Jan  3 01:02 f"),
    ("clock", "2026-11-28T21:13:46.123Z", "2027-01-03T01:02:03.4Z"),
    ("epoch", "1795900000.123 begun", "1799999999.9 begun"),
    ("duration", "took 0.123 seconds", "took 12 seconds"),
    ("duration", "real\t0m0.004s", "real\t1m2.5s"),
    ("duration", "12.3it/s, 5.0 MB/s", "9it/s, 120 MB/s"),
    ("duration", "elapsed: 1.25", "elapsed: 0.5"),
    ("duration", "     9 s  epoch 1", "    10 s  epoch 1"),
    ("process", "[1] 4711", "[1] 42"),
    ("process", "bash: line 1:  4711 Killed   python3 x", "bash: line 1:    42 Killed   python3 x"),
    ("process", "worker pid=17", "worker pid=1234"),
    ("temporary name", "/tmp/tmpab12_xyz/f", "/tmp/tmpzz99kkkk/f"),
    ("temporary name", "/tmp/tmp.AbCdEfGh12", "/tmp/tmp.0123456789"),
    ("commit", "commit d4bd8f458ce5f1157cf5b6e0c4bdf54cdee4244f", "commit 488c7dedf6baf27eb022474df51fa9c4adad9f8c"),
    ("commit", "[master (root-commit) d4bd8f4] one", "[master (root-commit) 488c7de] one"),
    ("address", "<object object at 0x7f5cb3b16c10>", "<object object at 0x7fe530416b60>"),
    ("inode", "Device: 254,0\tInode: 2712888     Links: 1", "Device: 254,1\tInode: 2713163     Links: 1"),
    ("identifier", "run 3f2b8c1a-0000-4000-8000-00000000000a", "run 00000000-0000-4000-8000-00000000000b"),
    ("folder size", "total 8\ndrwxr-xr-x 2 a a 4096 Nov 28 21:13 d", "total 0\ndrwxr-xr-x 4 a a 60 Nov 28 21:13 d"),
]


@pytest.mark.parametrize(("name", "then", "now"), CHANCE)
def test_what_is_chance(name: str, then: str, now: str) -> None:
    assert name in {row.name for row in NORMALISERS}
    assert normalised_lines(then, "run", "") == normalised_lines(now, "run", "")


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ("3:10", "3:20"),  # lines of a file
        ("loss 0.5", "loss 0.51"),
        ("12 files", "13 files"),
        ("x  y", "x y"),
        ("-rw-r--r-- 1 a a 5 Nov 28 21:13 f", "-rw-r--r-- 1 a a 6 Nov 28 21:13 f"),
        ("-rw-r--r-- 1 a a 5 Nov 28 21:13 f", "-rwxr-xr-x 1 a a 5 Nov 28 21:13 f"),
        ("took 5 s", "took 5 s\n\nmore"),
        ("1000000 rows", "1000001 rows"),
        ("[1, 2]", "[2, 1]"),
        ("#", "x"),
    ],
)
def test_what_is_none(then: str, now: str) -> None:
    assert normalised_lines(then, "run", "") != normalised_lines(now, "run", "")


def test_what_an_action_says_is_no_chance() -> None:
    said = "echo 'took 5 s at 12:30'"
    assert normalised_lines("took 5 s at 12:30", said, said) != normalised_lines("took 6 s at 12:30", said, said)
    assert normalised_lines("15 s", said, said) == normalised_lines("16 s", said, said)


def test_lines_that_come_as_time_allows_or_in_any_order() -> None:
    run = "     5 s  seed 0  {} of 32,768 steps\nwrote x"
    more = "     1 s  seed 0  8,192 of 32,768 steps\n"
    assert normalised_lines(more + run.format("32,768"), "run", "") == normalised_lines(run.format("32,768"), "run", "")
    assert normalised_lines("b\na", "find .", "") == normalised_lines("a\nb", "find .", "")
    assert normalised_lines("b\na", "ls", "") != normalised_lines("a\nb", "ls", "")
    assert normalised_lines("b\na", "find . | sort -r", "") != normalised_lines("a\nb", "find . | sort -r", "")


def test_numbers_of_the_machine_are_chance_where_an_action_asks_for_them() -> None:
    for action in ("echo $$", "free -m", "date +%N", "python3 -c 'print(os.getpid())'", "ls -li", "cat /proc/uptime"):
        assert normalised_lines("12 of 345.6", action, action) == normalised_lines("7 of 8", action, action)
        assert normalised_lines("12 of 3", action, action) != normalised_lines("12 or 3", action, action)
    both = "echo $$; echo 5"
    assert normalised_lines("42\n5", both, both) == normalised_lines("1234\n5", both, both)
    assert normalised_lines("42\n6", both, both) != normalised_lines("1234\n5", both, both)
    assert normalised_lines("12", "wc -l f", "") != normalised_lines("13", "wc -l f", "")


def packed(kind: str, when: float, text: bytes) -> bytes:
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(zipfile.ZipInfo("a", time.gmtime(when)[:6]), text)
    elif kind == "tar":
        with (
            gzip.GzipFile(fileobj=stream, mode="wb", mtime=when) as zipped,
            tarfile.open(fileobj=zipped, mode="w") as tar,
        ):
            member = tarfile.TarInfo("a")
            member.size, member.mtime = len(text), int(when)
            tar.addfile(member, io.BytesIO(text))
    else:
        stream.write(gzip.compress(text, mtime=when))
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar", "gz"])
def test_archives_are_what_they_hold(kind: str) -> None:
    one, later, other = packed(kind, 1e9, b"text"), packed(kind, 1.2e9, b"text"), packed(kind, 1e9, b"more")
    assert one != later
    assert same_file("x", one, later, "") and not same_file("x", one, other, "")
    assert not same_file("x", one, one[: len(one) // 2], "")


def test_bytecode_and_text() -> None:
    assert same_file("a.pyc", b"mmmm" + b"\0" * 12 + b"code", b"mmmm" + b"\1" * 12 + b"code", "")
    assert not same_file("a.pyc", b"mmmm" + b"\0" * 12 + b"code", b"mmmm" + b"\0" * 12 + b"node", "")
    assert same_file("log", b"at 12:30:00 loss 0.5", b"at 12:31:00 loss 0.5", "")
    assert not same_file("log", b"at 12:30:00 loss 0.5", b"at 12:30:00 loss 0.6", "")
    assert not same_file("bin", b"\0at 12:30:00", b"\0at 12:31:00", "")


def test_the_table_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "time-machine.md").read_text()
    listed = re.findall(r"^\| ([a-z ]+) \|", text, re.MULTILINE)
    assert set(listed) >= {row.name for row in NORMALISERS} | {kind[0] for kind in FILE_KINDS}
