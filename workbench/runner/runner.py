"""The step loop: propose, review, execute, observe, check.

One coroutine per session (`Runner.run`), steered by its `Controls`, which screens, signal handlers and tests call on
the same event loop. Each decision is an event with its author. Nothing here knows a screen.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from workbench.agents.agent import ActionsExhausted, Agent, ModelError
from workbench.environment.episode import Episode
from workbench.environment.limits import autosubmission, exceeded
from workbench.environment.live import LiveSession
from workbench.environment.steps import carry_out, finish
from workbench.isolation.spec import SandboxError
from workbench.runner.approval import Approval, Never
from workbench.runner.controls import Controls, Decision
from workbench.runner.hub import Hub
from workbench.runner.loops import repetition
from workbench.runner.proposing import Proposer
from workbench.sandbox.base import AGENT_COLUMNS, AGENT_ROWS
from workbench.sandbox.shell import CommandResult
from workbench.session import events as ev
from workbench.session.log import EVENTS_FILE, LogError, explain_write_error
from workbench.session.status import LiveStatus, Phase

FAILURES = {"bad_format": "exit_format", "context_length": "exit_context", "cost_limit": "exit_cost"}
"""What MLGym calls the end of a session whose model failed for this cause; `exit_api` for all others."""

_WAITS = " waits for input: t takes over to answer it, else it is ended"


class Runner:
    """The loop. `interactive` says that a person is there to decide: then a failing model pauses the session, where a
    headless one ends it. `delay` is how long a proposal is shown in auto mode before it runs, in seconds.
    """

    def __init__(
        self,
        live: LiveSession,
        episode: Episode,
        agent: Agent | None,
        *,
        user: str,
        interactive: bool = False,
        delay: float = 0.0,
        cwd: str | None = None,
        approval: Approval | None = None,
    ) -> None:
        status = LiveStatus(
            has_agent=agent is not None,
            asks_model=agent is not None and agent.asks_model,
            temperature=agent.sampling.temperature if agent is not None else None,
            tells_edits=agent.tells_edits if agent is not None else None,
            delay=delay,
        )
        self.hub = Hub(live, status)
        self.controls = Controls(self.hub, episode, agent, user=user)
        self.live = live
        self.state = live.state
        self.episode = episode
        self.agent = agent
        self.interactive = interactive
        self.delay = delay
        episode.on_progress = lambda text: self.hub.tell(progress=text)
        self.approval = approval or Never()
        self._cwd = cwd
        self.on_closed: Callable[[], None] | None = None
        """Called once everything is stopped: removes the run's folder."""
        self._human_settled: asyncio.Queue[int] = asyncio.Queue()
        self._failure: Exception | None = None
        """Why the session can no longer be written, found where it could not be raised."""

    @property
    def status(self) -> LiveStatus:
        """What is true of the session now."""
        return self.hub.status

    async def run(self) -> ev.SessionEnded:
        """Drive the session to its end and return the last event.

        Raises LogError when the session can no longer be written; all that was logged before is safe. Cancelling it
        ends the session as interrupted.
        """
        try:
            try:
                status, reason = await self._drive()
            except SandboxError as error:
                status, reason = "error", error.in_full
            except OSError as error:  # an object or a snapshot could not be stored; a line of the log may still fit
                status, reason = "error", explain_write_error(error, self.live.folder / EVENTS_FILE)
            except asyncio.CancelledError:
                status, reason = "interrupted", "cancelled"
            self.hub.tell(phase="ending")
            ended = self.live.emit(
                ev.SessionEnded(
                    exit_status=status,
                    reason=reason,
                    session=str(self.live.folder.absolute()),
                    steps=self.state.last_step,
                    scores=self.state.final_scores(),
                )
            )
            assert isinstance(ended, ev.SessionEnded)
            return ended
        finally:
            await self._close()

    async def _close(self) -> None:
        """Stop everything, in an order in which each thing outlives what writes to it, whatever goes wrong."""
        try:
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
        self.episode.shell.on_display = self.live.show
        if self.interactive:
            self.episode.shell.onlooker.on_waiting = self._command_waits
        starting = asyncio.ensure_future(self.episode.start(self._cwd))
        while not starting.done():
            await self._wait({starting})
            if self.controls.stopping is not None:
                starting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await starting
                return self.controls.stopping
        await starting
        self._close_open_step()
        window = self.state.current.window
        if window is not None and self.state.last_step:
            inside = self.state.relative_path(window.path)
            path = window.path if inside is None else f"{self.episode.sandbox.workspace}/{inside}"
            await self.episode.reopen_window(path, window.current_line or window.first_line)
        while True:
            outcome = await self._turn()
            if outcome is not None:
                return outcome

    def _close_open_step(self) -> None:
        """A resumed session may have died in the middle of a step: that step is over now."""
        step = self.state.current
        if step.number and step.status == "proposed":
            self.live.emit(ev.ActionRejected(step=step.number, author="", comment="the session was interrupted"))
        elif step.number and step.status == "running":
            self.live.emit(
                ev.ActionFinished(
                    step=step.number,
                    exit_code=None,
                    observation="(the session ended while this command ran; what it printed is in shell.cast)",
                    cwd=step.cwd,
                    interrupted=True,
                )
            )

    async def _turn(self) -> tuple[str, str] | None:
        """One round of the loop. Returns how the session ended, or None to go on."""
        if self.controls.stopping is not None:
            return self.controls.stopping
        if self.episode.submitted:
            return "submitted", ""
        if self.state.mode == "human":
            await self._human_turn()
            return None
        over = exceeded(self.state, self.live.clock.working, human=self.agent is None)
        if over is not None:
            return await self._autosubmit(*over)
        if self.controls.holding:
            await self._wait_in("waiting")
            return None
        if self.agent is None or self.controls.proposer is None:
            await self._hand_turn()
            return None
        try:
            self.hub.tell(phase="proposing")
            with self._until_time_is_over(self.controls.proposer):
                proposal = await self.controls.proposer.ask()
        except ActionsExhausted as error:
            if error.cause:
                return await self._autosubmit(error.cause, f"the recorded session ended so: {error}")
            return await self._settled() or ("actions_exhausted", str(error))
        except ModelError as error:
            return await self._model_failed(error)
        if proposal is None:
            return None  # a take-over, a stop, or the end of the session's time broke the call off
        step = self.state.last_step + 1
        self.live.emit(
            ev.ActionProposed(
                step=step,
                author=self.agent.author,
                thought=proposal.thought,
                action=proposal.action,
                remark=proposal.remark,
            )
        )
        self.controls.proposer.apply_change()
        self._mind_repetition(self.agent)
        decision = await self._review()
        if decision.kind == "reject":
            self.live.emit(ev.ActionRejected(step=step, author=decision.author, comment=decision.comment))
        else:
            await self._execute(step)
        if remark := self.agent.comment(self.state):
            self.live.emit(ev.NoteAdded(text=remark, step=step))
        await self.live.sync()
        return None

    @contextlib.contextmanager
    def _until_time_is_over(self, proposer: Proposer) -> Iterator[None]:
        """Break a model call off when the session's time is over, which may change meanwhile; what came is kept."""

        loop = asyncio.get_running_loop()
        timer: asyncio.Handle

        def look() -> None:
            nonlocal timer
            limit = self.state.limits.seconds
            left = 1.0 if limit is None else limit - self.live.clock.working
            if left <= 0:
                proposer.cancel()
            timer = loop.call_later(min(1.0, max(0.05, left)), look)

        timer = loop.call_soon(look)
        try:
            yield
        finally:
            timer.cancel()

    async def _autosubmit(self, cause: str, reason: str) -> tuple[str, str]:
        """Score what is there and end the session for `cause`; a stop meanwhile comes first."""
        if (other := await self._settled()) is not None:
            return other
        scoring = asyncio.ensure_future(self.episode.score("autosubmit", self.state.last_step))
        try:
            while not scoring.done() and self.controls.stopping is None:
                await self._wait({scoring})
            return self.controls.stopping or (autosubmission(cause, scoring.result()), reason)
        except SandboxError as error:
            return "error", f"{reason}, and the last score could not be had: {error}"
        finally:
            if scoring.cancel():
                await asyncio.wait({scoring})

    async def _settled(self) -> tuple[str, str] | None:
        """No step follows: wait for a submission in the background. How the session ended by it, or by a stop."""
        self.hub.tell(phase="scoring")
        settling = asyncio.ensure_future(self.episode.settle())
        try:
            while not settling.done() and self.controls.stopping is None:
                await self._wait({settling})
        finally:
            if settling.cancel():
                await asyncio.wait({settling})
        return self.controls.stopping or (("submitted", "") if self.episode.submitted else None)

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

    def _ask(self) -> Decision | None:
        """Whether the proposal needs approval, in `asking`. Where nobody could give it, it is rejected."""
        reason = self.approval.why_ask(self.state)
        if reason and not self.interactive:
            return Decision("reject", "policy:approval", f"it needs approval, and nobody is there to give it: {reason}")
        if reason and self.state.mode == "auto":
            self.live.emit(ev.NoteAdded(text=f"waits for approval: {reason}", step=self.state.last_step))
            self.hub.tell(problem=f"your approval: {reason}")
        self.hub.tell(asking=reason)
        return None

    async def _review(self) -> Decision:
        """Run at once in auto mode (after `delay`), unless it needs approval; else wait for somebody's decision, with
        the clock paused.
        """
        self.controls.decision = self._ask()
        self.hub.tell(phase="review")
        loop = asyncio.get_running_loop()
        due = loop.time() + self.delay
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
                    await self._wait(time_limit=left)
                else:
                    if self.live.clock.pause():
                        self.live.emit(ev.ClockPaused(reason="review"))
                    await self._wait()
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
        await carry_out(self.live, self.episode, number)

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

    # -- take-over ---------------------------------------------------------------------------------------------------

    async def _human_turn(self) -> None:
        """The person drives until the shell is handed back, the session is stopped, or something is submitted."""
        began = 0.0
        current = 0

        def started(text: str) -> None:
            nonlocal began, current
            with self._failing_later():
                current = self.state.last_step + 1
                self.episode.begin_step(current)
                began = self.live.clock.elapsed
                self.live.emit(ev.ActionProposed(step=current, author=self.controls.user, action=text))
                self.live.emit(ev.ActionStarted(step=current, author=self.controls.user, action=text))

        def finished(text: str, result: CommandResult) -> None:
            with self._failing_later():
                finish(self.live, self.episode, current, result, began, self.live.clock.elapsed)
                self._human_settled.put_nowait(current)
            self.hub.wake()

        columns, rows = self.controls.take_over_size
        self.live.cast.resize(columns, rows)
        await self.episode.shell.take_over(columns, rows, on_command_started=started, on_command_finished=finished)
        self.hub.tell(phase="human")
        while self.state.mode == "human" and self.controls.stopping is None and not self.episode.submitted:
            await self._wait()
            await self._settle_human_steps()
        if self.state.mode == "human":
            await self.episode.shell.hand_back(force=True)
        await self._settle_human_steps()
        self.live.cast.resize(AGENT_COLUMNS, AGENT_ROWS)

    @contextlib.contextmanager
    def _failing_later(self) -> Iterator[None]:
        """In a callback of the shell: the loop raises what is caught here (disk full) when it wakes up."""
        try:
            yield
        except (LogError, OSError) as error:
            self._failure = self._failure or error
            self.hub.wake()

    async def _settle_human_steps(self) -> None:
        while not self._human_settled.empty():
            await self.episode.snapshot(self._human_settled.get_nowait())
            await self.live.sync()

    # -- waiting -----------------------------------------------------------------------------------------------------

    async def _wait_in(self, phase: Phase) -> None:
        """Stand still in `phase`, with the clock paused, until something is asked for."""
        self.hub.tell(phase=phase)
        paused = self.live.clock.pause()
        if paused:
            self.live.emit(ev.ClockPaused(reason=phase))
        try:
            await self._wait()
        finally:
            if paused and self.live.clock.resume():
                self.live.emit(ev.ClockResumed(reason=phase))

    async def _wait(self, also: set[asyncio.Future[Any]] | None = None, *, time_limit: float | None = None) -> None:
        """Until the next control command, or one of `also` is done, or the time is up."""
        await self.hub.news(also or set(), time_limit)
        if self._failure is not None:
            raise self._failure
