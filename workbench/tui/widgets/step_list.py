"""The list of steps: one line each, drawn from the state when it comes into view.

A new step costs one line, however many there are.
"""

from __future__ import annotations

from workbench.session.outcome import Failures
from workbench.session.state import SessionState, Step
from workbench.text import many
from workbench.tui import words
from workbench.tui.text import one_line
from workbench.tui.widgets.row_list import Chooser, Piece, cut, width_of

_TIME_FROM = 40
"""The duration is shown in lists at least this wide."""
_WORDS_FROM = 64
"""The outcome is written out in lists at least this wide."""


class StepList(Chooser):
    """Steps 0 to n of a session. `cursor` is the one that the other panes show."""

    def __init__(self, state: SessionState, found: Failures) -> None:
        super().__init__(id="steps")
        self._state, self._found = state, found

    def on_mount(self) -> None:
        self.rows_changed(0)

    @property
    def row_count(self) -> int:
        return len(self._state.steps) + bool(self._state.attempts)

    def row_pieces(self, row: int, width: int) -> list[Piece]:
        if row >= len(self._state.steps):
            return self._asked_again()
        step = self._state.steps[row]
        digits = max(2, len(str(len(self._state.steps) - 1)))
        head = [(f" {step.number:>{digits}} ", "secondary")]
        if step.number == 0:
            return [*head, ("· the workspace as given", "secondary")]
        failures = self._found.at(step.number)
        author, result = words.author_sign(step.author), words.outcome(step, failures)
        head.append((f"{author.glyph} ", author.colour))
        tail = self._tail(step, result, width)
        room = max(4, width - digits - 4 - sum(len(text) for text, _ in tail))
        text = one_line(step.action.strip(), room * 2)
        for glyph, marked in (
            (words.CHANGED_AGENT, step.agent_change is not None),
            (words.ASKED_AGAIN, step.attempts),
            (words.FAILED["repeat"].glyph, any(failure.kind == "repeat" for failure in failures)),
            (words.EDITED, step.edited),
        ):
            if marked:
                head.append((f"{glyph} ", "warning"))
                room -= 2
        if step.conversation not in ("", "1"):
            mark = f"({one_line(step.conversation, 8)}) "
            head.append((mark, "secondary"))
            room -= len(mark)
        style = {"rejected": "secondary strike", "refused": "secondary"}.get(step.status, "")
        body = cut([(text, style)], room)
        return [*head, *body, (" " * (room - width_of(body)), ""), *tail]

    def _asked_again(self) -> list[Piece]:
        """Below the newest step: the model was asked for the next one, and gave nothing to run."""
        attempts = self._state.attempts
        text = f"{many(len(attempts), 'answer')} without an action: {one_line(attempts[-1].message, 80)}"
        head = f" {len(self._state.steps):>2} {words.ASKED_AGAIN} "
        return [(head, "warning"), (text, "secondary")]

    def _tail(self, step: Step, result: words.Sign, width: int) -> list[Piece]:
        """Outcome, duration and score, in columns."""
        if width >= _WORDS_FROM:
            shown = f" {result.glyph} {result.word:<11}"
        else:
            code = str(step.exit_code) if result.glyph == "✗" and step.exit_code is not None else ""
            shown = f" {result.glyph}{code:<3}"
        tail = [(shown, result.colour)]
        if width >= _TIME_FROM:
            took = words.seconds(step.duration) if step.status == "ran" and step.duration else ""
            tail.append((f" {took:>5} ", "secondary"))
        standing = self._state.standing(step.number)
        if standing.own is None or standing.last is None:
            failed = any(entry.score is None for entry in step.scores)
            text, colour = (f"{step.scores[-1].verdict:<7}", "error") if failed else (" " * 7, "secondary")
            return [*tail, (text[:7], colour)]
        change = words.score_change(self._state, standing.last, standing.before)
        text = f"{change.glyph}{words.number(standing.own)}"
        return [*tail, (f"{text:<7}", change.colour)]
