"""Of a large file the part around the agent's window is read and shown, with what changed in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tui.sessions import SessionBuilder
from tests.tui.support import screen_text, wait_for
from workbench.tui import excerpt as module
from workbench.tui.app import WorkbenchApp
from workbench.tui.excerpt import LARGE, difference, excerpt
from workbench.tui.source import RecordedSource

LINES = st.lists(st.sampled_from(["", "a", "b", "ab", "ü"]), max_size=12)


@given(LINES, LINES, st.booleans(), st.booleans())
def test_what_differs_lies_between_what_is_the_same(was: list[str], now: list[str], ended: bool, ends: bool) -> None:
    old = ("\n".join(was) + "\n" * ended).encode()
    new = ("\n".join(now) + "\n" * ends).encode()
    found = difference(old, new)
    assert old[: found.start] == new[: found.start] and old[found.old_end :] == new[found.new_end :]
    assert not found.start or new[found.start - 1 : found.start] == b"\n"
    assert found.new_end == len(new) or new[found.new_end - 1 : found.new_end] == b"\n"
    if old == new:
        assert old[found.start : found.old_end] == new[found.start : found.new_end]


@pytest.mark.parametrize("size", [64, 1 << 20])
def test_one_changed_line_is_found(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIECE", size)
    lines = [f"line {number}\n" for number in range(1, 2001)]
    old, new = "".join(lines).encode(), "".join([*lines[:999], "other\n", *lines[1000:]]).encode()
    found = difference(old, new)
    assert (old[found.start : found.old_end], new[found.start : found.new_end]) == (b"line 1000\n", b"other\n")


@pytest.mark.parametrize("line", [1, 2, 50_000, 99_999, 100_000])
def test_a_part_has_the_line_that_it_is_for(line: int) -> None:
    data = "".join(f"line {number}\n" for number in range(1, 100_001)).encode()
    part = excerpt(data, line)
    shown = part.text.split("\n")
    assert shown[line - part.first] == f"line {line}" and len(part.text) < LARGE and not part.whole
    assert part.text.encode() in data


def test_a_line_without_an_end_is_cut() -> None:
    part = excerpt(b"x" * (8 << 20), 1)
    assert (part.first, part.whole) == (1, False) and 0 < len(part.text) < LARGE


async def test_a_large_file_is_shown_around_the_window(tmp_path: Path) -> None:
    made = SessionBuilder(tmp_path / "s")
    lines = [f"row {number}" for number in range(1, 200_001)]
    made.ran("seq 200000 > big.csv")
    made.snapshot("big.csv", "\n".join(lines), "added")
    made.window(100_000, 100_100, 200_000, path="/home/agent/workspace/big.csv")
    made.ran("edit 100010:100010")
    lines[100_009] = "this is another row"
    made.snapshot("big.csv", "\n".join(lines))
    made.window(100_000, 100_100, 200_000, path="/home/agent/workspace/big.csv")
    app = WorkbenchApp(RecordedSource(made.recording()))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("dollar_sign")
        await wait_for(pilot, lambda: "this is another row" in screen_text(app), "the changed row")
        assert "row 100009" in screen_text(app)
        file = app.workbench.file
        assert file.line_count < 60_000 and "shown" in file.subtitle
        await pilot.press("h")
        await wait_for(pilot, lambda: "row 100010" in screen_text(app), "the row as it was before")


async def test_a_file_that_is_no_text_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    made = SessionBuilder(tmp_path / "s")
    for name, content in (("a.txt", "some words\n"), ("b.bin", "\0\1\2")):
        made.ran(f"open {name}")
        made.snapshot(name, content, "added")
        made.window(1, 1, 1, path=f"/home/agent/workspace/{name}")
    app = WorkbenchApp(RecordedSource(made.recording()))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("h")
        await wait_for(pilot, lambda: "some words" in app.workbench.file.text, "the text")
        await pilot.press("l")
        await wait_for(pilot, lambda: app.workbench.file.text == "(not text: 3 bytes)", "what is said instead of it")
