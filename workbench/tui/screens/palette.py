"""The palette (ctrl+p): every action of the registry by its name."""

from __future__ import annotations

from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from workbench.tui.actions import ACTIONS, Action, why_not
from workbench.tui.screens.workbench import WorkbenchScreen


class ActionProvider(Provider):
    """Offers the actions: first those that can be done now; of the others it is said why they cannot."""

    def _entries(self) -> list[tuple[str, Action, str | None]]:
        """Text, action, and why not; one line for what can be done."""
        now = self.screen.situation if isinstance(self.screen, WorkbenchScreen) else None
        entries = [
            (
                f"{action.description}  ({action.shown_keys})" if action.keys_now else action.description,
                action,
                (why_not(action, now) if now is not None else "") or None,
            )
            for action in ACTIONS
            if not action.pane and action.id != "app.palette"
        ]
        return sorted(entries, key=lambda entry: entry[2] is not None)

    async def discover(self) -> Hits:
        for text, action, reason in self._entries():
            yield DiscoveryHit(
                text.replace("[", "("), partial(self.app.call_later, self._do, action), help=_not_now(reason)
            )

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for text, action, reason in self._entries():
            score = matcher.match(text)
            if score > 0:
                yield Hit(
                    score if reason is None else score / 2,
                    matcher.highlight(text),
                    partial(self.app.call_later, self._do, action),
                    help=_not_now(reason),
                )

    async def _do(self, action: Action) -> None:
        if isinstance(self.screen, WorkbenchScreen):
            await self.screen.action_do(action.id)


def _not_now(reason: str | None) -> str | None:
    return None if reason is None else f"not now: {reason}"
