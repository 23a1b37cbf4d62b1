"""A list of rows of which one is under the cursor. A row is made when it comes into view, however many there are."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip


class RowList(ScrollView, can_focus=True):
    """What is shown, and what choosing a row means, is for the subclass to say; it moves `cursor` itself."""

    DEFAULT_CSS = """
    RowList { scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; overflow-x: hidden; overflow-y: auto;
        background: $background; color: $foreground; }
    RowList > .row-list--cursor { background: $panel; text-style: bold; }
    RowList:focus > .row-list--cursor { background: $primary 30%; text-style: bold; }
    RowList > .row-list--primary { color: $primary; }
    RowList > .row-list--success { color: $success; }
    RowList > .row-list--warning { color: $warning; }
    RowList > .row-list--error { color: $error; }
    RowList > .row-list--secondary { color: $secondary; }
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "row-list--cursor",
        "row-list--primary",
        "row-list--success",
        "row-list--warning",
        "row-list--error",
        "row-list--secondary",
    }

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Down", show=False, id="lines.down"),
        Binding("k,up", "move(-1)", "Up", show=False, id="lines.up"),
        Binding("ctrl+d", "page(0.5)", "Half a page down", show=False, id="lines.half_down"),
        Binding("ctrl+u", "page(-0.5)", "Half a page up", show=False, id="lines.half_up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="lines.page_down"),
        Binding("pageup,b", "page(-1)", "Page up", show=False, id="lines.page_up"),
        Binding("g,home", "to(0)", "First", show=False, id="lines.first"),
        Binding("G,end", "to(-1)", "Last", show=False, id="lines.last"),
    ]

    cursor: reactive[int] = reactive(0, init=False)

    @property
    @abstractmethod
    def row_count(self) -> int:
        """How many rows there are."""

    @abstractmethod
    def row_segments(self, row: int, width: int, base: RichStyle) -> list[Segment]:
        """A row, drawn in `base`."""

    @abstractmethod
    def chosen(self, row: int) -> None:
        """A row was chosen, by key or mouse."""

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
        width = self.size.width
        base = self.rich_style
        if row >= self.row_count:
            return Strip.blank(width, base)
        if row == self.cursor:
            base += self.get_component_rich_style("row-list--cursor")
        strip = Strip(self.row_segments(row, width, base))
        return strip.adjust_cell_length(width, base).crop(0, width)

    def colour(self, name: str, base: RichStyle) -> RichStyle:
        """`base` in a colour of the theme."""
        return base + RichStyle(color=self.get_component_rich_style(f"row-list--{name}").color)

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

    def action_to(self, row: int) -> None:
        self._choose(row if row >= 0 else self.row_count - 1)
