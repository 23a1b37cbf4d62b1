"""All places where a session holds what was searched for, one a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from workbench.tui.actions import keyed
from workbench.tui.matches import Hit
from workbench.tui.screens.dialogs import Dialog
from workbench.tui.text import one_line
from workbench.tui.widgets.row_list import Piece, RowList


class _Rows(RowList):
    def __init__(self, hits: Sequence[Hit], cursor: int) -> None:
        super().__init__(id="hits")
        self.rows = hits
        self.set_reactive(_Rows.cursor, cursor)

    def on_mount(self) -> None:
        self.rows_changed(0)

    def row_pieces(self, row: int, width: int) -> list[Piece]:
        hit = self.rows[row]
        return [(f" {hit.step:>4}  {hit.field:<12}", "secondary"), (one_line(hit.line, 2 * width), "")]


class HitList(Dialog[int | None]):
    """Gives the index of the hit that was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "go there", show=False, id="hits.choose"),
        Binding("q", "leave", "leave", show=False, id="dialog.leave"),
    ]

    def __init__(self, query: str, hits: Sequence[Hit], cursor: int) -> None:
        super().__init__(f"/{query}: {len(hits):,} places")
        self._rows = _Rows(hits, max(0, cursor))

    def compose(self) -> ComposeResult:
        with self.box(
            keyed("{lines.down} {lines.up} rows · {hits.choose} goes there · {dialog.leave} leaves"), large=True
        ):
            yield self._rows

    def action_choose(self) -> None:
        self.dismiss(self._rows.cursor)
