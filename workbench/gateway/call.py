"""One request of an agent program, from the client to the upstream and back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

import msgspec

from workbench.agents.agent import Prompt
from workbench.agents.models import faults
from workbench.agents.models.tokens import estimate_tokens
from workbench.agents.models.wire import Events, Value, is_end, read_event
from workbench.agents.remote import Host, ModelCall
from workbench.gateway.actions import Shown, shown
from workbench.gateway.answering import Reply, Unanswered, Upstream
from workbench.gateway.composing import composed
from workbench.gateway.conversations import Conversation
from workbench.gateway.delivery import Delivery
from workbench.gateway.protocols.base import Asked, Assembler, Protocol, Said, ToolCall, dumped
from workbench.session import prices
from workbench.session.events import Usage
from workbench.session.plain import read_json, refuse_deep, without_surrogates

LARGEST = 256 << 20
"""Bytes of an answer."""
_DRAFT_EVERY = 0.05
"""Seconds between two looks at an answer that is on its way."""
_LOG_EVERY = 1.0
"""Seconds of an answer that are lost at most where the process ends in it."""
_SLACK = 10_000
"""Characters that the log may have of an answer, beside twice its length, before its end."""
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError)
"""What reading something else than the protocol raises."""


class Call:
    """See the module."""

    def __init__(
        self, asked: Asked, conversation: Conversation, relation: str, upstream: Upstream, alternative: int = 0
    ) -> None:
        self.asked, self.conversation, self.relation = asked, conversation, relation
        self.delivery = Delivery()
        self.gone = False
        """The client lost its connection, and has not asked again."""
        self.step = 0
        self.alternative = alternative
        """As which alternative to another call it was made."""
        self.alternatives: dict[int, Call] = {}
        self.failure = ""
        """Why nothing came of it."""
        self.task: asyncio.Task[None] | None = None
        self.asking: asyncio.Task[None] | None = None
        """The upstream is at work on it."""
        self.by_hand = False
        """No model is asked: a person is to write the answer."""
        self.open = False
        """It waits for an answer, and a person may write that."""
        self.written: tuple[str, str, str] | None = None
        """Thought, action and author of the answer that a person has written."""
        self.passed = False
        """The client has got the answer, or what came of it, without anybody's review."""
        self.usable = False
        """The answer is whole, and can be a step."""
        self.answer: int | None = None
        """The number of its event in the log."""
        self.said, self.shown = Said(), Shown("", "")
        self.whole: Value = {}
        self.body = bytearray()
        self._upstream = upstream
        self._reply: Reply | None = None
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._looked = 0.0
        self._logged_at = 0.0
        self._sent: int | None = None
        """The number of its prompt in the log, where that is there before the answer."""
        self._drafted: tuple[list[str], str, int] = [], "", 0
        """What the log has of the answer before its end: text and each call, reasoning, how many characters it took."""

    def __repr__(self) -> str:
        return f"Call({self.asked.protocol.name}, step {self.step})"

    @property
    def model(self) -> str:
        """The model that answers, as the log calls it."""
        if self.written:
            return "human"
        provider = self._upstream.provider
        return f"{provider}:{self.asked.model}" if provider else self._upstream.name

    @property
    def author(self) -> str:
        return self.written[2] if self.written else f"model:{self.asked.model or self._upstream.name}"

    @property
    def waits_for_client(self) -> bool:
        """Its client lost the connection before it had all of an answer that is there, or may still come."""
        under_way = self.task is not None and not self.task.done()
        return self.gone and not self.delivery.taken and (self.usable or under_way)

    # -- asking ------------------------------------------------------------------------------------------------------

    async def ask(self, host: Host, began: float, *, passing: bool = True) -> None:
        """Have the upstream answer; `passing` where the client gets it as it comes, unless the session may hold it. It
        is in the log before the client has the last of it. Raises Unanswered, and ByHand where a person is to answer.
        """
        self.failure, self.body, self._text, self._reasoning = "", bytearray(), [], []
        self._logged_at, self._drafted = time.monotonic(), ([], "", 0)
        self._reply = reply = await self._upstream.answer(self.asked, host)
        if reply.status >= 400:
            await self._fail(host, reply, began)
            return
        passing = passing and not host.holds()
        if passing:
            self.passed = True
            self._start()
        stream = "event-stream" in reply.media
        assembler = self.asked.protocol.assembler() if stream else None
        events, trouble = Events(), ""
        try:
            async for piece in reply.body:
                self.body += piece
                if len(self.body) > LARGEST:
                    raise Unanswered(502, "error", f"the answer has more than {LARGEST >> 20} MiB")
                if assembler is not None and not trouble:
                    trouble = self._read(assembler, events.feed(piece), host)
                    if not trouble and not self.usable and time.monotonic() - self._logged_at > _LOG_EVERY:
                        self._log_draft(assembler, host, began)
                    if assembler.done and passing and not self.usable:
                        self._conclude(assembler.whole, host, began)
                if passing:
                    self.delivery.send(piece)
            if assembler is not None and not trouble:
                trouble = self._read(assembler, events.end(), host)
        except (Unanswered, *_UNREADABLE) as error:
            if passing:
                self.delivery.end(broken=True)
            if isinstance(error, Unanswered):
                raise
            raise Unanswered(502, "error", f"the answer cannot be read: {error}") from None
        failure = trouble or (assembler.failed if assembler is not None else "")
        if not failure and not self.usable:
            failure = self._finish(assembler, host, began)
        if failure:
            self.log_failure(host, "network", failure, began)
            if not passing and not (assembler is not None and assembler.failed):  # nobody could review it
                self.refuse(502, f"the answer cannot be reviewed: {failure}")
            self.deliver()
        elif passing:
            self.delivery.end()
        host.draft("", "")

    def log_prompt(self, host: Host, began: float) -> None:
        """The prompt is in the log before the answer: a person who writes or holds that reads what is asked."""
        if self._sent is None:
            self._sent = host.drafted(self._logged(Said(), began))

    async def answer_by_hand(self, host: Host, began: float) -> None:
        """The client gets what a person has written."""
        assert self.written is not None
        self._reply = composed(self.asked, *self.written[:2])
        self.body = bytearray(b"".join([piece async for piece in self._reply.body]))
        self._conclude(read_whole(self.asked.protocol, bytes(self.body), self._reply.media), host, began)
        self.passed = True
        self.deliver()

    def _start(self) -> None:
        assert self._reply is not None
        self.delivery.start(self._reply.status, self._reply.headers)

    def _finish(self, assembler: Assembler | None, host: Host, began: float) -> str:
        """The body has come to its end. Returns what is wrong with it."""
        try:
            if assembler is None:
                whole = read_whole(self.asked.protocol, bytes(self.body), "")
            elif not assembler.done and not assembler.whole:
                return "the stream of the answer is empty"
            elif not assembler.done:
                return "the answer broke off"
            else:
                whole = assembler.whole
            self._conclude(whole, host, began)
        except _UNREADABLE as error:
            return f"the answer is none in the protocol {self.asked.protocol.name}: {type(error).__name__}: {error}"
        return ""

    def _read(self, assembler: Assembler, found: Sequence[bytes], host: Host) -> str:
        try:
            for data in found:
                if is_end(data):
                    assembler.end()
                    continue
                text, reasoning = assembler.take(read_event(data))
                if text:
                    self._text.append(text)
                if reasoning:
                    self._reasoning.append(reasoning)
        except _UNREADABLE as error:
            return f"the stream is none in the protocol {self.asked.protocol.name}: {type(error).__name__}: {error}"
        if (self._text or self._reasoning) and (now := time.monotonic()) - self._looked > _DRAFT_EVERY:
            self._looked = now
            host.draft(*self._so_far())
        return ""

    def _log_draft(self, assembler: Assembler, host: Host, began: float) -> None:
        """What came goes into the log, so that it is there though the process were killed now."""
        self._logged_at = time.monotonic()
        text, reasoning = self._so_far()
        parts = [text]
        with contextlib.suppress(*_UNREADABLE):
            parts += map(_as_text, self.asked.protocol.said(without_surrogates(assembler.whole)).calls)
        now, (before, reasoned, size) = parts, self._drafted
        new = ""
        for at, part in enumerate(now):
            known = before[at] if at < len(before) else ""
            if part == known:
                continue
            goes_on = bool(known) and part.startswith(known)  # an argument may stand there as empty before it has come
            separate = not goes_on and bool(size or new)
            new += ("\n" if separate else "") + (part[len(known) :] if goes_on else part)
        if size + len(new) > 2 * sum(map(len, now)) + _SLACK:  # a server that changes its mind does not fill the disk
            return
        if new or reasoning != reasoned:
            said = Said(new, reasoning.removeprefix(reasoned))
            self._drafted = now, reasoning, size + len(new)
            self._sent = host.drafted(self._logged(said, began))

    def _so_far(self) -> tuple[str, str]:
        """Text and reasoning that have come."""
        self._text, self._reasoning = ["".join(self._text)], ["".join(self._reasoning)]
        return without_surrogates(self._text[0]), without_surrogates(self._reasoning[0])

    def _conclude(self, whole: Value, host: Host, began: float) -> None:
        """The answer is complete: into the log with it."""
        refuse_deep(whole)
        whole = without_surrogates(whole)
        said = self.asked.protocol.said(whole)
        self.whole, self.said, self.shown = whole, said, shown(said)
        self.answer = host.answered(self._logged(said, began))
        if said.id:
            self.conversation.answers.add(said.id)
        self.usable = True

    async def _fail(self, host: Host, reply: Reply, began: float) -> None:
        """The server refuses: the client gets what it says."""
        async for piece in reply.body:
            self.body += piece
            if len(self.body) > LARGEST:
                break
        try:
            said = read_json(bytes(self.body))
        except ValueError:
            said = self.body[:2000].decode("utf-8", "replace")
        server = faults.Server(self._upstream.provider or "openai", self.asked.model, self._upstream.base_url)
        fault = faults.from_status(server, reply.status, said, headers=dict(reply.headers))
        self.log_failure(host, fault.cause, fault.message, began)
        self.deliver()

    def _logged(self, said: Said, began: float) -> ModelCall:
        usage = said.usage
        free = self._reply is not None and self._reply.recorded
        if usage is not None and (free or not self._upstream.base_url):
            cost = 0.0 if free else prices.cost(usage, self.model)
            usage = msgspec.structs.replace(usage, cost=cost)
        return ModelCall(
            prompt=Prompt(self.asked.messages, tools=self.asked.tools, settings=self.asked.settings),
            model=self.model,
            author=self.author,
            conversation=str(self.conversation.number),
            protocol=self.asked.protocol.name,
            relation=self.relation,
            text=_with_calls(said),
            reasoning=said.reasoning,
            usage=usage,
            latency=time.monotonic() - began,
            body=bytes(self.body),
            media=self._reply.media if self._reply is not None else "",
            alternative=self.alternative,
            sent=self._sent,
        )

    def log_failure(self, host: Host, cause: str, message: str, began: float) -> None:
        """No answer came, or only part of one, which is logged with what it cost as far as that is known."""
        if self.usable:
            return
        self.failure = message
        said = Said(*self._so_far())
        if said.text or said.reasoning:
            prompt = sum(map(estimate_tokens, self.asked.messages))
            answer = estimate_tokens(said.text) + estimate_tokens(said.reasoning)
            said = Said(said.text, said.reasoning, usage=Usage(input_tokens=prompt, output_tokens=answer))
        host.failed(self._logged(said, began), cause, message)
        self._sent = None

    # -- delivering --------------------------------------------------------------------------------------------------

    def take(self, other: Call) -> None:
        """Its answer is that of an alternative."""
        self._reply, self.body, self.whole = other._reply, other.body, other.whole
        self.said, self.shown = other.said, other.shown

    def deliver(self) -> None:
        """The client gets the answer as it came."""
        if self.delivery.complete:
            return
        if not self.delivery.begun:
            self._start()
            self.delivery.send(bytes(self.body))
        self.delivery.end()

    def deliver_changed(self, text: str, calls: Sequence[ToolCall]) -> None:
        """The client gets the answer with another text, and these of its calls."""
        protocol = self.asked.protocol
        whole = protocol.changed(self.whole, text, calls)
        assert self._reply is not None
        self._start()
        if "event-stream" in self._reply.media:
            for piece in protocol.streamed(whole, self.asked):
                self.delivery.send(piece)
        else:
            self.delivery.send(protocol.body(whole, self.asked))
        self.delivery.end()

    def refuse(self, status: int, message: str) -> None:
        """The client gets no answer, and is told why."""
        if self.delivery.complete:
            return
        if self.delivery.begun:
            self.delivery.end(broken=True)
            return
        body = dumped(self.asked.protocol.error(status, message)).encode()
        self.delivery.start(status, [("content-type", "application/json")])
        self.delivery.send(body)
        self.delivery.end()


def read_whole(protocol: Protocol, body: bytes, media: str) -> Value:
    """The answer of which this is the whole body. Raises ValueError and the like."""
    if "event-stream" not in media:
        return protocol.whole(read_json(body))
    assembler, events = protocol.assembler(), Events()
    for data in [*events.feed(body), *events.end()]:
        if not is_end(data):
            assembler.take(read_event(data))
    return dict(without_surrogates(assembler.whole))


def _as_text(call: ToolCall) -> str:
    return f"{call.name} {call.arguments}"


def _with_calls(said: Said) -> str:
    """Text and calls of an answer, as the log keeps it for people."""
    calls = list(map(_as_text, said.calls))
    return "\n".join([said.text, *calls] if said.text else calls)
