"""The app: one workbench over one session, from its first event to the terminal given back as it was."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from workbench.session import commands as do
from workbench.session.events import SessionEnded
from workbench.signals import on_signals
from workbench.tui.screens.workbench import WorkbenchScreen
from workbench.tui.source import SessionSource
from workbench.tui.terminal.alt_keys import keep_alt
from workbench.tui.text import printable
from workbench.tui.theme import DARK, LIGHT, THEMES
from workbench.tui.type_ahead import TypeAhead

if TYPE_CHECKING:
    from textual.command import Provider

_SETTLED_SECONDS = 1.0
"""After the first paint, when what is loaded behind it is there as well."""
_COPY_LIMIT = 74_000
"""Characters that terminals take by OSC 52."""


def _palette() -> type[Provider]:
    """The palette, imported when it is first asked for: it takes a tenth of the start."""
    from workbench.tui.screens.palette import ActionProvider

    return ActionProvider


class WorkbenchApp(App[SessionEnded | None]):
    """Runs the session of a live source, and stays open on it when it has ended.

    `run()` returns how the session ended, or None for one that only was looked at.
    """

    TITLE = "mlgym-tui"
    CSS_PATH: ClassVar[str | Path] = "app.tcss"
    COMMANDS: ClassVar = {_palette}
    ENABLE_COMMAND_PALETTE = True
    PAUSE_GC_ON_SCROLL = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "ask_quit", "quit", show=False, priority=True, id="app.quit"),
    ]

    def __init__(self, source: SessionSource, *, theme: str | None = None) -> None:
        no_color = os.environ.get("NO_COLOR")
        # Without colour means without greys as well: the terminal's own colours, and those filtered out.
        super().__init__(ansi_color=True if no_color is not None else None)
        if no_color is not None:
            # Textual takes it out of the environment; programs started from here should have it too.
            os.environ["NO_COLOR"] = no_color
        keep_alt()
        self.source = source
        self.animation_level = "none"
        for own in THEMES:
            self.register_theme(own)
        self.theme = theme or os.environ.get("TEXTUAL_THEME") or (DARK.name if no_color is None else "ansi-dark")
        self.workbench = WorkbenchScreen(source)
        """The screen under any dialog."""
        self.type_ahead = TypeAhead(self, self.workbench, super().on_event)
        self.ended: SessionEnded | None = None
        self._session: asyncio.Task[SessionEnded | None] | None = None
        self._leaving = False
        self._terminal_lost = False
        self._broke_off = ""
        self._hear_no_signals: Callable[[], None] = lambda: None

    # -- life --------------------------------------------------------------------------------------------------------

    async def on_mount(self) -> None:
        await self.push_screen(self.workbench)
        if not self.is_headless:
            self.set_timer(_SETTLED_SECONDS, _settle_memory)
        if self.source.status is None:
            return
        self._session = asyncio.create_task(self.source.run(), name="session")
        self._session.add_done_callback(self._session_over)
        self._hear_no_signals = on_signals(self._on_signal)

    async def on_unmount(self) -> None:
        self._hear_no_signals()
        if self._session is not None and not self._session.done():
            # However the app ends, the session is ended and saved first.
            self._stop_session("the workbench was closed")
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._session

    def _session_over(self, task: asyncio.Task[SessionEnded | None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._broke_off = f"the session broke off: {error}"
            self.workbench.say(self._broke_off, 3600)
        else:
            self.ended = task.result()
        if self._leaving:
            self._exit_now()
        elif self.ended is not None and error is None:
            reason = f": {self.ended.reason}" if self.ended.reason else ""
            self.workbench.say(f"over and saved; q quits ({self.ended.exit_status}{reason})", 3600)

    # -- leaving -----------------------------------------------------------------------------------------------------

    @property
    def session_runs(self) -> bool:
        """Whether there is something to stop before leaving."""
        return self._session is not None and not self._session.done()

    def action_ask_quit(self) -> None:
        """Leave; asks first while the session runs."""
        from workbench.tui.screens.dialogs import Confirm

        if not self.session_runs:
            self._exit_now()
        elif self._leaving:
            assert self._session is not None
            self._session.cancel()
        elif not isinstance(self.screen, Confirm):
            self.push_screen(
                Confirm(
                    "The session is running",
                    "Stop the session and quit? It is saved and can be resumed.",
                    yes="stop and quit",
                    no="go on",
                ),
                self._quit_answer,
            )

    def _quit_answer(self, leave: bool | None) -> None:
        if leave:
            self.leave("the workbench was quit")

    def leave(self, reason: str) -> None:
        """Stop the session, wait until it is saved, and end the app."""
        self._leaving = True
        if not self.session_runs:
            self._exit_now()
            return
        self._stop_session(reason)
        self.workbench.say("saving the session (ctrl+q again does not wait)", 3600)

    def _exit_now(self) -> None:
        if self._terminal_lost:
            # Nothing can be written to the terminal any more, not even to restore it: Textual would wait for ever.
            os._exit(128 + signal.SIGHUP)
        if self._broke_off:
            self.exit(self.ended, return_code=1, message=Text(printable(self._broke_off)))
        else:
            self.exit(self.ended)

    def _stop_session(self, reason: str) -> None:
        self.source.send(do.Stop("interrupted", reason))

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP and not self._terminal_lost and not _terminal_answers():
            # Nobody sees what is drawn from here on, and drawing into a terminal that has gone would block the loop.
            self._terminal_lost = True
            self.batch_update().__enter__()
        self.leave(f"received {signal.Signals(number).name}")

    async def action_quit(self) -> None:
        self.action_ask_quit()

    # -- keys --------------------------------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            self.type_ahead.add(event)
        else:
            await super().on_event(event)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        # In take-over every key but ctrl+] is the shell's, those of the app included.
        over_the_workbench = isinstance(self.screen, WorkbenchScreen)
        if over_the_workbench and self.workbench.taken_over:
            return False
        if action == "command_palette" and not over_the_workbench:
            return False
        return super().check_action(action, parameters)

    def do(self, name: str) -> None:
        """Do an action `app.<name>` of the registry."""
        getattr(self, f"_do_{name}")()

    def _do_quit(self) -> None:
        self.action_ask_quit()

    def _do_help(self) -> None:
        from workbench.tui.screens.help import HelpScreen

        self.push_screen(HelpScreen())

    def _do_messages(self) -> None:
        from workbench.tui.screens.help import Reading, message_lines

        lines = message_lines(self.source.state, self.workbench.messages)
        self.push_screen(Reading("What failed, and what was said", lines))

    def _do_palette(self) -> None:
        self.action_command_palette()

    def _do_redraw(self) -> None:
        self.refresh(repaint=True, layout=True)

    def _do_theme(self) -> None:
        self.theme = LIGHT.name if self.current_theme.dark else DARK.name

    def _do_copy(self) -> None:
        text = self.workbench.text_to_copy()
        if not text:
            self.workbench.say("nothing to copy here")
            return
        cut = len(text) > _COPY_LIMIT
        self.copy_to_clipboard(text[:_COPY_LIMIT])
        size = f"the first {_COPY_LIMIT:,} of {len(text):,}" if cut else f"{len(text):,}"
        self.workbench.say(f"copied {size} characters (your terminal must allow OSC 52)")

    def _do_ctrl_c(self) -> None:
        if self.workbench.get_selected_text():
            self._do_copy()
        else:
            self.workbench.say("i interrupts the running command, q quits")

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        # The palette offers the registry, and nothing that the registry does not know.
        return ()


def _settle_memory() -> None:
    """What was made for the start stays to the end: searching it for garbage again and again would stall the screen."""
    gc.collect()
    gc.freeze()


def _terminal_answers() -> bool:
    """Whether the terminal that is drawn on is still there."""
    try:
        return sys.__stderr__ is not None and os.isatty(sys.__stderr__.fileno())
    except (OSError, ValueError):
        return False
