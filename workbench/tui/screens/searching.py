"""Searching through a session: thoughts, actions and observations, counted over all of its steps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from workbench.tui.actions import keyed
from workbench.tui.matches import Hit, hits_in
from workbench.tui.screens.arranging import PROMPT, Arranging
from workbench.tui.screens.view import fault_in
from workbench.tui.widgets.lines import MAX_MATCHES, compile_query
from workbench.tui.workers import work_on

if TYPE_CHECKING:
    from workbench.library.filter import Filter
    from workbench.tui.screens.view import SessionView

Hits = list[Hit]
_AT_ONCE = 200_000
"""Characters that are searched before other things get their turn."""


_NOTHING = "nothing to search for yet; {search.open} asks"


async def condition_fault(text: str) -> str:
    """What is wrong with a condition, in a sentence."""
    from workbench.library.moments import condition

    return fault_in(condition, text)


class Searching:
    """Each public method is an action `search.<name>` of the registry."""

    def __init__(self, screen: SessionView, arranging: Arranging) -> None:
        self.screen = screen
        self.arranging = arranging
        self.query = ""
        self.hits: Hits = []
        self.index = -1
        self._asked = ""
        """The condition that was asked for last."""
        self._condition: Filter | None = None
        """What is gone through are the steps that meet it."""
        self._turn = asyncio.Lock()
        self._searched = -1
        """The last event that the hits take into account."""

    def open(self) -> None:
        self.screen.ask("Search", self._where, self.look_for, value=self.query, bottom=True)

    def ask_condition(self) -> None:
        """Go through the steps that meet a condition, as breakpoints have them."""
        title, example = "Next step at which this holds", "exit!=0"
        self.screen.ask(title, example, self.meet, value=self._asked, bottom=True, check=condition_fault)

    def meet(self, text: str) -> None:
        """Go to the next step that meets a condition."""
        from workbench.library.moments import condition

        if text:
            self.query = self._asked = text
            self._condition, self.hits, self.index, self._searched = condition(text), [], -1, -1
            self._go(1)

    def list(self) -> None:
        if not self.hits:
            self.screen.say(f"not found: {self.query}" if self.query else keyed(_NOTHING))
            return
        from workbench.tui.screens.hits import HitList  # when first needed: it slows the start

        self.screen.app.push_screen(HitList(self.query, self.hits, self.index), self._chosen)

    def _chosen(self, index: int | None) -> None:
        if index is not None:
            self._to(index)

    @property
    def _in_prompt(self) -> bool:
        """The prompt has the focus: that is what is searched then."""
        pane = self.arranging.focused
        return pane is not None and pane.id == PROMPT

    @property
    def _where(self) -> str:
        return "in the prompt" if self._in_prompt else "in actions, thoughts and observations"

    def look_for(self, query: str) -> None:
        """Go to the first place of a text in the step that is shown, or after it."""
        self.query = query
        if self._in_prompt:
            self.screen.say(self.screen.prompt.search(query))
            return
        self._condition, self.hits, self.index, self._searched = None, [], -1, -1
        if not query:
            self.screen.observation.search("")
            self.screen.proposal.view.search("")
            return
        self._go(1, here=True)

    def next(self) -> None:
        self._onward(1)

    def previous(self) -> None:
        self._onward(-1)

    def _onward(self, direction: int) -> None:
        if self._in_prompt:
            self.screen.say(self.screen.prompt.onward(direction))
        elif not self.query:
            self.screen.say(keyed(_NOTHING))
        else:
            self._go(direction)

    def _go(self, direction: int, *, here: bool = False) -> None:
        work_on(self.screen, self._find_and_go, direction, here, group="search")

    async def _find_and_go(self, direction: int, here: bool) -> None:
        """Go to the place after (or before) the one where we are; from the step that is shown, if we moved on."""
        async with self._turn:  # a key that comes while it searches is about what it will find
            if self._searched != self.screen.state.last_seq:
                await self._find()
        if not self.hits:
            self.screen.say(f"no step meets {self.query}" if self._condition else f"not found: {self.query}")
            return
        shown = self.screen.shown
        if not here and 0 <= self.index < len(self.hits) and self.hits[self.index].step == shown:
            self._to((self.index + direction) % len(self.hits))
            return
        if direction > 0:
            first = shown if here else shown + 1
            self._to(next((place for place, hit in enumerate(self.hits) if hit.step >= first), 0))
        else:
            before = (place for place in range(len(self.hits) - 1, -1, -1) if self.hits[place].step < shown)
            self._to(next(before, len(self.hits) - 1))

    async def _find(self) -> None:
        """All places in all steps; a long session is searched in pieces, between which keys are heard."""
        from workbench.library.moments import fields_of

        hits: Hits
        pattern, hits, done = compile_query(self.query), [], 0
        state, until = self.screen.state, self.screen.state.last_seq
        for step in state.steps[1:]:
            if self._condition is None:
                hits += hits_in(step, pattern)
            elif self._condition.matches(fields_of(state, step, self.screen.found)):
                hits.append(Hit(step.number, "step", 0, step.action.strip()[:500]))
            if len(hits) >= MAX_MATCHES:
                break
            done += len(step.observation) + len(step.thought) + len(step.action)
            if done > _AT_ONCE:
                done = 0
                await asyncio.sleep(0)
        self.hits, self._searched = hits[:MAX_MATCHES], until

    def _to(self, index: int) -> None:
        screen, hit = self.screen, self.hits[index]
        self.index = index
        screen.go_to(hit.step)
        screen.show_step()
        count = f"{len(self.hits):,}{'+' if len(self.hits) == MAX_MATCHES else ''}"
        if hit.field == "step":
            go_on = keyed("{search.next} {search.previous} go on, {search.list} lists all")
            screen.say(f"step {hit.step} meets {self.query}: {index + 1:,} of {count} · {go_on}")
            return
        screen.proposal.view.search(self.query)
        matches = screen.observation.search(self.query)
        if hit.field == "observation":
            above = sum(match.line < screen.observation.before for match in matches)
            screen.observation.to_match(above + hit.place)
        else:
            thoughts = sum(other.step == hit.step and other.field == "thought" for other in self.hits)
            screen.proposal.view.to_match(hit.place + (thoughts if hit.field == "action" else 0))
        where = f"step {hit.step}, {hit.field}"
        screen.say(f"/{self.query}: {index + 1:,} of {count} · {where} · {keyed('{search.list} lists all')}")
