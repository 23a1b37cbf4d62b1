"""The line view as the workbench's panes use it: keys that the screen has for itself are left to the screen."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from workbench.tui.widgets.line_view import LineView


class PanelView(LineView):
    """`n`, `N` and space belong to the whole workbench here: the search goes on in other steps, and space pauses."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "screen.do('search.next')", "Next match", show=False, id="search.next"),
        Binding("N", "screen.do('search.previous')", "Previous match", show=False, id="search.previous"),
        Binding("space", "screen.do('session.toggle')", "Pause or continue", show=False, id="session.toggle"),
        Binding("pageup,b", "page(-1)", "Page up", show=False, id="lines.page_up"),
    ]
