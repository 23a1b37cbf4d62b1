"""LineView: long, hostile and odd texts; wrapping, search, marks and colours."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import get_character_cell_size
from textual.app import App, ComposeResult
from textual.content import Content
from textual.pilot import Pilot

from tests.tui.support import screen_text, wait_for
from workbench.tui.highlight import highlight_lines
from workbench.tui.text import NARROW, display_line, expand_tabs, one_line, printable, split_lines
from workbench.tui.widgets.line_view import ADDED, CHANGED, LineView, Match
from workbench.tui.widgets.lines import MAX_MATCHES, Columns, Layout

SIZES = [(80, 24), (120, 40), (200, 60)]


class Lines(App[None]):
    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.view = LineView(text)

    def compose(self) -> ComposeResult:
        yield self.view

    def on_mount(self) -> None:
        self.view.focus()


def rows(view: LineView, count: int | None = None) -> list[str]:
    """What is drawn, row by row."""
    return [view.render_line(y).text.rstrip() for y in range(view.size.height if count is None else count)]


async def settle(pilot: Pilot[Any], view: LineView) -> None:
    await wait_for(pilot, lambda: view.is_attached and view.size.height > 0, "the view to be laid out")


# ---------------------------------------------------------------- text


def test_printable() -> None:
    assert printable("a\x1b[31mb") == "a␛[31mb"
    assert printable("\x00\x07\r\n\x7f\x9b") == "␀␇␍␊␡␦"
    assert printable("user\u202ecod.exe\u2066\u200f") == "user⇄cod.exe⇄⇄"
    assert printable("a\u200b\ufeff\U000e0041b\ud800") == "a∅∅∅b\ufffd"
    assert printable("中文 é 🙂 \u200d tab\there") == "中文 é 🙂 \u200d tab\there"
    for character in map(chr, range(0x3000)):
        assert len(printable(character)) == 1


def test_lines_and_tabs() -> None:
    assert split_lines("a\r\nb\n\nc\n") == ["a", "b", "", "c"]
    assert split_lines("") == []
    assert split_lines("\n") == [""]
    assert split_lines("a\x0cb\u2028c\x85d\r") == ["a\x0cb\u2028c\x85d\r"], "only newlines cut"
    assert display_line("a\tb\t\x1b") == "a       b       ␛"
    assert expand_tabs("中\tb") == "中      b"
    assert expand_tabs("中\t") == "中      "
    assert one_line("a\nb\tc\n") == "a ⏎ b c"
    assert one_line("x" * 300, 10) == "x" * 9 + "…"
    columns = Columns("中\ta\tb")
    assert [columns[n] for n in range(6)] == [0, 1, 7, 8, 15, 16]
    for index, character in enumerate("中\ta\tb"):
        assert character == "\t" or expand_tabs("中\ta\tb")[columns[index]] == character


@pytest.mark.parametrize("width", [1, 2, 7, 20])
@pytest.mark.parametrize(
    "text", ["", "x", "x" * 20, "x" * 41, "a\tb" * 9, "中" * 15, "é中\t🙂" * 6, "x" * 30_001, "中" * 10_001]
)
def test_wrapping_loses_nothing(text: str, width: int) -> None:
    layout = Layout([text, "end"], width)
    pieces = [layout.piece(0, n) for n in range(layout.row_of(1))]
    shown = display_line(text)
    assert "".join(shown[start:end] for start, end in pieces) == shown
    assert layout.at(layout.row_of(1)) == (1, 0)
    assert layout.at(layout.row_of(1) - 1) == (0, len(pieces) - 1)
    assert layout.rows == len(pieces) + (3 + width - 1) // width


def test_narrow_characters_are_narrow() -> None:
    narrow = [character for character in map(chr, range(0x11000)) if NARROW.fullmatch(character)]
    assert len(narrow) > 2500
    assert {get_character_cell_size(printable(character)) for character in narrow} == {1}
    assert "\t" not in narrow


# ---------------------------------------------------------------- showing


@pytest.mark.parametrize("size", SIZES)
async def test_shows_text_at_once(size: tuple[int, int]) -> None:
    app = Lines()
    async with app.run_test(size=size) as pilot:
        app.view.show("\n".join(f"line {n}" for n in range(20_000)))
        await wait_for(pilot, lambda: app.view.virtual_size.height == 20_000, "the size of the text")
        assert rows(app.view, 2) == ["line 0", "line 1"]
        await pilot.press("G")
        await wait_for(pilot, lambda: rows(app.view)[-1] == "line 19999", "the last line at the bottom")


async def test_a_step_switch_draws_only_what_is_seen() -> None:
    app = Lines()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot, app.view)
        drawn = 0
        original = app.view._strip_of

        def counting(*args: Any) -> Any:
            nonlocal drawn
            drawn += 1
            return original(*args)

        app.view._strip_of = counting  # type: ignore[method-assign, assignment]
        app.view.show("\n".join("x" * 90 for _ in range(20_000)))
        await wait_for(pilot, lambda: screen_text(app) and drawn > 0, "something drawn")
        await pilot.pause()
        assert drawn <= 2 * 40


async def test_one_line_of_two_million_characters() -> None:
    app = Lines()
    text = "".join(f"{n:07d} " for n in range(230_000))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot, app.view)
        app.view.show(text)
        assert app.view.virtual_size.width == len(text)
        assert rows(app.view, 1)[0].startswith("0000000 0000001 ")
        app.view.scroll_to(x=8 * 100_000, animate=False, force=True)
        await wait_for(pilot, lambda: rows(app.view, 1)[0].startswith("0100000 "), "the middle of the line")
        await pilot.press("w", "G")
        await wait_for(pilot, lambda: "0229999" in "".join(rows(app.view)), "the end of the line, wrapped")
        assert app.view.search("0200000") == [Match(0, 8 * 200_000, 7)]
        await wait_for(pilot, lambda: "0200000" in "".join(rows(app.view)), "the match in view")


async def test_text_is_never_markup_and_never_a_sequence() -> None:
    app = Lines("[bold red]no[/] \x1b[31mred\x1b[0m\ttab \u202erev\u202c [link=x]")
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot, app.view)
        assert rows(app.view, 1) == ["[bold red]no[/] ␛[31mred␛[0m    tab ⇄rev⇄ [link=x]"]
        assert "\x1b[31m" not in app.export_screenshot()


async def test_numbers_and_marks() -> None:
    app = Lines()
    async with app.run_test(size=(80, 24)) as pilot:
        app.view.show("a\nb\nc", numbers=True, first=99, marks={100: CHANGED, 101: ADDED})
        await settle(pilot, app.view)
        assert rows(app.view, 4) == [" 99   a", "100 ~ b", "101 + c", ""]
        app.view.show("x", numbers=False)
        assert rows(app.view, 1) == ["x"]


async def test_ready_lines_keep_their_styles() -> None:
    app = Lines()
    async with app.run_test(size=(80, 24)) as pilot:
        app.view.show([Content.styled("plus\x1b", "bold green"), "plain"])
        await settle(pilot, app.view)
        assert rows(app.view, 2) == ["plus␛", "plain"]
        style = next(iter(app.view.render_line(0))).style
        assert style is not None
        assert style.bold
        assert not next(iter(app.view.render_line(1))).style.bold  # type: ignore[union-attr]


async def test_wrap_keeps_the_place() -> None:
    app = Lines("\n".join(f"{n:03d} " + "x" * 196 for n in range(200)))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot, app.view)
        app.view.go_to(101, align="top")
        await pilot.press("w")
        await wait_for(pilot, lambda: rows(app.view, 1)[0].startswith("100 x"), "the same line at the top, wrapped")
        assert app.view.virtual_size.height == 600
        assert app.view.top_line == 100
        await pilot.resize_terminal(120, 24)
        await wait_for(pilot, lambda: app.view.virtual_size.height == 400, "two rows a line")
        assert app.view.top_line == 100
        await pilot.press("w")
        await wait_for(pilot, lambda: rows(app.view, 2)[1].startswith("101 x"), "the same line at the top")


async def test_keys() -> None:
    app = Lines("\n".join(f"line {n} " + "x" * 300 for n in range(500)))
    async with app.run_test(size=(80, 24)) as pilot:
        view = app.view
        await settle(pilot, view)
        for key, expected in [
            ("j", 1),
            ("down", 2),
            ("k", 1),
            ("ctrl+d", 1 + 11),
            ("ctrl+u", 1),
            ("space", 1 + 22),
            ("pageup", 1),
            ("G", 500 - 23),
            ("g", 0),
            ("end", 500 - 23),
            ("home", 0),
        ]:
            await pilot.press(key)
            await wait_for(pilot, lambda at=expected: view.scroll_offset.y == at, f"{key} to go to row {expected}")  # type: ignore[misc]
        await pilot.press("shift+right", "shift+right", "shift+left")
        await wait_for(pilot, lambda: view.scroll_offset.x == 8, "eight columns to the right")


async def test_follow_the_end() -> None:
    app = Lines()
    async with app.run_test(size=(80, 24)) as pilot:
        view = app.view
        await pilot.press("ctrl+e")
        view.show([f"line {n}" for n in range(100)])
        await wait_for(pilot, lambda: rows(view)[-1] == "line 99", "the end")
        await pilot.press("k")
        assert not view.follow
        assert rows(view)[-1] == "line 98"


# ---------------------------------------------------------------- search


async def test_search() -> None:
    app = Lines("\n".join(f"line {n}\tError {n % 7}" for n in range(300)))
    async with app.run_test(size=(80, 24)) as pilot:
        view = app.view
        await settle(pilot, view)
        found = view.search("error 3")
        assert len(found) == 43
        assert found[0] == Match(3, 7, 7)
        assert view.match_index == 0
        await pilot.press("n")
        assert view.match_index == 1
        await pilot.press("N", "N")
        assert view.match_index == 42, "round from the first to the last"
        await wait_for(pilot, lambda: any("line 297" in row for row in rows(view)), "the last match in view")
        underlined = [
            segment.text
            for y in range(view.size.height)
            for segment in view.render_line(y)
            if segment.style is not None and segment.style.bold
        ]
        assert underlined == ["Error 3"], (
            "the current match, and it alone, stands out (in the right columns after a tab)"
        )
        assert view.search("Error 3") == found
        assert view.search("ERROR") == [], "capitals in the query: case counts"
        assert view.search("") == []
        assert view.next_match() is None


async def test_search_goes_sideways_and_is_bounded() -> None:
    app = Lines("x" * 500 + "needle\n" + "n" * 20_000)
    async with app.run_test(size=(80, 24)) as pilot:
        view = app.view
        await settle(pilot, view)
        view.search("needle")
        await wait_for(pilot, lambda: "needle" in rows(view, 1)[0], "the match in view")
        assert len(view.search("n")) == MAX_MATCHES
        view.show("other")
        assert view.matches == []


# ---------------------------------------------------------------- colours

PYTHON = 'x = """\nnot_code = 1\n"""\n\n\ndef f(a):\n\treturn a  # why\n'


def test_highlighting_counts_lines_and_columns_as_the_view_does() -> None:
    spans = highlight_lines(PYTHON, "a.py")
    assert len(spans) == len(split_lines(PYTHON))
    assert {span.style for span in spans[1]} == {span.style for span in spans[0][-1:]}, "inside the string"
    comment = spans[6][-1]
    assert split_lines(PYTHON)[6][comment.start : comment.end] == "# why"
    odd = highlight_lines("a = 1\x0c\rb\u2028\n'é\t' # end", "a.py")
    assert len(odd) == 2
    assert (odd[1][-1].start, odd[1][-1].end) == (5, 10)
    assert highlight_lines("x", "a.nosuchlanguage") == [[]]


async def test_large_files_are_coloured_by_a_worker() -> None:
    app = Lines()

    def styles() -> int:
        return len({segment.style for segment in app.view.render_line(0) if segment.text.strip()})

    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot, app.view)
        source = PYTHON * 400
        app.view.show(source, path="a.py")
        assert styles() == 1
        await wait_for(pilot, lambda: styles() > 1, "colours from the worker")
        app.view.show("plain")
        app.view.show(source, path="a.py")
        assert styles() > 1, "remembered"
