"""Long text on the screen at once: observations, files, prompts, diffs.

Only the rows that are visible are converted, so 1.8 million characters cost no more than a screenful, whether they come
as 20,000 lines or as one. The text is untrusted: it is never markup, and control characters show as glyphs.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import ClassVar, NamedTuple

from rich.cells import cell_len, get_character_cell_size
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style

from workbench.tui.highlight import AT_ONCE, MAX_CHARACTERS, SpansByLine, highlight_lines, remembered
from workbench.tui.text import TAB_SIZE, display_line, printable, split_lines

LONG_LINE = 10_000
"""A longer line is cut at render: only the part in view is converted, with every character taking one column."""

MAX_MATCHES = 10_000

SIDEWAYS = 8


@dataclass(frozen=True)
class LineMark:
    """A sign in front of a line: a glyph of one column, and the component class that colours the glyph."""

    glyph: str
    component: str


ADDED = LineMark("+", "line-view--added")
CHANGED = LineMark("~", "line-view--changed")
REMOVED = LineMark("-", "line-view--removed")
CURRENT = LineMark("▶", "line-view--current")


class Match(NamedTuple):
    """A place found: 0-based line and character."""

    line: int
    column: int


class _Shown(NamedTuple):
    """A line made ready: its text as drawn, and the styled parts of that."""

    text: str
    spans: list[tuple[int, int, RichStyle]]


class LineView(ScrollView, can_focus=True):
    """A scrolling view of lines.

    `show` takes text, `show_lines` ready lines (plain, or `Content` with styles). Lines are numbered from `first`.
    """

    DEFAULT_CSS = """
    LineView {
        overflow: auto auto;
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
        "line-view--gutter",
        "line-view--added",
        "line-view--changed",
        "line-view--removed",
        "line-view--current",
        "line-view--match",
        "line-view--match-current",
    }

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Down", show=False, id="lines.down"),
        Binding("k,up", "move(-1)", "Up", show=False, id="lines.up"),
        Binding("ctrl+d", "half_page(1)", "Half a page down", show=False, id="lines.half_down"),
        Binding("ctrl+u", "half_page(-1)", "Half a page up", show=False, id="lines.half_up"),
        Binding("space,pagedown", "page(1)", "Page down", show=False, id="lines.page_down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="lines.page_up"),
        Binding("g,home", "first", "First line", show=False, id="lines.first"),
        Binding("G,end", "last", "Last line", show=False, id="lines.last"),
        Binding("shift+left", "sideways(-1)", "Left", show=False, id="lines.left"),
        Binding("shift+right", "sideways(1)", "Right", show=False, id="lines.right"),
        Binding("w", "toggle_wrap", "Wrap", show=False, id="lines.wrap", tooltip="Wrap long lines"),
        Binding("F", "follow", "Follow", show=False, id="lines.follow", tooltip="Stay at the end as lines come"),
        Binding("n", "next_match", "Next match", show=False, id="lines.next"),
        Binding("N", "previous_match", "Previous match", show=False, id="lines.previous"),
    ]

    wrap: reactive[bool] = reactive(False, init=False)
    """Long lines go on in the next row."""

    follow: reactive[bool] = reactive(False, init=False)
    """Stay at the end as lines are appended. Moving up switches it off."""

    @dataclass
    class Highlighted(Message):
        """Syntax colours came from the worker, and are shown from now on."""

        view: LineView

        @property
        def control(self) -> LineView:
            return self.view

    def __init__(
        self,
        text: str = "",
        *,
        numbers: bool = False,
        id: str | None = None,  # noqa: A002 (Textual's name for it)
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.numbers = numbers
        """Show line numbers."""
        self.first = 1
        """Number of the first line."""
        self.marks: Mapping[int, LineMark] = {}
        self._lines: list[str | Content] = []
        self._widest = 0
        self._starts: list[int] | None = None
        self._wrap_width = 0
        self._spans: SpansByLine | None = None
        self._spans_from = 0
        self._shown_count = 0
        self._matches: list[Match] = []
        self._match_length: dict[Match, int] = {}
        self._match_lines: dict[int, list[Match]] = {}
        self._match_index = -1
        self._ready: LRUCache[int, _Shown] = LRUCache(1024)
        self._strips: LRUCache[int, Strip] = LRUCache(1024)
        self._styles: dict[str, RichStyle] = {}
        if text:
            self._replace(split_lines(text))

    # ---------------------------------------------------------------- what is shown

    def show(
        self,
        text: str,
        *,
        numbers: bool | None = None,
        first: int = 1,
        marks: Mapping[int, LineMark] | None = None,
        language: str = "",
        path: str = "",
        source: str | None = None,
        keep_position: bool = False,
    ) -> None:
        """Show a text from its top.

        Args:
            text: What to show; lines end at newlines.
            numbers: Show line numbers (None: as before).
            first: Number of the first line.
            marks: Marks by line number.
            language: A language known to pygments, for syntax colours.
            path: File name to take the language from, when `language` is not given.
            source: The whole file of which `text` is the part beginning at line `first`, for right colours.
            keep_position: Stay where the view is, instead of going to the top.
        """
        self._set_gutter(numbers, first, marks)
        self._replace(split_lines(text), keep_position)
        if language or path:
            self._highlight(text if source is None else source, language, path, 0 if source is None else first - 1)

    def show_lines(
        self,
        lines: Sequence[str | Content],
        *,
        numbers: bool | None = None,
        first: int = 1,
        marks: Mapping[int, LineMark] | None = None,
        keep_position: bool = False,
    ) -> None:
        """Show ready lines; a `Content` keeps its styles, and its text is made printable like any other."""
        self._set_gutter(numbers, first, marks)
        self._replace(list(lines), keep_position)

    def append_lines(self, lines: Iterable[str | Content]) -> None:
        """Add lines at the end; the view goes there when it follows."""
        new = list(lines)
        self._lines.extend(new)
        self._widest = max(self._widest, _longest(new))
        self._starts = None
        self._fit()
        if self.follow:
            self.action_last()

    def set_marks(self, marks: Mapping[int, LineMark]) -> None:
        """Show other marks, by line number."""
        had = bool(self.marks)
        self.marks = dict(marks)
        if had != bool(self.marks):
            self._fit()
        self.refresh()

    @property
    def line_count(self) -> int:
        return len(self._lines)

    @property
    def text(self) -> str:
        """What is shown, as it was given."""
        return "\n".join(map(str, self._lines))

    def _set_gutter(self, numbers: bool | None, first: int, marks: Mapping[int, LineMark] | None) -> None:
        if numbers is not None:
            self.numbers = numbers
        self.first = first
        self.marks = dict(marks or {})

    def _replace(self, lines: list[str] | list[str | Content], keep_position: bool = False) -> None:
        self._lines = list(lines)
        self._widest = _longest(self._lines)
        self._starts = None
        self._spans = None
        self._shown_count += 1
        self._forget_search()
        self._ready.clear()
        self._strips.clear()
        if self.is_attached:
            self._fit()
            if self.follow:
                self.action_last()
            elif not keep_position:
                self.scroll_to(0, 0, animate=False, force=True)
            self.refresh()

    # ---------------------------------------------------------------- size

    @property
    def _gutter_width(self) -> int:
        width = len(str(self.first + max(0, len(self._lines) - 1))) + 1 if self.numbers else 0
        return width + (2 if self.marks else 0)

    @property
    def _body_width(self) -> int:
        return max(1, self.scrollable_content_region.width - self._gutter_width)

    def _fit(self) -> None:
        """Set the scrolling size to that of the text."""
        if not self.is_attached:
            return
        if self.wrap:
            rows = self._row_starts()[-1]
            self.virtual_size = Size(0, rows)
        else:
            self.virtual_size = Size(self._gutter_width + self._widest, len(self._lines))

    def _row_starts(self) -> list[int]:
        """For wrapping: the row at which each line begins, and the number of rows."""
        width = self._body_width
        if self._starts is None or self._wrap_width != width:
            self._wrap_width = width
            counts = (
                (len(line) + width - 1) // width or 1
                if isinstance(line, str) and line.isascii() and "\t" not in line
                else len(self._cuts(index))
                for index, line in enumerate(self._lines)
            )
            self._starts = [0, *accumulate(counts)]
            self._strips.clear()
        return self._starts

    def _cuts(self, index: int) -> list[int]:
        """Characters at which the rows of a wrapped line begin."""
        width = self._wrap_width
        raw = self._raw(index)
        if len(raw) > LONG_LINE:
            step = width if raw.isascii() else max(1, width // 2)
            return list(range(0, len(raw), step))
        shown = display_line(raw)
        if shown.isascii():
            return list(range(0, len(shown), width)) or [0]
        cuts, used = [0], 0
        for at, character in enumerate(shown):
            size = get_character_cell_size(character)
            if used + size > width:
                cuts.append(at)
                used = 0
            used += size
        return cuts

    def on_mount(self) -> None:
        self._fit()
        if self.follow:
            self.call_after_refresh(self.action_last)

    def on_resize(self) -> None:
        if self.wrap:
            top = self.top_line
            self._fit()
            self.go_to(top + self.first, align="top")
        else:
            self._fit()

    def watch_wrap(self, wrap: bool) -> None:
        top = self._line_at(self.scroll_offset.y, wrapped=not wrap)
        self._strips.clear()
        self._starts = None
        self._fit()
        self.scroll_to(x=0, animate=False, force=True)
        self.go_to(top + self.first, align="top")
        self.refresh()

    def _line_at(self, row: int, wrapped: bool | None = None) -> int:
        if not self._lines:
            return 0
        if self.wrap if wrapped is None else wrapped:
            starts = self._starts or self._row_starts()
            row = bisect_right(starts, row) - 1
        return max(0, min(row, len(self._lines) - 1))

    @property
    def top_line(self) -> int:
        """Index of the line at the top of the view."""
        return self._line_at(self.scroll_offset.y)

    def go_to(self, number: int, *, align: str = "center") -> None:
        """Bring a line into view by its number: `top`, `center`, or `nearest` (moves only when it is out of view)."""
        index = max(0, min(number - self.first, len(self._lines) - 1))
        row = self._row_starts()[index] if self.wrap and self._lines else index
        height = max(1, self.scrollable_content_region.height)
        top = self.scroll_offset.y
        if align == "nearest":
            if top <= row < top + height:
                return
            row = row if row < top else row - height + 1
        elif align == "center":
            row -= height // 2
        self.scroll_to(y=max(0, row), animate=False, force=True)

    # ---------------------------------------------------------------- drawing

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()
        self._ready.clear()
        self._strips.clear()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        base = self.rich_style
        row = y + self.scroll_offset.y
        if self.wrap:
            starts = self._row_starts()
            if row >= starts[-1]:
                return Strip.blank(width, base)
            index = bisect_right(starts, row) - 1
            body = self._wrapped_strip(index, row - starts[index])
            continued = row != starts[index]
        elif row < len(self._lines):
            index, continued = row, False
            body = self._flat_strip(index)
        else:
            return Strip.blank(width, base)
        gutter = self._gutter(index, continued)
        return Strip.join([gutter, body]).crop_extend(0, width, base)

    def _flat_strip(self, index: int) -> Strip:
        """The visible part of an unwrapped line."""
        left, width = self.scroll_offset.x, self._body_width
        raw = self._raw(index)
        if len(raw) > LONG_LINE:
            part = printable(raw[left : left + width]).replace("\t", " ")
            spans = self._match_spans(index, _Offsets(raw[:0]))
            shown = _Shown(part, [(start - left, end - left, style) for start, end, style in spans])
            return self._strip_of(shown, 0, len(part)).crop(0, width).apply_offsets(left, index)
        strip = self._strips.get(index) if self.text_selection is None else None
        if strip is None:
            shown = self._selected(index, self._line(index))
            strip = self._strip_of(shown, 0, len(shown.text))
            if self.text_selection is None:
                self._strips[index] = strip
            if strip.cell_length > self._widest:
                self._widest = strip.cell_length
                self.call_later(self._fit)
        return strip.crop(left, left + width).apply_offsets(left, index)

    def _wrapped_strip(self, index: int, piece: int) -> Strip:
        cuts = self._cuts(index)
        start = cuts[piece] if piece < len(cuts) else 0
        end = cuts[piece + 1] if piece + 1 < len(cuts) else None
        raw = self._raw(index)
        if len(raw) > LONG_LINE:
            part = printable(raw[start:end]).replace("\t", " ")
            spans = self._match_spans(index, _Offsets(""))
            return self._strip_of(_Shown(part, [(a - start, b - start, style) for a, b, style in spans]), 0, len(part))
        shown = self._line(index)
        return self._strip_of(shown, start, len(shown.text) if end is None else end)

    def _strip_of(self, shown: _Shown, start: int, end: int) -> Strip:
        """Characters `start` to `end` of a line as segments; later spans lie over earlier ones."""
        base = self.rich_style
        text = shown.text
        spans = [(max(a, start), min(b, end), style) for a, b, style in shown.spans if a < end and b > start]
        if not spans:
            return Strip([Segment(text[start:end], base)] if end > start else [])
        edges = sorted({start, end, *(a for a, _, _ in spans), *(b for _, b, _ in spans)})
        segments = []
        for left, right in pairwise(edges):
            style = base
            for a, b, own in spans:
                if a <= left and right <= b:
                    style += own
            segments.append(Segment(text[left:right], style))
        return Strip(segments)

    def _raw(self, index: int) -> str:
        line = self._lines[index]
        return line if isinstance(line, str) else line.plain

    def _line(self, index: int) -> _Shown:
        """A line (not a long one) made ready."""
        shown = self._ready.get(index)
        if shown is None:
            line = self._lines[index]
            raw = line if isinstance(line, str) else line.plain
            offsets = _Offsets(raw)
            spans: list[tuple[int, int, RichStyle]] = []
            if isinstance(line, Content):
                at = 0
                for part, style in line.render(self.visual_style, "", self._parse_style):
                    spans.append((offsets[at], offsets[at + len(part)], style.rich_style))
                    at += len(part)
            elif self._spans is not None and index + self._spans_from < len(self._spans):
                spans = [
                    (offsets[start], offsets[end], self._style(style))
                    for start, end, style in self._spans[index + self._spans_from]
                ]
            spans += self._match_spans(index, offsets)
            shown = self._ready[index] = _Shown(display_line(raw), spans)
        return shown

    def _parse_style(self, style: str | Style) -> Style:
        if isinstance(style, Style):
            return style
        try:
            return Style.parse(style)
        except Exception:  # a style of another theme: any error means no style
            return Style.null()

    def _style(self, markup: str) -> RichStyle:
        style = self._styles.get(markup)
        if style is None:
            style = self._styles[markup] = (self.visual_style + self._parse_style(markup)).rich_style
        return style

    def _gutter(self, index: int, continued: bool) -> Strip:
        width = self._gutter_width
        if not width:
            return Strip([])
        dim = self.get_component_rich_style("line-view--gutter")
        number = self.first + index
        segments = []
        if self.numbers:
            label = "" if continued else str(number)
            segments.append(Segment(f"{label:>{width - (3 if self.marks else 1)}} ", dim))
        if self.marks:
            mark = self.marks.get(number)
            style = self.get_component_rich_style(mark.component) if mark is not None else dim
            segments.append(Segment(f"{printable(mark.glyph[:1]) if mark is not None else ' '} ", style))
        return Strip(segments)

    # ---------------------------------------------------------------- syntax colours

    def _highlight(self, source: str, language: str, path: str, offset: int) -> None:
        if len(source) > MAX_CHARACTERS:
            return
        self._spans_from = offset
        spans = remembered(source, language, path)
        if spans is None and len(source) <= AT_ONCE:
            spans = highlight_lines(source, language, path)
        if spans is not None:
            self._spans = spans
            return
        self.run_worker(
            self._highlight_later(self._shown_count, source, language, path), group="highlight", exclusive=True
        )

    async def _highlight_later(self, shown: int, source: str, language: str, path: str) -> None:
        spans = await asyncio.to_thread(highlight_lines, source, language, path)
        if shown == self._shown_count:
            self._spans = spans
            self._ready.clear()
            self._strips.clear()
            self.refresh()
            self.post_message(self.Highlighted(self))

    # ---------------------------------------------------------------- search

    def search(self, query: str, *, regex: bool = False) -> list[Match]:
        """Find all places (at most 10,000), mark them, and go to the first one at or below the top of the view.

        A query in lower case finds either case. An empty query clears the search.

        Raises:
            re.error: When `regex` is set and the query is no regular expression.
        """
        pattern = None
        if query:
            pattern = re.compile(query if regex else re.escape(query), 0 if query != query.lower() else re.IGNORECASE)
        self._forget_search()
        for index, line in enumerate(self._lines if pattern is not None else ()):
            assert pattern is not None
            for found in pattern.finditer(line if isinstance(line, str) else line.plain):
                if found.end() > found.start():
                    match = Match(index, found.start())
                    self._matches.append(match)
                    self._match_length[match] = found.end() - found.start()
                    self._match_lines.setdefault(index, []).append(match)
            if len(self._matches) >= MAX_MATCHES:
                del self._matches[MAX_MATCHES:]
                break
        self._redraw_matches()
        if self._matches:
            top = self.top_line
            at = next((n for n, match in enumerate(self._matches) if match.line >= top), 0)
            self._go_to_match(at)
        return list(self._matches)

    @property
    def matches(self) -> list[Match]:
        return list(self._matches)

    @property
    def match_index(self) -> int:
        """Which of the matches is the current one; -1 without any."""
        return self._match_index

    def next_match(self) -> Match | None:
        """Go to the next match, from the last one to the first."""
        return self._go_to_match(self._match_index + 1)

    def previous_match(self) -> Match | None:
        return self._go_to_match(self._match_index - 1)

    def clear_search(self) -> None:
        self._forget_search()
        self._redraw_matches()

    def _forget_search(self) -> None:
        self._matches, self._match_index = [], -1
        self._match_length, self._match_lines = {}, {}

    def _redraw_matches(self) -> None:
        self._ready.clear()
        self._strips.clear()
        self.refresh()

    def _go_to_match(self, index: int) -> Match | None:
        if not self._matches:
            return None
        self._match_index = index % len(self._matches)
        match = self._matches[self._match_index]
        self.follow = False
        self._redraw_matches()
        if self.wrap:
            cuts = self._cuts(match.line) if self._row_starts() else [0]
            piece = bisect_right(cuts, self._column(match)) - 1
            self._show_row(self._row_starts()[match.line] + piece)
        else:
            self._show_row(match.line)
            column, width = self._column(match), self._body_width
            left = self.scroll_offset.x
            if not left <= column < left + width - self._match_length[match]:
                self.scroll_to(x=max(0, column - width // 3), animate=False, force=True)
        return match

    def _show_row(self, row: int) -> None:
        height = max(1, self.scrollable_content_region.height)
        if not self.scroll_offset.y <= row < self.scroll_offset.y + height:
            self.scroll_to(y=max(0, row - height // 2), animate=False, force=True)

    def _column(self, match: Match) -> int:
        """The match's column as drawn."""
        raw = self._raw(match.line)
        return match.column if len(raw) > LONG_LINE else cell_len(display_line(raw[: match.column]))

    def _match_spans(self, index: int, offsets: _Offsets) -> list[tuple[int, int, RichStyle]]:
        found = self._match_lines.get(index)
        if not found:
            return []
        current = self._matches[self._match_index] if self._match_index >= 0 else None
        spans = []
        for match in found:
            name = "line-view--match-current" if match == current else "line-view--match"
            end = match.column + self._match_length[match]
            spans.append((offsets[match.column], offsets[end], self.get_component_rich_style(name)))
        return spans

    # ---------------------------------------------------------------- selection by mouse

    @property
    def allow_select(self) -> bool:
        return not self.wrap

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        return selection.extract("\n".join(display_line(self._raw(index)) for index in range(len(self._lines)))), "\n"

    def _selected(self, index: int, shown: _Shown) -> _Shown:
        selection = self.text_selection
        span = selection.get_span(index) if selection is not None else None
        if span is None:
            return shown
        start, end = span
        style = self.screen.get_component_rich_style("screen--selection")
        return _Shown(shown.text, [*shown.spans, (start, len(shown.text) if end == -1 else end, style)])

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()

    # ---------------------------------------------------------------- moving

    def _scroll_rows(self, rows: int) -> None:
        if rows < 0:
            self.follow = False
        self.scroll_to(y=self.scroll_offset.y + rows, animate=False, force=True)

    def action_move(self, rows: int) -> None:
        self._scroll_rows(rows)

    def action_page(self, pages: int) -> None:
        self._scroll_rows(pages * max(1, self.scrollable_content_region.height - 1))

    def action_half_page(self, halves: int) -> None:
        self._scroll_rows(halves * max(1, self.scrollable_content_region.height // 2))

    def action_first(self) -> None:
        self.follow = False
        self.scroll_to(y=0, animate=False, force=True)

    def action_last(self) -> None:
        self.scroll_to(y=self.max_scroll_y, animate=False, force=True)

    def action_sideways(self, steps: int) -> None:
        self.scroll_to(x=self.scroll_offset.x + steps * SIDEWAYS, animate=False, force=True)

    def action_toggle_wrap(self) -> None:
        self.wrap = not self.wrap

    def action_follow(self) -> None:
        self.follow = not self.follow

    def watch_follow(self, follow: bool) -> None:
        if follow:
            self.action_last()

    def action_next_match(self) -> None:
        self.next_match()

    def action_previous_match(self) -> None:
        self.previous_match()


class _Offsets:
    """Where each character of a line stands once tabs are expanded."""

    def __init__(self, raw: str) -> None:
        self._columns: list[int] | None = None
        if "\t" in raw:
            columns = [0]
            for character in raw:
                at = columns[-1]
                columns.append(at + (TAB_SIZE - at % TAB_SIZE if character == "\t" else 1))
            self._columns = columns

    def __getitem__(self, index: int) -> int:
        return index if self._columns is None else self._columns[min(index, len(self._columns) - 1)]


def _longest(lines: Sequence[str | Content]) -> int:
    """Characters of the longest line; a view widens itself when a line turns out to take more columns."""
    return max(map(len, lines), default=0)
