"""A list of rows of which one is under the cursor. A row is made when it comes into view, however many there are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.tui.actions import LINES, bindings_of

_COLOURS = ("primary", "success", "warning", "error", "secondary", "accent")
"""Those of the theme that parts of a row can have."""


Piece = tuple[str, str]
"""A text of a row, and how it is drawn: in a colour of the theme, perhaps with a look (`secondary strike`); empty: as
the row is.
"""


def cut(pieces: Sequence[Piece], room: int) -> list[Piece]:
    """The pieces, with an ellipsis at their end where they take more than `room` columns."""
    if width_of(pieces) <= room:
        return [*pieces]
    kept, left = [], room - 1
    for text, style in pieces:
        kept.append((set_cell_size(text, min(cell_len(text), left)), style))
        left -= cell_len(kept[-1][0])
    return [*kept, ("…", "secondary")]


def width_of(pieces: Sequence[Piece]) -> int:
    """Columns that they take."""
    return sum(cell_len(text) for text, _ in pieces)


class RowList(ScrollView, can_focus=True):
    """A subclass says what a row shows."""

    DEFAULT_CSS = """
    RowList { scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; overflow-x: hidden; overflow-y: auto;
        background: $background; color: $foreground; }
    RowList > .row-list--cursor { background: $panel; text-style: bold; }
    RowList:focus > .row-list--cursor { background: $primary 30%; text-style: bold; }
    """ + "".join(f"RowList > .row-list--{name} {{ color: ${name}; }}\n" for name in _COLOURS)

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"row-list--{name}" for name in ("cursor", *_COLOURS)}

    BINDINGS: ClassVar[list[BindingType]] = bindings_of(LINES)

    cursor: reactive[int] = reactive(0, init=False)

    rows: Sequence[Any] = ()
    """What the rows are of."""

    class Moved(Message):
        """Another row is under the cursor, by key or mouse."""

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    @abstractmethod
    def row_pieces(self, row: int, width: int) -> Iterable[Piece]:
        """What a row shows."""

    def chosen(self, row: int) -> None:
        """A row was chosen, by key or mouse."""
        if row != self.cursor:
            self.cursor = row
            self.post_message(self.Moved())

    def rows_changed(self, first: int) -> None:
        """Rows from `first` on are new, or look different."""
        size = Size(0, self.row_count)
        if size != self.virtual_size:
            self.virtual_size = size
        top = first - self.scroll_offset.y
        height = self.size.height
        if top < height:
            self.refresh(Region(0, max(0, top), self.size.width, height - max(0, top)))

    def watch_cursor(self, old: int, new: int) -> None:
        for row in (old, new):
            self.refresh(Region(0, row - self.scroll_offset.y, self.size.width, 1))
        self._reveal()

    def on_resize(self) -> None:
        self._reveal()

    def _reveal(self) -> None:
        height, top = self.scrollable_content_region.height, self.scroll_offset.y
        if height and not top <= self.cursor < top + height:
            self.scroll_to(y=self.cursor if self.cursor < top else self.cursor - height + 1, animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        row = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        base = self.rich_style
        if row >= self.row_count:
            return Strip.blank(width, base)
        if row == self.cursor:
            base += self.get_component_rich_style("row-list--cursor")
        strip = Strip([Segment(text, self._styled(style, base)) for text, style in self.row_pieces(row, width)])
        if row == self.cursor:
            pointer = Strip([Segment("▌", self._styled("primary", base))])  # seen without colours, too
            strip = Strip.join([pointer, strip.crop(1)])
        return strip.adjust_cell_length(width, base).crop(0, width)

    def _styled(self, style: str, base: RichStyle) -> RichStyle:
        colour, _, look = style.partition(" ")
        if colour:
            base += RichStyle(color=self.get_component_rich_style(f"row-list--{colour}").color)
        return base + RichStyle.parse(look)

    # -- choosing ----------------------------------------------------------------------------------------------------

    def _choose(self, row: int) -> None:
        if self.row_count:
            self.chosen(max(0, min(row, self.row_count - 1)))

    def on_click(self, event: events.Click) -> None:
        row = event.y + self.scroll_offset.y
        if row < self.row_count:
            self._choose(row)

    def action_move(self, rows: int) -> None:
        self._choose(self.cursor + rows)

    def action_page(self, pages: float) -> None:
        self._choose(self.cursor + round(pages * max(2, self.size.height - 1)))

    def action_first(self) -> None:
        self._choose(0)

    def action_last(self) -> None:
        self._choose(self.row_count - 1)


class Chooser(RowList):
    """A list whose cursor others move: it only says which row was chosen."""

    @dataclass
    class Chosen(Message):
        """A row was chosen, by key or mouse."""

        row: int

    def chosen(self, row: int) -> None:
        self.post_message(self.Chosen(row))
