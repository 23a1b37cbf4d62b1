"""A session whose actions come from outside, one call each: a runner with an agent that waits for its next action."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path

from workbench.agents.agent import Agent, Proposal
from workbench.isolation.spec import SandboxError
from workbench.runner.runner import Runner
from workbench.runner.start import start
from workbench.session import events as ev
from workbench.session.spec import SessionSpec
from workbench.session.state import SessionState, Step


class PolicyAgent(Agent):
    """Proposes the actions that a policy gives it. Steps are signed `policy:<name>`."""

    def __init__(self, policy: str) -> None:
        self.name = policy
        self.model = self.author = f"policy:{policy}"
        self.asked = asyncio.Event()
        """The runner waits for an action."""
        self._actions: asyncio.Queue[str] = asyncio.Queue()

    def give(self, action: str) -> None:
        """The next action."""
        self.asked.clear()
        self._actions.put_nowait(action)

    async def propose(self, state: SessionState) -> Proposal:
        """Wait for the next action."""
        self.asked.set()
        return Proposal(await self._actions.get())


class PolicySession:
    """One session, from `begin` to its end. Calls do not overlap."""

    def __init__(self, runner: Runner, agent: PolicyAgent) -> None:
        self.runner = runner
        self._agent = agent
        self._running = asyncio.ensure_future(runner.run())

    @classmethod
    async def begin(cls, spec: SessionSpec, policy: str, root: Path) -> PolicySession:
        """A new session under `root`, its shell at the first prompt.

        Raises what `start` raises, with nothing left behind.
        """
        agent = PolicyAgent(policy)
        runner = await asyncio.to_thread(start, spec, root, agent=agent)
        session = cls(runner, agent)
        try:
            await session._until_asked()
            if session.ended is not None:
                raise SandboxError(session.ended.reason)
        except BaseException:
            await session.end("stopped", "it could not begin")
            shutil.rmtree(runner.live.folder, ignore_errors=True)
            raise
        return session

    @property
    def state(self) -> SessionState:
        """The fold over the session's log."""
        return self.runner.state

    @property
    def ended(self) -> ev.SessionEnded | None:
        """How the session ended; None while it goes on."""
        return self.state.ended

    async def step(self, action: str) -> Step:
        """Run one action. Afterwards `ended` says whether, and how, the session is over.

        Raises LogError or OSError when the session can no longer be written; it is closed then. Where the call is
        cancelled, the session ends as interrupted.
        """
        number = self.state.last_step + 1
        self._agent.give(action)
        try:
            await self._until_asked()
        except asyncio.CancelledError:
            await self.end("interrupted", "cancelled")
            raise
        return self.state.steps[number]

    async def _until_asked(self) -> None:
        """Wait until the runner waits for the next action, or the session is over."""
        asked = asyncio.ensure_future(self._agent.asked.wait())
        try:
            await asyncio.wait({asked, self._running}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
        if self._running.done():
            self._running.result()

    async def end(self, status: str, reason: str) -> None:
        """End the session and stop everything. Nothing happens when it has ended before."""
        self.runner.controls.stop(status, reason)
        with contextlib.suppress(Exception):
            await self._running
