"""The session as one line: a tick for each step, where the score changed, and the cursor."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from workbench.session.outcome import Failures
from workbench.session.state import SessionState
from workbench.tui import words
from workbench.tui.widgets.step_list import StepList

_SIGNS = {"▲": 4, "▼": 4, "▪": 3, "=": 2, "↺": 1}
"""Which sign wins where several steps share a column; other failures are as good as an equal score."""


class TimeBar(Widget):
    """Click to go to a step."""

    DEFAULT_CSS = """
    TimeBar { height: 1; padding: 0 1; background: $background; color: $foreground; }
    """

    cursor: reactive[int] = reactive(0, init=False)

    def __init__(self, state: SessionState, found: Failures) -> None:
        super().__init__(id="time-bar")
        self._state, self._found = state, found
        self._signs: dict[int, tuple[str, str]] = {}
        self._read = 0

    def steps_changed(self, first: int) -> None:
        """Steps from `first` on are new, or look different."""
        self._read = min(self._read, first)
        self.refresh()

    def _read_signs(self) -> None:
        """Signs of the steps that were not looked at yet."""
        for step in self._state.steps[self._read :]:
            self._signs.pop(step.number, None)
            standing = self._state.standing(step.number)
            if standing.own is not None and standing.last is not None:
                change = words.score_change(self._state, standing.last, standing.before)
                self._signs[step.number] = (change.glyph, change.colour)
            elif step.over and (failures := self._found.at(step.number)):
                sign = words.FAILED[failures[0].kind]  # a score that fell has its arrow above
                self._signs[step.number] = (sign.glyph, sign.colour)
        self._read = self._state.last_step

    @property
    def _label(self) -> str:
        state = self._state
        step = state.steps[min(self.cursor, state.last_step)]
        at = step.finished or step.started
        result = words.outcome(step, self._found.at(step.number))
        outcome = f"{result.glyph} {result.word}" if step.number else result.word
        return f" {self.cursor}/{state.last_step} {outcome:<9}" + (f" at {words.clock(at)}" if at else "")

    @property
    def _track(self) -> int:
        """Columns of the bar itself."""
        return max(2, self.content_size.width - len(self._label))

    def _column(self, step: int) -> int:
        last = max(1, self._state.last_step)
        return round(step * (self._track - 1) / last)

    def render(self) -> Content:
        self._read_signs()
        width, last = self._track, self._state.last_step
        here = self._column(min(self.cursor, last))
        cells: list[tuple[str, str]] = [
            ("─", "$primary 70%") if column < here else ("─", "$border-blurred") for column in range(width)
        ]
        if 0 < last <= width // 2:
            for step in range(last + 1):
                column = self._column(step)
                cells[column] = ("•", "$primary 70%" if column < here else "$secondary 70%")
        won: dict[int, int] = {}
        for step, (glyph, colour) in self._signs.items():
            column = self._column(step)
            rank = _SIGNS.get(glyph, 2)
            if rank > won.get(column, 0):
                won[column] = rank
                cells[column] = (glyph, f"${colour}")
        glyph, colour = cells[here] if here in won else ("●", "$primary")
        cells[here] = (glyph, f"bold {colour} reverse" if here in won else f"bold {colour}")
        return Content.assemble(*cells, (self._label, "$foreground 75%"))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and offset.x < self._track:
            self.post_message(StepList.Chosen(round(offset.x * self._state.last_step / max(1, self._track - 1))))
