"""The file that the agent looks at, as it was at a step: its window bright, the rest of the file dim."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from rich.style import Style as RichStyle
from textual.strip import Strip

from workbench.session.diff import runs
from workbench.session.events import WindowChanged
from workbench.session.state import SessionState
from workbench.tui.diffs import FileBytes
from workbench.tui.excerpt import LARGE, Excerpt, count_lines, difference, excerpt
from workbench.tui.text import one_line, split_lines
from workbench.tui.widgets.line_view import ADDED, CHANGED, LineMark, PanelView
from workbench.tui.widgets.pane import Retitled
from workbench.tui.workers import work_on

_CUT = LineMark("▔", "line-view--removed")
"""Lines above this one are gone."""
_DIM = RichStyle(dim=True)
_ALL = (0, 1 << 40)
"""Every line is bright."""


class _Seen(NamedTuple):
    """What is shown of a file, with marks by the numbers of lines."""

    part: Excerpt
    marks: dict[int, LineMark]
    digest: str | None
    """Of the file; None where only what the agent saw of it is known."""


class FileWindow(PanelView):
    """Read-only. Of a large file, the part around the window is shown."""

    def __init__(self, state: SessionState, file_bytes: FileBytes, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(numbers=True, id=id)
        self._state = state
        self._file_bytes = file_bytes
        self._key: tuple[object, ...] = ()
        self._bright = _ALL
        self.title = "File"
        self.subtitle = ""

    def show_step(self, number: int) -> None:
        """Show the file of a step; nothing is drawn when it is as before."""
        step = self._state.steps[number]
        window, opened = step.window, True
        if window is None:
            window, opened = self._last_changed(number), False
        if window is None:
            if self._key != ("none",):
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
            work_on(self, self._load, window, number, opened, key, group="file", exclusive=True)
        else:
            self._draw(self._read(window, number), window, number, opened)

    def _bytes_of(self, path: str, number: int) -> int:
        file = self._state.file_seen(path, number)
        return file.size if file is not None else 0

    async def _load(self, window: WindowChanged, number: int, opened: bool, key: tuple[object, ...]) -> None:
        """A large file: read, compare and cut it in a thread; draw it if it is wanted still."""
        if not self.line_count:
            self.show(f"(reading {one_line(window.path)})", numbers=False)
        seen = await asyncio.to_thread(self._read, window, number)
        if key == self._key:
            self._draw(seen, window, number, opened)
            self.post_message(Retitled())

    def _read(self, window: WindowChanged, number: int) -> _Seen | str:
        """What is shown of a file; or why nothing is."""
        data = self._file_bytes(window.path, number)
        if data is None and window.text is not None:
            return self._seen_by_the_agent(window, number)
        if data is None:
            gone = self._digest(window.path, number) is None
            return f"({one_line(window.path)} is not {'there any more' if gone else 'kept in this recording'})"
        if b"\0" in data[:8192]:
            return f"(not text: {len(data):,} bytes)"
        shown, digest = excerpt(data, window.current_line or window.first_line), self._digest(window.path, number)
        if not number or digest == self._digest(window.path, number - 1):
            return _Seen(shown, {}, digest)
        return _Seen(shown, _changed(self._file_bytes(window.path, number - 1), data, shown), digest)

    def _seen_by_the_agent(self, window: WindowChanged, number: int) -> _Seen:
        """In a foreign session only what the observations showed is known."""
        before = self._state.steps[number - 1].window if number else None
        marks: dict[int, LineMark] = {}
        if before is not None and before is not window and before.path == window.path and before.text is not None:
            marks = _changed_in_window(before, window)
        return _Seen(Excerpt(window.text or "", max(1, window.first_line), True), marks, None)

    def _draw(self, seen: _Seen | str, window: WindowChanged, number: int, opened: bool) -> None:
        if isinstance(seen, str):
            self._say(self.title, seen, self._key)
            return
        shown, marks, digest = seen
        self._bright = (window.first_line, window.last_line) if digest and opened and window.last_line else _ALL
        place = (window.path, digest, shown.first, *self._bright) if digest else None
        path = window.path if shown.whole else ""
        known = self.knows(place)
        self.show(shown.text, numbers=True, first=shown.first, marks=marks, path=path, place=place)
        if not shown.whole:
            self.subtitle += f" · lines {shown.first:,}–{shown.first + self.line_count - 1:,} shown"
        elif digest and number and self._digest(window.path, number - 1) is None:
            self.subtitle += " · new"
        if digest and not known:
            self._place(window, marks)
        elif not digest and marks:
            self.go_to(min(marks), align="nearest")

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
        self._key = key
        self.title, self.subtitle = title, ""
        self._bright = _ALL
        self.show(text, numbers=False)

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

    # -- drawing -----------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        index = self._laid_out.at(y + self.scroll_offset.y)[0]
        first, last = self._bright
        if index < self.line_count and not first <= index + self.first <= last:
            return strip.apply_style(_DIM)
        return strip


def _lines(data: bytes) -> list[str]:
    return split_lines(data.decode("utf-8", "replace"))


def _changed(old: bytes | None, new: bytes, shown: Excerpt) -> dict[int, LineMark]:
    """Marks for the lines that are new; of large files, where they differ is looked for first."""
    if shown.whole and len(old or b"") <= LARGE:
        return changed_lines(_lines(old or b""), _lines(new))
    if old is None:
        return {}
    found = difference(old, new)
    begins = count_lines(new, 0, found.start)
    if max(found.old_end, found.new_end) - found.start > LARGE:
        changed = range(begins + 1, begins + 1 + count_lines(new, found.start, found.new_end))
        lines = range(shown.first, shown.first + shown.text.count("\n") + 1)
        return {line: CHANGED for line in lines if line in changed}
    marks = changed_lines(_lines(old[found.start : found.old_end]), _lines(new[found.start : found.new_end]))
    return {begins + line: mark for line, mark in marks.items()}


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
