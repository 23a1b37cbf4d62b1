"""What was sent to the models: the prompts of a session, as they are logged, and put together again from the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from workbench.session import events as ev

_SHOWN = 200
"""Characters of the end of an answer that is not complete."""
Run = tuple[int, int, int]
"""Place in a prompt, place in the one before it, how many messages from there on are the same."""

# -- as it is logged ---------------------------------------------------------------------------------------------------


def runs_of_same(before: Sequence[str], now: Sequence[str]) -> tuple[list[Run], list[int]]:
    """Where the messages of a prompt stood in the one before, and the places of those that are new.

    Takes time in proportion to the prompt. Each message of the one before is used at most once, so that no log can make
    a prompt grow out of nothing.
    """
    places = {message: place for place, message in enumerate(before)}
    used = bytearray(len(before))
    runs: list[Run] = []
    new: list[int] = []
    for here, message in enumerate(now):
        following = runs[-1][1] + runs[-1][2] if runs and sum(runs[-1][::2]) == here else len(before)
        if following < len(before) and not used[following] and before[following] == message:
            runs[-1] = (runs[-1][0], runs[-1][1], runs[-1][2] + 1)
            used[following] = 1
            continue
        there = places.get(message)
        if there is None or used[there]:
            new.append(here)
        else:
            runs.append((here, there, 1))
            used[there] = 1
    return runs, new


TOOLS = "tools"
"""Stands as the role of what is sent beside the messages: the schemas of the tools offered."""


class SentMessage(msgspec.Struct, frozen=True):
    """One message of a prompt, without its text."""

    hash: str
    """Of its object."""
    role: str = ""
    """Empty in older logs: only its object has it. `TOOLS` for the schemas of the tools."""
    tokens: int | None = None
    elided: str = ""
    step: int | None = None


def _put_together(event: ev.PromptSent, before: Sequence[SentMessage]) -> tuple[list[SentMessage], str]:
    """The messages of a prompt, given those of the one before it; and what is wrong with that."""
    notes = event.notes if len(event.notes) == len(event.messages) else [ev.MessageNote() for _ in event.messages]
    new = [SentMessage(h, n.role, n.tokens, n.elided, n.step) for h, n in zip(event.messages, notes, strict=True)]
    result: list[SentMessage] = []
    taken = 0
    used = bytearray(len(before))
    for here, there, length in event.same:
        gap = here - len(result)
        sound = 0 <= gap <= len(new) - taken and length > 0 and there >= 0 and there + length <= len(before)
        if not sound or used.find(1, there, there + length) >= 0:
            return [*result, *new[taken:]], "the log does not say where all of its messages stood"
        result += [*new[taken : taken + gap], *before[there : there + length]]
        used[there : there + length] = b"\1" * length
        taken += gap
    result += new[taken:]
    if event.count is not None and event.count != len(result):
        return result, f"{event.count:,} messages were sent, and the log has {len(result):,}"
    return result, ""


# -- the prompts of a session ------------------------------------------------------------------------------------------


class Call(msgspec.Struct):
    """A call of a model."""

    number: int
    """Place among the calls of the session, from 0."""
    sent: ev.PromptSent
    step: int
    """The step that it was made for; in older logs one after the newest until that step is there."""
    usage: ev.Usage | None = None
    """As the provider counted; None where it did not say."""
    failure: str = ""
    """Why nothing came of it."""
    answer: int | None = None
    """`seq` of its answer; None before that came."""
    draft: str = ""
    """The end of what has come of it so far, where it took its time."""

    @property
    def trouble(self) -> str:
        """Why nothing came of it, or how far its answer has come."""
        if self.failure or self.answer is not None or not self.draft:
            return self.failure
        return f"its answer is not complete; the log has “{' '.join(self.draft.split())}”"


class SentPrompt(msgspec.Struct, frozen=True):
    """All that was sent in a call."""

    call: Call
    messages: tuple[SentMessage, ...]
    problem: str = ""
    """What is missing from it, in words for the reader."""

    @property
    def parts(self) -> tuple[SentMessage, ...]:
        """The messages, and before them the tools, where any were offered."""
        sent = self.call.sent
        tools = (SentMessage(sent.tools, TOOLS, sent.tool_tokens),) if sent.tools else ()
        return (*tools, *self.messages)

    @property
    def tokens(self) -> int | None:
        """Tokens of messages and tools, estimated; None where they were not counted."""
        counts = [message.tokens for message in self.messages if message.tokens is not None]
        return sum(counts) + self.call.sent.tool_tokens if len(counts) == len(self.messages) else None

    @property
    def share(self) -> float | None:
        """The share of the budget for messages that was used."""
        tokens, budget = self.tokens, self.call.sent.budget
        return (tokens - self.call.sent.tool_tokens) / budget if tokens is not None and budget else None

    @property
    def elided(self) -> int:
        """How many messages had something left out."""
        return sum(bool(message.elided) for message in self.messages)


_KEPT = 50
"""One prompt in so many is kept after it is rebuilt, so that later ones can be rebuilt from there."""
_MOST_WORK = 50_000_000
"""Most messages that are handled to rebuild one prompt: far more than sessions need. A hostile log may ask for more."""


@dataclass
class Prompts:
    """The calls of a session, as they come; a prompt is put together when it is asked for."""

    calls: list[Call] = field(default_factory=list)
    _by_step: dict[int, list[Call]] = field(default_factory=dict)
    _unassigned: list[Call] = field(default_factory=list)
    """Calls that do not say what they were for, since the newest step began. (Those of older logs.)"""
    _by_seq: dict[int, Call] = field(default_factory=dict)
    """Those of agent programs, which name each other."""
    _newest: tuple[Call, int] | None = None
    """The call that something was told of last, and the `seq` of that."""
    _kept: dict[int, tuple[list[SentMessage], str]] = field(default_factory=dict, compare=False)
    """Some prompts that were put together, and what is wrong with each, by the number of the call."""

    def sent(self, event: ev.PromptSent, newest_step: int) -> None:
        """A model is asked."""
        step = newest_step + 1 if event.step is None else event.step
        call = Call(len(self.calls), event, step)
        self.calls.append(call)
        if event.conversation:
            self._by_seq[event.seq] = call
        calls = self._unassigned if event.step is None else self._by_step.setdefault(step, [])
        calls.append(call)
        self._newest = call, event.seq

    def drafted(self, event: ev.ModelDrafted) -> None:
        """More of an answer has come."""
        if (call := self._by_seq.get(event.prompt)) is not None:
            call.draft = (call.draft + event.text)[-_SHOWN:]
            self._newest = call, event.seq

    def answered(self, event: ev.ModelResponded) -> None:
        """The model answered. Some logs hold answers whose prompt was not logged."""
        call = self.calls[-1] if self.calls and self.calls[-1].sent.seq == event.seq - 1 else None
        if event.prompt is not None:
            call = self._by_seq.get(event.prompt)
        if call is not None:
            call.usage, call.answer = event.usage, event.seq
            self._newest = call, event.seq

    def belongs(self, answer: int, step: int) -> Call | None:
        """The call with this answer was made for a step. Returns it."""
        call = next((call for call in reversed(self.calls) if call.answer == answer), None)
        if call in self._unassigned:
            self._unassigned.remove(call)
            call.step = step
            self._by_step.setdefault(step, []).append(call)
        return call

    def failed(self, event: ev.ModelFailed) -> None:
        """Nothing came of a call: of the one that is named, or the newest, if it was made, or answered, just before."""
        call, seq = self._newest or (None, 0)
        if event.prompt is not None and (named := self._by_seq.get(event.prompt)) is not None:
            named.failure = named.failure or f"{event.cause}: {event.message}"
        elif call is not None and not call.failure and event.seq - seq in ((1, 2) if call.answer is None else (1,)):
            call.failure = f"{event.cause}: {event.message}"

    def proposed(self, step: int) -> None:
        """An agent's step begins: calls that did not say what they were for were for that."""
        mine = [call for call in self._unassigned if not call.sent.conversation]
        for call in mine:
            call.step = step
        self._by_step.setdefault(step, []).extend(mine)
        self._unassigned = [call for call in self._unassigned if call.sent.conversation]

    def of_step(self, step: int) -> list[Call]:
        """The calls that were made for a step, in order."""
        return self._by_step.get(step, []) + [call for call in self._unassigned if call.step == step]

    def before(self, call: Call) -> Call | None:
        """The last call for an earlier step, in the same conversation."""
        sent = call.sent
        earlier = (other for other in reversed(self.calls[: call.number]) if other.step < call.step)
        return next((other for other in earlier if other.sent.conversation == sent.conversation), None)

    def _base(self, call: Call) -> Call | None:
        """The call that `same` of a call is about."""
        if call.sent.base is None:
            return self.calls[call.number - 1] if call.number else None
        base = self._by_seq.get(call.sent.base)
        return base if base is not None and base.number < call.number else None

    def prompt(self, call: Call) -> SentPrompt:
        """All that was sent in a call. The first time takes longer: some prompts before it are kept for later."""
        chain: list[Call] = []
        begin: Call | None = call
        while begin is not None and begin.number not in self._kept:
            chain.append(begin)
            begin = self._base(begin) if begin.sent.same else None
        messages, problem = self._kept[begin.number] if begin is not None else ([], "")
        work = 0
        for each in reversed(chain):
            messages, problem = _put_together(each.sent, messages)
            work += len(messages)
            if work > _MOST_WORK:
                messages, problem = _put_together(call.sent, [])
                return SentPrompt(call, tuple(messages), "the prompts before it are too large to be put together")
            if each.number % _KEPT == 0:
                self._kept[each.number] = (messages, problem)
        return SentPrompt(call, tuple(messages), problem)
