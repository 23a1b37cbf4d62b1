"""The agent program, as the session sees it: what its model answers are its proposals.

Each request is a `Call`, which a task of its own takes to the upstream, and through the log, before any of the answer
that could be lost is passed on. Answers become steps in the order in which they are complete.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from workbench.agents.agent import ActionsExhausted, Closing, ModelError, Proposal
from workbench.agents.messages import ChatModel, Sampling
from workbench.agents.models.base import ProviderModel
from workbench.agents.remote import RemoteAgent
from workbench.gateway.actions import refusal, rewritten
from workbench.gateway.answering import Unanswered, Upstream
from workbench.gateway.call import Call
from workbench.gateway.composing import ByHand, composed
from workbench.gateway.conversations import Conversation, Conversations
from workbench.gateway.protocols.base import Asked, Result
from workbench.gateway.upstream import Server
from workbench.isolation.processes import within
from workbench.session.state import SessionState, Step

MOST_UNDER_WAY = 256
"""Requests that may be under way at once."""
_KEPT = 32
"""Calls of which all is kept, so that a client that lost its connection can have them once more."""
_EXIT_CODES = re.compile(
    r"(?:<returncode>|\"(?:returncode|exit_code)\": ?|^(?:Process exited with code|Exit code:|exit_code:) ?)"
    r"(-?\d{1,9})(?=</returncode>|\s*$|,)",
    re.M,
)
"""How agents tell an exit code: mini-swe-agent, Codex and others."""


class GatewayAgent(RemoteAgent):
    """See the module. `upstream` gives the answers."""

    asks_model = True
    loops = "warn"
    sampling = Sampling(temperature=None, top_p=None, max_output_tokens=None)
    """Of which the temperature counts, once a person has set one."""

    def __init__(self, upstream: Upstream, name: str = "gateway") -> None:
        self.name = name
        self.upstream = upstream
        self.model = upstream.name
        self.author = f"model:{upstream.name.partition(':')[2] or upstream.name}"
        self._conversations = Conversations()
        self._calls: deque[Call] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready: deque[Call] = deque()
        """Answers that are no steps yet."""
        self._steps: dict[int, Call] = {}
        """Calls whose step is not over."""
        self._next: Call | None = None
        """What was proposed last, before it has the number of a step."""
        self._news = asyncio.Event()
        self._changed = asyncio.Event()
        """Set, and replaced, whenever the session goes on."""
        self._over = ""
        self._cause = ""

    # -- for the session ---------------------------------------------------------------------------------------------

    async def propose(self, state: SessionState) -> Proposal:
        """The next answer, or another one to the same request. Raises ActionsExhausted when the program has ended."""
        if self.listener.alternative:
            return await self._alternative(state.current, self.listener.alternative)
        self._wake()
        while not self._ready:
            if self._over and not self._tasks:
                raise ActionsExhausted(self._over, self._cause)
            self._news.clear()
            await self._news.wait()
        call = self._next = self._ready.popleft()
        return Proposal(
            action=call.shown.action,
            thought=call.shown.thought,
            answer=call.answer,
            conversation=str(call.conversation.number),
            author=call.author,
        )

    async def _alternative(self, step: Step, number: int) -> Proposal:
        """Ask once more what led to a step. Raises ModelError."""
        call = self._steps[step.number]
        other = Call(self._as_set(call.asked), call.conversation, "", self.upstream, alternative=number)
        try:
            await other.ask(self.host, time.monotonic(), passing=False)
        except Unanswered as error:
            raise ModelError(error.cause, str(error)) from None
        if not other.usable:
            raise ModelError("error", other.failure)
        call.alternatives[number] = other
        return Proposal(other.shown.action, other.shown.thought)

    def _as_set(self, asked: Asked) -> Asked:
        """A request at the temperature that a person has set, if any has."""
        temperature = self.sampling.temperature
        return asked if temperature is None else asked.protocol.at_temperature(asked, temperature)

    def use(self, chat: ChatModel) -> Closing:
        """Ask that model from now on, whichever the program names."""
        assert isinstance(chat, ProviderModel)
        key, base_url = chat.server
        provider, _, name = chat.name.partition(":")
        before, self.upstream = self.upstream, Server(provider, name, key=key, base_url=base_url, model=name)
        self.model = chat.name
        return before

    def check_model(self, chat: ChatModel) -> None:
        provider = chat.name.partition(":")[0]
        if self.upstream.provider not in ("", provider):
            raise ModelError("error", f"the agent program speaks the protocols of {self.upstream.provider} alone")

    def proposed(self, step: int) -> bool:
        call, self._next = self._next, None
        if call is None:
            return False
        call.step = step
        self._steps[step] = call
        self._change()
        return call.passed

    def release(self, step: Step) -> None:
        call = self._steps[step.number]
        if step.chosen:
            call.take(call.alternatives[step.chosen])
        if not step.action:
            self._steps.pop(step.number)
        if call.passed:
            return
        if step.edited:
            text, calls = rewritten(call.said, call.shown, step.thought, step.action)
            call.deliver_changed(text, calls)
        else:
            call.deliver()

    def reject(self, step: Step) -> None:
        call = self._steps.pop(step.number)
        if step.dropped:  # nobody has judged it: it is proposed once more
            self._ready.appendleft(call)
        else:
            call.deliver_changed(refusal(step.comment), ())

    def check(self, step: Step, thought: str, action: str) -> None:
        call = self._steps.get(step.number)
        if call is not None:
            call = call.alternatives.get(step.chosen, call)
            rewritten(call.said, call.shown, thought, action)

    @property
    def asked(self) -> bool:
        """Whether the program has ever asked its model."""
        return bool(self._calls)

    @property
    def outstanding(self) -> bool:
        return bool(self._steps) and not self._over

    def finish(self, reason: str, cause: str = "") -> None:
        """The program has ended: once the answers that are there are steps, so does the session. With a `cause`, as
        MLGym names it, what is there is submitted.
        """
        self._over, self._cause = reason, cause
        self._wake()
        self.host.wake()

    @property
    def replayed(self) -> bool | None:
        return self.upstream.complete

    def interrupt(self) -> bool:
        asking = [call.asking for call in self._calls if call.asking is not None]
        return any([task.cancel() for task in asking])

    def answer(self, thought: str, action: str, author: str) -> bool:
        call = next((each for each in self._calls if each.open and not each.delivery.begun), None)
        if call is None or not (thought or action):
            return False
        composed(call.asked, thought, action)
        call.written = thought, action, author
        if call.asking is not None:
            call.asking.cancel()
        self._change()
        return True

    async def stop(self) -> None:
        self._over = self._over or "the session is over"
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for call in self._calls:
            call.refuse(503, "the session is over")

    async def close(self) -> None:
        await self.upstream.close()

    async def changed(self) -> None:
        await within(0.5, self._changed.wait())

    def _wake(self) -> None:
        self._news.set()
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # -- for the server ----------------------------------------------------------------------------------------------

    def begin(self, asked: Asked) -> Call:
        """Take a request up. The client gets what `Call.delivery` says.

        A request that a client sends once more, because it lost its connection, is the same call.
        """
        for call in reversed(self._calls):
            if call.waits_for_client and (call.asked.body, call.asked.path) == (asked.body, asked.path):
                call.gone = False
                return call
        previous = str(asked.data.get("previous_response_id") or "")
        asked = self._as_set(asked)
        conversation, relation = self._conversations.find(asked.protocol.name, asked.messages, previous)
        call = Call(asked, conversation, relation, self.upstream)
        if self._over or len(self._tasks) >= MOST_UNDER_WAY:
            call.refuse(503 if self._over else 429, self._over or f"{MOST_UNDER_WAY} requests are under way at once")
            return call
        self._calls.append(call)
        if len(self._calls) > _KEPT:
            done = next((each for each in self._calls if each.delivery.complete), None)
            if done is not None:
                self._calls.remove(done)
        conversation.requests.append(call)
        call.task = asyncio.ensure_future(self._run(call))
        self._tasks.add(call.task)
        call.task.add_done_callback(self._done)
        return call

    @property
    def _open(self) -> int:
        return sum(call.open for call in self._calls)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._news.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self.host.note(f"a call of the gateway failed: {type(error).__name__}: {error}")

    async def _run(self, call: Call) -> None:
        """From the request to the answer that waits to be a step."""
        began = time.monotonic()
        try:
            results = self._results(call)
            await self.bound(call.conversation, results)  # what the program tells is of a step that is still to be one
            await self._tell_outcomes(call, results)
            call.open = True
            self.host.under_way(self._open)
            try:
                while not (call.usable or call.delivery.complete):
                    await self._ask(call, began)
            finally:
                call.open = False
                self.host.under_way(self._open)
            if call.usable:
                self._ready.append(call)
                self._news.set()
        finally:
            call.conversation.requests.remove(call)
            if not call.usable and not call.delivery.complete:
                call.refuse(503 if self._over else 500, self._over or "the gateway failed")

    async def _ask(self, call: Call, began: float) -> None:
        """Have a call answered by the model, or by a person. Returns without an answer where a person has stopped it:
        it waits for both once more.
        """
        while (call.by_hand or self.host.closed()) and call.written is None:
            call.log_prompt(self.host, began)
            await self.changed()
        if call.written is not None:
            self.host.asks("")
            await call.answer_by_hand(self.host, began)
            return
        others = sum(each.asking is not None for each in self._calls)
        if limit := self.host.reached(len(self._ready) + others):
            call.refuse(403, limit)
            return
        call.asking = asyncio.ensure_future(self._ask_model(call, began))
        try:
            await call.asking
        except asyncio.CancelledError:
            call.log_failure(self.host, "cancelled", "the answer was stopped", began)
            if (this := asyncio.current_task()) is not None and this.cancelling():
                raise
            if call.delivery.begun:  # the client has some of it
                call.refuse(503, "a person has stopped the answer")
        finally:
            call.asking = None

    async def _ask_model(self, call: Call, began: float) -> None:
        try:
            await call.ask(self.host, began)
        except Unanswered as error:
            call.refuse(error.status, str(error))
            call.log_failure(self.host, error.cause, str(error), began)
        except ByHand:
            call.by_hand = self.host.asks("the program asks its model, and that is you: write the answer")
            if not call.by_hand:
                said = "nobody is there to write the answers: `--upstream human` needs a terminal"
                call.refuse(503, said)
                self.host.stop("error", said)

    async def bound(self, conversation: Conversation | None = None, results: Sequence[Result] = ()) -> None:
        """Until what the program has of its model is of steps: all of it, or that of one conversation and what
        `results` name.
        """

        def loose() -> Iterator[Call]:
            calls = [*self._ready, *([self._next] if self._next is not None else [])]
            mine = (each for each in calls if conversation in (None, each.conversation) or _about(each, results))
            return (each for each in mine if each.passed)

        while any(loose()):
            await self.changed()

    # -- what came of actions ----------------------------------------------------------------------------------------

    def _results(self, call: Call) -> list[Result]:
        """What a request says of the actions before it."""
        if not (self._steps or self._ready or self._next):
            return []
        try:
            messages = call.asked.protocol.read(call.asked.data)[0]
            return call.asked.protocol.results([message for message in messages if isinstance(message, dict)])
        except (TypeError, KeyError, ValueError, AttributeError):
            return []

    async def _tell_outcomes(self, call: Call, results: Sequence[Result]) -> None:
        """What a request says of the actions before it, for their steps."""
        told = {number: other for number, other in self._steps.items() if other.delivery.complete}
        mine = [number for number, other in told.items() if other.conversation is call.conversation]
        if not any(_about(told[number], results) for number in mine):
            # Some agents begin their messages anew from call to call, and name the calls of before all the same.
            elsewhere = [number for number in told if number not in mine and _about(told[number], results)]
            mine += elsewhere if len(elsewhere) == 1 else []
        for number in sorted(mine):
            again = call.relation == "retry"
            own = _about(told[number], results)
            if number == max(mine) and not again:
                own = own or [result for result in results if not result.call_id]
            elif not own and not again:
                continue
            self._steps.pop(number, None)
            text = "(the agent asked once more)" if again else "\n".join(result.text for result in own)
            await self.host.over(number, text, {"exit_code": _exit_code(own)})


def _about(call: Call, results: Iterable[Result]) -> list[Result]:
    """What results name calls of an answer."""
    ids = {each.id for each in call.said.calls}
    return [result for result in results if result.call_id and result.call_id in ids]


def _exit_code(results: list[Result]) -> int | None:
    """As the agent tells it; None where it does not."""
    for result in reversed(results):
        found = _EXIT_CODES.search(result.text[:4000]) or _EXIT_CODES.search(result.text[-4000:])
        if found is not None:
            return int(found[1])
    return None
