"""The list of steps: one line each, drawn from the state when it comes into view.

A new step costs one line, however many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.session.state import SessionState, Step
from workbench.tui import words
from workbench.tui.scores import ScoreTrail
from workbench.tui.text import one_line

_TIME_FROM = 40
"""The duration is shown in lists at least this wide."""
_WORDS_FROM = 64
"""The outcome is written out in lists at least this wide."""


class StepList(ScrollView, can_focus=True):
    """Steps 0 to n of a session. `cursor` is the one that the other panes show."""

    DEFAULT_CSS = """
    StepList { scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; overflow-x: hidden; overflow-y: auto;
        background: $background; color: $foreground; }
    StepList > .step-list--cursor { background: $panel; text-style: bold; }
    StepList:focus > .step-list--cursor { background: $primary 30%; text-style: bold; }
    StepList > .step-list--primary { color: $primary; }
    StepList > .step-list--success { color: $success; }
    StepList > .step-list--warning { color: $warning; }
    StepList > .step-list--error { color: $error; }
    StepList > .step-list--secondary { color: $secondary; }
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "step-list--cursor",
        "step-list--primary",
        "step-list--success",
        "step-list--warning",
        "step-list--error",
        "step-list--secondary",
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

    @dataclass
    class Chosen(Message):
        """A step was chosen, by key or mouse."""

        step: int

    def __init__(self, state: SessionState, trail: ScoreTrail, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._state = state
        self._trail = trail

    def on_mount(self) -> None:
        self.steps_changed(0)

    # -- what it shows -----------------------------------------------------------------------------------------------

    def steps_changed(self, first: int) -> None:
        """Steps from `first` on are new, or look different."""
        size = Size(0, len(self._state.steps))
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
        if row >= len(self._state.steps):
            return Strip.blank(width, base)
        under_cursor = row == self.cursor
        if under_cursor:
            base += self.get_component_rich_style("step-list--cursor")
        strip = Strip(self._segments(self._state.steps[row], width, base))
        return strip.adjust_cell_length(width, base).crop(0, width)

    def _colour(self, name: str, base: RichStyle) -> RichStyle:
        return base + RichStyle(color=self.get_component_rich_style(f"step-list--{name}").color)

    def _segments(self, step: Step, width: int, base: RichStyle) -> list[Segment]:
        muted = self._colour("secondary", base)
        digits = max(2, len(str(len(self._state.steps) - 1)))
        pointer = "▌" if step.number == self.cursor else " "
        head = [Segment(pointer, self._colour("primary", base)), Segment(f"{step.number:>{digits}} ", muted)]
        if step.number == 0:
            return [*head, Segment("· the workspace as given", muted)]
        author, result = words.author_sign(step.author), words.outcome(step)
        head.append(Segment(f"{author.glyph} ", self._colour(author.colour, base)))
        tail = self._tail(step, result, width, base)
        room = max(4, width - digits - 4 - sum(len(part.text) for part in tail))
        text = one_line(step.action.strip(), room * 2)
        if step.edited:
            head.append(Segment(f"{words.EDITED} ", self._colour("warning", base)))
            room -= 2
        style = base
        if step.status in ("rejected", "refused"):
            style = muted + RichStyle(strike=step.status == "rejected")
        body = Strip([Segment(text, style)])
        if body.cell_length > room:
            body = Strip.join([body.crop(0, room - 1), Strip([Segment("…", muted)])])
        return [*head, *body, Segment(" " * (room - body.cell_length), base), *tail]

    def _tail(self, step: Step, result: words.Sign, width: int, base: RichStyle) -> list[Segment]:
        """Outcome, duration and score, in columns."""
        if width >= _WORDS_FROM:
            shown = f" {result.glyph} {result.word:<11}"
        else:
            code = str(step.exit_code) if result.glyph == "✗" else ""
            shown = f" {result.glyph}{code:<3}"
        tail = [Segment(shown, self._colour(result.colour, base))]
        if width >= _TIME_FROM:
            took = words.seconds(step.duration) if step.status == "ran" else ""
            tail.append(Segment(f" {took:>5} ", self._colour("secondary", base)))
        standing = self._trail.at(step.number)
        if standing.own is None:
            failed = any(entry.score is None for entry in step.scores)
            text, colour = (f"{step.scores[-1].verdict:<7}", "error") if failed else (" " * 7, "secondary")
            return [*tail, Segment(text[:7], self._colour(colour, base))]
        change = words.score_change(self._state, standing.own, standing.before)
        text = f"{change.glyph}{words.number(standing.own)}"
        return [*tail, Segment(f"{text:<7}", self._colour(change.colour, base))]

    # -- choosing ----------------------------------------------------------------------------------------------------

    def _choose(self, step: int) -> None:
        self.post_message(self.Chosen(max(0, min(step, len(self._state.steps) - 1))))

    def on_click(self, event: events.Click) -> None:
        row = event.y + self.scroll_offset.y
        if row < len(self._state.steps):
            self._choose(row)

    def action_move(self, rows: int) -> None:
        self._choose(self.cursor + rows)

    def action_page(self, pages: float) -> None:
        self._choose(self.cursor + round(pages * max(2, self.size.height - 1)))

    def action_to(self, step: int) -> None:
        self._choose(step if step >= 0 else len(self._state.steps) - 1)
