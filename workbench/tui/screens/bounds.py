"""How far a running session goes: its limits, the time of its command, breakpoints, and handing in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.session import commands as do
from workbench.session.commands import Breakpoint
from workbench.session.status import LiveStatus
from workbench.tui import words
from workbench.tui.actions import HAS_SHELL, keyed
from workbench.tui.limits_line import limits_line, read_limits_line
from workbench.tui.screens.searching import condition_fault
from workbench.tui.workers import work_on

if TYPE_CHECKING:
    from workbench.session.commands import Command, Outcome
    from workbench.session.state import SessionState
    from workbench.tui.screens.arranging import Arranging
    from workbench.tui.screens.dialogs import Confirm, Question
    from workbench.tui.screens.searching import Searching
    from workbench.tui.screens.view import SessionView


class Bounds:
    """Each public method is an action `session.<name>` of the registry, called only when it makes sense."""

    def __init__(self, screen: SessionView, arranging: Arranging, searching: Searching) -> None:
        self.screen = screen
        self.arranging = arranging
        self.searching = searching
        self.releasing = False
        """The shell is being given back."""
        self._asked: Question | None = None
        self._handing_over: tuple[str, Confirm] | None = None
        """Who asks for the wheel, and the dialog about it."""

    @property
    def status(self) -> LiveStatus:
        """What is true of the session now."""
        return self.screen.source.status or LiveStatus(phase="ended")

    @property
    def state(self) -> SessionState:
        """The fold over its log."""
        return self.screen.state

    def send(self, command: Command) -> None:
        """Have a command carried out, whatever becomes of it."""
        self.screen.source.send(command)

    async def do(self, command: Command) -> Outcome:
        """Have a command carried out, and hear what became of it."""
        return await self.screen.source.do(command)

    # -- limits ------------------------------------------------------------------------------------------------------

    def breakpoints(self) -> None:
        """Conditions at which it stops; in a replay, the next step that meets one."""
        if self.screen.source.status is not None and self.status.phase != "ended":
            from workbench.tui.screens.breakpoints import BreakpointsScreen

            self.screen.app.push_screen(BreakpointsScreen(self.status.breakpoints, self._put_breakpoints))
            return
        self.searching.ask_condition()

    def _put_breakpoints(self, given: list[Breakpoint]) -> None:
        async def put() -> None:
            if problem := (await self.do(do.SetBreakpoints(given))).problem:
                self.screen.say(problem)

        work_on(self.screen, put)

    def limits(self) -> None:
        """Change what may still be spent."""
        self.screen.ask(
            "Limits, over the whole session",
            "steps=50 cost=4",
            self._limited,
            value=limits_line(self.state.limits),
            note=f"{', '.join(self.state.limits.__struct_fields__)}; cost=none removes one",
            check=self._limit,
        )

    async def _limit(self, line: str) -> str:
        """Take new limits; says why they cannot be taken."""
        try:
            command = do.ChangeLimits(**read_limits_line(line))
        except ValueError as error:
            problem = str(error)
        else:
            problem = "" if self.status.phase == "ended" else (await self.do(command)).problem
        return f"{problem}; the limits stay as they are" if problem else ""

    def _limited(self, _line: str) -> None:
        self.screen.say(f"limits: {limits_line(self.state.limits) or 'none'}")
        self.screen.show_status()

    def extend(self) -> None:
        """More time for the running command."""
        status = self.status
        if status.phase != "executing":
            self.screen.say("no command is running")
            return
        note = f"It may take {words.clock(status.time_limit)} in all." if status.time_limit else ""
        title = "How much longer may the command run?"
        self.screen.ask(title, "10m", self._extended, value="10m", note=note, check=self._extend)

    async def _extend(self, line: str) -> str:
        from workbench.text import duration

        try:
            command = do.Extend(duration(line.strip()))
        except ValueError as error:
            return str(error)
        outcome = await self.do(command)
        return outcome.problem or ("" if outcome.done else "the command is over")

    def _extended(self, _line: str) -> None:
        self.screen.say(f"the command may take {words.clock(self.status.time_limit)} in all")

    # -- the wheel ---------------------------------------------------------------------------------------------------

    def drive(self) -> None:
        """Ask for the wheel; of who has it, answer who asks."""
        from workbench.tui.screens.dialogs import Confirm  # when first needed: it slows the start

        if not self.screen.situation.live:
            work_on(self.screen, self._ask_to_drive, group="wheel", exclusive=True)
        else:
            text = f"{self.status.asks} asks to drive the session. You go on looking."
            dialog = Confirm("Hand the wheel over?", text, yes="hand over", no="keep it")
            self._handing_over = self.status.asks, dialog
            self.screen.app.push_screen(dialog, self._let_drive)

    def _let_drive(self, yes: bool | None) -> None:
        self._handing_over = None
        if yes is not None:
            self.send(do.LetDrive(yes))

    def wheel_changed(self) -> None:
        """Close the dialog about the wheel once nobody waits for its answer: it would keep the keys."""
        if self._handing_over is None:
            return
        who, dialog = self._handing_over
        live = self.screen.situation.live
        if (live and self.status.asks == who) or not dialog.is_current:  # what covers the dialog is left first
            return
        dialog.dismiss(None)
        driver = self.status.driver
        self.screen.say(f"{who} waits no longer: you drive" if live else f"{driver or 'nobody'} drives now")

    async def _ask_to_drive(self) -> None:
        if self.status.driver:
            self.screen.say(f"asked {self.status.driver} for the wheel", of_phase=True)
        outcome = await self.do(do.Drive())
        self.screen.say(outcome.problem or "you drive")

    # -- until something ---------------------------------------------------------------------------------------------

    def until(self) -> None:
        """Go on until a condition holds, once; in a replay, to the next step that meets it."""
        note = "edit, validate, submit, failure; here: this action again; a number: that step; or any condition"
        self.screen.ask("Run until", "edit", self._run_until, note=note, bottom=True, check=self._check_until)

    def _condition(self, line: str) -> str:
        """The condition that a line of `until` means."""
        word = line.strip()
        if word == "here":
            action = self.screen.step.action
            return 'action="{}"'.format(action.replace("\\", "\\\\").replace('"', '\\"'))
        return f"step>={word}" if word.isdecimal() else _UNTIL.get(word, word)

    async def _check_until(self, line: str) -> str:
        if line.strip() == "here" and not self.screen.step.action.strip():
            return "this step has no action"
        if not line.strip():
            return keyed("say what it is to run until, or leave with {dialog.leave}")
        return await condition_fault(self._condition(line))

    async def _run_until(self, line: str) -> None:
        when = self._condition(line)
        if self.screen.source.status is None or self.status.phase == "ended":
            self.searching.meet(when)
            return
        if self.state.mode == "human":
            self.screen.say(keyed(HAS_SHELL))
            return
        known = [each for each in self.status.breakpoints if not (each.once and each.when == when)]
        outcome = await self.do(do.SetBreakpoints([*known, Breakpoint(when=when, once=True)]))
        if outcome.problem:
            self.screen.say(outcome.problem)
        else:
            await self.do(do.Continue())
            self.screen.go_to(None)

    # -- handing in --------------------------------------------------------------------------------------------------

    def submit_best(self) -> None:
        """Hand in the best of what was validated, and end the session."""
        best = self.state.best_score()
        if best is None or best.score is None or best.artifact is None:
            self.screen.say("nothing was validated that could be submitted")
            return
        text = (
            f"That of step {best.step} is submitted, which scored {words.number(best.score)}. The session ends with it."
        )
        self.screen.confirm("Submit the best", text, self._submit_best, yes="submit it", no="go on")

    async def _submit_best(self) -> None:
        outcome = await self.do(do.SubmitBest())
        self.screen.say(outcome.problem or "submitting the best")


_UNTIL = {
    "edit": "kind:edit", "validate": "kind:validate", "submit": "kind:submit", "failure": "failure:*",
}  # fmt: skip
