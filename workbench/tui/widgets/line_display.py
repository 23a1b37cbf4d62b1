"""How lines are drawn: the part of `LineView` below its keys and its search."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import msgspec
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.cache import LRUCache
from textual.content import Content
from textual.geometry import Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.style import Style

from workbench.tui.highlight import SpansByLine
from workbench.tui.text import display_line, printable
from workbench.tui.widgets.lines import LONG_LINE, Columns, Finder, Layout, Line, raw_text


class LineMark(msgspec.Struct, frozen=True):
    """A sign in front of a line: a glyph of one column, and the component class that colours the glyph."""

    glyph: str
    component: str


ADDED = LineMark("+", "line-view--added")
CHANGED = LineMark("~", "line-view--changed")
REMOVED = LineMark("-", "line-view--removed")
CURRENT = LineMark("▶", "line-view--current")


class _Shown(NamedTuple):
    """A line made ready: its text as drawn, and the styled parts of that."""

    text: str
    spans: list[tuple[int, int, RichStyle]]


class LineDisplay(ScrollView, inherit_bindings=False):
    """Draws lines with a gutter. Only the rows in view are converted, and kept while they may be drawn again."""

    wrap: reactive[bool] = reactive(False, init=False)
    """Long lines go on in the next row."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name for it)
        super().__init__(id=id)
        self.numbers = False
        """Show line numbers."""
        self.first = 1
        """Number of the first line."""
        self.marks: Mapping[int, LineMark] = {}
        self._lines: list[Line] = []
        self._widest = 0
        self._layout: Layout | None = None
        self._spans: SpansByLine | None = None
        self._finder = Finder()
        self._ready: LRUCache[int, _Shown] = LRUCache(1024)
        self._strips: LRUCache[int, Strip] = LRUCache(1024)
        self._styles: dict[str, RichStyle] = {}

    def _forget_drawn(self) -> None:
        self._ready.clear()
        self._strips.clear()

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
        self.virtual_size = Size(0 if self.wrap else self._gutter_width + self._widest, self._laid_out.rows)

    @property
    def _laid_out(self) -> Layout:
        """Where the lines stand, wrapped or not, at the width that there is now."""
        width = self._body_width if self.wrap else 0
        if self._layout is None or self._layout.width != width:
            self._layout = Layout(self._lines, width)
        return self._layout

    # ---------------------------------------------------------------- drawing

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()
        self._forget_drawn()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        base = self.rich_style
        row = y + self.scroll_offset.y
        layout = self._laid_out
        if layout.rows != self.virtual_size.height:
            self.call_later(self._fit)  # the width changed without a resize of the view
        if row >= layout.rows:
            return Strip.blank(width, base)
        index, piece = layout.at(row)
        body = self._wrapped_strip(index, *layout.piece(index, piece)) if self.wrap else self._flat_strip(index)
        gutter = self._gutter(index, piece > 0)
        return Strip.join([gutter, body]).crop_extend(0, width, base)

    def _flat_strip(self, index: int) -> Strip:
        """The visible part of an unwrapped line."""
        left, width = self.scroll_offset.x, self._body_width
        if len(self._raw(index)) > LONG_LINE:
            return self._part_strip(index, left, left + width).crop(0, width).apply_offsets(left, index)
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

    def _wrapped_strip(self, index: int, start: int, end: int | None) -> Strip:
        """One row of a wrapped line."""
        raw = self._raw(index)
        if len(raw) > LONG_LINE:
            return self._part_strip(index, start, len(raw) if end is None else end)
        shown = self._line(index)
        return self._strip_of(shown, start, len(shown.text) if end is None else end)

    def _part_strip(self, index: int, start: int, end: int) -> Strip:
        """Characters `start` to `end` of a long line, and nothing of the rest."""
        part = printable(self._raw(index)[start:end]).replace("\t", " ")
        spans = [(a - start, b - start, style) for a, b, style in self._match_spans(index, Columns(""), start, end)]
        return self._strip_of(_Shown(part, spans), 0, len(part))

    def _strip_of(self, shown: _Shown, start: int, end: int) -> Strip:
        """Characters `start` to `end` of a line as segments; later spans lie over earlier ones."""
        base = self.rich_style
        text = shown.text
        spans = [(max(a, start), min(b, end), style) for a, b, style in shown.spans if a < end and b > start]
        if not spans:
            return Strip([Segment(text[start:end], base)] if end > start else [])
        starts: dict[int, list[int]] = {}
        ends: dict[int, list[int]] = {}
        for layer, (a, b, _) in enumerate(spans):
            starts.setdefault(a, []).append(layer)
            ends.setdefault(b, []).append(layer)
        segments: list[Segment] = []
        active: set[int] = set()
        for left, right in pairwise(sorted({start, end, *starts, *ends})):
            active.update(starts.get(left, ()))
            active.difference_update(ends.get(left, ()))
            style = base
            for layer in sorted(active):
                style += spans[layer][2]
            segments.append(Segment(text[left:right], style))
        return Strip(segments)

    def _raw(self, index: int) -> str:
        return raw_text(self._lines[index])

    def _line(self, index: int) -> _Shown:
        """A line (not a long one) made ready."""
        shown = self._ready.get(index)
        if shown is None:
            line = self._lines[index]
            raw = raw_text(line)
            offsets = Columns(raw)
            spans: list[tuple[int, int, RichStyle]] = []
            if isinstance(line, Content):
                at = 0
                for part, style in line.render(self.visual_style, "", self._parse_style):
                    spans.append((offsets[at], offsets[at + len(part)], style.rich_style))
                    at += len(part)
            elif self._spans is not None and index < len(self._spans):
                spans = [(offsets[start], offsets[end], self._style(style)) for start, end, style in self._spans[index]]
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

    def _match_spans(
        self, index: int, columns: Columns, start: int = 0, end: int | None = None
    ) -> list[tuple[int, int, RichStyle]]:
        """Matches on a line as spans of the line as drawn; for part of a long line, those in that part."""
        found = self._finder.on_line(index)
        if not found:
            return []
        current = self._finder.current
        plain = self.get_component_rich_style("line-view--match")
        special = self.get_component_rich_style("line-view--match-current")
        return [
            (columns[match.column], columns[match.column + match.length], special if match == current else plain)
            for match in found
            if match.column + match.length > start and (end is None or match.column < end)
        ]

    def _selected(self, index: int, shown: _Shown) -> _Shown:
        selection = self.text_selection
        span = selection.get_span(index) if selection is not None else None
        if span is None:
            return shown
        start, end = span
        style = self.screen.get_component_rich_style("screen--selection")
        return _Shown(shown.text, [*shown.spans, (start, len(shown.text) if end == -1 else end, style)])
