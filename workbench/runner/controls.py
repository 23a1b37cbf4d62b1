"""What a person (or a program) can do to a running session."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from typing import Literal

import msgspec

from workbench.agents.agent import Agent, ModelError
from workbench.agents.remote import RemoteAgent
from workbench.environment.best import submittable
from workbench.environment.episode import Episode
from workbench.environment.limits import changed_limits
from workbench.errors import WorkbenchError
from workbench.isolation.spec import SandboxError
from workbench.runner.breakpoints import Breakpoints
from workbench.runner.hub import Hub
from workbench.runner.proposing import Change, Proposer
from workbench.runner.sampling import MOST, Sampler
from workbench.sandbox.shell import ShellBusy
from workbench.session import commands as do
from workbench.session import events as ev
from workbench.session.commands import Breakpoint, Command, Outcome
from workbench.session.events import Mode
from workbench.session.log import LogError

ANSWER_STOPPED = "the answer was stopped; what came of it is kept"


LONGEST_EXTENSION = 7 * 86400.0
"""Seconds."""
IDLE_SECONDS = 600.0
"""Without a key and without output, after which a person who has the shell is asked whether they are there."""


class Decision(msgspec.Struct, frozen=True):
    """What becomes of the proposal under review."""

    kind: Literal["run", "reject"]
    author: str = ""
    comment: str = ""


class Controls:
    """Carries out what a person (or a program) wants of a running session. All calls but `hand_back` are cheap."""

    def __init__(self, hub: Hub, episode: Episode, agent: Agent | None, breakpoints: Breakpoints, *, user: str) -> None:
        self.hub = hub
        self.live = hub.live
        self.state = hub.state
        self.episode = episode
        self.agent = agent
        self.breakpoints = breakpoints
        self.proposer = Proposer(hub, agent) if agent is not None else None
        self.sampler = Sampler(hub, self.proposer) if self.proposer and self._changeable else None
        """Draws alternatives; None for agents that have only one answer."""
        self.user = f"human:{user}"
        self.take_over_size = (80, 24)
        self.decision: Decision | None = None
        """About the proposal under review."""
        self.hand_action: str | None = None
        """A person's own action, where no agent proposes any."""
        self.stopping: tuple[str, str] | None = None
        """Exit status and reason, once the session is to end."""
        self.holding = False
        """The agent is not asked again before somebody says so."""
        self.why = ""
        """Why the person made a pause, until it is over."""
        self.sign_of_life = time.monotonic()
        """When a key was pressed last, or something came out of the shell."""
        self.idle_seconds = IDLE_SECONDS
        self._asking = asyncio.Lock()
        self._answer: asyncio.Future[bool] | None = None

    # -- commands ----------------------------------------------------------------------------------------------------

    async def do(self, command: Command) -> Outcome:
        """Carry out a command of a view. What cannot be done is said in the outcome, never raised.

        Only handing the shell back waits for anything.
        """
        if not isinstance(command, do.HandBack):
            return self.do_now(command)
        try:
            await self.hand_back(force=command.force)
        except ShellBusy as busy:
            return Outcome(done=False, problem=str(busy), busy=True)
        except (SandboxError, LogError) as error:
            return Outcome(done=False, problem=str(error))
        return Outcome()

    def do_now(self, command: Command) -> Outcome:
        """As `do`, at once, for any command but HandBack."""
        try:
            done = _method(self, command)(**msgspec.structs.asdict(command))
        except (WorkbenchError, ValueError) as error:
            return Outcome(done=False, problem=str(error))
        return Outcome(done=done is not False)

    # -- who drives --------------------------------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        return self.state.mode

    def set_mode(self, mode: Mode, *, author: str | None = None, reason: str = "") -> None:
        """Change who drives. Logged when it is a change."""
        if mode != self.state.mode:
            self.live.emit(ev.ControlChanged(mode=mode, author=self.user if author is None else author, reason=reason))
        self.hub.wake()

    def step(self) -> None:
        """Run the proposal under review, or get one; then stop again."""
        self._go("step")

    def continue_(self) -> None:
        """Let the agent drive until something stops it."""
        self._go("auto")

    def _go(self, mode: Mode) -> None:
        if self.mode != "human":
            self._let_go()
            self.set_mode(mode)
            self.run_proposal()

    def pause(self, reason: str = "", *, author: str | None = None) -> None:
        """Stop at the next review. A running command finishes. `author`: who wants it, by default the person."""
        if self.mode != "human":
            if reason and author is None:
                self.why = reason
                if self.live.clock.paused:  # it stands still already: now it says why
                    self.live.emit(ev.ClockPaused(reason=reason))
            self.set_mode("paused", author=author, reason=reason)

    async def ask(self, question: str) -> bool:
        """Ask the person something. One question at a time; the end of the session is a no."""
        async with self._asking:
            self._answer = asyncio.get_running_loop().create_future()
            self.hub.tell(question=question)
            try:
                return await self._answer
            finally:
                self.hub.tell(question="")

    def answer(self, yes: bool) -> bool:
        """Answer what was asked. False when nothing is."""
        if self._answer is None or self._answer.done():
            return False
        self._answer.set_result(yes)
        self.hub.wake()
        return True

    async def ask_who_drives(self, question: str) -> bool:
        """As `ask`, where a person runs what is run now; else no."""
        return (self.agent is None or self.mode == "human") and await self.ask(question)

    def hold(self) -> None:
        """Ask the agent nothing before somebody says so."""
        self.holding = True

    def _let_go(self) -> None:
        self.why = ""
        if self.holding:
            self.holding = False
            self.hub.tell(problem="")
            self.hub.wake()

    def run_proposal(self) -> None:
        """Run the proposal under review; the mode stays as it is."""
        if self.hub.status.phase == "review":
            self._decide(Decision("run", self.user))

    def edit(self, action: str, *, thought: str | None = None, told: bool | None = None) -> bool:
        """Replace the proposed action, and the thought where one is given; the original stays in the log. False when
        none is under review.

        `told`: whether the model is told that it was; None leaves it to the agent's configuration. Raises ValueError
        where the answer of an agent program cannot say that.
        """
        step = self.state.current
        if not self._reviewing:
            return False
        if isinstance(self.agent, RemoteAgent):
            self.agent.check(step, step.thought if thought is None else thought, action)
        rethought = thought is not None and thought != step.thought
        if action != step.action or rethought or (step.edited and told != step.edit_told):
            self.live.emit(
                ev.ActionEdited(
                    step=step.number,
                    author=self.user,
                    before=step.action,
                    after=action,
                    thought_before=step.thought if rethought else None,
                    thought_after=thought if rethought else None,
                    told=told,
                )
            )
            self.hub.wake()
        return True

    @property
    def _changeable(self) -> Agent | None:
        """The agent, where it is one around a chat model: with alternatives, and perhaps with another model."""
        return self.agent if self.agent is not None and self.agent.asks_model else None

    @property
    def _reviewing(self) -> bool:
        return self.hub.status.phase == "review" and self.state.current.status == "proposed"

    def resample(self, count: int = 3, *, temperature: float | None = None) -> bool:
        """Ask the agent for alternatives to the proposal under review, one after the other; it can be chosen among them
        as they come. False when none is under review, the agent has but one answer, or some are on their way already.

        `temperature`: for these alone; None leaves it as it is. An agent that drives by itself waits for the choice.
        Raises ValueError for a number that cannot be.
        """
        if not 1 <= count <= MOST:
            raise ValueError(f"the number of alternatives must be from 1 to {MOST}, and not {count}")
        _check_temperature(temperature)
        if self.sampler is None or not self._reviewing or self.sampler.running:
            return False
        if self.mode == "auto" and not self.hub.status.asking:
            self.pause("asking for alternatives")
        self.sampler.start(count, temperature)
        return True

    def stop_sampling(self) -> None:
        """No more alternatives; what has come stays."""
        if self.sampler is not None and self.sampler.running:
            self.hub.spawn(self.sampler.stop())

    def choose(self, alternative: int) -> bool:
        """Put an alternative in the place of the proposal under review (0: what was proposed first); nothing runs yet.
        Those still on their way are broken off. False when there is no such choice.
        """
        step = self.state.current
        wanted = step.alternatives.get(alternative)
        if not self._reviewing or wanted is None or wanted.action is None:
            return False
        self.stop_sampling()
        if alternative != step.chosen:
            self.live.emit(ev.ActionChosen(step=step.number, alternative=alternative, author=self.user))
            self.hub.wake()
        return True

    def change_model(self, model: str, *, base_url: str = "", temperature: float | None = None) -> None:
        """Ask another model from the next call on, or the same one at another temperature (None: as the provider has
        it). A call under way is let finish, unless nothing of its answer has come yet.

        Raises ModelError or ValueError, in a sentence, when that cannot be; then nothing is changed.
        """
        agent = self._changeable
        if self.proposer is None or agent is None:
            raise ModelError("error", "this agent asks no model that could be changed")
        _check_temperature(temperature)
        if self.hub.status.phase in ("ending", "ended"):
            raise ModelError("error", "the session is over")
        same = (model, base_url) == (self.state.model, self.state.base_url)
        if same and temperature == agent.sampling.temperature:
            return
        from workbench.agents.models.catalogue import make_model

        chat = None if same else make_model(model, base_url=base_url or None)
        if chat is not None:
            agent.check_model(chat)
        name = self.state.model if chat is None else chat.name
        changed = ev.AgentChanged(model=name, base_url=base_url, temperature=temperature, author=self.user)
        self.proposer.change(Change(chat, changed))

    def reject(self, comment: str = "") -> bool:
        """The proposal will not run; the agent reads the comment. False when none is under review."""
        if self.hub.status.phase != "review":
            return False
        self._decide(Decision("reject", self.user, comment))
        return True

    def tell(self, text: str) -> None:
        """Tell the agent something; it reads it before its next proposal. Raises ValueError where it cannot."""
        if isinstance(self.agent, RemoteAgent):
            raise ValueError("an agent program reads its model's answers alone: edit one, or reject it with a comment")
        self.live.emit(ev.MessageInjected(author=self.user, text=text))

    def change_limits(self, *, remove: Collection[str] = (), **limits: float | None) -> None:
        """New limits for the whole session, by their names; what is left out stays as it is, what is in `remove` is no
        limit any more. They count before the next call or step.

        Raises ValueError for a limit that is no finite number over 0.
        """
        changed = changed_limits(self.state.limits, remove, **limits)
        if changed != self.state.limits:
            self.live.emit(ev.LimitsChanged(limits=changed, author=self.user))
            self.episode.time.renew()
        self.hub.wake()

    def extend(self, seconds: float) -> bool:
        """Let the running command take longer than its limit; where it needs that, the session too. False when none
        runs. Raises ValueError for what is no time.
        """
        if not 0 < seconds <= LONGEST_EXTENSION:
            raise ValueError("a command is given from a second to a week more")
        if self.hub.status.phase != "executing":
            return False
        time = self.episode.time
        before = time.limit
        if (needed := time.extend(seconds)) is not None:
            self.change_limits(seconds=needed)
        step = self.state.last_step
        self.live.emit(ev.ActionExtended(step=step, author=self.user, seconds=time.limit - before, limit=time.limit))
        self.hub.tell(time_limit=time.limit)
        return True

    def act(self, action: str, thought: str = "") -> bool:
        """A person's own action, or answer to an agent program. False when none is waited for. Raises ValueError."""
        if isinstance(self.agent, RemoteAgent):
            if answered := self.agent.answer(thought, action, self.user):
                self._let_go()
            return answered
        if self.agent is not None or self.hub.status.phase != "waiting":
            return False
        self.hand_action, self.why = action, ""
        self.hub.wake()
        return True

    def take_over(self, columns: int, rows: int) -> None:
        """Give the shell to the person, as soon as the running command is over: one that waits for input, they can
        answer. A proposal under review comes again when the shell is handed back.
        """
        if self.mode == "human":
            return
        if not self.episode.has_shell:
            raise SandboxError("the agent runs elsewhere: there is no shell to take over")
        self.take_over_size, self.why = _usable(columns, rows), ""
        self.sign_of_life = time.monotonic()
        self.set_mode("human")
        self.episode.shell.onlooker.attend(True)
        if self.proposer is not None:
            self.proposer.cancel()

    async def hand_back(self, *, force: bool = False) -> None:
        """Give the shell back.

        Raises ShellBusy when a program of the person still runs in it, unless `force`: then it is interrupted.
        """
        if self.mode != "human":
            return
        if self.hub.status.phase == "human":
            await self.episode.shell.hand_back(force=force)
        self.episode.shell.onlooker.attend(False)
        self.set_mode(self.state.mode_before_human if self.agent is not None else "paused")

    def send_keys(self, data: bytes) -> None:
        """What the person types, in take-over; a running command that waits for input gets it at once."""
        if self.mode == "human":
            self.sign_of_life = time.monotonic()
            self.episode.shell.send_keys(data)

    def resize(self, columns: int, rows: int) -> None:
        """The person's terminal pane changed its size, in take-over."""
        before, self.take_over_size = self.take_over_size, _usable(columns, rows)
        if self.hub.status.phase == "human" and self.take_over_size != before:
            self.episode.shell.resize(*self.take_over_size)
            self.live.cast.resize(*self.take_over_size)

    def hold_output(self, hold: bool) -> None:
        """Hold the shell's output back, or let it come again."""
        self.episode.shell.hold_output(hold)

    def interrupt(self) -> bool:
        """Stop the running command (INT, then TERM, then KILL); the session goes on. Or stop the answer that the model
        gives, or that is waited for: what came of it is kept, and the session pauses. False when there is neither.
        """
        if self.hub.status.phase == "proposing" and self.proposer is not None:
            if isinstance(self.agent, RemoteAgent) and not self.agent.interrupt():
                return False
            if not self.proposer.cancel():
                return False
            self.hold()
            self.hub.tell(problem=ANSWER_STOPPED)
            self.set_mode("paused", reason=ANSWER_STOPPED)
            return True
        if self.hub.status.phase not in ("executing", "human"):
            return False
        self.hub.spawn(self.episode.shell.interrupt())
        return True

    def validate(self) -> bool:
        """Score the artifact as it is now, for the person alone. False while a command runs."""
        if self.hub.status.phase not in ("review", "waiting", "human"):
            return False
        mine = self.agent is None
        if mine and (problem := self.episode.used_up()):
            raise ValueError(problem)
        last = self.state.last_step
        self.hub.spawn(self.episode.score("validate", last, visible_to_agent=mine, author=self.user))
        return True

    def submit_best(self) -> bool:
        """Hand in the best of what was validated: the session ends with it. False while a command runs."""
        if self.hub.status.phase not in ("review", "waiting", "human"):
            return False
        if not submittable(best := self.state.best_score()):
            raise ValueError("nothing was validated that could be submitted")
        self.hub.spawn(self._submit(best))
        return True

    async def _submit(self, entry: ev.ScoreRecorded | None) -> None:
        scored = await self.episode.score("submit", self.state.last_step, author=self.user, instead=entry)
        if scored.verdict == "ok":
            self.stop("submitted")
        else:
            self.hub.tell(problem=f"nothing was submitted: {scored.verdict}: {scored.message}")

    def set_breakpoints(self, breakpoints: Iterable[Breakpoint]) -> None:
        """These, in the place of those before. Raises FilterError."""
        self.breakpoints.put(breakpoints)

    def stop(self, exit_status: str = "stopped", reason: str = "") -> None:
        """End the session, saved: a running command is interrupted, a pending model call cancelled."""
        if self.stopping is None:
            self.stopping = (exit_status, reason)
        self.answer(False)
        if self.proposer is not None:
            self.proposer.cancel()
        if self.hub.status.phase == "executing":
            self.hub.spawn(self.episode.shell.interrupt())
        self.hub.wake()

    def _decide(self, decision: Decision) -> None:
        self.decision, self.why = decision, ""
        self.hub.wake()


def _usable(columns: int, rows: int) -> tuple[int, int]:
    """A size that a shell is of use in, whatever a view asks for."""
    return max(20, columns), max(5, rows)


def _method(controls: Controls, command: Command) -> Callable[..., object]:
    """What carries a command out bears its name, and takes its fields."""
    name = str(command.__struct_config__.tag).replace("-", "_")
    return controls.continue_ if name == "continue" else getattr(controls, name)


def _check_temperature(temperature: float | None) -> None:
    if temperature is not None and not 0 <= temperature <= 2:
        raise ValueError(f"a temperature is a number from 0 to 2, and not {temperature:g}")
