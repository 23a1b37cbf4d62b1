"""Conditions at which a session stops, or does something: breakpoints, as in a debugger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from workbench.runner.hub import Hub
from workbench.session.commands import Breakpoint
from workbench.session.state import Step

if TYPE_CHECKING:
    from workbench.library.filter import Filter
    from workbench.library.moments import Running
    from workbench.session.outcome import Failures


class Met(NamedTuple):
    """A breakpoint whose condition holds now."""

    breakpoint: Breakpoint
    said: str


class Breakpoints:
    """Those of a session. What they are stands in its `LiveStatus`, for views."""

    def __init__(self, hub: Hub, given: Iterable[Breakpoint] = ()) -> None:
        self._hub = hub
        self._conditions: dict[str, Filter] = {}
        self._failures: Failures | None = None
        self._hit: tuple[int, set[tuple[str, str, str]]] = (-1, set())
        """Those that were met in a step already: what holds while a command runs holds for long."""
        self.put(given)

    def put(self, given: Iterable[Breakpoint]) -> None:
        """These, in the place of those before. Raises FilterError."""
        kept = tuple(given)
        if kept:
            from workbench.library.moments import condition  # when first needed: it slows the start

        self._conditions = {each.when: condition(each.when) for each in kept}
        self._hub.tell(breakpoints=kept)

    def met(self, step: Step, *, over: bool = False, running: Running | None = None) -> Iterator[Met]:
        """Those that hold for a step: before it runs, while it does, or once it is over, each at most once. Each is
        counted; one-shot ones go.
        """
        if not self._hub.status.breakpoints:
            return
        from workbench.library.moments import fields_of, needs_outcome, while_it_runs
        from workbench.session.outcome import Failures

        if over:
            self._failures = self._failures or Failures(self._hub.state)
            self._failures.update(step.number)
        if self._hit[0] != step.number:
            self._hit = step.number, set()
        fields = fields_of(self._hub.state, step, self._failures, self._hub.live.folder, running)
        for each in self._hub.status.breakpoints:
            given = self._conditions[each.when]
            now = while_it_runs(given) if running else needs_outcome(given) == over and each.then != "interrupt"
            key = (each.when, each.then, each.text)
            if not each.enabled or not now or key in self._hit[1] or not given.matches(fields):
                continue
            self._hit[1].add(key)
            met = msgspec.structs.replace(each, hits=each.hits + 1)
            let_pass = met.hits <= met.ignore
            rest = [met if other is each else other for other in self._hub.status.breakpoints]
            if met.once and not let_pass:
                rest.remove(met)
            self._hub.tell(breakpoints=tuple(rest))
            if not let_pass:
                yield Met(met, f"breakpoint: {each.when}")
