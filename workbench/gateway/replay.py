"""`replay:SESSION`: answers from the log of a session, as long as the program asks what it asked then.

Two requests are the same where they differ in nothing but what no two runs share: times, process numbers, names of
temporary files, ports, the session's key. What the program got then, it gets now: an answer that a person had edited or
rejected comes as it was after that.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from workbench.agents.models.wire import Value
from workbench.agents.remote import Host
from workbench.gateway.actions import refusal, rewritten, shown
from workbench.gateway.answering import Reply, Unanswered, Upstream, UpstreamError
from workbench.gateway.call import read_whole
from workbench.gateway.composing import ByHand
from workbench.gateway.conversations import comparable
from workbench.gateway.protocols.base import Asked, Protocol, Said, ToolCall
from workbench.gateway.routes import PROTOCOLS
from workbench.session import events as ev
from workbench.session.log import read_log
from workbench.session.objects import ObjectStore
from workbench.session.prompt_view import message_text
from workbench.session.state import SessionState, Step, fold
from workbench.text import many

_VARIES = re.compile(
    r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)?"  # dates
    r"|\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? +|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]* +\d{1,2}"
    r"(?: +\d\d:\d\d| +\d{4})?|\b\d{1,2}:\d\d:\d\d(?:[.,]\d+)?"  # as `ls` and `date` have them
    r"|\b\d+(?:\.\d+)?(?:e-?\d+)? ?(?:ms|s|secs?|seconds|minutes|min)\b"  # how long it took
    r"|(?:(?<=_)|\b)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b0x[0-9a-f]{4,16}\b"
    r"|\b(?:pid|PID)[ =:]+\d+|(?<=127\.0\.0\.1:)\d+|(?<=localhost:)\d+|/tmp/[\w./-]+|\bepoch[ =:]+\d{9,}"
    r"|\bmlgym-[\w-]{32}"  # the key of a session
    r"|\bChunk ID: [0-9a-f]{6}\b"  # of each output that Codex tells
)
_VOLATILE = ("metadata", "user", "prompt_cache_key", "safety_identifier", "client_metadata")
"""Settings that name a run, and change nothing of an answer."""
_SHOWN = 120


class Recorded(msgspec.Struct):
    """A call of the session, and what its client got."""

    number: int
    """From 1."""
    step: int
    protocol: Protocol
    key: tuple[str, ...]
    messages: tuple[str, ...]
    tools: str
    settings: Value
    body: bytes
    media: str


class Replay(Upstream):
    """See the module. After the last call that is answered so, and where a request differs, the next upstream answers,
    if there is one.
    """

    def __init__(
        self, folder: Path, *, until: int | None = None, then: Upstream | None = None, ask: bool = False
    ) -> None:
        """`until`: the last step whose call is answered from the log; None for all. `ask`: a difference hands over to
        a person. Raises UpstreamError.
        """
        self.name = f"replay:{folder.name}"
        self.then, self._ask = then, ask
        self.base_url, self.model = (then.base_url, then.model) if then is not None else ("", "")
        try:
            events = read_log(folder)[0]
            state = fold(events)
            self.seed = state.started.seed if state.started is not None else None
            """Of the session's evaluations."""
            self.calls = list(_recorded(state, events, ObjectStore(folder / "objects")))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UpstreamError(f"{folder.name} cannot be replayed: {error}") from None
        if not self.calls:
            raise UpstreamError(f"{folder.name} has no calls of an agent program", "name a session that has")
        last = max(call.step for call in self.calls)
        if until is not None and not 0 <= until <= last:
            raise UpstreamError(f"{folder.name} has no step {until}", f"its steps are 1 to {last}")
        if until is not None:
            self.calls = [call for call in self.calls if call.step <= until]
        self.provider = self.calls[0].protocol.provider if self.calls else then.provider if then is not None else ""
        if then is not None and then.provider and self.provider and then.provider != self.provider:
            raise UpstreamError(
                f"{folder.name} was recorded with {self.provider}, and {then.name} speaks another protocol",
                f"go on with {self.provider}:NAME",
            )
        self._waiting: dict[tuple[str, ...], deque[Recorded]] = {}
        for call in self.calls:
            self._waiting.setdefault(call.key, deque()).append(call)
        last_call = max((call.number for call in self.calls), default=0)
        self.cut = next((call.trouble for call in state.prompts.calls[last_call:] if call.trouble), "")
        """What became of the call after the last one, where it got no whole answer."""
        self.answered = 0
        """Calls that were answered from the log."""
        self.difference = ""
        """Where the program left the recording first."""

    def edit(self, action: str) -> None:
        """Have the last call propose another action. Raises UpstreamError."""
        last = max(self.calls, key=lambda call: call.step)
        try:
            last.body = _changed(
                last.protocol, last.body, last.media,
                lambda said: rewritten(said, now := shown(said), now.thought, action),
            )  # fmt: skip
        except ValueError as error:
            raise UpstreamError(f"the answer of step {last.step} cannot say this: {error}") from None

    @property
    def _whole(self) -> bool:
        """All that was recorded was asked again, and nothing else."""
        return not self.difference and self.answered == len(self.calls)

    @property
    def complete(self) -> bool | None:
        return self._whole if self.then is None else None

    async def answer(self, asked: Asked, host: Host) -> Reply:
        if not self.difference:
            waiting = self._waiting.get(_key(asked.protocol, asked.messages, asked.tools, asked.settings))
            if waiting:
                call = waiting.popleft()
                self.answered += 1
                if self._whole:
                    host.note(f"all {len(self.calls)} calls were answered from the recording")
                return Reply(200, [("content-type", call.media)], _pieces(call), recorded=True)
            if self.answered < len(self.calls) or self.then is None:
                await self._differs(asked, host)
        if self.then is None:
            if self._ask:
                raise ByHand
            raise Unanswered(409, "error", self.difference or "the recording has come to its end")
        return await self.then.answer(asked, host)

    async def _differs(self, asked: Asked, host: Host) -> None:
        self.difference = f"the program leaves the recording at its call {self.answered + 1}: {self._where(asked)}"
        host.note(self.difference)
        if self._ask and await host.hand_over(self.difference):
            return
        if self.then is None:
            host.stop("diverged", self.difference)
            raise Unanswered(409, "error", self.difference)

    def _where(self, asked: Asked) -> str:
        """What differs from the recorded call that is nearest to a request."""
        left = [call for calls in self._waiting.values() for call in calls]
        if not left:
            cut = f": in the next, {self.cut}" if self.cut else ""
            return f"the recording has {many(len(self.calls), 'call')}, and no more{cut}"
        now = [_plain(message) for message in asked.messages]

        def alike(call: Recorded) -> tuple[int, int]:
            then = map(_plain, call.messages)
            same = next(
                (i for i, (a, b) in enumerate(zip(then, now, strict=False)) if a != b),
                min(len(call.messages), len(now)),
            )
            return same, -call.number

        nearest = max(left, key=alike)
        if nearest.protocol is not asked.protocol:
            return f"it speaks the protocol {asked.protocol.name}, and then spoke {nearest.protocol.name}"
        for place, (then, message) in enumerate(zip(nearest.messages, asked.messages, strict=False), 1):
            if _plain(then) != _plain(message):
                texts = [message_text(each.encode()) for each in (then, message)]
                if _plain(texts[0]) == _plain(texts[1]):  # it differs beside its text
                    texts = [then, message]
                return f"message {place} {_difference(*texts)}"
        if len(nearest.messages) != len(now):
            return f"it sends {len(now)} messages, and sent {len(nearest.messages)} then"
        if _plain(nearest.tools) != _plain(asked.tools):
            return f"the tools that it offers: {_difference(nearest.tools, asked.tools)}"
        ours, theirs = _settings(nearest.settings), _settings(asked.settings)
        return f"its settings: {_difference(ours, theirs)}"

    async def pass_on(self, method: str, path: str, query: str, headers: list[tuple[str, str]], body: bytes) -> Reply:
        if self.then is None:
            raise Unanswered(404, "error", "a recording answers calls of a model, and nothing else")
        return await self.then.pass_on(method, path, query, headers, body)

    async def close(self) -> None:
        if self.then is not None:
            await self.then.close()


def _recorded(state: SessionState, events: Sequence[ev.Event], objects: ObjectStore) -> Iterator[Recorded]:
    """The calls of a session whose answers became steps, or were still to, in the order of their answers."""
    calls = {call.answer: call for call in state.prompts.calls}
    numbers = {event.answer: event.step for event in events if isinstance(event, ev.ActionProposed)}
    alternatives: dict[tuple[int, int], ev.ModelResponded] = {}
    newest = 0
    for event in events:
        if isinstance(event, ev.ActionProposed):
            newest = event.step
        elif isinstance(event, ev.ModelResponded) and event.alternative:
            alternatives[newest, event.alternative] = event
    for event in events:
        if not isinstance(event, ev.ModelResponded) or not event.body or event.alternative:
            continue
        call, number = calls.get(event.seq), numbers.get(event.seq)
        protocol = PROTOCOLS.get(call.sent.protocol) if call is not None else None
        if call is None or protocol is None or (number is None and call.failure):
            continue
        step = state.steps[number] if number is not None else None
        taken = alternatives.get((step.number, step.chosen), event) if step is not None else event
        body, media = objects.get(taken.body), taken.media
        if step is not None:
            body = _reviewed(step, protocol, body, media)
        messages = tuple(objects.get(each.hash).decode() for each in state.prompts.prompt(call).messages)
        tools = objects.get(call.sent.tools).decode() if call.sent.tools else ""
        settings = call.sent.settings or {}
        key = _key(protocol, messages, tools, settings)
        number = state.last_step + 1 if number is None else number
        yield Recorded(call.number + 1, number, protocol, key, messages, tools, settings, body, media)


def _reviewed(step: Step, protocol: Protocol, body: bytes, media: str) -> bytes:
    """An answer as its client got it, once a person has looked at it."""
    if step.status == "rejected" and not step.dropped:
        return _changed(protocol, body, media, lambda said: (refusal(step.comment), ()))
    if step.edited:
        return _changed(protocol, body, media, lambda said: rewritten(said, shown(said), step.thought, step.action))
    return body


def _changed(
    protocol: Protocol, body: bytes, media: str, change: Callable[[Said], tuple[str, Sequence[ToolCall]]]
) -> bytes:
    """A body with the text and the calls that `change` makes of it."""
    whole = read_whole(protocol, body, media)
    whole = protocol.changed(whole, *change(protocol.said(whole)))
    return b"".join(protocol.streamed(whole)) if "event-stream" in media else protocol.body(whole, None)


async def _pieces(call: Recorded) -> AsyncIterator[bytes]:
    if "event-stream" not in call.media:
        yield call.body
        return
    for event in re.findall(rb".+?(?:\r?\n\r?\n|\Z)", call.body, re.DOTALL):
        yield event


# -- what is the same --------------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """A text without what no two runs share."""
    return _VARIES.sub("…", comparable(text))


def _settings(settings: Value) -> str:
    left = {name: value for name, value in settings.items() if name not in _VOLATILE}
    return _plain(json.dumps(left, sort_keys=True, ensure_ascii=False))


def _key(protocol: Protocol, messages: Sequence[str], tools: str, settings: Value) -> tuple[str, ...]:
    return (protocol.name, _settings(settings), _plain(tools), *map(_plain, messages))


def _difference(then: str, now: str) -> str:
    """The first line in which two texts differ."""
    lines = ([*_plain(text).splitlines(), ""] for text in (then, now))
    was, is_now = next(((a, b) for a, b in zip(*lines, strict=False) if a != b), (then, now))
    first = next((at for at, (a, b) in enumerate(zip(was, is_now, strict=False)) if a != b), min(len(was), len(is_now)))
    place = max(0, first - _SHOWN // 2)
    shown = ("…" * (place > 0) + text[place : place + _SHOWN] for text in (was, is_now))
    return "was {!r} and is {!r}".format(*shown)
