"""The step loop: propose, review, execute, observe, check.

One coroutine per session (`Runner.run`), steered by its `Controls`, which screens, signal handlers and tests call on
the same event loop. Each decision is an event with its author. Nothing here knows a screen.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from workbench.agents.agent import ActionsExhausted, Agent, ModelError, Proposal
from workbench.agents.remote import RemoteAgent
from workbench.environment.episode import Episode
from workbench.environment.limits import autosubmission, exceeded
from workbench.environment.live import LiveSession
from workbench.isolation.batch import before_the_end
from workbench.isolation.spec import SandboxError
from workbench.runner.breakpoints import Breakpoints
from workbench.runner.conditions import Conditions
from workbench.runner.controls import Controls, Decision
from workbench.runner.hub import Hub
from workbench.runner.minding import mind
from workbench.runner.open_step import close_open_step, dropped_by, edit_again, left_open, proposed_again
from workbench.runner.take_over import TakeOver
from workbench.runner.wheel import Wheel
from workbench.session import events as ev
from workbench.session.log import EVENTS_FILE, explain_write_error
from workbench.session.marks import user_name
from workbench.session.repetition import repetition
from workbench.session.spec import SessionSpec
from workbench.session.state import GOES_ON
from workbench.session.status import LiveStatus, Phase

if TYPE_CHECKING:
    from workbench.library.moments import Running
    from workbench.runner.remote import Remote

T = TypeVar("T")

FAILURES = {"bad_format": "exit_format", "context_length": "exit_context", "cost_limit": "exit_cost"}
"""What MLGym calls the end of a session whose model failed for this cause; `exit_api` for all others."""

_UNDER_WAY = 0.02
"""Seconds after which a sandbox that starts is waited for: what the first command needs is imported meanwhile."""
_BESIDE = 256 << 10
"""Bytes of what was printed beside a shell that a person has, the newest, that are shown afterwards."""
_WAITS = " waits for input: t takes over to answer it, else it is ended"


class Runner:
    """The loop. Where a person is there to decide (`spec.interactive`), a failing model pauses the session; a headless
    one it ends.
    """

    def __init__(
        self,
        live: LiveSession,
        episode: Episode,
        agent: Agent | None,
        spec: SessionSpec,
        conditions: Conditions,
        cwd: str | None = None,
    ) -> None:
        """`cwd`: the directory that the shell begins in, where that is not the workspace."""
        status = LiveStatus(
            has_agent=agent is not None,
            asks_model=agent is not None and agent.asks_model,
            temperature=agent.sampling.temperature if agent is not None else None,
            tells_edits=agent.tells_edits if agent is not None else None,
            delay=spec.delay,
        )
        self.hub = Hub(live, status)
        breakpoints = Breakpoints(self.hub, conditions.breakpoints)
        self.controls = Controls(self.hub, episode, agent, breakpoints, user=spec.person or user_name())
        self.wheel = Wheel(self.hub, self.controls)
        self.live = live
        self.state = live.state
        self.episode = episode
        self.agent = agent
        self.interactive = spec.interactive
        if self.interactive:
            episode.on_question = self.controls.ask_who_drives
        episode.on_progress = lambda text: self.hub.tell(progress=text)
        self.approval = conditions.approval
        self.remote: Remote | None = None
        if isinstance(agent, RemoteAgent):
            from workbench.runner.remote import Remote

            self.remote = Remote(
                agent,
                self.hub,
                episode,
                self.controls,
                lambda step: self._mind_breakpoints(step, over=True),
                approval=self.approval,
                interactive=self.interactive,
            )
        self._cwd = cwd
        self._beside = bytearray()
        self.on_closed: Callable[[], None] | None = None
        """Called once everything is stopped: removes the run's folder."""

    @property
    def status(self) -> LiveStatus:
        """What is true of the session now."""
        return self.hub.status

    async def run(self) -> ev.SessionEnded:
        """Drive the session to its end and return the last event.

        Raises LogError when the session can no longer be written; all that was logged before is safe. Cancelling it
        ends the session as interrupted.
        """
        loop = asyncio.get_running_loop()
        early = loop.call_later(
            _UNDER_WAY, lambda: loop.run_in_executor(None, import_module, "workbench.runner.cockpit")
        )
        try:
            try:
                with before_the_end(partial(self.controls.stop, "interrupted")):
                    status, reason = await self._drive()
            except SandboxError as error:
                status, reason = "error", error.in_full
            except OSError as error:  # an object or a snapshot could not be stored; a line of the log may still fit
                status, reason = "error", explain_write_error(error, self.live.folder / EVENTS_FILE)
            except asyncio.CancelledError:
                status, reason = "interrupted", "cancelled"
            if self.remote is not None:
                await self.remote.end()
            self.hub.tell(phase="ending")
            await self.hub.quiet()
            if status not in GOES_ON:
                self.state.unseal()
            ended = self.live.emit(
                ev.SessionEnded(
                    exit_status=status,
                    reason=reason,
                    session=str(self.live.folder.absolute()),
                    steps=self.state.last_step,
                    scores=self.state.final_scores(),
                    totals=self.state.totals(),
                )
            )
            assert isinstance(ended, ev.SessionEnded)
            return ended
        finally:
            early.cancel()  # else it could come when the loop takes no more work
            await self._close()

    async def _close(self) -> None:
        """Stop everything, in an order in which each thing outlives what writes to it, whatever goes wrong."""
        try:
            await self.hub.quiet()
            await self.hub.close()
            with contextlib.suppress(SandboxError, asyncio.CancelledError):
                await self.episode.stop()
            if self.agent is not None:
                with contextlib.suppress(Exception):
                    await self.agent.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self.live.sync()
        finally:
            self.live.close()
            self.hub.tell(phase="ended")
            if self.on_closed is not None:
                await asyncio.to_thread(self.on_closed)

    async def _drive(self) -> tuple[str, str]:
        """Start the sandbox and go round until something ends the session. Returns exit status and reason."""
        self.episode.shell.on_display = self._show
        if self.interactive:
            self.episode.shell.onlooker.on_waiting = self._command_waits
        starting = await self._unless_stopped(self.episode.start(self._cwd))
        if self.controls.stopping is not None:
            return self.controls.stopping
        starting.result()
        await self.hub.offer(self.wheel)
        if self.agent is not None:
            await self.agent.enter(self.episode.sandbox, self.state, self._show_beside)
        close_open_step(self.live)
        window = self.state.current.window
        if window is not None and self.state.last_step:
            inside = self.state.relative_path(window.path)
            path = window.path if inside is None else f"{self.episode.sandbox.workspace}/{inside}"
            await self.episode.reopen_window(path, window.current_line or window.first_line)
        while True:
            outcome = await self._turn()
            if outcome is not None:
                return outcome

    def _show(self, data: bytes) -> None:
        self.controls.sign_of_life = time.monotonic()
        self.live.show(data)

    def _show_beside(self, data: bytes) -> None:
        """Output of what runs beside the shell: not between the lines of a person who has that."""
        if self.episode.shell.driven_by_person:
            self._beside += data
            del self._beside[:-_BESIDE]
        else:
            waiting, self._beside = bytes(self._beside), bytearray()
            self._show(waiting + data)

    async def _turn(self) -> tuple[str, str] | None:
        """One round of the loop. Returns how the session ended, or None to go on."""
        if self.controls.stopping is not None:
            return self.controls.stopping
        if self.episode.submitted:
            return "submitted", ""
        if self.state.mode == "human":
            over = self._over if self.agent is None else None
            await TakeOver(self.hub, self.live, self.episode, self.controls, over, self.interactive).drive()
            return None
        if (reached := self._over()) is not None:
            if self.remote is not None and reached[0] != "max_time":
                await self.remote.settle()
            return await self._autosubmit(*reached)
        if self.controls.holding:
            await self._wait_in("waiting")
            return None
        if self.agent is None or self.controls.proposer is None:
            await self._hand_turn()
            return None
        if left_open(self.state):
            await self._decide(self.state.last_step, self.agent)
            return None
        dropped, remote = dropped_by(self.agent, self.state), self.remote
        try:
            self.hub.tell(phase="proposing")
            if dropped is not None and remote is None:
                proposal: Proposal | None = proposed_again(dropped)
            else:
                with self.controls.proposer.until_time_is_over():
                    proposal = await self.controls.proposer.ask()
        except ActionsExhausted as error:
            if error.cause:
                return await self._autosubmit(error.cause, str(error))
            return await self._settled() or ("actions_exhausted", str(error))
        except ModelError as error:
            return await self._model_failed(error)
        if proposal is None:
            return None  # a take-over, a stop, or the end of the session's time broke the call off
        step = self.state.last_step + 1
        proposed = ev.ActionProposed(
            step=step,
            author=proposal.author or self.agent.author,
            thought=proposal.thought,
            action=proposal.action,
            remark=proposal.remark,
            answer=proposal.answer,
            conversation=proposal.conversation,
        )
        self.live.emit(proposed)
        again = dropped is not None and dropped.proposed_again
        if dropped is not None and again and (remote is None or remote.can_hold(dropped)):
            edit_again(self.live, dropped, step, self.controls.user)
        self.controls.proposer.apply_change()
        if not again:
            self._mind_repetition(self.agent)
        await self._decide(step, self.agent)
        return None

    def _over(self) -> tuple[str, str] | None:
        """The limit that is reached, and why; None when none is."""
        return exceeded(self.state, self.live.clock.working, human=self.agent is None)

    async def _decide(self, step: int, agent: Agent) -> None:
        """Have the proposal of a step reviewed, and run it unless it is rejected."""
        known = step == self.state.breakpoint_hit  # it was hit before the session went on
        asked = "" if known else self._mind_breakpoints(step, over=False)
        if self.controls.stopping is not None and left_open(self.state):
            return
        remote = self.remote
        released = remote is not None and remote.agent.proposed(step)
        decision = Decision("run") if released else await self._review(asked)
        if decision.kind == "reject":
            self.live.emit(ev.ActionRejected(step=step, author=decision.author, comment=decision.comment))
            if remote is not None:
                remote.reject(step)
        elif remote is not None:
            remote.let_go(step)
        else:
            await self._execute(step)
            self._mind_breakpoints(step, over=True)
        if remark := agent.comment(self.state):
            self.live.emit(ev.NoteAdded(text=remark, step=step))
        await self.live.sync()

    async def _autosubmit(self, cause: str, reason: str) -> tuple[str, str]:
        """Score what is there and end the session for `cause`; a stop meanwhile comes first."""
        if (other := await self._settled()) is not None:
            return other
        scoring = await self._unless_stopped(self.episode.score("autosubmit", self.state.last_step))
        try:
            return self.controls.stopping or (autosubmission(cause, scoring.result()), reason)
        except SandboxError as error:
            return "error", f"{reason}, and the last score could not be had: {error}"

    async def _settled(self) -> tuple[str, str] | None:
        """No step follows: wait for a submission in the background. How the session ended by it, or by a stop."""
        self.hub.tell(phase="scoring")
        await self._unless_stopped(self.episode.settle())
        return self.controls.stopping or (("submitted", "") if self.episode.submitted else None)

    async def _unless_stopped(self, work: Coroutine[object, object, T]) -> asyncio.Future[T]:
        """Do something that is waited for; it is broken off when the session is to stop."""
        doing = asyncio.ensure_future(work)
        try:
            while not doing.done() and self.controls.stopping is None:
                await self.hub.news({doing})
            return doing
        finally:
            if doing.cancel():
                await asyncio.wait({doing})

    async def _model_failed(self, error: ModelError) -> tuple[str, str] | None:
        """A person decides what to do about it; where there is none, the session ends."""
        self.live.emit(ev.ModelFailed(cause=error.cause, message=str(error)))
        reason = f"{error.cause}: {error}"
        if not self.interactive:
            return await self._autosubmit(FAILURES.get(error.cause, "exit_api"), reason)
        self.hub.tell(problem=reason)
        self.controls.hold()
        self.controls.set_mode("paused", author="", reason=reason)
        return None

    # -- review ---------------------------------------------------------------------------------------------

    def _mind_repetition(self, agent: Agent) -> None:
        """Do about an agent that repeats itself what its configuration says."""
        if agent.loops == "off" or not (what := repetition(self.state)):
            return
        text = f"the agent repeats itself: {what}"
        self.live.emit(ev.NoteAdded(text=text, step=self.state.last_step))
        self.hub.tell(problem=text)
        if agent.loops == "pause" and self.interactive:
            self.controls.pause(text, author="")
        elif agent.loops != "warn":  # where nobody could go on with it, a pause would last for ever
            self.live.emit(ev.MessageInjected(author="", text=f"you repeat yourself: {what}. Try something else."))

    def _mind_breakpoints(self, step: int, *, over: bool = False, running: Running | None = None) -> str:
        """Do what the breakpoints say that hold for a step. Returns why it needs approval, where one of them asks."""
        return mind(self.controls, step, over=over, running=running, interactive=self.interactive)

    def _ask(self, asked: str) -> Decision | None:
        """Whether the proposal needs approval, in `asking`. Where nobody could give it, it is rejected."""
        reason = asked or self.approval.why_ask(self.state)
        if reason and not self.interactive:
            return Decision("reject", "policy:approval", f"it needs approval, and nobody is there to give it: {reason}")
        if reason and self.state.mode == "auto":
            self.live.emit(ev.NoteAdded(text=f"waits for approval: {reason}", step=self.state.last_step))
            self.hub.tell(problem=f"your approval: {reason}")
        self.hub.tell(asking=reason)
        return None

    async def _review(self, asked: str = "") -> Decision:
        """Run at once in auto mode (after `delay`), unless it needs approval; else wait for somebody's decision, with
        the clock paused.
        """
        self.controls.decision = self._ask(asked)
        self.hub.tell(phase="review")
        loop = asyncio.get_running_loop()
        due = loop.time() + self.status.delay
        try:
            while True:
                if self.controls.stopping is not None:
                    return Decision("reject", "", f"the session was {self.controls.stopping[0]}")
                if self.controls.decision is not None:
                    return self.controls.decision
                if self.state.mode == "human":
                    return Decision("reject", "", f"dropped: {self.controls.user.partition(':')[2]} took over")
                if self.state.mode == "auto" and not self.status.asking:
                    left = due - loop.time()
                    if left <= 0:
                        return Decision("run")
                    await self.hub.news(time_limit=left)
                else:
                    if self.live.clock.pause():
                        self.live.emit(ev.ClockPaused(reason=self.controls.why or "review"))
                    await self.hub.news()
        finally:
            if self.controls.sampler is not None:
                await self.controls.sampler.stop()
            if self.status.asking:
                self.hub.tell(asking="", problem="")
            if self.live.clock.resume():
                self.live.emit(ev.ClockResumed(reason="review"))

    # -- execute -----------------------------------------------------------------------------------------------------

    async def _execute(self, number: int) -> None:
        """Run the action of a step as it stands after review, and log what came of it."""
        self.hub.tell(phase="executing", asks_input=False)
        from workbench.runner.cockpit import Cockpit

        cockpit = Cockpit(
            self.hub, self.episode, number, lambda step, running: self._mind_breakpoints(step, running=running)
        )
        try:
            await self.episode.carry_out(number)
        finally:
            cockpit.stop()
        await cockpit.end()

    async def _hand_turn(self) -> None:
        """No agent: wait for a person's action, or for a take-over."""
        await self._wait_in("waiting")
        action, self.controls.hand_action = self.controls.hand_action, None
        if action is None or self.controls.stopping is not None:
            return
        step = self.state.last_step + 1
        self.live.emit(ev.ActionProposed(step=step, author=self.controls.user, action=action))
        await self._execute(step)
        await self.live.sync()

    def _command_waits(self, program: str) -> None:
        """Somebody who looks on may take over and answer."""
        if program:
            self.hub.tell(problem=f"{program}{_WAITS}", asks_input=True)
        elif self.status.problem.endswith(_WAITS):
            self.hub.tell(problem="")
        self.hub.wake()

    # -- waiting -----------------------------------------------------------------------------------------------------

    async def _wait_in(self, phase: Phase) -> None:
        """Stand still in `phase`, with the clock paused, until something is asked for."""
        self.hub.tell(phase=phase)
        paused = self.live.clock.pause()
        if paused:
            self.live.emit(ev.ClockPaused(reason=self.controls.why or phase))
        try:
            await self.hub.news()
        finally:
            if paused and self.live.clock.resume():
                self.live.emit(ev.ClockResumed(reason=phase))
