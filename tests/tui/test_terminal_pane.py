"""The terminal pane: drawing, scrollback, take-over, replay."""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import os
import pty
import shutil
import signal
import struct
import sys
import termios
import threading
import time
from types import ModuleType
from typing import Any

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.message import Message
from textual.widgets import Input as TextInput

from tests.tui.record import DATA, last_alternate
from tests.tui.support import wait_for
from workbench.text import megabytes
from workbench.tui.terminal.pump import HIGH_WATER
from workbench.tui.widgets.terminal_pane import TerminalPane
from workbench.tui.widgets.terminal_view import FRAME_SECONDS, REPLAY_BYTES

EMULATOR = "workbench.tui.terminal.bittty_engine"


class Terminal(App[None]):
    """A pane and a field beside it."""

    CSS = "TerminalPane { border: solid blue; height: 1fr; } Input { dock: bottom; }"

    def __init__(self) -> None:
        super().__init__()
        self.pane = TerminalPane()
        self.seen: list[Message] = []

    def compose(self) -> ComposeResult:
        yield self.pane
        yield TextInput()

    def on_mount(self) -> None:
        self.pane.focus()

    def on_terminal_pane_input(self, message: TerminalPane.Input) -> None:
        self.seen.append(message)

    def on_terminal_pane_release(self, message: TerminalPane.Release) -> None:
        self.seen.append(message)
        self.pane.interactive = False

    def on_terminal_pane_resized(self, message: TerminalPane.Resized) -> None:
        self.seen.append(message)

    def typed(self) -> bytes:
        return b"".join(message.data for message in self.seen if isinstance(message, TerminalPane.Input))

    def sizes(self) -> list[tuple[int, int]]:
        return [(m.columns, m.rows) for m in self.seen if isinstance(m, TerminalPane.Resized)]


def rows(pane: TerminalPane) -> list[str]:
    return [pane.render_line(y).text.rstrip() for y in range(pane.scrollable_content_region.height)]


def lines(first: int, last: int) -> bytes:
    return b"".join(b"row %d\r\n" % n for n in range(first, last))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_follows_the_cursor(size: tuple[int, int]) -> None:
    app = Terminal()
    async with app.run_test(size=size) as pilot:
        app.pane.feed(b"hello \x1b[31mred\x1b[0m\r\n")
        await wait_for(pilot, lambda: rows(app.pane)[0] == "hello red", "the first line at the top")
        app.pane.feed(lines(0, 100) + b"$ ")
        await wait_for(pilot, lambda: rows(app.pane)[-1] == "$", "the prompt at the bottom")
        assert rows(app.pane)[-2] == "row 99"
        assert app.sizes() == [], "the terminal stays at 120 by 40, whatever the pane's size"


async def test_colours_and_hostile_characters() -> None:
    app = Terminal()
    async with app.run_test(size=(100, 30)) as pilot:
        app.pane.feed("\x1b[1;38;2;1;2;3mx\x1b[0m\u202ey\x1b]8;;http://example.com\x07link\x1b]8;;\x07".encode())
        await wait_for(pilot, lambda: rows(app.pane)[0] == "x⇄ylink", "the line")
        first, *others = list(app.pane.render_line(0))
        assert first.style is not None
        assert first.style.bold
        assert first.style.color is not None
        assert first.style.color.name == "#010203"
        assert not any(segment.style is not None and segment.style.link for segment in others)


async def test_only_changed_rows_are_drawn() -> None:
    app = Terminal()
    async with app.run_test(size=(120, 40)) as pilot:
        app.pane.feed(lines(0, 20) + b"last")
        await wait_for(pilot, lambda: "last" in rows(app.pane) and app.pane.idle, "the first output")
        await pilot.pause()  # it is drawn
        regions: list[Region] = []
        original = app.pane.refresh

        def recording(*args: Region, **kwargs: Any) -> TerminalPane:
            regions.extend(args or [app.pane.region])
            return original(*args, **kwargs)

        app.pane.refresh = recording  # type: ignore[method-assign]
        app.pane.feed(b"\x1b[5;1Hchanged")
        await wait_for(pilot, lambda: rows(app.pane)[4].startswith("changed"), "the change")
        await wait_for(pilot, lambda: regions, "a repaint")
        assert sum(region.height for region in regions) <= 3, "the row, and the two that the cursor was on"


async def test_a_flood_is_drawn_at_most_thirty_times_a_second() -> None:
    app = Terminal()
    calls: list[str] = []
    async with app.run_test(size=(120, 40)) as pilot:
        pane = app.pane
        pane.on_high = lambda: calls.append("high")
        pane.on_low = lambda: calls.append("low")
        pane.feed(b"start\r\n")
        await wait_for(pilot, lambda: pane.paints > 0 and pane.idle, "the start")
        painted, began = pane.paints, time.monotonic()
        for _ in range(60):
            pane.feed(b"y\r\n" * 21_845)
            while calls and calls[-1] == "high":  # noqa: ASYNC110 (what a writer does that is held back)
                await asyncio.sleep(0.002)
        pane.feed(b"the end")
        await wait_for(pilot, lambda: rows(pane)[-1] == "the end", "the end of the flood")
        assert pane.paints - painted <= (time.monotonic() - began) / FRAME_SECONDS + 2
        assert pane.skipped > 3_500_000
        await wait_for(pilot, lambda: "skipped from view" in str(pane.border_subtitle), "the badge")
        assert str(pane.border_subtitle) == f"▼ {megabytes(pane.skipped)} skipped from view"
        assert calls.count("high") == calls.count("low")


async def test_back_pressure() -> None:
    app = Terminal()
    calls: list[str] = []
    async with app.run_test(size=(120, 40)) as pilot:
        app.pane.on_high = lambda: calls.append("high")
        app.pane.on_low = lambda: calls.append("low")
        app.pane.feed(b"x" * (HIGH_WATER + 1))
        assert calls == ["high"]
        await wait_for(pilot, lambda: calls == ["high", "low"], "the writer to be let go")


async def test_scrollback() -> None:
    app = Terminal()
    async with app.run_test(size=(80, 24)) as pilot:
        pane = app.pane
        pane.feed(lines(0, 200))
        await wait_for(pilot, lambda: "row 199" in rows(pane), "the output")
        await pilot.press("g")
        await wait_for(pilot, lambda: rows(pane)[0] == "row 0", "the first row")
        pane.feed(b"new\r\n")
        await wait_for(pilot, lambda: pane.virtual_size.height == 202, "the new row to be counted")
        assert rows(pane)[0] == "row 0", "the view stays where it was put"
        await pilot.press("shift+pagedown")
        await wait_for(pilot, lambda: rows(pane)[0] == f"row {pane.scrollable_content_region.height - 1}", "a page on")
        await pilot.press("G")
        await wait_for(pilot, lambda: "new" in rows(pane), "the end again")
        pane.feed(b"newer\r\n")
        await wait_for(pilot, lambda: "newer" in rows(pane), "following the end again")
        pane.post_message(_wheel(pane, up=True))
        await wait_for(pilot, lambda: "newer" not in rows(pane), "three rows up by the wheel")
        pane.feed(b"y\r\n" * 30_000)
        pane.feed(b"y\r\n" * 30_000)
        await wait_for(pilot, lambda: pane.idle and pane.virtual_size.height > 50_000, "a full scrollback")
        assert "newer" not in rows(pane)


def _wheel(pane: TerminalPane, up: bool) -> events.MouseEvent:
    kind = events.MouseScrollUp if up else events.MouseScrollDown
    x, y = pane.content_region.x + 5, pane.content_region.y + 3
    return kind(pane, x - pane.region.x, y - pane.region.y, 0, 0, 0, False, False, False, screen_x=x, screen_y=y)


async def test_taking_over_and_giving_back() -> None:
    app = Terminal()
    async with app.run_test(size=(80, 24)) as pilot:
        pane = app.pane
        pane.feed(lines(0, 60) + b"$ ")
        await wait_for(pilot, lambda: rows(pane)[-1] == "$", "the prompt")
        await pilot.press("x")
        assert app.typed() == b"", "nobody has taken over: keys are not the child's"
        pane.interactive = True
        await wait_for(pilot, lambda: app.sizes(), "the new size")
        assert app.sizes() == [(80 - 2 - 1, pane.content_region.height)], "all of the pane but border and scrollbar"
        assert pane.has_class("-taken-over")
        assert "TAKEN OVER" in str(pane.border_title)
        await wait_for(pilot, lambda: rows(pane)[-1] == "$", "the prompt still at the bottom")
        await pilot.press(
            "l", "s", "enter", "ctrl+c", "tab", "shift+tab", "escape", "up", "f1", "g", "G", "ctrl+d", "pageup"
        )
        expected = b"ls\r\x03\t\x1b[Z\x1b\x1b[A\x1bOPgG\x04\x1b[5~"
        await wait_for(pilot, lambda: app.typed() == expected, "every key to reach the child")
        assert pane.has_focus
        await pilot.press("ctrl+right_square_bracket")
        await wait_for(pilot, lambda: not pane.interactive, "the release")
        assert app.typed() == expected
        await wait_for(pilot, lambda: app.sizes()[-1] == (120, 40), "the agent's size again")
        assert "TAKEN OVER" not in str(pane.border_title)


async def test_the_terminal_takes_the_panes_size_while_taken_over() -> None:
    app = Terminal()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.interactive = True
        await wait_for(pilot, lambda: app.sizes(), "the first size")
        before = app.sizes()[-1]
        await pilot.resize_terminal(132, 50)
        await wait_for(pilot, lambda: len(app.sizes()) > 1, "another size")
        columns, height = app.sizes()[-1]
        assert (columns - before[0], height - before[1]) == (132 - 80, 50 - 24)


async def test_answers_only_when_taken_over() -> None:
    app = Terminal()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.feed(b"ask\x1b[6n")
        await wait_for(pilot, lambda: rows(app.pane)[0] == "ask", "the output")
        app.pane.interactive = True
        app.pane.feed(b"\x1b[6n")
        await wait_for(pilot, lambda: app.typed() == b"\x1b[1;4R", "one answer, to the second question")


async def test_paste_and_mouse() -> None:
    app = Terminal()
    async with app.run_test(size=(80, 24)) as pilot:
        pane = app.pane
        pane.feed(b"$ ")
        pane.post_message(events.Paste("ignored"))
        for hearing in (pane, app.screen, app, pane):  # who does not want it passes it on, and the app gives it back
            heard = asyncio.Event()
            hearing.call_later(heard.set)
            await heard.wait()
        await wait_for(pilot, lambda: rows(pane)[0] == "$", "the prompt")
        pane.interactive = True
        pane.feed(b"\x1b[?2004h$")
        await wait_for(pilot, lambda: rows(pane)[0] == "$ $", "the mode")
        pane.post_message(events.Paste("two\nlines"))
        await wait_for(pilot, lambda: app.typed() == b"\x1b[200~two\rlines\x1b[201~", "the paste in brackets")
        app.seen.clear()
        await pilot.click(pane, offset=(5, 3))
        assert app.typed() == b"", "the child did not ask for the mouse"
        pane.feed(b"\x1b[?1000h\x1b[?1006h")
        await wait_for(pilot, lambda: pane.idle, "the mode")
        await pilot.click(pane, offset=(5, 3))
        await wait_for(pilot, lambda: app.typed() == b"\x1b[<0;5;3M\x1b[<0;5;3m", "a press and a release")
        app.seen.clear()
        pane.post_message(_wheel(pane, up=False))
        await wait_for(pilot, lambda: app.typed() == b"\x1b[<65;6;4M", "the wheel")


async def test_selecting_text() -> None:
    app = Terminal()
    async with app.run_test(size=(80, 24)) as pilot:
        pane = app.pane
        pane.feed(lines(0, 60) + b"the \x1b[1mlast\x1b[0m row")
        await wait_for(pilot, lambda: rows(pane)[-1] == "the last row" and pane.idle, "the output")
        await pilot.pause()  # it is drawn
        bottom = pane.scrollable_content_region.height
        await pilot.mouse_down(pane, offset=(1 + 4, bottom))
        await pilot.hover(pane, offset=(1 + 7, bottom))
        await pilot.mouse_up(pane, offset=(1 + 7, bottom))
        await wait_for(pilot, lambda: app.screen.get_selected_text() == "last", "the selected word")
        marked = app.screen.get_component_rich_style("screen--selection").bgcolor
        shown = [s.text for s in pane.render_line(bottom - 1) if s.style is not None and s.style.bgcolor == marked]
        assert "".join(shown) == "last"


async def test_replay_shows_the_terminal_as_it_was() -> None:
    app = Terminal()
    stream = (DATA / "vim.bytes").read_bytes()
    inside = stream[: last_alternate(stream)]
    async with app.run_test(size=(130, 45)) as pilot:
        pane = app.pane
        pane.show_bytes(inside)
        await wait_for(pilot, lambda: any("def function_6" in row for row in rows(pane)), "vim")
        engine = pane._engine
        pane.show_bytes(stream)
        await wait_for(pilot, lambda: rows(pane)[:2] == ["$ vim", "$"], "the shell after vim")
        assert pane._engine is engine, "a step forward is fed on top"
        pane.show_bytes(inside)
        await wait_for(pilot, lambda: any("def function_6" in row for row in rows(pane)), "vim again")
        assert pane._engine is not engine
        pane.show_bytes(b"")
        await wait_for(pilot, lambda: not any(rows(pane)), "nothing at all")
        pane.feed(b"live")
        pane.show_bytes(b"live and kicking")
        await wait_for(pilot, lambda: rows(pane)[0] == "live and kicking", "no output twice")


async def test_replay_takes_the_sizes_that_the_terminal_had() -> None:
    app = Terminal()
    before, inside, after = b"$ a\r\n", b"\x1b[30;1Hbottom\x1b[1;1H" + b"x" * 90, b"\r\n$ b"
    sizes = [(0, 120, 40), (len(before), 80, 30), (len(before + inside), 120, 40)]
    async with app.run_test(size=(130, 45)) as pilot:
        pane = app.pane
        pane.show_bytes(before + inside, sizes[:2])
        await wait_for(pilot, lambda: rows(pane)[:2] == ["x" * 80, "x" * 10], "a line broken at 80 columns")
        engine = pane._engine
        assert engine is not None and engine.rows == 30 and rows(pane)[29] == "bottom"
        pane.show_bytes(before + inside + after, sizes)
        await wait_for(pilot, lambda: "$ b" in rows(pane), "the prompt after it")
        assert pane._engine is engine, "a step forward is fed on top"
        assert (engine.columns, engine.rows) == (120, 40)


async def test_replay_of_a_long_stream_takes_its_end() -> None:
    app = Terminal()
    async with app.run_test(size=(130, 45)) as pilot:
        data = b"\x1b[32mfirst\x1b[0m\r\n" + lines(0, 100_000) + b"$ "
        app.pane.show_bytes(data)
        await wait_for(pilot, lambda: app.pane.idle and "row 99999" in rows(app.pane), "the end")
        assert len(data) > 3 * REPLAY_BYTES
        assert app.pane.virtual_size.height < 40_000


async def test_a_pane_that_goes_away_in_a_flood() -> None:
    app = Terminal()
    calls: list[str] = []
    async with app.run_test(size=(80, 24)) as pilot:
        pane = app.pane
        pane.on_high, pane.on_low = lambda: calls.append("high"), lambda: calls.append("low")
        pane.feed(b"\x1b[31mx\x1b[0m\r\n" * 40_000)
        await pane.remove()
        assert calls == ["high", "low"]
        pane.feed(b"more")
        await pilot.pause()


class LocalShell:
    """A bash on a pseudo-terminal, wired to a pane as the app does it."""

    def __init__(self, app: Terminal) -> None:
        self.pane = app.pane
        self.size: tuple[int, int] | None = None
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execvpe(
                "bash",
                ["bash", "--norc", "--noprofile", "-i"],
                {"TERM": "xterm-256color", "PS1": "$ ", "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": "/"},
            )
        os.set_blocking(self.master, False)
        self.loop = asyncio.get_running_loop()
        self.pane.on_high, self.pane.on_low = self.hold, self.go_on
        self.go_on()

    def hold(self) -> None:
        self.loop.remove_reader(self.master)

    def go_on(self) -> None:
        self.loop.add_reader(self.master, self.read)

    def read(self) -> None:
        try:
            self.pane.feed(os.read(self.master, 65536))
        except OSError:
            self.hold()

    def resize(self, columns: int, height: int) -> None:
        self.size = columns, height
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, columns, 0, 0))

    def close(self) -> None:
        self.pane.on_high = self.pane.on_low = lambda: None
        self.hold()
        os.close(self.master)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class LiveTerminal(Terminal):
    shell: LocalShell

    def on_terminal_pane_input(self, message: TerminalPane.Input) -> None:
        os.write(self.shell.master, message.data)

    def on_terminal_pane_resized(self, message: TerminalPane.Resized) -> None:
        self.shell.resize(message.columns, message.rows)


@pytest.mark.skipif(shutil.which("vim") is None, reason="vim is not installed")
async def test_a_real_shell_with_vim_and_a_flood() -> None:
    app = LiveTerminal()
    async with app.run_test(size=(90, 30)) as pilot:
        pane = app.pane
        app.shell = LocalShell(app)
        try:
            await wait_for(pilot, lambda: "$" in rows(pane), "the prompt")
            pane.interactive = True
            await wait_for(pilot, lambda: app.shell.size is not None, "the size to reach the shell")
            os.write(app.shell.master, b"stty size\r")
            columns, height = pane._pane_size()
            await wait_for(pilot, lambda: f"{height} {columns}" in rows(pane), "the size of the pane")
            os.write(app.shell.master, b"vim -u NONE -N\r")
            await wait_for(pilot, lambda: pane._engine is not None and pane._engine.modes.alternate_screen, "vim")
            await pilot.press("i", *"some text", "escape")
            await wait_for(pilot, lambda: "some text" in rows(pane), "the text typed into vim")
            await pilot.press(*":q!", "enter")
            await wait_for(
                pilot, lambda: "some text" not in rows(pane) and rows(pane)[-1] in ("$", ""), "the shell back"
            )
            await wait_for(pilot, lambda: f"{height} {columns}" in rows(pane), "what was there before vim")
            os.write(app.shell.master, b"yes\r")
            await wait_for(pilot, lambda: pane.skipped > 1_000_000, "a flood")
            await pilot.press("ctrl+c", *"echo ok", "enter")
            await wait_for(pilot, lambda: "ok" in rows(pane), "the shell after the flood")
        finally:
            app.shell.close()


async def test_what_waits_for_the_emulator_keeps_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    loaded = importlib.import_module(EMULATOR)
    half_loaded = ModuleType(EMULATOR)

    def slow_import(name: str) -> ModuleType:
        monkeypatch.setitem(sys.modules, name, half_loaded)
        begun.set()
        assert go_on.wait(10)
        monkeypatch.setitem(sys.modules, name, loaded)
        return loaded

    monkeypatch.delitem(sys.modules, EMULATOR)
    monkeypatch.setattr(importlib, "import_module", slow_import)
    app = Terminal()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.feed(b"first\r\n")
        await wait_for(pilot, begun.is_set, "the import")
        app.pane.feed(b"second\r\n")
        assert not app.pane.idle
        go_on.set()
        await wait_for(pilot, lambda: rows(app.pane)[:2] == ["first", "second"], "both, in their order")


async def test_the_view_stays_where_it_was_put() -> None:
    """Through new output, hiding, another size, and steps of a replay forward and back."""
    app = Terminal()
    async with app.run_test(size=(80, 24)) as pilot:
        pane = app.pane

        async def at(row: str, what: str) -> None:
            await wait_for(pilot, lambda: pane.size.height > 0 and rows(pane)[0] == row, what)

        stream = lines(0, 200)
        pane.show_bytes(stream)
        await wait_for(pilot, lambda: "row 199" in rows(pane), "the output")
        pane.scroll_to(y=50, animate=False, force=True)
        await at("row 50", "the place")
        pane.display = False
        await pilot.pause()
        pane.show_bytes(stream + lines(200, 210))
        await wait_for(pilot, lambda: pane.idle and pane.virtual_size.height == 211, "new rows")
        pane.display = True
        await at("row 50", "the place after it was hidden")
        await pilot.resize_terminal(100, 40)
        await wait_for(pilot, lambda: pane.size.height > 30, "a larger pane")
        await at("row 50", "the place in a larger pane")
        pane.show_bytes(stream)
        await wait_for(pilot, lambda: pane.idle and pane.virtual_size.height == 201, "a step back")
        await at("row 50", "the place a step back")
        pane.action_last()
        await wait_for(pilot, lambda: "row 199" in rows(pane), "the end")
        pane.display = False
        await pilot.pause()
        pane.show_bytes(lines(0, 150))
        pane.display = True
        await wait_for(pilot, lambda: "row 149" in rows(pane), "the end another step back")
