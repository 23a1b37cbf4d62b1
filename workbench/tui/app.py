"""The app: home and the workbench over one session at a time, until the terminal is given back as it was."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import events
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import SystemCommand
from textual.binding import BindingType
from textual.screen import Screen
from textual.widget import AwaitMount

from workbench.session import commands as do
from workbench.session.events import SessionEnded
from workbench.session.state import SessionState
from workbench.session.store import sessions_root
from workbench.signals import on_signals
from workbench.tui.actions import HOME, STEPS, bindings_of, keyed
from workbench.tui.outside import Outside
from workbench.tui.own_app import OwnApp
from workbench.tui.screens.view import Ground
from workbench.tui.screens.workbench import WorkbenchScreen
from workbench.tui.source import SessionSource
from workbench.tui.terminal.changes import Shown
from workbench.tui.text import printable
from workbench.tui.type_ahead import TypeAhead
from workbench.tui.workers import work_on

if TYPE_CHECKING:
    from textual.command import Provider

    from workbench.tui.screens.home import HomeScreen

_SETTLED_SECONDS = 1.0
"""After the first paint, when what is loaded behind it is there as well."""
METHODS = {"leave": "action_ask_quit", "palette": "action_command_palette", "theme": "search_themes"}
"""Actions `app.<name>` that have a method of another name already."""


def _palette() -> type[Provider]:
    """The palette, imported when it is first asked for: it takes a tenth of the start."""
    from workbench.tui.screens.palette import ActionProvider

    return ActionProvider


class WorkbenchApp(OwnApp[SessionEnded | None]):
    """Shows a session, or home, from which sessions are opened. That of a live source is run, and stays open.

    `run()` returns how the session that was run last ended, or None where none was.
    """

    TITLE = "mlgym-tui"
    CSS_PATH: ClassVar = ["app.tcss", "screens/workbench.tcss"]
    COMMANDS: ClassVar = {_palette}
    SCREEN: ClassVar = WorkbenchScreen
    """What shows a session."""
    ENABLE_COMMAND_PALETTE = True
    PAUSE_GC_ON_SCROLL = True
    BINDINGS: ClassVar[list[BindingType]] = bindings_of({"app.leave": "ask_quit"}, priority=True)

    def __init__(
        self,
        source: SessionSource | None = None,
        *,
        home: HomeScreen | None = None,
        theme: str | None = None,
        look_only: bool = False,
        sessions: Path | None = None,
    ) -> None:
        """`look_only`: nothing is started, noted or forked from here. `sessions`: where new ones are kept."""
        # Textual reads the styles of a screen when it is pushed, which the one at the bottom never is.
        super().__init__(theme, css_path=[*self.CSS_PATH, "screens/home.tcss"] if home is not None else None)
        self.outside = Outside(
            self, self.settings.notify, say=self.ground_say, pause=self._pause, forget=lambda: self.type_ahead.forget()
        )
        self.drafts: dict[str, str] = {}
        """What was written in dialogs that were left, by their titles."""
        self.home = home
        self.look_only = look_only
        self.sessions = sessions or sessions_root()
        self._opened = self.SCREEN(source) if source is not None else None
        self.type_ahead = TypeAhead(self, lambda: self.ground, self._deliver)
        self.ended: SessionEnded | None = None
        self._session: asyncio.Task[SessionEnded | None] | None = None
        self._then: Callable[[], object] | None = None
        """What is done once the session is over and saved."""
        self._terminal_lost = False
        self._broke_off = ""
        self._exit_code = 0
        self._hear_no_signals: Callable[[], None] = lambda: None
        self._shown = Shown()

    # -- life --------------------------------------------------------------------------------------------------------

    @property
    def _first(self) -> Ground:
        """The screen at the bottom."""
        return self.home or self.workbench

    def get_default_screen(self) -> Ground:
        return self._first

    async def on_mount(self) -> None:
        live = self._opened is not None and self._opened.source.status is not None
        if live or self.is_headless:  # else not: what is drawn while the app waits is drawn in vain
            await AwaitMount(self._first, [self._first])
        self._hear_no_signals = on_signals(self._on_signal)
        kept = "theme {0}; `theme: {0}` in config.yaml keeps it"
        self.app_resume_signal.subscribe(self, lambda _: self._shown.forget())
        self.theme_changed_signal.subscribe(self, lambda theme: self.ground_say(kept.format(theme.name)))
        if self._opened is not None:
            self._begin(self._opened)
        if not self.is_headless:
            self.set_timer(_SETTLED_SECONDS, _settle_memory)

    async def open(self, source: SessionSource, *, step: int | None = None, search: str = "") -> None:
        """Show a session, in the place of the one that is shown, and search it; a live one begins to run."""
        before, screen = self._opened, WorkbenchScreen(source)
        if step is not None:
            screen.cursor = min(step, source.state.last_step)
        if before is not None and self._session is not None and before.source.attached:
            self._session.cancel()  # it is left; it goes on
        if before is not None and self.screen is before and self.home is not None:  # else it is the bottom of all
            await self.pop_screen()
        self._opened = screen
        await self.push_screen(screen)
        self._begin(screen)
        if search:
            screen.searching.look_for(search)

    def _begin(self, screen: WorkbenchScreen) -> None:
        """Run its session, if it is a live one."""
        if screen.source.status is not None:
            self._session = asyncio.create_task(screen.source.run(), name="session")
            self._session.add_done_callback(self._session_over)

    @property
    def workbench(self) -> WorkbenchScreen:
        """The workbench over the session that is shown."""
        assert self._opened is not None
        return self._opened

    @property
    def source(self) -> SessionSource:
        """That session."""
        return self.workbench.source

    @property
    def ground(self) -> Ground | None:
        """The screen under any dialog."""
        return next((screen for screen in reversed(self._screen_stack) if isinstance(screen, Ground)), None)

    def ground_say(self, text: str, seconds: float = 6.0) -> None:
        """Say something on the screen under any dialog."""
        ground = self.ground
        if ground is not None:
            ground.say(text, seconds)

    async def on_unmount(self) -> None:
        self._hear_no_signals()
        if self._session is not None and not self._session.done() and self.source.attached:
            self._session.cancel()  # the session goes on
            with contextlib.suppress(asyncio.CancelledError):
                await self._session
        elif self._session is not None and not self._session.done():
            # However the app ends, the session is ended and saved first.
            self.source.send(do.Stop("interrupted", "the workbench was closed"))
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._session

    def _session_over(self, task: asyncio.Task[SessionEnded | None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._broke_off = f"the session broke off: {error}"
            self.ground_say(self._broke_off, 3600)
        else:
            self.ended = task.result()
        if self.ended is None and error is None and self.source.attached:
            self.ground_say("its process has gone, and the session is not over: `resume` goes on with it", 3600)
        if self._then is not None:
            self._then()
        elif self.ended is not None and error is None:
            reason = f": {self.ended.reason}" if self.ended.reason else ""
            leaves = keyed("{app.quit} quits" if self.home is None else "{app.quit} goes home")
            self.ground_say(f"over and saved; {leaves} ({self.ended.exit_status}{reason})", 3600)

    # -- leaving -----------------------------------------------------------------------------------------------------

    @property
    def session_runs(self) -> bool:
        """Whether there is something to stop before leaving."""
        running = self._session is not None and not self._session.done()
        return running and not self.source.attached

    def _pause(self) -> Callable[[], bool] | None:
        if not self.session_runs:
            return None
        source = self.source
        source.send(do.Pause("in the background"))
        return lambda: source.status is None or source.status.phase in ("review", "waiting", "human", "ended")

    def action_ask_quit(self) -> None:
        """Leave; asks first while the session runs."""
        if not self.session_runs:
            self._exit_now()
        elif self._then == self._exit_now:
            assert self._session is not None
            self._session.cancel()
        else:
            self._ask_to_stop("quit", lambda: self.leave("the workbench was quit"))

    def _do_home(self) -> None:
        """From a session back home; asks first while it runs here."""
        if self.home is None or self._opened is None or self.screen is not self._opened:
            return
        home = partial(self.call_later, self._go_home)
        if self.session_runs:
            stop = partial(self._stop_then, home, "its user went home", "saving the session")
            self._ask_to_stop("go home", stop)
        else:
            home()

    def _ask_to_stop(self, why: str, then: Callable[[], None]) -> None:
        from workbench.tui.screens.dialogs import Confirm

        if not isinstance(self.screen, Confirm):
            text = f"Stop the session and {why}? It is saved and can be resumed."
            self.workbench.confirm("The session is running", text, then, yes=f"stop and {why}", no="go on")

    async def _go_home(self) -> None:
        self._then = None
        if self._session is not None and self.source.attached:
            self._session.cancel()
        if self._opened is not None and self.screen is self._opened:
            await self.pop_screen()
            self._opened = None
        if self._broke_off:
            self.ground_say(self._broke_off, 60)
            self._broke_off = ""

    def leave(self, reason: str) -> None:
        """Stop the session, wait until it is saved, and end the app."""
        said = "saving the session ({app.leave} again does not wait)"
        self._stop_then(self._exit_now, reason, keyed(said))

    def _stop_then(self, then: Callable[[], object], reason: str, said: str) -> None:
        """Stop the session, if it runs, and do something once it is saved."""
        self._then = then
        if self.session_runs:
            self.source.send(do.Stop("interrupted", reason))
            self.ground_say(said, 3600)
        else:
            then()

    def _exit_now(self) -> None:
        if self._terminal_lost:
            # Nothing can be written to the terminal any more, not even to restore it: Textual would wait for ever.
            os._exit(128 + signal.SIGHUP)
        if self._broke_off:
            self.exit(self.ended, return_code=1, message=Text(printable(self._broke_off)))
        else:
            self.exit(self.ended, return_code=self._exit_code)

    def _on_signal(self, number: int) -> None:
        self._exit_code = 128 + number
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
            self.outside.last_key = time.monotonic()
            self.type_ahead.add(event)
        else:
            await super().on_event(event)

    async def _deliver(self, event: events.Key | events.Paste) -> None:
        """Hand on a key or a paste whose turn it is."""
        if isinstance(event, events.Paste) and not (self.ground is not None and self.ground.taken_over):
            from workbench.tui.pasting import fit_paste

            text, said = fit_paste(event.text, self.focused, at_home=self.ground is self.home)
            if said:
                self.ground_say(said)
            if not text:
                return
            event = events.Paste(text)
        await super().on_event(event)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        # In take-over every key but ctrl+] is the shell's, those of the app included.
        over_the_workbench = isinstance(self.screen, WorkbenchScreen)
        if isinstance(self.screen, Ground) and self.screen.taken_over:
            return False
        if action == "command_palette" and not over_the_workbench:
            return False
        return super().check_action(action, parameters)

    def do(self, name: str) -> None:
        """Do an action `app.<name>` of the registry."""
        getattr(self, METHODS.get(name, f"_do_{name}"))()

    def _do_quit(self) -> None:
        if self.home is not None and self._opened is not None:
            self._do_home()
        else:
            self.action_ask_quit()

    def _do_next_run(self, offset: int = 1) -> None:
        if self.home is None:
            self.ground_say("there is no list of runs here: `mlgym-tui home` has one")
        elif self.session_runs:
            self.ground_say("the session runs here: stop it first")
        else:
            self.home.open_neighbour(offset)

    def _do_previous_run(self) -> None:
        self._do_next_run(-1)

    def _do_help(self) -> None:
        from workbench.tui.places import place_of
        from workbench.tui.screens.help import HelpScreen

        here = self._opened if self.ground is not self.home else None
        first = HOME if here is None else STEPS if here.source.status is None else ""
        self.push_screen(HelpScreen(first, place_of(self.focused), here.situation if here is not None else None))

    def _do_messages(self) -> None:
        from workbench.tui.screens.help import Reading, message_lines

        ground = self.ground
        lines = message_lines(self._opened.state if self._opened else SessionState(), ground.messages if ground else [])
        self.push_screen(Reading("What failed, and what was said", lines))

    def on_resize(self) -> None:
        self._shown.forget()

    def _display(self, screen: Screen[object], renderable: Any) -> None:
        if isinstance(renderable, LayoutUpdate | ChopsUpdate):
            renderable = self._shown.next(renderable, self.size)
        super()._display(screen, renderable)

    def _do_redraw(self) -> None:
        self._shown.forget()
        self.refresh(repaint=True, layout=True)

    def _do_copy(self) -> None:
        text = self.ground.text_to_copy() if self.ground is not None else ""
        if not text:
            self.ground_say("nothing to copy here")
            return
        work_on(self, self.outside.copy, text, group="copy")

    def _do_suspend(self) -> None:
        self.outside.suspend()

    def _do_ctrl_c(self) -> None:
        if self.screen.get_selected_text():
            self._do_copy()
        else:
            interrupts = "{session.interrupt} interrupts the running command, " if self._opened else ""
            self.ground_say(keyed(interrupts + "{app.quit} quits"))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        # The palette offers the registry, and nothing that the registry does not know.
        return ()


def _settle_memory() -> None:
    """What was made for the start stays to the end: searching it for garbage again and again would stall the screen."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 10)


def _terminal_answers() -> bool:
    """Whether the terminal that is drawn on is still there."""
    try:
        return sys.__stderr__ is not None and os.isatty(sys.__stderr__.fileno())
    except (OSError, ValueError):
        return False
