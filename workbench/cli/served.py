"""What `serve` runs for each browser: `python -m workbench.cli.served watch|drive SESSIONS [PATH…]`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import messages
from textual.app import App
from textual.drivers.web_driver import WebDriver

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.tui.app import WorkbenchApp


class ServedDriver(WebDriver):
    """Textual's for browsers, which would go on for ever when its server was killed, in an app that nobody sees."""

    def __init__(self, app: App[Any], **more: Any) -> None:
        super().__init__(app, **more)
        self._loop = asyncio.get_running_loop()

    def run_input_thread(self) -> None:
        """Until the server has gone, or the app."""
        super().run_input_thread()
        if not self.exit_event.is_set():
            self._loop.call_soon_threadsafe(self._app.post_message, messages.ExitApp())


def shown(sessions: Path, paths: list[Path], *, drive: bool) -> WorkbenchApp:
    """The screens over a session, or over the runs below some folders, else below the user's own `sessions`. Raises
    WorkbenchError and OSError.
    """
    from workbench.formats.open import holds_many
    from workbench.session.log import is_locked
    from workbench.tui.app import WorkbenchApp
    from workbench.tui.screens.home import HomeScreen
    from workbench.tui.source import source_of

    if len(paths) != 1 or holds_many(paths[0]):
        home = HomeScreen(paths or [sessions], own=not paths)
        return WorkbenchApp(home=home, look_only=not drive, sessions=sessions)
    live = paths[0].is_dir() and is_locked(paths[0])
    source = source_of(paths[0], live=live, kind="browser", look_only=not drive, takes=True)
    return WorkbenchApp(source, look_only=not drive, sessions=sessions)


def main() -> None:
    """As the arguments say; what goes wrong goes to standard error."""
    how, sessions, *paths = sys.argv[1:]
    try:
        shown(Path(sessions), [Path(path) for path in paths], drive=how == "drive").run()
    except (WorkbenchError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
