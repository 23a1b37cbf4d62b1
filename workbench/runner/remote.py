"""The side of the runner that an agent which carries its actions out itself (`agents/remote.py`) deals with.

Its steps go through the loop as all others do, but for their execution: an action that is let go runs until the agent
tells what came of it. It may have several conversations with its model at once, so several steps may be running. The
loop waits for none of them: proposals are reviewed one at a time, in the order in which the answers came, and while
one waits for a person, calls of the other conversations go on up to their own review. So an agent that waits for one of
its sub-agents cannot block it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from workbench.agents.remote import Host, ModelCall, RemoteAgent
from workbench.environment.episode import Episode
from workbench.environment.limits import exceeded
from workbench.library.moments import condition, needs_outcome
from workbench.runner.approval import NEVER, Approval
from workbench.runner.controls import Controls
from workbench.runner.hub import Hub
from workbench.runner.prompt_log import PromptLog
from workbench.session import events as ev
from workbench.session.bus import Message
from workbench.session.state import Step

LONGEST = 100_000
"""Characters of what an agent tells of an action that are kept."""
UNKNOWN = "(the agent did not tell what came of it)"


class Remote(Host):
    """One for each session of such an agent."""

    def __init__(
        self,
        agent: RemoteAgent,
        hub: Hub,
        episode: Episode,
        controls: Controls,
        on_outcome: Callable[[int], object],
        *,
        approval: Approval,
        interactive: bool,
    ) -> None:
        """`on_outcome` is told the number of a step that is over. `interactive`: a person is there."""
        self.agent = agent
        self._hub, self._live, self._state = hub, hub.live, hub.state
        self._episode, self._controls, self._on_outcome = episode, controls, on_outcome
        self._approval, self._interactive = approval, interactive
        self._prompts = PromptLog(hub.live)
        self._begun: dict[int, float] = {}
        """When the actions were let go that run."""
        self._beyond: set[int] = set()
        """Steps whose change the answers that they are from cannot hold."""
        agent.host = self
        self.under_way(0)
        self._live.bus.subscribe(self._heard)

    # -- what the loop does with a step ------------------------------------------------------------------------------

    def let_go(self, number: int) -> None:
        """The action of a step goes to the agent. Where there is none, the step is over."""
        step = self._state.steps[number]
        self._episode.begin_step(number)
        self._live.emit(ev.ActionStarted(step=number, author=step.edited_by or step.author, action=step.action))
        self._begun[number] = self._live.clock.elapsed
        self.agent.release(step)
        if not step.action:
            self._finish(number, "", {})

    def reject(self, number: int) -> None:
        """The action of a step must not run. One that a take-over dropped is proposed once more."""
        step = self._state.steps[number]
        try:
            self.agent.check(replace(step, chosen=0), step.thought, step.action)
        except ValueError:  # the first answer may not hold what an alternative does
            self._beyond.add(number)
        finally:
            self.agent.reject(step)

    def can_hold(self, dropped: Step) -> bool:
        """Whether what is proposed once more can be as the person had changed it."""
        return dropped.number not in self._beyond

    async def settle(self) -> None:
        """Until the agent has told what came of all that it was let do, or it cannot, or the session is to stop."""
        while self.agent.outstanding and self._controls.stopping is None:
            self._hub.tell(phase="executing")
            await self._hub.news()

    async def end(self) -> None:
        """The session ends: what is under way is broken off, and steps that are open are closed."""
        await self.agent.stop()
        for step in self._state.steps[1:]:
            if step.status == "running":
                self._finish(step.number, UNKNOWN, {})

    def _finish(self, number: int, observation: str, details: Mapping[str, Any]) -> None:
        step = self._state.steps[number]
        now = self._live.clock.elapsed
        duration = round(max(0.0, now - self._begun.pop(number, now)), 6)
        cut = len(observation) > LONGEST
        if cut:
            observation = f"{observation[: LONGEST // 2]}\n(…)\n{observation[-LONGEST // 2 :]}"
        self._live.emit(
            ev.ActionFinished(
                **{
                    "step": number, "exit_code": None, "observation": observation, "truncated": cut, "cwd": step.cwd,
                    "duration": duration, **details,
                }
            )
        )  # fmt: skip

    # -- what the agent asks for -------------------------------------------------------------------------------------

    def holds(self) -> bool:
        status = self._hub.status
        return (
            self._state.mode != "auto"
            or status.delay > 0
            or self._controls.holding
            or self._approval != NEVER
            or self.agent.loops == "pause"
            or any(
                each.enabled and each.then in ("stop", "ask") and not needs_outcome(condition(each.when))
                for each in status.breakpoints
            )
        )

    def closed(self) -> bool:
        return self._state.mode == "human" or self._controls.holding

    def reached(self, pending: int) -> str:
        if self._controls.stopping is not None or self._episode.submitted:
            return "the session is over"
        steps = self._state.limits.steps
        if steps is not None and self._state.agent_steps + pending >= steps:
            return f"the limit of {steps} step{'s' * (steps != 1)} is reached"
        reached = exceeded(self._state, self._live.clock.working, human=False)
        return reached[1] if reached else ""

    def under_way(self, calls: int) -> None:
        self._hub.tell(under_way=calls)

    def asks(self, text: str) -> bool:
        if self._interactive:
            self._hub.tell(problem=text)
        return self._interactive

    def draft(self, text: str, reasoning: str) -> None:
        self._hub.tell(draft=text, draft_reasoning=reasoning)

    def drafted(self, call: ModelCall) -> int:
        sent = self._sent(call)
        if call.text or call.reasoning:
            self._live.emit(ev.ModelDrafted(prompt=sent, text=call.text, reasoning=call.reasoning))
        return sent

    def answered(self, call: ModelCall) -> int:
        self._sent(call)
        body = self._live.objects.put(call.body) if call.body else ""
        event = self._live.emit(
            ev.ModelResponded(
                text=call.text,
                model=call.model,
                author=call.author,
                usage=call.usage,
                latency=round(call.latency, 6),
                reasoning=call.reasoning,
                alternative=call.alternative,
                conversation=call.conversation,
                prompt=call.sent,
                body=body,
                media=call.media,
            )
        )
        return event.seq

    def failed(self, call: ModelCall, cause: str, message: str) -> None:
        sent = self._sent(call)
        if call.text or call.reasoning:
            self.answered(replace(call, sent=sent))
        self._live.emit(ev.ModelFailed(cause=cause, message=message, prompt=sent))
        if cause != "cancelled":  # else a person knows: they did it
            self._hub.tell(problem=f"{cause}: {message}")

    def _sent(self, call: ModelCall) -> int:
        if call.sent is not None:
            return call.sent
        return self._prompts.sent(call.prompt, call.model, 1, call.alternative, of=call)

    async def over(self, step: int, observation: str, details: Mapping[str, Any]) -> None:
        if self._state.steps[step].status != "running":
            return
        try:
            await self._episode.snapshot(step)  # first, so that a step that is over has its files
        finally:
            if self._state.steps[step].status == "running":
                self._finish(step, observation, details)
        self._on_outcome(step)
        self._hub.wake()
        self._end_when_submitted()

    def _heard(self, message: Message) -> None:
        if isinstance(message, ev.ScoreRecorded):
            self._end_when_submitted()

    def _end_when_submitted(self) -> None:
        """No model is asked any more once the work is handed in, and what came of that is told."""
        if self._episode.submitted and not self.agent.outstanding and self._controls.proposer is not None:
            self._controls.proposer.cancel()

    def wake(self) -> None:
        self._hub.wake()

    def stop(self, status: str, reason: str) -> None:
        self._controls.stop(status, reason)

    async def hand_over(self, reason: str) -> bool:
        if not self._interactive:
            return False
        controls = self._controls
        controls.hold()
        controls.set_mode("paused", author="", reason=reason)
        self._hub.tell(problem=reason)
        while controls.holding:
            await self.agent.changed()
        return True

    def runs(self, programs: str) -> None:
        self._hub.tell(programs=programs)

    def note(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._live.emit(ev.NoteAdded(text=text))
