"""Who drives a session that several views show: one of them at a time. Another asks for the wheel; the driver is told,
and it changes hands unless the driver keeps it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter

from workbench.runner.controls import Controls
from workbench.runner.hub import Hub
from workbench.session import commands as do
from workbench.session import events as ev
from workbench.session.commands import Command, Outcome

PATIENCE = 10.0
"""Seconds in which the driver may keep the wheel from who asks for it."""
_NO_WORK = (do.Resize, do.HoldOutput)
"""Commands that views send by themselves."""


class Wheel:
    """Passes the commands of the view that drives on to the session, and says to the others who does."""

    def __init__(self, hub: Hub, controls: Controls) -> None:
        self.patience = PATIENCE
        self._hub, self._controls = hub, controls
        self._numbers: Counter[str] = Counter()
        self._views: set[str] = set()
        self._owner = ""
        self._asking: asyncio.Future[bool] | None = None
        """The driver's answer to who asks for the wheel."""
        self._at_work = False
        """The driver did something since."""
        self._stopped_clock = False

    def join(self, kind: str, *, drives: bool = False, owner: bool = False) -> str:
        """A view begins to look on; one that `drives` has the wheel where nobody has it. The `owner` is the view in the
        session's own process, which may stop it whoever drives. Returns the view's name.
        """
        self._numbers[kind] += 1
        view = f"{kind} {self._numbers[kind]}"
        self._views.add(view)
        if owner:
            self._owner = view
        self._hub.tell(views=len(self._views))
        if drives and not self._driver:
            self._give(view)
        return view

    def leave(self, view: str) -> None:
        """It has gone. Of a driver: who asks for the wheel has it, else nobody. The shell stays as it is; while nobody
        has what a person took over, the clock stands still.
        """
        self._views.discard(view)
        self._hub.tell(views=len(self._views))
        if view != self._driver:
            return
        self._give("")
        clock = self._hub.live.clock
        if not self._answer(True) and self._hub.state.mode == "human" and clock.pause():
            self._stopped_clock = True
            self._hub.live.emit(ev.ClockPaused(reason="nobody drives"))

    async def do(self, view: str, command: Command) -> Outcome:
        """Have a command of a view carried out. What cannot be done is said in the outcome, never raised.

        Asking for the wheel waits for the driver's answer, handing the shell back for the shell.
        """
        if isinstance(command, do.Drive):
            return await self._ask(view)
        if isinstance(command, do.HandBack) and not self._why_not(view, command):
            self._at_work = True
            return await self._controls.do(command)
        return self.do_now(view, command)

    def do_now(self, view: str, command: Command) -> Outcome:
        """As `do`, at once, for any command but these two."""
        if problem := self._why_not(view, command):
            return Outcome(done=False, problem=problem)
        if isinstance(command, do.LetDrive):
            return Outcome(done=self._answer(command.yes))
        self._at_work = self._at_work or not isinstance(command, _NO_WORK)
        return self._controls.do_now(command)

    @property
    def _driver(self) -> str:
        return self._hub.status.driver

    def _why_not(self, view: str, command: Command) -> str:
        if view == self._driver or (view == self._owner and isinstance(command, do.Stop)):
            return ""
        return (
            f"{self._driver} drives this session" if self._driver else "nobody drives this session: ask for the wheel"
        )

    def _give(self, view: str) -> None:
        with contextlib.suppress(ValueError):  # of a shell that is gone
            self._controls.hold_output(False)
        self._hub.tell(driver=view)
        if view and self._stopped_clock:
            self._stopped_clock = False
            self._controls.sign_of_life = time.monotonic()
            if self._hub.live.clock.resume():
                self._hub.live.emit(ev.ClockResumed(reason="nobody drives"))

    def _answer(self, yes: bool) -> bool:
        """False when nobody asks."""
        if self._asking is None or self._asking.done():
            return False
        self._asking.set_result(yes)
        return True

    async def _ask(self, view: str) -> Outcome:
        driver = self._driver
        if driver == view:
            return Outcome(done=False, problem="you drive already")
        if self._asking is not None:
            return Outcome(done=False, problem=f"{self._hub.status.asks} has asked before: try again")
        problem = ""
        if driver:
            self._asking, self._at_work = asyncio.get_running_loop().create_future(), False
            self._hub.tell(asks=view)
            try:
                async with asyncio.timeout(self.patience):
                    problem = "" if await self._asking else f"{driver} keeps the wheel"
            except TimeoutError:
                problem = f"{driver} is at work and did not answer: ask again" if self._at_work else ""
            finally:
                self._asking = None
                self._hub.tell(asks="")
        if not problem:
            self._give(view)
        return Outcome(done=not problem, problem=problem)
