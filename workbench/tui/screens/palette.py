"""The palette (ctrl+p): every action of the registry by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from workbench.tui.actions import ACTIONS, Action, why_not
from workbench.tui.screens.workbench import WorkbenchScreen


class ActionProvider(Provider):
    """Offers the actions: first those that can be done now; of the others it is said why they cannot."""

    def _entries(self) -> list[tuple[str, Action, str | None]]:
        """Text, action, and why not; None for what can be done."""
        now = self.screen.situation if isinstance(self.screen, WorkbenchScreen) else None
        entries = []
        for action in ACTIONS:
            if not action.pane and action.id != "app.palette":
                text = f"{action.description}  ({action.shown_keys})" if action.keys_now else action.description
                reason = why_not(action, now) if now is not None else ""
                entries.append((text, action, f"not now: {reason}" if reason else None))
        return sorted(entries, key=lambda entry: entry[2] is not None)

    async def discover(self) -> Hits:
        for text, action, reason in self._entries():
            yield DiscoveryHit(text.replace("[", "("), self._doing(action), help=reason)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for text, action, reason in self._entries():
            score = matcher.match(text)
            if score > 0:
                score = score if reason is None else score / 2
                yield Hit(score, matcher.highlight(text), self._doing(action), help=reason)

    def _doing(self, action: Action) -> Callable[[], object]:
        return partial(self.app.call_later, self._do, action)

    async def _do(self, action: Action) -> None:
        if isinstance(self.screen, WorkbenchScreen):
            await self.screen.action_do(action.id)
