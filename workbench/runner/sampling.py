"""Alternatives to a proposal under review: the agent is asked again, as often as a person likes, one call at a time."""

from __future__ import annotations

import asyncio

import msgspec

from workbench.agents.agent import ActionsExhausted, ModelError, Proposal
from workbench.runner.hub import Hub
from workbench.runner.proposing import Proposer
from workbench.session import events as ev
from workbench.session.status import Sampling

MOST = 20
"""Alternatives that can be asked for at once."""


class Sampler:
    """Draws alternatives. Each is an event, and so is what each costs; the agent checks its limits before each call."""

    def __init__(self, hub: Hub, proposer: Proposer) -> None:
        self.hub = hub
        self.proposer = proposer
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether alternatives are on their way."""
        return self._task is not None

    def start(self, count: int, temperature: float | None) -> None:
        """Ask for so many alternatives to the proposal under review; None leaves the temperature as it is."""
        self._tell(Sampling(running=True, wanted=count))
        self._task = self.hub.spawn(self._draw(count, temperature))

    def _tell(self, status: Sampling) -> None:
        self.hub.tell(sampling=status)

    async def stop(self) -> None:
        """Break off what is under way. What was received until then is in the log when this returns."""
        task = self._task
        if task is None:
            return
        task.cancel()
        await asyncio.wait({task})

    async def _draw(self, count: int, temperature: float | None) -> None:
        step, problem = self.hub.state.current, self.hub.status.problem
        try:
            for begun in range(1, count + 1):
                self._tell(msgspec.structs.replace(self.hub.status.sampling, begun=begun))
                number = max(step.alternatives, default=0) + 1
                try:
                    proposal = await self.proposer.ask(number, temperature=temperature)
                except (ModelError, ActionsExhausted) as error:
                    self._failed(error)
                    if isinstance(error, ModelError) and error.cause == "bad_format":
                        continue  # the next may be better
                    return
                if proposal is None:
                    return
                self._log(step.number, number, proposal, temperature)
        finally:
            self._task = None
            self._tell(msgspec.structs.replace(self.hub.status.sampling, running=False))
            self.hub.tell(problem=problem)  # what a call said of itself is over, and an approval still waited for
            self.hub.wake()

    def _log(self, step: int, number: int, proposal: Proposal, temperature: float | None) -> None:
        agent = self.proposer.agent
        usual = agent.sampling.temperature
        self.hub.live.emit(
            ev.ActionSampled(
                step=step,
                alternative=number,
                author=agent.author,
                action=proposal.action,
                thought=proposal.thought,
                remark=proposal.remark,
                temperature=usual if temperature is None else temperature,
            )
        )
        self.proposer.apply_change()

    def _failed(self, error: ModelError | ActionsExhausted) -> None:
        cause = error.cause if isinstance(error, ModelError) else "error"
        self.hub.live.emit(ev.ModelFailed(cause=cause, message=str(error)))
        self._tell(msgspec.structs.replace(self.hub.status.sampling, problem=f"{cause}: {error}"))
