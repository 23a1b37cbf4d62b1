"""What a step changed in the files: old and new lines with their numbers."""

from __future__ import annotations

import asyncio

from textual.content import Content

from workbench.session.state import SessionState
from workbench.tui.diffs import FileBytes, shown, step_changes
from workbench.tui.widgets.line_view import Line, PanelView
from workbench.tui.workers import work_on


class DiffView(PanelView):
    """It takes the place of the file window while it is wanted."""

    def __init__(self, state: SessionState, file_bytes: FileBytes, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._state = state
        self._file_bytes = file_bytes
        self._key: tuple[object, ...] = ()
        self.title = "Changes"
        self.subtitle = ""

    def show_step(self, number: int) -> None:
        """Show what a step changed; nothing is drawn when it is as before. Large files are compared in a thread."""
        step = self._state.steps[number]
        key = (number, len(step.changes), id(step.window))
        if key != self._key:
            self._key = key
            self.title = f"Changes of step {number}"
            work_on(self, self._load, number, group="diff", exclusive=True)

    async def _load(self, number: int) -> None:
        lines = await asyncio.to_thread(self._compared, number)
        self.show(lines, place=number)

    def _compared(self, number: int) -> list[Line]:
        pairs = step_changes(self._state, self._file_bytes, number)
        if pairs:
            return shown(pairs)
        source = self._state.started.source if self._state.started else ""
        nothing = "(this step changed no file)"
        if source:
            nothing = "(this log has no files, and no window shows a change)"
        return [Content.styled(nothing, "$foreground 55%")]
