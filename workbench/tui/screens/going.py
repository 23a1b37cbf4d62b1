"""Going through a session by what happened in it: failures, scores, changed files; and to its verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.session.outcome import verdict
from workbench.session.state import Step
from workbench.tui.actions import key_of, keyed
from workbench.tui.text import one_line

if TYPE_CHECKING:
    from workbench.tui.screens.arranging import Arranging
    from workbench.tui.screens.view import SessionView

_BELOW = ("file", "observation", "shell", "prompt", "diff")
"""Panes that the narrow layout shows in the place that a verdict takes."""
_EDITS = ("edit", "insert", "create")


class Going:
    """`to` is every action `go.<name>` of the registry."""

    def __init__(self, screen: SessionView, arranging: Arranging) -> None:
        self.screen = screen
        self.arranging = arranging
        self._shut = False
        """The person closed the verdict."""
        self.verdict = verdict(screen.state, screen.found) if self._over else None

    @property
    def _over(self) -> bool:
        status = self.screen.source.status
        return not self.screen.source.followed if status is None else status.phase == "ended"

    @property
    def beginning(self) -> int:
        """Where a recording opens: one that did not submit at its end, where its verdict is."""
        last = self.screen.state.last_step
        return last if self.verdict is not None and self.verdict.tells else min(1, last)

    @property
    def _at_end(self) -> bool:
        screen = self.screen
        return screen.shown == screen.state.last_step and self._over and not self._shut

    @property
    def judging(self) -> bool:
        """Whether the verdict is shown unasked: not over a session that just ran in this window."""
        recorded = self.screen.source.status is None
        return recorded and self._at_end and self.verdict is not None and self.verdict.tells

    def to(self, name: str) -> None:
        """Go where an action says."""
        what, _, back = name.partition("_")
        if what == "verdict":
            self._toggle()
        elif what == "wrong":
            self._to_turn()
        elif what == "failure":
            self._step(bool(back), "failure", lambda step: bool(self.screen.found.at(step.number)))
        elif what == "score":
            self._step(bool(back), "score", lambda step: bool(step.scores))
        else:
            self._step(bool(back), "changed file", self._changed)

    def _changed(self, step: Step) -> bool:
        """Whether a step changed a file, as far as the log shows it: those of other programs have no files."""
        failed = {failure.kind for failure in self.screen.found.at(step.number)} & {"refused", "traceback"}
        shown = step.window is not None and step.window.text is not None
        return bool(step.changes) or (shown and not failed and step.action.startswith(_EDITS))

    def step(self, where: str) -> None:
        """Go to the `next` or `previous` step, the `first` or the `last`."""
        screen = self.screen
        if where == "next":
            screen.go_to(None if screen.cursor is None else screen.cursor + 1)
        else:
            places = {"previous": max(0, screen.shown - 1), "first": 0}
            screen.go_to(places.get(where, screen.state.last_step))

    def _step(self, back: bool, what: str, wanted: Callable[[Step], bool]) -> None:
        steps, here = self.screen.state.steps, self.screen.shown
        order = range(here - 1, 0, -1) if back else range(here + 1, len(steps))
        found = next((number for number in order if wanted(steps[number])), None)
        if found is None:
            self.screen.say(f"no {what} {'before' if back else 'after'} step {here}")
            return
        self.screen.go_to(found)

    def _to_turn(self) -> None:
        known = verdict(self.screen.state, self.screen.found)
        if known.step:
            self.screen.go_to(known.step)
        else:
            self.screen.say("no step is known where it began to go wrong")

    def pane(self, name: str) -> None:
        """Go to a pane; where it has no room beside the verdict, that is closed."""
        judging = self.screen.has_class("-judging")
        if name == "verdict" and not judging:
            self._toggle()
            return
        if judging and self.screen.has_class("-narrow") and name in _BELOW:
            self._shut = True
            self.show_verdict()
        self.arranging.to(name)

    def _toggle(self) -> None:
        if not self._over:
            self.screen.say("the session has not ended")
            return
        if self.screen.has_class("-judging"):
            self._shut = True
        else:
            self._shut = False
            self.screen.go_to(self.screen.state.last_step)
        self.show_verdict(asked=True)
        self.screen.set_focus(self.screen.steps if self._shut else self.screen.verdict)
        self.screen.show_titles()

    def show_verdict(self, *, asked: bool = False) -> None:
        """Have the verdict above the last step of a session that did not submit, unless it was closed; `asked`: of any
        session.
        """
        screen = self.screen
        at_end = self._at_end
        if at_end and self.verdict is None:
            self.verdict = verdict(screen.state, screen.found)
        shown = self.judging or (at_end and asked and self.verdict is not None)
        if shown and self.verdict is not None:
            screen.verdict.show_verdict(self.verdict)
            turn = f"{key_of('go.wrong')} step {self.verdict.step}" if self.verdict.step else ""
            failed = keyed("{go.failure_back} failure before") if screen.found.previous(screen.shown) else ""
            keys = (turn, failed, keyed("{pane.verdict} reads on"), keyed("{go.verdict} closes this"))
            title = f"Verdict · {one_line(self.verdict.category.replace('|', ' and '), 60)}"
            self.arranging.pane("verdict-pane").set_title(title, " · ".join(filter(None, keys)))
        if shown != screen.has_class("-judging"):
            screen.set_class(shown, "-judging")
