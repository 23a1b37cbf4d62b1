"""Searching through a session: actions, thoughts and observations, step after step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from workbench.session.state import Step
from workbench.tui.screens.arranging import PROMPT, Arranging
from workbench.tui.widgets.line_search import compile_query

if TYPE_CHECKING:
    from workbench.tui.screens.view import SessionView


def matching_steps(steps: list[Step], query: str, begin: int, direction: int) -> Iterator[int]:
    """Numbers of the steps that hold `query`, from `begin` on and round, each once. Lower case finds either case."""
    pattern = compile_query(query)
    count = len(steps)
    for offset in range(count):
        step = steps[(begin + direction * offset) % count]
        if any(pattern.search(text) for text in (step.action, step.thought, step.observation, step.proposed)):
            yield step.number


class Searching:
    """Each public method is an action `search.<name>` of the registry."""

    def __init__(self, screen: SessionView, arranging: Arranging) -> None:
        self.screen = screen
        self.arranging = arranging
        self.query = ""

    def open(self) -> None:
        from workbench.tui.screens.dialogs import Ask  # when first needed: it slows the start

        self.screen.app.push_screen(Ask("Search", self._where, value=self.query, bottom=True), self._search)

    @property
    def _in_prompt(self) -> bool:
        """The prompt has the focus: that is what is searched then."""
        pane = self.arranging.focused
        return pane is not None and pane.id == PROMPT

    @property
    def _where(self) -> str:
        return "in the prompt" if self._in_prompt else "in actions, thoughts and observations"

    def _search(self, query: str | None) -> None:
        if query is None:
            return
        self.query = query
        if self._in_prompt:
            self.screen.say(self.screen.prompt.search(query))
            return
        if not query:
            self.screen.observation.clear_search()
            self.screen.proposal.view.clear_search()
            return
        self._to_step(self.screen.shown, 1)

    def next(self) -> None:
        self._onward(1)

    def previous(self) -> None:
        self._onward(-1)

    def _onward(self, direction: int) -> None:
        if self._in_prompt:
            self.screen.say(self.screen.prompt.onward(direction))
            return
        if not self.query:
            self.screen.say("nothing to search for yet; / asks")
            return
        view = self.screen.observation
        following = view.match_index + direction
        if view.matches and 0 <= following < len(view.matches):
            if direction > 0:
                view.next_match()
            else:
                view.previous_match()
            self._say(view.match_index + 1, len(view.matches))
            return
        self._to_step(self.screen.shown + direction, direction)

    def _to_step(self, begin: int, direction: int) -> None:
        screen = self.screen
        found = next(matching_steps(screen.state.steps, self.query, begin, direction), None)
        if found is None:
            screen.say(f"not found: {self.query}")
            return
        screen.go_to(found)
        screen.show_step()
        screen.proposal.view.search(self.query)
        matches = screen.observation.search(self.query)
        if matches and direction < 0:
            screen.observation.previous_match()
        self._say(screen.observation.match_index + 1, len(matches))

    def _say(self, index: int, count: int) -> None:
        where = f"{index} of {count} in the observation" if count else "in the action"
        self.screen.say(f"/{self.query}: step {self.screen.shown}, {where}")
