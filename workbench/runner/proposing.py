"""Asking the agent: one call at a time; all that was sent and that came back is logged, whatever becomes of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from workbench.agents.agent import ActionsExhausted, Agent, Attempt, ModelError, Observable, Proposal
from workbench.session import events as ev

if TYPE_CHECKING:
    from workbench.runner.control import Control


class Proposer:
    """Asks the agent of a session for proposals, and listens while it thinks (workbench.agents.agent.Listener)."""

    def __init__(self, control: Control, agent: Agent) -> None:
        self.control = control
        self.agent = agent
        self._call: asyncio.Task[Proposal] | None = None
        if isinstance(agent, Observable):
            agent.listener = self

    async def ask(self) -> Proposal | None:
        """The next proposal, which is not logged yet but its answer is. None when `cancel` came in between.

        Raises ModelError and ActionsExhausted, as the agent does.
        """
        self._show_draft("")
        clock = self.control.live.clock
        began = clock.elapsed
        self._call = asyncio.ensure_future(self.agent.propose(self.control.state))
        try:
            proposal = await self._call
        except asyncio.CancelledError:
            if (this := asyncio.current_task()) is not None and this.cancelling():
                raise
            return None
        except (ModelError, ActionsExhausted):
            raise
        except Exception as error:  # agents may come from anywhere
            raise ModelError("error", f"the agent broke off: {type(error).__name__}: {error}") from error
        finally:
            self._call = None
        self.control.problem = ""
        measured = clock.elapsed - began
        latency = measured if proposal.latency is None else proposal.latency
        self._log_answer(proposal.prompt, proposal.response, proposal.usage, latency, proposal.attempt)
        return proposal

    def cancel(self) -> None:
        """Break the call off that is under way, if one is; what was received is kept."""
        if self._call is not None:
            self._call.cancel()

    # -- what the agent tells while it proposes ----------------------------------------------------------------------

    def delta(self, text: str) -> None:
        """A piece of the answer."""
        self._show_draft(self.control.draft + text)

    def retrying(self, reason: str, seconds: float) -> None:
        """The call is tried again."""
        self.control.problem = f"{reason}; trying again in {seconds:.0f} s"

    def attempted(self, attempt: Attempt) -> None:
        """An answer that became no proposal was paid for all the same."""
        self._show_draft("")
        self._log_answer(attempt.prompt, attempt.response, attempt.usage, attempt.latency, attempt.number)
        if attempt.cause == "bad_format":
            self.control.live.emit(ev.ModelFailed(cause=attempt.cause, message=attempt.reason, attempt=attempt.number))

    def _log_answer(
        self, prompt: tuple[str, ...], response: str, usage: ev.Usage | None, latency: float, attempt: int
    ) -> None:
        """What was sent and what came back, if anything was."""
        live, model = self.control.live, self.agent.model
        if prompt:
            live.emit(ev.PromptSent(messages=[live.objects.put(m.encode()) for m in prompt], model=model))
        if response or usage is not None:
            live.emit(
                ev.ModelResponded(
                    text=response,
                    model=model,
                    author=self.agent.author,
                    usage=usage,
                    latency=round(latency, 6),
                    attempt=attempt,
                )
            )

    def _show_draft(self, text: str) -> None:
        self.control.draft = text
        if self.control.on_draft is not None:
            self.control.on_draft()
