"""The palette (ctrl+p): every action of the registry by its name."""

from __future__ import annotations

from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from workbench.tui.actions import ACTIONS, Action


class ActionProvider(Provider):
    """Offers the actions; those that cannot be done now say why when they are chosen."""

    def _entries(self) -> list[tuple[str, Action]]:
        return [
            (f"{action.description}  ({action.shown_keys})" if action.keys else action.description, action)
            for action in ACTIONS
            if not action.pane and action.id != "app.palette"
        ]

    async def discover(self) -> Hits:
        for text, action in self._entries():
            yield DiscoveryHit(
                text.replace("[", "("), partial(self.app.call_later, self._do, action), help=action.group
            )

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for text, action in self._entries():
            score = matcher.match(text)
            if score > 0:
                yield Hit(
                    score, matcher.highlight(text), partial(self.app.call_later, self._do, action), help=action.group
                )

    def _do(self, action: Action) -> None:
        from workbench.tui.screens.workbench import WorkbenchScreen

        if isinstance(self.screen, WorkbenchScreen):
            self.screen.action_do(action.id)
