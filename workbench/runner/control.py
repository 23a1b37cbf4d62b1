"""What a person (or a program) can do to a running session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Literal

from workbench.agents.agent import Agent
from workbench.environment.episode import Episode
from workbench.environment.limits import changed_limits
from workbench.environment.live import LiveSession
from workbench.runner.proposing import Proposer
from workbench.session import events as ev
from workbench.session.events import Mode

Phase = Literal["starting", "proposing", "review", "executing", "human", "waiting", "scoring", "ending", "ended"]


@dataclass(frozen=True)
class Decision:
    """What becomes of the proposal under review."""

    kind: Literal["run", "reject"]
    author: str = ""
    comment: str = ""


class Control:
    """Everything a person (or a program) can do to a running session. All calls are cheap and never block."""

    def __init__(self, live: LiveSession, episode: Episode, agent: Agent | None, *, user: str) -> None:
        self.live = live
        self.state = live.state
        self.episode = episode
        self.agent = agent
        self.proposer = Proposer(self, agent) if agent is not None else None
        self.user = f"human:{user}"
        self.phase: Phase = "starting"
        self.problem = ""
        """What went wrong last, for the status line; empty when all is well."""
        self.take_over_size = (80, 24)
        self.draft = ""
        """What the model has said so far of the answer that is on its way."""
        self.on_draft: Callable[[], None] | None = None
        self.asking = ""
        """Why the proposal under review waits for approval though the agent drives; empty when it does not."""
        self._decision: Decision | None = None
        self._hand_action: str | None = None
        self._stopping: tuple[str, str] | None = None
        self._mode_before_human: Mode = "step"
        self._hold = False
        self._wake = asyncio.Event()
        self._background: set[asyncio.Task[object]] = set()

    # -- who drives --------------------------------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        return self.state.mode

    def set_mode(self, mode: Mode, *, author: str | None = None, reason: str = "") -> None:
        """Change who drives. Logged when it is a change."""
        if mode != self.state.mode:
            self.live.emit(ev.ControlChanged(mode=mode, author=self.user if author is None else author, reason=reason))
        self._wake.set()

    def step(self) -> None:
        """Run the proposal under review, or get one; then stop again."""
        if self.mode == "human":
            return
        self._hold = False
        self.set_mode("step")
        if self.phase == "review":
            self._decide(Decision("run", self.user))

    def continue_(self) -> None:
        """Let the agent drive until something stops it."""
        if self.mode == "human":
            return
        self._hold = False
        self.set_mode("auto")
        if self.phase == "review":
            self._decide(Decision("run", self.user))

    def pause(self, reason: str = "", *, author: str | None = None) -> None:
        """Stop at the next review. A running command finishes. `author`: who wants it, by default the person."""
        if self.mode != "human":
            self.set_mode("paused", author=author, reason=reason)

    def run_proposal(self) -> None:
        """Run the proposal under review; the mode stays as it is."""
        if self.phase == "review":
            self._decide(Decision("run", self.user))

    def edit(self, action: str, *, told: bool | None = None) -> bool:
        """Replace the proposed action; the original stays in the log. False when none is under review.

        `told`: whether the model is told that it was; None leaves it to the agent's configuration.
        """
        step = self.state.current
        if self.phase != "review" or step.status != "proposed":
            return False
        if action != step.action:
            self.live.emit(
                ev.ActionEdited(step=step.number, author=self.user, before=step.action, after=action, told=told)
            )
            self._wake.set()
        return True

    def reject(self, comment: str = "") -> bool:
        """The proposal will not run; the agent reads the comment. False when none is under review."""
        if self.phase != "review":
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
    ) -> None:
        """New limits for the whole session; what is left out stays as it is. They count before the next call or step.

        Raises ValueError for a limit that is no finite number over 0.
        """
        changed = changed_limits(self.state.limits, steps=steps, seconds=seconds, cost=cost, tokens=tokens)
        if changed != self.state.limits:
            self.live.emit(ev.LimitsChanged(limits=changed, author=self.user))
        self._wake.set()

    def act(self, action: str) -> bool:
        """A person's own action, where no agent proposes any. False when an agent does, or a command runs."""
        if self.agent is not None or self.phase != "waiting":
            return False
        self._hand_action = action
        self._wake.set()
        return True

    def take_over(self, columns: int, rows: int) -> None:
        """Give the shell to the person, as soon as the running command is over. A proposal under review is dropped."""
        if self.mode == "human":
            return
        self.take_over_size = (columns, rows)
        self._mode_before_human = self.mode
        self.set_mode("human")
        if self.proposer is not None:
            self.proposer.cancel()

    async def hand_back(self, *, force: bool = False) -> None:
        """Give the shell back.

        Raises ShellBusy when a program of the person still runs in it, unless `force`: then it is interrupted.
        """
        if self.mode != "human":
            return
        if self.phase == "human":
            await self.episode.shell.hand_back(force=force)
        self.set_mode(self._mode_before_human if self.agent is not None else "paused")

    def send_keys(self, data: bytes) -> None:
        """What the person types, in take-over."""
        if self.phase == "human":
            self.episode.shell.send_keys(data)

    def resize(self, columns: int, rows: int) -> None:
        """The person's terminal pane changed its size, in take-over."""
        self.take_over_size = (columns, rows)
        if self.phase == "human":
            self.episode.shell.resize(columns, rows)
            self.live.cast.resize(columns, rows)

    def interrupt(self) -> bool:
        """Stop the running command (INT, then TERM, then KILL); the session goes on. False when none runs."""
        if self.phase not in ("executing", "human"):
            return False
        self._spawn(self.episode.shell.interrupt())
        return True

    def validate(self) -> bool:
        """Score the artifact as it is now, for the person alone. False while a command runs."""
        if self.phase not in ("review", "waiting", "human"):
            return False
        self._spawn(self.episode.score("validate", self.state.last_step, visible_to_agent=False))
        return True

    def stop(self, exit_status: str = "stopped", reason: str = "") -> None:
        """End the session, saved: a running command is interrupted, a pending model call cancelled."""
        if self._stopping is None:
            self._stopping = (exit_status, reason)
        if self.proposer is not None:
            self.proposer.cancel()
        if self.phase == "executing":
            self._spawn(self.episode.shell.interrupt())
        self._wake.set()

    def _decide(self, decision: Decision) -> None:
        self._decision = decision
        self._wake.set()

    def _spawn(self, work: Coroutine[object, object, object]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[object]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.problem = str(error)
            self._wake.set()
