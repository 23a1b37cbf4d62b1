"""What a person does to a running session from the workbench: the keys of `Control`, and their dialogs."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.tui import words

if TYPE_CHECKING:
    from workbench.runner.control import Control
    from workbench.tui.screens.alternatives import Pick
    from workbench.tui.screens.dialogs import Edited
    from workbench.tui.screens.workbench import WorkbenchScreen

_TAKE_OVER_FRAME = (3, 3)
"""Columns and rows that the frame of the zoomed shell takes: borders, scrollbar, status line."""

_TOO_LATE = "too late: the action is not under review any more"
_ONE_ANSWER = "this agent has but one answer: only the agents of language models can be asked again"


class Steering:
    """Each public method is an action `session.<name>` of the registry, called only when it makes sense."""

    def __init__(self, screen: WorkbenchScreen) -> None:
        self.screen = screen
        self.releasing = False
        """The shell is being given back."""

    @property
    def control(self) -> Control:
        control = self.screen.source.control
        assert control is not None
        return control

    # -- go on, stop -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        if self.screen.cursor is not None:
            # Nothing runs that is not in view.
            self.screen.go_to(None)
            self.screen.say("this is what is proposed: enter runs it", of_phase=True)
            return
        self.control.run_proposal()
        self.screen.go_to(None)

    def step(self) -> None:
        self.control.step()
        self.screen.go_to(None)

    def continue_(self) -> None:
        self.control.continue_()
        self.screen.go_to(None)

    def pause(self) -> None:
        self.control.pause()
        if self.control.phase == "executing":
            self.screen.say("pauses when the command is over; i interrupts it", of_phase=True)

    def toggle(self) -> None:
        if self.control.mode == "auto":
            self.pause()
        else:
            self.continue_()

    def interrupt(self) -> None:
        command = self.control.phase != "proposing"
        if self.control.interrupt() and command:
            self.screen.say("interrupting the command", of_phase=True)

    def validate(self) -> None:
        if self.control.validate():
            self.screen.say("scoring the work as it is now")

    # -- the proposal ------------------------------------------------------------------------------------------------

    def edit(self) -> None:
        """Edit the proposal, or write an action of one's own. The old one must not run meanwhile."""
        from workbench.tui.screens.dialogs import EditAction  # when first needed: it slows the start

        control = self.control
        self.screen.go_to(None)
        if control.phase == "waiting":
            self.screen.app.push_screen(EditAction("", "Your action"), self._act)
            return
        if control.mode == "auto" and not control.asking:
            control.pause("editing")
        step = control.state.current
        told = control.tells_edits
        if told is not None and step.edited and step.edit_told is not None:
            told = step.edit_told
        self.screen.app.push_screen(
            EditAction(step.action, f"Edit action {step.number}", thought=step.thought, told=told),
            lambda edited: self._edited(step.number, edited),
        )

    def _edited(self, number: int, edited: Edited | None) -> None:
        if edited is None:
            return
        control = self.control
        in_time = control.state.last_step == number
        if not in_time or not control.edit(edited.action, thought=edited.thought, told=edited.told):
            self.screen.say(_TOO_LATE)

    def _act(self, edited: Edited | None) -> None:
        if edited is not None and edited.action.strip() and not self.control.act(edited.action):
            self.screen.say("an action cannot be run just now")

    def editor(self) -> None:
        """As `edit`, in the person's own editor."""
        control = self.control
        if control.mode == "auto" and not control.asking:
            control.pause("editing")
        writing = control.phase == "waiting"
        step = control.state.current
        text = self._in_editor("" if writing else step.action)
        if text is None:
            return

        from workbench.tui.screens.dialogs import Edited

        if writing:
            self._act(Edited(text))
        else:
            self._edited(step.number, Edited(text, told=step.edit_told))

    def _in_editor(self, action: str) -> str | None:
        command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "action.sh"
            file.write_text(action, encoding="utf-8", errors="replace")
            try:
                with self.screen.app.suspend():
                    done = subprocess.run([*shlex.split(command), str(file)], check=False)
                self.screen.app.type_ahead.forget()  # type: ignore[attr-defined]
            except (OSError, ValueError) as error:
                self.screen.say(f"{command!r} cannot be started ({error}): set $EDITOR")
                return None
            if done.returncode:
                self.screen.say(f"{command!r} ended with exit code {done.returncode}: the action stays as it was")
                return None
            text = file.read_text(encoding="utf-8", errors="replace")
        return text.removesuffix("\n") if not action.endswith("\n") else text

    def reject(self) -> None:
        from workbench.tui.screens.dialogs import Write  # when first needed: it slows the start

        number = self.control.state.last_step
        if self.control.mode == "auto" and not self.control.asking:
            self.control.pause("rejecting")
        self.screen.go_to(None)
        self.screen.app.push_screen(
            Write(f"Reject action {number}", "a comment for the agent (may be empty)"),
            lambda text: self._rejected(number, text),
        )

    def _rejected(self, number: int, comment: str | None) -> None:
        if comment is None:
            return
        if self.control.state.last_step != number or not self.control.reject(comment):
            self.screen.say(_TOO_LATE)

    def alternatives(self) -> None:
        """Ask for alternatives to the proposal, or show those that were asked for in the step under the cursor."""
        control, step = self.screen.source.control, self.screen.step
        reviewing = control is not None and control.phase == "review" and step.number == control.state.last_step
        if step.alternatives:
            self._show_alternatives(step.number)
        elif not reviewing or control is None:
            self.screen.say("nobody asked for alternatives in this step")
        elif control.changeable is None:
            self.screen.say(_ONE_ANSWER)
        else:
            self._ask_for_alternatives()

    def _ask_for_alternatives(self) -> None:
        from workbench.tui.screens.dialogs import Ask  # when first needed: it slows the start

        control = self.control
        step, agent = control.state.current, control.changeable
        if control.mode == "auto" and not control.asking:
            control.pause("asking for alternatives")
        self.screen.go_to(None)
        cold = agent is not None and agent.sampling.temperature == 0
        spending = step.spending
        note = (
            f"The proposal has cost {words.money(spending.cost)} so far. " if spending.calls and spending.known else ""
        )
        note += "At temperature 0 most answers would be the same; models that take no temperature ignore it."
        self.screen.app.push_screen(
            Ask(
                f"How many alternatives for step {step.number}?",
                "3 temperature=0.7",
                value="3 temperature=0.7" if cold else "3",
                note=note,
                check=lambda line: self._resample(step.number, line),
            ),
            lambda line: None if line is None else self._show_alternatives(step.number),
        )

    def _resample(self, number: int, line: str) -> str:
        """Ask for them; says why that cannot be done."""
        from workbench.tui.screens.alternatives import read_wish

        control = self.control
        try:
            wish = read_wish(line)
            started = control.state.last_step == number and control.resample(wish.number, temperature=wish.temperature)
        except ValueError as error:
            return str(error)
        return "" if started else _TOO_LATE

    def _show_alternatives(self, number: int) -> None:
        from workbench.tui.screens.alternatives import Alternatives

        source = self.screen.source
        self.screen.app.push_screen(
            Alternatives(source.state, number, source.control), lambda pick: self._picked(number, pick)
        )

    def _picked(self, number: int, pick: Pick | None) -> None:
        if pick is None:
            return
        if pick.number is None:
            self._ask_for_alternatives()
        elif self.control.state.last_step != number or not self.control.choose(pick.number):
            self.screen.say(_TOO_LATE)
        else:
            self.screen.go_to(None)
            if pick.edit:
                self.edit()

    def model(self) -> None:
        """Another model, or another temperature, from here on."""
        from workbench.tui.screens.model_dialog import ChangeModel  # when first needed: it slows the start

        control = self.control
        agent, state = control.changeable, control.state
        if agent is None:
            self.screen.say("this agent asks no model that could be changed")
            return
        dialog = ChangeModel(state.model, state.base_url, agent.sampling.temperature, self._change_model)
        self.screen.app.push_screen(dialog, self._model_changed)

    def _change_model(self, model: str, base_url: str, temperature: float | None) -> str:
        from workbench.agents.agent import ModelError

        try:
            self.control.change_model(model, base_url=base_url, temperature=temperature)
        except (ModelError, ValueError) as error:
            return str(error)
        return ""

    def _model_changed(self, changed: bool | None) -> None:
        if changed:
            self.screen.say("from the next call on: " + words.asked_now(self.control.state))
            self.screen.show_titles()

    def message(self) -> None:
        from workbench.tui.screens.dialogs import Write  # when first needed: it slows the start

        self.screen.app.push_screen(Write("Tell the agent", "it reads this before its next proposal"), self._messaged)

    def _messaged(self, text: str | None) -> None:
        if text and self.control.phase != "ended":
            self.control.inject(text)
            self.screen.say("said; the agent reads it before its next proposal")

    def limits(self) -> None:
        """Change what may still be spent."""
        from workbench.tui.limits_line import limits_line
        from workbench.tui.screens.dialogs import Ask  # when first needed: it slows the start

        line = limits_line(self.control.state.limits)
        title = "Limits, over the whole session (cost=none removes one)"
        self.screen.app.push_screen(Ask(title, "steps=50 cost=4", value=line, check=self._limit), self._limited)

    def _limit(self, line: str) -> str:
        """Take new limits; says why they cannot be taken."""
        from workbench.tui.limits_line import read_limits_line

        try:
            if self.control.phase != "ended":
                self.control.raise_limits(**read_limits_line(line))
        except ValueError as error:
            return f"{error}; the limits stay as they are"
        return ""

    def _limited(self, line: str | None) -> None:
        from workbench.tui.limits_line import limits_line

        if line is not None:
            self.screen.say(f"limits: {limits_line(self.control.state.limits) or 'none'}")
            self.screen.show_status()

    # -- the shell ---------------------------------------------------------------------------------------------------

    def take_over(self) -> None:
        """Ask for the shell. It comes when the running command is over."""
        size, frame = self.screen.app.size, _TAKE_OVER_FRAME
        self.screen.go_to(None)
        self.control.take_over(max(20, size.width - frame[0]), max(5, size.height - frame[1]))
        self.phase_changed()

    def release(self) -> None:
        """Give the shell back; asks when a program still runs in it."""
        if self.control.mode != "human":
            self.screen.say("the shell is not taken over; t takes it")
            return
        self._hand_back(force=False)

    def _hand_back(self, *, force: bool) -> None:
        self.releasing = True
        self.screen.run_worker(self._handing_back(force=force), group="release", exclusive=True)

    async def _handing_back(self, *, force: bool) -> None:
        from workbench.sandbox.shell import ShellBusy
        from workbench.tui.screens.dialogs import Confirm

        try:
            await self.control.hand_back(force=force)
        except ShellBusy as busy:
            self.screen.app.push_screen(
                Confirm("A program still runs in the shell", str(busy), yes="interrupt it and give back", no="go back"),
                self._busy_answer,
            )
            return
        finally:
            self.releasing = False
        self.phase_changed()

    def _busy_answer(self, interrupt: bool | None) -> None:
        if interrupt:
            self._hand_back(force=True)

    def phase_changed(self) -> None:
        """The phase or the mode is another one: the terminal may change hands."""
        screen = self.screen
        wanted = screen.situation.taken_over
        if wanted and not screen.taken_over and not screen.has_class("-taken-over"):
            screen.go_to(None)
            screen.arranging.zoom("shell-pane")
            screen.add_class("-taken-over")
            # The terminal takes its size from the pane: only when that has its own.
            screen.call_after_refresh(self._enter)
        elif not wanted and (screen.taken_over or screen.has_class("-taken-over")):
            screen.remove_class("-taken-over")
            screen.shell.interactive = False
            screen.arranging.zoom(None)
            screen.show_step()
            screen.show_status()

    def _enter(self) -> None:
        if self.screen.situation.taken_over:
            self.screen.say("")  # what was said before has a line of its own, which is the terminal's now
            self.screen.shell.interactive = True
            self.screen.show_step()
            self.screen.show_status()
            self.screen.shell.focus()
        else:
            self.phase_changed()
