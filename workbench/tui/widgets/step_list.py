"""The list of steps: one line each, drawn from the state when it comes into view.

A new step costs one line, however many there are.
"""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.strip import Strip

from workbench.session.outcome import Failures
from workbench.session.scores import ScoreTrail
from workbench.session.state import SessionState, Step
from workbench.text import many
from workbench.tui import words
from workbench.tui.text import one_line
from workbench.tui.widgets.row_list import RowList

_TIME_FROM = 40
"""The duration is shown in lists at least this wide."""
_WORDS_FROM = 64
"""The outcome is written out in lists at least this wide."""


class StepList(RowList):
    """Steps 0 to n of a session. `cursor` is the one that the other panes show."""

    def __init__(self, state: SessionState, trail: ScoreTrail, found: Failures) -> None:
        super().__init__(id="steps")
        self._state, self._trail, self._found = state, trail, found

    def on_mount(self) -> None:
        self.rows_changed(0)

    @property
    def row_count(self) -> int:
        return len(self._state.steps) + bool(self._state.attempts)

    def chosen(self, row: int) -> None:
        self.post_message(self.Chosen(row))

    def row_segments(self, row: int, width: int, base: RichStyle) -> list[Segment]:
        if row >= len(self._state.steps):
            return self._asked_again(base)
        step = self._state.steps[row]
        muted = self.colour("secondary", base)
        digits = max(2, len(str(len(self._state.steps) - 1)))
        head = [Segment(f" {step.number:>{digits}} ", muted)]
        if step.number == 0:
            return [*head, Segment("· the workspace as given", muted)]
        failures = self._found.at(step.number)
        author, result = words.author_sign(step.author), words.outcome(step, failures)
        head.append(Segment(f"{author.glyph} ", self.colour(author.colour, base)))
        tail = self._tail(step, result, width, base)
        room = max(4, width - digits - 4 - sum(len(part.text) for part in tail))
        text = one_line(step.action.strip(), room * 2)
        for glyph, marked in (
            (words.CHANGED_AGENT, step.agent_change is not None),
            (words.ASKED_AGAIN, step.attempts),
            (words.FAILED["repeat"].glyph, any(failure.kind == "repeat" for failure in failures)),
            (words.EDITED, step.edited),
        ):
            if marked:
                head.append(Segment(f"{glyph} ", self.colour("warning", base)))
                room -= 2
        if step.conversation not in ("", "1"):
            mark = f"({one_line(step.conversation, 8)}) "
            head.append(Segment(mark, muted))
            room -= len(mark)
        style = base
        if step.status in ("rejected", "refused"):
            style = muted + RichStyle(strike=step.status == "rejected")
        body = self.cut(Strip([Segment(text, style)]), room, base)
        return [*head, *body, Segment(" " * (room - body.cell_length), base), *tail]

    def _asked_again(self, base: RichStyle) -> list[Segment]:
        """Below the newest step: the model was asked for the next one, and gave nothing to run."""
        attempts = self._state.attempts
        text = f"{many(len(attempts), 'answer')} without an action: {one_line(attempts[-1].message, 80)}"
        head = f" {len(self._state.steps):>2} {words.ASKED_AGAIN} "
        return [Segment(head, self.colour("warning", base)), Segment(text, self.colour("secondary", base))]

    def _tail(self, step: Step, result: words.Sign, width: int, base: RichStyle) -> list[Segment]:
        """Outcome, duration and score, in columns."""
        if width >= _WORDS_FROM:
            shown = f" {result.glyph} {result.word:<11}"
        else:
            code = str(step.exit_code) if result.glyph == "✗" and step.exit_code is not None else ""
            shown = f" {result.glyph}{code:<3}"
        tail = [Segment(shown, self.colour(result.colour, base))]
        if width >= _TIME_FROM:
            took = words.seconds(step.duration) if step.status == "ran" else ""
            tail.append(Segment(f" {took:>5} ", self.colour("secondary", base)))
        standing = self._trail.at(step.number)
        if standing.own is None or standing.last is None:
            failed = any(entry.score is None for entry in step.scores)
            text, colour = (f"{step.scores[-1].verdict:<7}", "error") if failed else (" " * 7, "secondary")
            return [*tail, Segment(text[:7], self.colour(colour, base))]
        change = words.score_change(self._state, standing.last, standing.before)
        text = f"{change.glyph}{words.number(standing.own)}"
        return [*tail, Segment(f"{text:<7}", self.colour(change.colour, base))]
