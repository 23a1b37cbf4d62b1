"""Asking the agent: one call at a time; all that was sent and that came back is logged, whatever becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from workbench.agents.agent import (
    ActionsExhausted,
    Agent,
    Attempt,
    Listener,
    ModelError,
    Proposal,
    with_place,
)
from workbench.agents.messages import ChatModel
from workbench.runner.hub import Hub
from workbench.runner.prompt_log import PromptLog
from workbench.session import events as ev

_DRAFT_KEPT, _REASONING_KEPT = 32_000, 8_000
"""Characters of the end of an answer, and of its reasoning, that a person can read while the model writes."""


class Change(NamedTuple):
    """Another model, or another temperature; `chat` is None where the model stays."""

    chat: ChatModel | None
    event: ev.AgentChanged


class Proposer(Listener):
    """Asks the agent of a session for proposals, and listens while it thinks (workbench.agents.agent.Listener)."""

    def __init__(self, hub: Hub, agent: Agent) -> None:
        self.hub = hub
        self.agent = agent
        self._prompts = PromptLog(hub.live)
        self._call: asyncio.Task[Proposal] | None = None
        self._change: Change | None = None
        """Waits for the call that is under way."""
        self._asks_again = False
        agent.listener = self

    async def ask(self, alternative: int = 0, *, temperature: float | None = None) -> Proposal | None:
        """The next proposal, or with `alternative` another one for the step under review, perhaps at a temperature of
        its own. It is not logged yet, but the answer that it is from is. None when `cancel` came in between.

        Raises ModelError and ActionsExhausted, as the agent does.
        """
        while True:
            self.apply_change()
            self._asks_again = False
            self.alternative = alternative
            try:
                with self._at(temperature):
                    proposal = await self._ask()
            except (ModelError, ActionsExhausted):
                self.apply_change()
                raise
            finally:
                self.alternative = 0
                self.hub.tell(drafting_alternative=0)
            if proposal is not None or not self._asks_again:
                return proposal

    async def _ask(self) -> Proposal | None:
        self._show_draft("")
        clock = self.hub.live.clock
        began = clock.elapsed
        self._call = asyncio.ensure_future(self.agent.propose(self.hub.state))
        try:
            proposal = await self._call
        except asyncio.CancelledError:
            if (this := asyncio.current_task()) is not None and this.cancelling():
                raise
            return None
        except (ModelError, ActionsExhausted):
            raise
        except Exception as error:  # agents may come from anywhere
            raise ModelError("error", f"the agent broke off: {with_place(error)}") from error
        finally:
            self._call = None
        self.hub.tell(problem="")
        measured = clock.elapsed - began
        latency = measured if proposal.latency is None else proposal.latency
        self._log_answer(proposal, latency, proposal.attempt, proposal.continuation)
        return proposal

    def cancel(self) -> bool:
        """Break the call off that is under way; what was received is kept. False when none is."""
        self._asks_again = False
        return self._call is not None and self._call.cancel()

    @contextlib.contextmanager
    def until_time_is_over(self) -> Iterator[None]:
        """Break a call off when the session's time is over, which may change meanwhile; what came is kept."""
        loop = asyncio.get_running_loop()
        timer: asyncio.Handle

        def look() -> None:
            nonlocal timer
            limit = self.hub.state.limits.seconds
            left = 1.0 if limit is None else limit - self.hub.live.clock.working
            if left <= 0:
                self.cancel()
            timer = loop.call_later(min(1.0, max(0.05, left)), look)

        timer = loop.call_soon(look)
        try:
            yield
        finally:
            timer.cancel()

    @contextlib.contextmanager
    def _at(self, temperature: float | None) -> Iterator[None]:
        """Have the agent draw its answers at another temperature for a while; None leaves it as it is."""
        agent = self.agent
        if temperature is None:
            yield
            return
        usual = agent.sampling
        agent.sampling = replace(usual, temperature=temperature)
        try:
            yield
        finally:
            agent.sampling = usual

    # -- another model -----------------------------------------------------------------------------------------------

    def change(self, change: Change) -> None:
        """Ask another model, or differently, from the next call on.

        A call under way is let finish when some of its answer has come; before that it is broken off, and the new model
        asked instead.
        """
        if self._change is not None and self._change.chat is not None:
            self.hub.spawn(self._change.chat.close())
        self._change = change
        if self._call is None:
            self.apply_change()
        elif not self.hub.status.draft:
            self._asks_again = True
            self._call.cancel()

    def apply_change(self) -> None:
        """Make the change that waited for the last call; to be called when what came of that is logged."""
        change, self._change = self._change, None
        agent = self.agent
        if change is None:
            return
        if change.chat is not None:
            self.hub.spawn(agent.use(change.chat).close())
        agent.sampling = replace(agent.sampling, temperature=change.event.temperature)
        self.hub.live.emit(change.event)
        self.hub.tell(temperature=change.event.temperature)

    # -- what the agent tells while it proposes ----------------------------------------------------------------------

    def delta(self, text: str) -> None:
        """A piece of the answer."""
        self._show_draft((self.hub.status.draft + text)[-_DRAFT_KEPT:], self.hub.status.draft_reasoning)

    def reasoning(self, text: str) -> None:
        """A piece of the reasoning before it."""
        self._show_draft(self.hub.status.draft, (self.hub.status.draft_reasoning + text)[-_REASONING_KEPT:])

    def retrying(self, reason: str, seconds: float) -> None:
        """The call is tried again."""
        self.hub.tell(problem=f"trying again in {seconds:.0f} s: {reason}")

    def attempted(self, attempt: Attempt) -> None:
        """An answer that became no proposal was paid for all the same."""
        self._show_draft("")
        self._log_answer(attempt, attempt.latency, attempt.number)
        if attempt.again or attempt.cause == "bad_format":
            self.hub.live.emit(ev.ModelFailed(cause=attempt.cause, message=attempt.reason, attempt=attempt.number))

    def _log_answer(self, answer: Proposal | Attempt, latency: float, attempt: int, continuation: str = "") -> None:
        """What was sent and what came back, if anything was."""
        live, model = self.hub.live, self.agent.model
        if answer.prompt.messages:
            self._prompts.sent(answer.prompt, model, attempt, self.alternative)
        if answer.response or answer.reasoning or answer.usage is not None:
            live.emit(
                ev.ModelResponded(
                    text=answer.response,
                    model=model,
                    author=self.agent.author,
                    usage=answer.usage,
                    latency=round(latency, 6),
                    attempt=attempt,
                    alternative=self.alternative,
                    reasoning=answer.reasoning,
                    continuation=continuation,
                )
            )

    def _show_draft(self, text: str, reasoning: str = "") -> None:
        self.hub.tell(draft=text, draft_reasoning=reasoning, drafting_alternative=self.alternative)
