"""What a person (or a program) can do to a running session."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

import msgspec

from workbench.agents.agent import Agent, ModelError
from workbench.environment.episode import Episode
from workbench.environment.limits import changed_limits
from workbench.isolation.spec import SandboxError
from workbench.runner.hub import Hub
from workbench.runner.proposing import Change, Proposer
from workbench.runner.sampling import MOST, Sampler
from workbench.sandbox.shell import ShellBusy
from workbench.session import commands as do
from workbench.session import events as ev
from workbench.session.commands import Command, Outcome
from workbench.session.events import Mode
from workbench.session.log import LogError

ANSWER_STOPPED = "the answer was stopped; what came of it is kept"


@dataclass(frozen=True)
class Decision:
    """What becomes of the proposal under review."""

    kind: Literal["run", "reject"]
    author: str = ""
    comment: str = ""


class Controls:
    """Carries out what a person (or a program) wants of a running session. All calls but `hand_back` are cheap."""

    def __init__(self, hub: Hub, episode: Episode, agent: Agent | None, *, user: str) -> None:
        self.hub = hub
        self.live = hub.live
        self.state = hub.state
        self.episode = episode
        self.agent = agent
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
            done = _METHODS[type(command)](self, **msgspec.structs.asdict(command))
        except (ModelError, SandboxError, LogError, ValueError) as error:
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
        if self.mode == "human":
            return
        self._let_go()
        self.set_mode("step")
        if self.hub.status.phase == "review":
            self._decide(Decision("run", self.user))

    def continue_(self) -> None:
        """Let the agent drive until something stops it."""
        if self.mode == "human":
            return
        self._let_go()
        self.set_mode("auto")
        if self.hub.status.phase == "review":
            self._decide(Decision("run", self.user))

    def pause(self, reason: str = "", *, author: str | None = None) -> None:
        """Stop at the next review. A running command finishes. `author`: who wants it, by default the person."""
        if self.mode != "human":
            self.set_mode("paused", author=author, reason=reason)

    def hold(self) -> None:
        """Ask the agent nothing before somebody says so."""
        self.holding = True

    def _let_go(self) -> None:
        if self.holding:
            self.holding = False
            self.hub.tell(problem="")

    def run_proposal(self) -> None:
        """Run the proposal under review; the mode stays as it is."""
        if self.hub.status.phase == "review":
            self._decide(Decision("run", self.user))

    def edit(self, action: str, *, thought: str | None = None, told: bool | None = None) -> bool:
        """Replace the proposed action, and the thought where one is given; the original stays in the log. False when
        none is under review.

        `told`: whether the model is told that it was; None leaves it to the agent's configuration.
        """
        step = self.state.current
        if not self._reviewing:
            return False
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
        name = self.state.model if chat is None else chat.name
        changed = ev.AgentChanged(model=name, base_url=base_url, temperature=temperature, author=self.user)
        self.proposer.change(Change(chat, changed))

    def reject(self, comment: str = "") -> bool:
        """The proposal will not run; the agent reads the comment. False when none is under review."""
        if self.hub.status.phase != "review":
            return False
        self._decide(Decision("reject", self.user, comment))
        return True

    def inject(self, text: str) -> None:
        """Tell the agent something; it reads it before its next proposal."""
        self.live.emit(ev.MessageInjected(author=self.user, text=text))

    def raise_limits(
        self,
        *,
        steps: int | None = None,
        seconds: float | None = None,
        cost: float | None = None,
        tokens: int | None = None,
        remove: Collection[str] = (),
    ) -> None:
        """New limits for the whole session; what is left out stays as it is, what is in `remove` is no limit any more.
        They count before the next call or step.

        Raises ValueError for a limit that is no finite number over 0.
        """
        changed = changed_limits(self.state.limits, remove, steps=steps, seconds=seconds, cost=cost, tokens=tokens)
        if changed != self.state.limits:
            self.live.emit(ev.LimitsChanged(limits=changed, author=self.user))
        self.hub.wake()

    def act(self, action: str) -> bool:
        """A person's own action, where no agent proposes any. False when an agent does, or a command runs."""
        if self.agent is not None or self.hub.status.phase != "waiting":
            return False
        self.hand_action = action
        self.hub.wake()
        return True

    def take_over(self, columns: int, rows: int) -> None:
        """Give the shell to the person, as soon as the running command is over: one that waits for input, they can
        answer. A proposal under review is dropped.
        """
        if self.mode == "human":
            return
        self.take_over_size = (columns, rows)
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
            self.episode.shell.send_keys(data)

    def resize(self, columns: int, rows: int) -> None:
        """The person's terminal pane changed its size, in take-over."""
        self.take_over_size = (columns, rows)
        if self.hub.status.phase == "human":
            self.episode.shell.resize(columns, rows)
            self.live.cast.resize(columns, rows)

    def hold_output(self, hold: bool) -> None:
        """Hold the shell's output back, or let it come again."""
        self.episode.shell.hold_output(hold)

    def interrupt(self) -> bool:
        """Stop the running command (INT, then TERM, then KILL); the session goes on. Or stop the answer that the model
        gives, or that is waited for: what came of it is kept, and the session pauses. False when there is neither.
        """
        if self.hub.status.phase == "proposing" and self.proposer is not None:
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
        self.hub.spawn(self.episode.score("validate", self.state.last_step, visible_to_agent=False))
        return True

    def stop(self, exit_status: str = "stopped", reason: str = "") -> None:
        """End the session, saved: a running command is interrupted, a pending model call cancelled."""
        if self.stopping is None:
            self.stopping = (exit_status, reason)
        if self.proposer is not None:
            self.proposer.cancel()
        if self.hub.status.phase == "executing":
            self.hub.spawn(self.episode.shell.interrupt())
        self.hub.wake()

    def _decide(self, decision: Decision) -> None:
        self.decision = decision
        self.hub.wake()


_METHODS: dict[type[Command], Callable[..., object]] = {
    do.Step: Controls.step,
    do.Continue: Controls.continue_,
    do.Pause: Controls.pause,
    do.RunProposal: Controls.run_proposal,
    do.Edit: Controls.edit,
    do.Reject: Controls.reject,
    do.Resample: Controls.resample,
    do.StopSampling: Controls.stop_sampling,
    do.Choose: Controls.choose,
    do.ChangeModel: Controls.change_model,
    do.Tell: Controls.inject,
    do.ChangeLimits: Controls.raise_limits,
    do.Act: Controls.act,
    do.TakeOver: Controls.take_over,
    do.SendKeys: Controls.send_keys,
    do.Resize: Controls.resize,
    do.Interrupt: Controls.interrupt,
    do.Validate: Controls.validate,
    do.HoldOutput: Controls.hold_output,
    do.Stop: Controls.stop,
}
"""Each takes the fields of its command."""


def _check_temperature(temperature: float | None) -> None:
    if temperature is not None and not 0 <= temperature <= 2:
        raise ValueError(f"a temperature is a number from 0 to 2, and not {temperature:g}")
