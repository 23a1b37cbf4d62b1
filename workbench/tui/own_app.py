"""What every app of this project has in common."""

from __future__ import annotations

import os
from pathlib import PurePath

from textual.app import App, ReturnType
from textual.css.query import NoMatches
from textual.worker import WorkerFailed, get_current_worker

from workbench.tui import look
from workbench.tui.actions import ACTIONS
from workbench.tui.terminal.alt_keys import keep_alt
from workbench.tui.theme import THEMES


class OwnApp(App[ReturnType]):
    """Looks as its user wants, and takes the keys that they chose. Raises WorkbenchError for a wrong configuration."""

    def __init__(self, theme: str | None = None, *, css_path: list[str | PurePath] | None = None) -> None:
        no_color = os.environ.get("NO_COLOR")
        # Without colour means without greys as well: the terminal's own colours, and those filtered out.
        super().__init__(css_path=css_path, ansi_color=True if no_color is not None else None)
        if no_color is not None:
            # Textual takes it out of the environment; programs started from here should have it too.
            os.environ["NO_COLOR"] = no_color
        keep_alt()
        self.animation_level = "none"
        for own in THEMES:
            self.register_theme(own)
        self.settings = look.use()
        self.theme = theme or self.settings.theme or look.default_theme()
        self.set_keymap({action.id: ",".join(action.keys_now) or "none" for action in ACTIONS if action.changed})

    def _handle_exception(self, error: Exception) -> None:
        # What goes away loses its parts before its work is broken off, and a screen that was opened just before the end
        # is mounted without them: what looks for one of them there is no fault.
        cause, node = (error.error, get_current_worker().node) if isinstance(error, WorkerFailed) else (error, self)
        if not (isinstance(cause, NoMatches) and not (self.is_running and node.is_running)):
            super()._handle_exception(error)
