"""Which of an agent program's conversations a request goes on with: told from how its messages begin."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

_MOST = 200
"""Conversations that are looked at, the newest first."""
_MOVES = ("cache_control",)
"""Fields by which the same message differs from request to request."""


class Request(Protocol):
    """What is to be known of one here."""

    gone: bool
    """Its client lost the connection."""


class Conversation(msgspec.Struct):
    """A series of requests, each with what was said before it."""

    number: int
    protocol: str
    messages: tuple[str, ...] = ()
    """Of its newest request, as `comparable` has them."""
    requests: list[Request] = msgspec.field(default_factory=list)
    """Those that have no answer yet."""
    answers: set[str] = msgspec.field(default_factory=set)
    """Ids of its answers, by which later requests may name it."""

    @property
    def under_way(self) -> bool:
        """Whether somebody waits for an answer."""
        return any(not request.gone for request in self.requests)


class Conversations:
    """All of a session."""

    def __init__(self) -> None:
        self._all: list[Conversation] = []

    def find(self, protocol: str, messages: Sequence[str], previous: str = "") -> tuple[Conversation, str]:
        """The conversation of a request with these messages, and how it stands to the one before: `retry` where that
        had the same messages, `parallel` where that has no answer yet; else empty.

        `previous`: the id of the answer that it follows, where it says so.
        """
        now = tuple(map(comparable, messages))
        best, score = None, (0, 0)
        for conversation in reversed(self._all[-_MOST:]):
            if conversation.protocol != protocol:
                continue
            if previous and previous in conversation.answers:
                best = conversation
                break
            shared = _shared(conversation.messages, now)
            if shared < min(_opening(now), len(conversation.messages)) or not shared:
                continue
            whole = shared == len(conversation.messages)
            mine = (shared + whole, not conversation.under_way)
            if mine > score:
                best, score = conversation, mine
        relation = ""
        if best is not None and not previous:
            begins = len(now) == _opening(now)
            if best.under_way:
                relation = "parallel"
                if best.messages == now or begins:
                    best = None  # another one that begins alike, as the same agent does that runs twice
            elif best.messages == now:
                relation = "retry"
            elif begins and len(best.messages) > len(now):
                best = None
        if best is None:
            best = Conversation(len(self._all) + 1, protocol)
            self._all.append(best)
        best.messages = now
        return best, relation


def comparable(message: str) -> str:
    """A message without what moves from one to the other between requests."""
    if not any(name in message for name in _MOVES):
        return message
    try:
        return json.dumps(_without(json.loads(message)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return message


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without(each) for name, each in value.items() if name not in _MOVES}
    return [_without(each) for each in value] if isinstance(value, list) else value


def _shared(before: Sequence[str], now: Sequence[str]) -> int:
    """How many messages both begin with."""
    count = 0
    for ours, theirs in zip(before, now, strict=False):
        if ours != theirs:
            break
        count += 1
    return count


def _opening(messages: Sequence[str]) -> int:
    """How many messages are what a conversation begins with: the system's words and the first of a user."""
    system = sum('"role":"system"' in m[:200] or '"role":"developer"' in m[:200] for m in messages[:3])
    return min(len(messages), system + 1)
