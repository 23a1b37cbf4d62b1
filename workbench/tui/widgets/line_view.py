"""Long text on the screen at once: observations, files, prompts, diffs.

Only the rows that are visible are converted, so 1.8 million characters cost no more than a screenful, whether they come
as 20,000 lines or as one. The text is untrusted: it is never markup, and control characters show as glyphs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import ClassVar, Literal

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import reactive
from textual.selection import Selection

from workbench.session.diff import DiffLine
from workbench.tui.actions import LINES, SIDEWAYS, bindings_of, key_bindings
from workbench.tui.highlight import AT_ONCE, MAX_CHARACTERS, highlight_lines, quick, remembered
from workbench.tui.text import display_line, split_lines
from workbench.tui.widgets.line_display import ADDED, CHANGED, CURRENT, REMOVED, LineDisplay, LineMark
from workbench.tui.widgets.lines import LONG_LINE, Line, Match, compile_query, raw_text
from workbench.tui.workers import work_on

__all__ = ["ADDED", "CHANGED", "CURRENT", "REMOVED", "Line", "LineMark", "LineView", "Match"]

COLUMNS_SIDEWAYS = 8
"""Columns moved by shift+left and shift+right."""


class LineView(LineDisplay, can_focus=True):
    """A scrolling view of lines.

    `show` takes text, `show_lines` ready lines (plain, or `Content` with styles). Lines are numbered from `first`.
    """

    DEFAULT_CSS = """
    LineView {
        overflow: auto auto;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;
        scrollbar-size-horizontal: 1;
        background: $background;
        color: $foreground;
    }
    LineView > .line-view--gutter { color: $text-muted; }
    LineView > .line-view--added { color: $text-primary; text-style: bold; }
    LineView > .line-view--changed { color: $text-warning; text-style: bold; }
    LineView > .line-view--removed { color: $text-error; text-style: bold; }
    LineView > .line-view--current { color: $text-accent; text-style: bold; }
    LineView > .line-view--match { background: $warning-muted; text-style: underline; }
    LineView > .line-view--match-current { background: $warning; color: $background; text-style: bold; }
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"line-view--{part}" for part in ("gutter", "added", "changed", "removed", "current", "match", "match-current")
    }

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_of({**LINES, **SIDEWAYS, "lines.wrap": "toggle_wrap", "lines.follow": "follow"}),
        *bindings_of({"search.next": "next_match", "search.previous": "previous_match"}),
        Binding("space", "page(1)", "Page down", show=False, id="lines.page_down"),
    ]

    follow: reactive[bool] = reactive(False, init=False)
    """Stay at the end as lines are appended. Moving up switches it off."""

    def __init__(self, text: str = "", *, numbers: bool = False, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.numbers = numbers
        self.kept: tuple[int, int] | None = None
        """Numbers of the first and the last line that a change of the height must not put out of view."""
        self._shown_count = 0
        self._top = (0, 0)
        self._spot: Hashable = None
        self._left: dict[Hashable, int] = {}
        """Where the reader was in each text that has a place."""
        if text:
            self.show(text)

    # ---------------------------------------------------------------- what is shown

    def show(
        self,
        what: str | Sequence[Line],
        *,
        numbers: bool | None = None,
        first: int = 1,
        marks: Mapping[int, LineMark] | None = None,
        path: str = "",
        place: Hashable = None,
    ) -> None:
        """Show a text, or ready lines, from the top.

        Args:
            what: A text, whose lines end at newlines; or lines, of which a `Content` keeps its styles. Either is made
                printable.
            numbers: Show line numbers (None: as before).
            first: Number of the first line.
            marks: Marks by line number.
            path: The file whose whole text it is, for syntax colours.
            place: What the text is. The same is shown where the reader is, another one where it was left before.
        """
        if numbers is not None:
            self.numbers = numbers
        self.first = first
        self.marks = dict(marks or {})
        if self._spot is not None:
            self._left[self._spot] = self.scroll_offset.y
        top = 0 if place is None else self._left.get(place, 0)
        self._spot = place
        self._lines = [*split_lines(what)] if isinstance(what, str) else list(what)
        self._widest = max(map(len, self._lines), default=0)  # more where a line turns out to take more columns
        self._layout = None
        self._spans = None
        self._shown_count += 1
        self._top = (0, 0)
        self._finder.clear()
        self._forget_drawn()
        if self.is_attached:
            self._fit()
            if self.follow:
                self.action_last()
            else:
                self.scroll_to(self.scroll_offset.x if top else 0, top, animate=False, force=True)
            self.refresh()
        if path and isinstance(what, str):
            self._highlight(what, path)

    def knows(self, place: Hashable) -> bool:
        """Whether what has this place was shown before."""
        return place == self._spot or place in self._left

    @property
    def line_count(self) -> int:
        return len(self._lines)

    @property
    def text(self) -> str:
        """What is shown, as it was given."""
        return "\n".join(map(str, self._lines))

    # ---------------------------------------------------------------- position

    def on_mount(self) -> None:
        self._fit()
        if self.follow:
            self.call_after_refresh(self.action_last)

    def on_resize(self) -> None:
        top = self._top  # the layout may be that of the new width by now, the row that of the old one
        self._fit()
        if self.follow:
            self.action_last()
        elif self.kept is not None:
            self.bring(*self.kept)
        elif self.wrap and self._lines:
            self.scroll_to(y=self._laid_out.row_of(*top), animate=False, force=True)
            self._top = top

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        layout = self._layout
        if self.wrap and layout is not None and layout.width == self._body_width and self._lines:
            index, piece = layout.at(min(round(new_value), layout.rows - 1))
            self._top = index, layout.piece(index, piece)[0]

    def watch_wrap(self) -> None:
        top = self._layout.at(self.scroll_offset.y)[0] if self._layout is not None else 0
        self._fit()
        self.scroll_to(x=0, animate=False, force=True)
        self.go_to(top + self.first, align="top")
        self._top = (top, 0)
        self.refresh()

    @property
    def top_line(self) -> int:
        """Index of the line at the top of the view."""
        return max(0, min(self._laid_out.at(self.scroll_offset.y)[0], len(self._lines) - 1))

    def go_to(self, number: int, *, align: Literal["top", "center", "nearest"] = "center") -> None:
        """Bring a line into view by its number; `nearest` moves only when it is out of view."""
        if not self._lines:
            return
        index = max(0, min(number - self.first, len(self._lines) - 1))
        row = self._laid_out.row_of(index)
        height = max(1, self.scrollable_content_region.height)
        top = self.scroll_offset.y
        if align == "nearest":
            if top <= row < top + height:
                return
            row = row if row < top else row - height + 1
        elif align == "center":
            row -= height // 2
        self.scroll_to(y=max(0, row), animate=False, force=True)

    def bring(self, first: int, last: int) -> None:
        """Bring lines into view by their numbers, the first ones where not all have room; what is above as far as it
        has room, too.
        """
        begin, end = first - self.first, last - self.first + 1
        if not 0 <= begin < end <= len(self._lines):
            return
        rows = self._laid_out
        begin, end = rows.row_of(begin), rows.row_of(end) if end < len(self._lines) else rows.rows
        top = min(begin, max(0, end - self.scrollable_content_region.height))
        self.scroll_to(y=top, animate=False, force=True)

    # ---------------------------------------------------------------- syntax colours

    def _highlight(self, text: str, path: str) -> None:
        if len(text) > MAX_CHARACTERS:
            return
        self._spans = remembered(text, path)
        if self._spans is None and len(text) <= AT_ONCE and quick(path):
            self._spans = highlight_lines(text, path)
        if self._spans is None:
            work_on(self, self._highlight_later, self._shown_count, text, path, group="highlight", exclusive=True)

    async def _highlight_later(self, shown: int, text: str, path: str) -> None:
        spans = await asyncio.to_thread(highlight_lines, text, path)
        if shown == self._shown_count:
            self._spans = spans
            self._redraw()

    # ---------------------------------------------------------------- search

    def search(self, query: str) -> list[Match]:
        """Find all places (at most 10,000), mark them, and go to the first one at or below the top of the view.

        A query in lower case finds either case. An empty query clears the search.
        """
        if query:
            self._finder.find(map(raw_text, self._lines), compile_query(query))
        else:
            self._finder.clear()
        self._redraw()
        self.to_match(self._finder.first_from(self.top_line))
        return self.matches

    @property
    def matches(self) -> list[Match]:
        return list(self._finder.matches)

    @property
    def match_index(self) -> int:
        """Which of the matches is the current one; -1 without any."""
        return self._finder.index

    def next_match(self) -> Match | None:
        """Go to the next match, from the last one to the first."""
        return self.to_match(self._finder.index + 1)

    def previous_match(self) -> Match | None:
        return self.to_match(self._finder.index - 1)

    action_next_match, action_previous_match = next_match, previous_match

    def _redraw(self) -> None:
        self._forget_drawn()
        self.refresh()

    def to_match(self, index: int) -> Match | None:
        """Go to a match by its number, counting round at both ends."""
        left_behind = self._finder.current
        match = self._finder.go_to(index)
        if match is None:
            return None
        self.follow = False
        for line in {match.line, left_behind.line if left_behind is not None else match.line}:
            self._ready.discard(line)
            self._strips.discard(line)
        self.refresh()
        raw = self._raw(match.line)
        before = raw[: match.column]
        at = match.column if len(raw) > LONG_LINE else len(display_line(before))
        row = self._laid_out.row_of(match.line, at)
        height = max(1, self.scrollable_content_region.height)
        if not self.scroll_offset.y <= row < self.scroll_offset.y + height:
            self.scroll_to(y=max(0, row - height // 2), animate=False, force=True)
        if not self.wrap:
            column = at if len(raw) > LONG_LINE else cell_len(display_line(before))
            width, left = self._body_width, self.scroll_offset.x
            if not left <= column < left + max(1, width - match.length):
                self.scroll_to(x=max(0, column - width // 3), animate=False, force=True)
        return match

    # ---------------------------------------------------------------- selection by mouse

    @property
    def allow_select(self) -> bool:
        return not self.wrap

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        return selection.extract("\n".join(display_line(self._raw(index)) for index in range(len(self._lines)))), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()

    # ---------------------------------------------------------------- moving

    def _scroll_rows(self, rows: int) -> None:
        if rows < 0:
            self.follow = False
        self.scroll_to(y=self.scroll_offset.y + rows, animate=False, force=True, immediate=True)  # the next adds to it

    def action_move(self, rows: int) -> None:
        self._scroll_rows(rows)

    def action_page(self, pages: float) -> None:
        self._scroll_rows(round(pages * max(2, self.scrollable_content_region.height - 1)))

    def action_first(self) -> None:
        self.follow = False
        self.scroll_to(y=0, animate=False, force=True)

    def action_last(self) -> None:
        self.scroll_to(y=self.max_scroll_y, animate=False, force=True)

    def action_sideways(self, steps: int) -> None:
        self.scroll_to(x=self.scroll_offset.x + steps * COLUMNS_SIDEWAYS, animate=False, force=True, immediate=True)

    def action_toggle_wrap(self) -> None:
        self.wrap = not self.wrap

    def action_follow(self) -> None:
        self.follow = not self.follow

    def watch_follow(self, follow: bool) -> None:
        if follow:
            self.action_last()


class PanelView(LineView):
    """`n`, `N` and space belong to the whole workbench here: the search goes on in other steps, and space pauses."""

    BINDINGS: ClassVar[list[BindingType]] = key_bindings(
        ("search.next", "search.previous", "session.toggle"), "screen."
    )


def add_compared(lines: list[Line], marks: dict[int, LineMark], found: Iterable[DiffLine]) -> None:
    """Add the lines of a comparison, each with its mark."""
    for line in found:
        if line.mark == " ":
            lines.append(line.text)
        else:
            lines.append(Content.styled(line.text, "$primary" if line.mark == "+" else "$error"))
            marks[len(lines)] = ADDED if line.mark == "+" else REMOVED
