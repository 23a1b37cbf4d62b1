"""The file that the agent looks at, as it was at a step: its window bright, the rest of the file dim."""

from __future__ import annotations

import asyncio

from rich.style import Style as RichStyle
from textual.message import Message
from textual.strip import Strip

from workbench.session.diff import runs
from workbench.session.events import WindowChanged
from workbench.session.state import SessionState
from workbench.tui.diffs import FileBytes
from workbench.tui.excerpt import LARGE, Excerpt, count_lines, difference, excerpt
from workbench.tui.text import one_line, split_lines
from workbench.tui.widgets.line_view import ADDED, CHANGED, LineMark, PanelView

_CUT = LineMark("▔", "line-view--removed")
"""Lines above this one are gone."""
_DIM = RichStyle(dim=True)


class FileWindow(PanelView):
    """Read-only. Of a large file, the part around the window is shown."""

    class Loaded(Message):
        """A part of a large file was loaded: the pane needs another title."""

    def __init__(self, state: SessionState, file_bytes: FileBytes, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(numbers=True, id=id)
        self._state = state
        self._file_bytes = file_bytes
        self._key: tuple[object, ...] = ()
        self._bright = (0, 1 << 40)
        self.title = "File"
        self.subtitle = ""

    def show_step(self, number: int) -> None:
        """Show the file of a step; nothing is drawn when it is as before."""
        step = self._state.steps[number]
        window, opened = step.window, True
        if window is None:
            window, opened = self._last_changed(number), False
        if window is None:
            self._say("File", "(no file is open)", ("none",))
            return
        digest = self._digest(window.path, number)
        before = self._digest(window.path, number - 1) if number else digest
        key = (window.path, digest, before, window.first_line, window.last_line, id(window.text), opened)
        if key == self._key:
            return
        self._key = key
        self._describe(window, opened)
        if max(self._bytes_of(window.path, number), self._bytes_of(window.path, max(0, number - 1))) > LARGE:
            self.run_worker(self._load_part(window, number, opened, key), group="file", exclusive=True)
            return
        data = self._file_bytes(window.path, number)
        if data is not None:
            self._show_file(window, data, number, opened)
        elif window.text is not None:
            self._show_seen(window, number)
        else:
            gone = "is not there any more" if digest is None else "is not kept in this recording"
            self._say(self.title, f"({one_line(window.path)} {gone})", key)

    def _bytes_of(self, path: str, number: int) -> int:
        file = self._state.file_seen(path, number)
        return file.size if file is not None else 0

    # -- a part of a large file --------------------------------------------------------------------------------------

    async def _load_part(self, window: WindowChanged, number: int, opened: bool, key: tuple[object, ...]) -> None:
        """Read, compare and cut it in a thread; draw it if it is wanted still."""
        if not self.line_count:
            self.show(f"(reading {one_line(window.path)})", numbers=False)
        part = await asyncio.to_thread(self._read_part, window, number)
        if key != self._key:
            return
        if isinstance(part, str):
            self._say(self.title, part, key)
            return
        shown, marks = part
        lines = shown.text.count("\n") + (not shown.text.endswith("\n"))
        if lines < shown.total:
            self.subtitle += f" · lines {shown.first:,}–{shown.first + lines - 1:,} shown"
        self._bright = (window.first_line, window.last_line) if opened and window.last_line else (0, 1 << 40)
        place = (window.path, self._digest(window.path, number), shown.first, *self._bright)
        known = self.knows(place)
        self.show(shown.text, numbers=True, first=shown.first, marks=marks, place=place)
        if not known:
            self._place(window, marks)
        self.post_message(self.Loaded())

    def _read_part(self, window: WindowChanged, number: int) -> tuple[Excerpt, dict[int, LineMark]] | str:
        data = self._file_bytes(window.path, number)
        if data is None:
            return f"({one_line(window.path)} is not kept in this recording)"
        if b"\0" in data[:8192]:
            return f"(not text: {len(data):,} bytes)"
        shown = excerpt(data, window.current_line or window.first_line)
        same = not number or self._digest(window.path, number) == self._digest(window.path, number - 1)
        old = None if same else self._file_bytes(window.path, number - 1)
        if old is None:
            return shown, {}
        found = difference(old, data)
        begins = count_lines(data, 0, found.start)
        if max(found.old_end, found.new_end) - found.start > LARGE:
            changed = range(begins + 1, begins + 1 + count_lines(data, found.start, found.new_end))
            lines = range(shown.first, shown.first + shown.text.count("\n") + 1)
            return shown, {line: CHANGED for line in lines if line in changed}
        was, now = (
            text.decode("utf-8", "replace")
            for text in (old[found.start : found.old_end], data[found.start : found.new_end])
        )
        marks = changed_lines(split_lines(was), split_lines(now))
        return shown, {begins + line: mark for line, mark in marks.items()}

    # -- what to show ------------------------------------------------------------------------------------------------

    def _digest(self, path: str, number: int) -> str | None:
        file = self._state.file_seen(path, number)
        return file.object if file is not None else None

    def _last_changed(self, number: int) -> WindowChanged | None:
        """Where no window is open: the file that was changed last."""
        started = self._state.started
        for step in reversed(self._state.steps[1 : number + 1]):
            for change in reversed(step.changes):
                if change.kind != "deleted" and change.object is not None:
                    root = started.workspace if started else "/home/agent/workspace"
                    return WindowChanged(step=step.number, path=f"{root}/{change.path}")
        return None

    def _describe(self, window: WindowChanged, opened: bool) -> None:
        relative = self._state.relative_path(window.path)
        name = one_line(relative if relative is not None else window.path, 80)
        if not opened:
            self.title, self.subtitle = name, f"changed in step {window.step}, not open in the agent's window"
            return
        self.title = name
        self.subtitle = f"window {window.first_line}–{window.last_line} of {window.total_lines}"

    def _say(self, title: str, text: str, key: tuple[object, ...]) -> None:
        if key != self._key or not self.line_count:
            self._key = key
            self.title, self.subtitle = title, ""
            self._bright = (0, 1 << 40)
            self.show(text, numbers=False)

    def _show_file(self, window: WindowChanged, data: bytes, number: int, opened: bool) -> None:
        if b"\0" in data[:8192]:
            self._say(self.title, f"(not text: {len(data):,} bytes)", self._key)
            return
        text = data.decode("utf-8", "replace")
        marks: dict[int, LineMark] = {}
        if number:
            old = self._file_bytes(window.path, number - 1)
            marks = changed_lines(split_lines((old or b"").decode("utf-8", "replace")), split_lines(text))
            if old is None and len(marks) == len(split_lines(text)):
                self.subtitle += " · new"
        self._bright = (window.first_line, window.last_line) if opened and window.last_line else (0, 1 << 40)
        place = (window.path, self._digest(window.path, number), *self._bright)
        known = self.knows(place)
        self.show(text, numbers=True, marks=marks, path=window.path, place=place)
        if not known:
            self._place(window, marks)

    def _place(self, window: WindowChanged, marks: dict[int, LineMark]) -> None:
        """Bring the agent's window into view, and in it the first change."""
        height = max(1, self.scrollable_content_region.height)
        top = max(1, window.first_line)
        within = [line for line in sorted(marks) if top <= line <= (window.last_line or 1 << 40)]
        if within and within[0] >= top + height - 1 and len(marks) < self.line_count:
            top = within[0] - height // 3
        elif not within and window.current_line >= top + height:
            top = window.current_line - height // 2
        self.go_to(top, align="top")

    def _show_seen(self, window: WindowChanged, number: int) -> None:
        """A foreign session: only what the observations showed is known."""
        text = window.text or ""
        first = max(1, window.first_line)
        before = self._state.steps[number - 1].window if number else None
        marks: dict[int, LineMark] = {}
        if before is not None and before is not window and before.path == window.path and before.text is not None:
            marks = _changed_in_window(before, window)
        self._bright = (0, 1 << 40)
        self.show(text, numbers=True, first=first, marks=marks, path=window.path)
        if marks:
            self.go_to(min(marks), align="nearest")

    # -- drawing -----------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        row = y + self.scroll_offset.y
        if self.wrap:
            row = self._line_at(row, self.wrap)
        first, last = self._bright
        if row < self.line_count and not first <= row + self.first <= last:
            return strip.apply_style(_DIM)
        return strip


def changed_lines(old: list[str], new: list[str]) -> dict[int, LineMark]:
    """Marks, by line number from 1, for the lines of `new` that are not as in `old`."""
    marks: dict[int, LineMark] = {}
    for same, old_from, old_to, new_from, new_to in runs(old, new):
        if not same and new_from == new_to and old_from < old_to and new:
            marks.setdefault(min(new_from + 1, len(new)), _CUT)
        elif not same:
            for line in range(new_from, new_to):
                marks[line + 1] = CHANGED if line - new_from < old_to - old_from else ADDED
    return marks


def _changed_in_window(before: WindowChanged, window: WindowChanged) -> dict[int, LineMark]:
    """As `changed_lines`, where only parts of both files were seen: only lines that both parts cover are compared."""
    old, new = split_lines(before.text or ""), split_lines(window.text or "")
    old_first, first = max(1, before.first_line), max(1, window.first_line)
    begin = max(old_first, first)
    old, new = old[begin - old_first :], new[begin - first :]
    reach = min(len(old), len(new) + max(0, before.total_lines - window.total_lines))
    marks = changed_lines(old[:reach], new)
    last_known = begin + reach - 1 + max(0, window.total_lines - before.total_lines)
    return {line + begin - 1: mark for line, mark in marks.items() if line + begin - 1 <= last_known}
