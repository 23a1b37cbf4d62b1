"""What of a log of Inspect is read: the fields of samples and events; and which commands ran inside which tool."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from workbench.formats.reading import number, record, text

_LONGEST_COMMAND = 65_536
_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""Inspect's words for correct, partially correct, incorrect and no answer, as its own metrics count them."""


class SampleEvent(msgspec.Struct):
    event: Any = ""
    id: Any = None
    span_id: Any = None
    parent_id: Any = None
    type: Any = None
    timestamp: Any = None
    function: Any = None
    arguments: Any = None
    result: Any = None
    error: Any = None
    working_time: Any = None
    events: list[SampleEvent] | None = None
    """Older logs: what happened inside a tool."""
    action: Any = None
    cmd: Any = None
    call: msgspec.Raw = msgspec.Raw(b"null")
    """Of an approval; in answers of a model it is what went over the wire, and not read."""
    decision: Any = None
    approver: Any = None
    explanation: Any = None
    model: Any = None
    input: msgspec.Raw = msgspec.Raw(b"[]")
    input_refs: Any = None
    output: Any = None
    score: Any = None
    scorer: Any = None
    intermediate: Any = None
    source: Any = None
    data: Any = None
    metadata: Any = None


class Sample(msgspec.Struct):
    id: Any = ""
    epoch: Any = 1
    input: Any = ""
    scores: Any = None
    events: list[SampleEvent] = []
    started_at: Any = None
    error: Any = None
    limit: Any = None
    model_usage: Any = None
    metadata: Any = None
    events_data: msgspec.Raw = msgspec.Raw(b"{}")
    """Messages that events refer to."""
    attachments: msgspec.Raw = msgspec.Raw(b"{}")
    """Long texts, which stand elsewhere as `attachment://HASH`."""

    @property
    def name(self) -> str:
        return f"{self.id}/{self.epoch}"


class Pool(msgspec.Struct):
    messages: list[msgspec.Raw] = []


def as_number(value: object) -> float | None:
    """A score as a number."""
    if isinstance(value, str):
        try:
            return _LETTERS[value] if value in _LETTERS else number(float(value))
        except ValueError:
            return None
    return float(value) if isinstance(value, bool) else number(value)


def last_word(command: str) -> str:
    """The script in `bash -c SCRIPT`, as a log quotes it."""
    try:
        return shlex.split(command[:_LONGEST_COMMAND])[-1]
    except (ValueError, IndexError):
        return command


def author_of(approval: SampleEvent) -> str:
    name = text(approval.approver) or "approver"
    if author := text(record(approval.metadata).get("author")):
        return author
    return "human:approver" if name == "human" else f"policy:{name}"


def flat(events: Iterable[SampleEvent], levels: int = 8) -> Iterator[SampleEvent]:
    for event in events:
        yield event
        if event.events and levels:
            yield from flat(event.events, levels - 1)


def inside_tools(events: list[SampleEvent]) -> dict[int, list[SampleEvent]]:
    """What each tool event had run in the sandbox: its span is the next of its kind under the same parent."""
    spans: dict[str, list[str]] = defaultdict(list)
    inside: dict[str, list[SampleEvent]] = defaultdict(list)
    for event in events:
        if event.event == "span_begin" and event.type == "tool":
            spans[text(event.parent_id)].append(text(event.id))
        elif event.event == "sandbox":
            inside[text(event.span_id)].append(event)
    found: dict[int, list[SampleEvent]] = {}
    for event in events:
        if event.event == "tool":
            mine = spans[text(event.span_id)]
            own = [each for each in event.events or [] if each.event == "sandbox"]
            found[id(event)] = own or (inside[mine.pop(0)] if mine else [])
    return found
