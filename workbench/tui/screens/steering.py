"""What a person does to a running session from the workbench: the commands behind the keys, and their dialogs."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from workbench.session import commands as do
from workbench.tui import words
from workbench.tui.actions import HAS_SHELL, keyed, no_proposal
from workbench.tui.screens.bounds import Bounds
from workbench.tui.workers import work_on

if TYPE_CHECKING:
    from workbench.session.commands import Command
    from workbench.tui.screens.alternatives import Pick
    from workbench.tui.screens.dialogs import Edited

_TAKE_OVER_FRAME = (3, 3)
"""Columns and rows that the frame of the zoomed shell takes: borders, scrollbar, status line."""

_ANSWERED = "no call waits for an answer: the model has given it"
_TOO_LATE = "too late: the action is not under review any more"
_ONE_ANSWER = "this agent has but one answer: only the agents of language models can be asked again"


class Steering(Bounds):
    """Each public method is an action `session.<name>` of the registry, called only when it makes sense."""

    def _stop_here(self, reason: str) -> None:
        """An agent that drives by itself waits for the person, who is about to decide."""
        if self.state.mode == "auto" and not self.status.asking:
            self.send(do.Pause(reason))

    # -- go on, stop -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        if self.screen.cursor is not None:
            # Nothing runs that is not in view.
            self.screen.go_to(None)
            self.screen.say(keyed("this is what is proposed: {session.run} runs it"), of_phase=True)
            return
        self.send(do.RunProposal())
        self.screen.go_to(None)

    def step(self) -> None:
        self.send(do.Step())
        self.screen.go_to(None)

    def continue_(self) -> None:
        self.send(do.Continue())
        self.screen.go_to(None)

    def pause(self) -> None:
        self.send(do.Pause())
        if self.status.phase == "executing":
            self.screen.say(keyed("pauses when the command is over; {session.interrupt} interrupts it"), of_phase=True)

    def why_paused(self) -> None:
        """Pause for a reason that the clock names."""
        if self.state.mode == "human":
            self.screen.say(keyed(HAS_SHELL))
            return
        self.screen.ask("Why is there a pause?", "lunch", check=self._why)

    async def _why(self, reason: str) -> str:
        if not reason.strip():
            return keyed("say why, or leave with {dialog.leave}")
        if self.status.phase != "ended":
            await self.do(do.Pause(reason.strip()))
        return ""

    def question_changed(self) -> None:
        """The session asks the person something, or has its answer."""
        question, asked = self.status.question, self._asked
        if self.screen.situation.followed:  # another view answers
            question = ""
        if question == (asked.question if asked is not None else ""):
            return
        if asked is not None and asked.is_attached and asked.is_current:
            asked.dismiss(None)
        self._asked = None
        if question:
            from workbench.tui.screens.dialogs import Question

            self._asked = Question(question)
            self.screen.app.push_screen(self._asked, self._answered)

    def _answered(self, line: str | None) -> None:
        if line is not None and self.status.question:
            self.send(do.Answer(line.strip().lower() == "yes"))

    def toggle(self) -> None:
        if self.state.mode == "auto":
            self.pause()
        else:
            self.continue_()

    async def interrupt(self) -> None:
        command = self.status.phase != "proposing"
        if (await self.do(do.Interrupt())).done and command:
            self.screen.say("interrupting the command", of_phase=True)

    async def validate(self) -> None:
        outcome = await self.do(do.Validate())
        if outcome.done or outcome.problem:
            self.screen.say(outcome.problem or "scoring the work as it is now")

    def fork(self) -> None:
        """A new session that goes on from the step under the cursor."""
        from workbench.tui.screens.forking import ask_fork  # when first needed: it slows the start

        ask_fork(self.screen)

    # -- the proposal ------------------------------------------------------------------------------------------------

    def edit(self) -> None:
        """Edit the proposal, or write an action of one's own. The old one must not run meanwhile."""
        from workbench.tui.screens.dialogs import EditAction  # when first needed: it slows the start

        self.screen.go_to(None)
        if self.screen.situation.writes:
            program = self.status.under_way is not None
            title = "Your answer, in the model's place" if program else "Your action"
            thought = "" if program else None
            self.screen.app.push_screen(EditAction("", title, thought=thought, accept="send it"), self._act)
            return
        self._stop_here("editing")
        step = self.state.current
        told = self.status.tells_edits
        if told is not None and step.edited and step.edit_told is not None:
            told = step.edit_told
        self.screen.app.push_screen(
            EditAction(step.action, f"Edit action {step.number}", thought=step.thought, told=told),
            lambda edited: self._edited(step.number, edited),
        )

    async def _in_time(self, number: int, command: Command) -> bool:
        """Have a command about the proposal of a step carried out; says so when that is not under review any more."""
        done = self.state.last_step == number and (await self.do(command)).done
        if not done:
            self.screen.say(_TOO_LATE)
            self.screen.app.type_ahead.forget()  # type: ignore[attr-defined]  # it was meant for that proposal
        return done

    async def _edited(self, number: int, edited: Edited | None) -> None:
        if edited is not None:
            await self._in_time(number, do.Edit(edited.action, edited.thought, edited.told))

    async def _act(self, edited: Edited | None) -> None:
        if edited is None or not (edited.action.strip() or edited.thought):
            return
        outcome = await self.do(do.Act(edited.action, edited.thought or ""))
        if not outcome.done:
            program = self.status.under_way is not None
            self.screen.say(outcome.problem or (_ANSWERED if program else "an action cannot be run just now"))

    async def editor(self) -> None:
        """As `edit`, in the person's own editor."""
        self._stop_here("editing")
        writing = self.screen.situation.writes
        step = self.state.current
        text = self._in_editor("" if writing else step.action)
        if text is None:
            return

        from workbench.tui.screens.dialogs import Edited

        if writing:
            await self._act(Edited(text))
        else:
            await self._edited(step.number, Edited(text, told=step.edit_told))

    def _in_editor(self, action: str) -> str | None:
        command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "action.sh"
            file.write_text(action, encoding="utf-8", errors="replace")
            try:
                with self.screen.app.suspend():
                    done = subprocess.run([*shlex.split(command), str(file)], check=False)
                self.screen.app.type_ahead.forget()  # type: ignore[attr-defined]
            except SuspendNotSupported:
                self.screen.say(keyed("$EDITOR needs a terminal: {session.edit} edits here"))
                return None
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

        number = self.state.last_step
        self._stop_here("rejecting")
        self.screen.go_to(None)
        self.screen.app.push_screen(
            Write(f"Reject action {number}", "a comment for the agent (may be empty)"),
            lambda text: self._rejected(number, text),
        )

    async def _rejected(self, number: int, comment: str | None) -> None:
        if comment is not None:
            await self._in_time(number, do.Reject(comment))

    def alternatives(self) -> None:
        """Ask for alternatives to the proposal, or show those that were asked for in the step under the cursor."""
        step = self.screen.step
        reviewing = self.status.phase == "review" and step.number == self.state.last_step
        if step.alternatives:
            self._show_alternatives(step.number)
        elif not reviewing:
            asks = self.screen.situation.live and step.number == self.state.last_step
            said = no_proposal(self.screen.situation) if asks else "nobody asked for alternatives in this step"
            self.screen.say(said)
        elif not self.status.asks_model:
            self.screen.say(_ONE_ANSWER)
        else:
            self._ask_for_alternatives()

    def _ask_for_alternatives(self) -> None:
        step = self.state.current
        self._stop_here("asking for alternatives")
        self.screen.go_to(None)
        spent = step.spending
        cost = f"The proposal has cost {words.money(spent.cost)} so far. " if spent.calls and spent.known else ""
        self.screen.ask(
            f"How many alternatives for step {step.number}?",
            "3 temperature=0.7",
            lambda _line: self._show_alternatives(step.number),
            value="3 temperature=0.7" if self.status.temperature == 0 else "3",
            note=f"{cost}At temperature 0 most answers would be the same; models that take no temperature ignore it.",
            check=lambda line: self._resample(step.number, line),
        )

    async def _resample(self, number: int, line: str) -> str:
        """Ask for them; says why that cannot be done."""
        from workbench.tui.screens.alternatives import read_wish

        try:
            wish = read_wish(line)
        except ValueError as error:
            return str(error)
        if self.state.last_step != number:
            return _TOO_LATE
        outcome = await self.do(do.Resample(wish.number, wish.temperature))
        return "" if outcome.done else outcome.problem or _TOO_LATE

    def _show_alternatives(self, number: int) -> None:
        from workbench.tui.screens.alternatives import Alternatives

        self.screen.app.push_screen(Alternatives(self.screen.source, number), lambda pick: self._picked(number, pick))

    async def _picked(self, number: int, pick: Pick | None) -> None:
        if pick is None:
            return
        if pick.number is None:
            self._ask_for_alternatives()
        elif await self._in_time(number, do.Choose(pick.number)):
            self.screen.go_to(None)
            if pick.edit:
                self.edit()

    def model(self) -> None:
        """Another model, or another temperature, from here on."""
        from workbench.tui.screens.model_dialog import ChangeModel  # when first needed: it slows the start

        state, status = self.state, self.status
        if not status.asks_model:
            self.screen.say("this agent asks no model that could be changed")
            return
        dialog = ChangeModel(state.model, state.base_url, status.temperature, self._change_model)
        self.screen.app.push_screen(dialog, self._model_changed)

    async def _change_model(self, model: str, base_url: str, temperature: float | None) -> str:
        return (await self.do(do.ChangeModel(model, base_url, temperature))).problem

    def _model_changed(self, changed: bool | None) -> None:
        if changed:
            self.screen.say("from the next call on: " + words.asked_now(self.state))
            self.screen.show_titles()

    def message(self) -> None:
        from workbench.tui.screens.dialogs import Write  # when first needed: it slows the start

        self.screen.app.push_screen(Write("Tell the agent", "it reads this before its next proposal"), self._messaged)

    async def _messaged(self, text: str | None) -> None:
        if text and self.status.phase != "ended":
            problem = (await self.do(do.Tell(text))).problem
            self.screen.say(problem or "said; the agent reads it before its next proposal")

    # -- the shell ---------------------------------------------------------------------------------------------------

    def take_over(self) -> None:
        """Ask for the shell. It comes when the running command is over."""
        if self.state.sandbox.get("backend") == "none":
            self.screen.say("the agent runs elsewhere: there is no shell to take over")
            return
        size, frame = self.screen.app.size, _TAKE_OVER_FRAME
        self.screen.go_to(None)
        self.send(do.TakeOver(size.width - frame[0], size.height - frame[1]))
        self.phase_changed()

    def release(self) -> None:
        """Give the shell back; asks when a program still runs in it."""
        if self.state.mode != "human":
            self.screen.say(keyed("the shell is not taken over; {session.take_over} takes it"))
            return
        self._hand_back(force=False)

    def _hand_back(self, *, force: bool) -> None:
        self.releasing = True
        work_on(self.screen, self._handing_back, force, group="release", exclusive=True)

    async def _handing_back(self, force: bool) -> None:
        try:
            outcome = await self.do(do.HandBack(force))
        finally:
            self.releasing = False
        if outcome.busy:
            title, yes, no = "A program still runs in the shell", "interrupt it and give back", "go back"
            self.screen.confirm(title, outcome.problem, lambda: self._hand_back(force=True), yes=yes, no=no)
            return
        self.phase_changed()

    def phase_changed(self) -> None:
        """The phase or the mode is another one: the terminal may change hands."""
        screen = self.screen
        wanted = screen.situation.taken_over
        if wanted and not screen.taken_over and not screen.has_class("-taken-over"):
            screen.go_to(None)
            self.arranging.zoom("shell-pane")
            screen.add_class("-taken-over")
            # The terminal takes its size from the pane: only when that has its own.
            screen.call_after_refresh(self._enter)
        elif not wanted and (screen.taken_over or screen.has_class("-taken-over")):
            screen.remove_class("-taken-over")
            screen.shell.interactive = False
            self.arranging.zoom(None)
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
