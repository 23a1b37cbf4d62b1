"""History processors: pure functions that shorten a conversation before it is sent.

A processor leaves out outputs of commands (`Message.output` says where they are) and says why in `Message.elided`.
`token_budget` may also drop the oldest steps as a whole. None of them changes the order of messages or separates a
model's turn from the answer to it. Messages that belong to no step (the system prompt, the task, what a person said)
always stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from workbench.agents.messages import Message
from workbench.text import many

Count = Callable[[Message], int]
"""Counts the tokens of a message, including its overhead."""

_WINDOW = re.compile(
    r"^\[File: (?P<path>.+) \(\d+ lines? total\)\]\n"
    r"(?:\(\d+ more lines? above\)\n)?"
    r"(?P<rows>(?:\d+:[^\n]*(?:\n|\Z))+)"
    r"(?:\(\d+ more lines? below\)(?:\n|\Z))?",
    re.MULTILINE,
)


class ContextTooLong(Exception):
    """The conversation cannot be shortened enough."""

    def __init__(self, needed: int, budget: int) -> None:
        super().__init__(f"even the shortest form of the conversation has {needed:,} tokens, and {budget:,} fit")
        self.needed = needed
        self.budget = budget


def last_observations(messages: Sequence[Message], *, first: int = 5, last: int = 5) -> list[Message]:
    """The first and the last outputs in full; the others are replaced by their number of lines."""
    places = [index for index, message in enumerate(messages) if has_output(message)]
    middle = places[first : max(first, len(places) - last)]
    result = list(messages)
    for index in middle:
        result[index] = without_output(messages[index], f"not among the first {first} and last {last} outputs")
    return result


def closed_windows(messages: Sequence[Message]) -> list[Message]:
    """Only the newest view of each file: older views may show lines that have changed."""
    seen: set[str] = set()
    result = list(messages)
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        start, end = message.output
        output = message.content[start:end]
        views = list(_WINDOW.finditer(output))
        closed = []
        for view in reversed(views):
            if view["path"] in seen:
                closed.append(view)
            seen.add(view["path"])
        for view in closed:  # from the last to the first, so that offsets hold
            rows = view["rows"].rstrip("\n").split("\n")
            lines = f"lines {rows[0].partition(':')[0]} to {rows[-1].partition(':')[0]}"
            ending = "\n" if view[0].endswith("\n") else ""
            note = f"[File: {view['path']}: an older view, {lines}, left out]{ending}"
            output = output[: view.start()] + note + output[view.end() :]
        if closed:
            result[index] = _with_output(message, output, "older views of files")
    return result


def token_budget(messages: Sequence[Message], *, tokens: int, count: Count) -> list[Message]:
    """Shortens the conversation to at most `tokens` in total. It leaves out, in this order and only as far as needed:
    older outputs, the oldest first; most of the newest output; whole steps, the oldest first; the rest of the newest
    output. Raises ContextTooLong if that is not enough.
    """
    result = list(messages)
    sizes = [count(message) for message in result]
    total = sum(sizes)
    reason = f"over the budget of {tokens:,} tokens"

    def put(index: int, message: Message) -> None:
        nonlocal total
        size = count(message)
        total += size - sizes[index]
        result[index], sizes[index] = message, size

    outputs = [index for index, message in enumerate(result) if has_output(message)]
    newest = outputs[-1] if outputs else None
    for index in outputs[:-1]:
        if total <= tokens:
            return result
        put(index, without_output(result[index], reason))
    if total > tokens and newest is not None:
        room = max(tokens // 4, sizes[newest] - (total - tokens))
        put(newest, _shortened(result[newest], room, count, reason))
    if total > tokens:
        result, sizes = _without_oldest_steps(result, sizes, tokens, count, reason)
        total = sum(sizes)
        newest = max((index for index, message in enumerate(result) if has_output(message)), default=None)
    if total > tokens and newest is not None:
        put(newest, _shortened(result[newest], sizes[newest] - (total - tokens), count, reason))
    if total > tokens:
        raise ContextTooLong(total, tokens)
    return result


# -- one message -------------------------------------------------------------------------------------------------------


def has_output(message: Message) -> bool:
    """Whether the message holds output of a command that may be left out."""
    return message.output[1] > message.output[0]


def without_output(message: Message, reason: str) -> Message:
    """The message with the number of lines in place of its output, if that is shorter."""
    start, end = message.output
    lines = message.content.count("\n", start, end) + (not message.content.endswith("\n", start, end))
    note = f"({many(lines, 'line')} of output left out)"
    return replace(_with_output(message, note, reason), output=(0, 0)) if len(note) < end - start else message


def _with_output(message: Message, output: str, reason: str) -> Message:
    start, end = message.output
    reasons = dict.fromkeys(part for part in (message.elided, reason) if part)
    return replace(
        message,
        content=message.content[:start] + output + message.content[end:],
        output=(start, start + len(output)),
        elided="; ".join(reasons),
    )


def _shortened(message: Message, tokens: int, count: Count, reason: str) -> Message:
    """The message with as much of the head and the tail of its output as fits into `tokens`, if that is possible."""
    start, end = message.output
    output = message.content[start:end]

    def cut(kept: int) -> Message:
        head, tail = output[: kept - kept // 2], output[len(output) - kept // 2 :]
        left_out = len(output) - kept
        return _with_output(message, f"{head}\n({left_out:,} characters left out)\n{tail}", reason)

    shortest, size = count(cut(0)), count(message)
    if size <= tokens:
        return message
    if shortest > tokens or shortest >= size:
        return without_output(message, reason)
    kept = int(len(output) * (tokens - shortest) / (size - shortest))
    while (shorter := cut(kept)) and count(shorter) > tokens:
        kept = int(kept * 0.9)
    return shorter


def _without_oldest_steps(
    messages: list[Message], sizes: list[int], tokens: int, count: Count, reason: str
) -> tuple[list[Message], list[int]]:
    """Drops as many of the oldest steps as necessary, and puts a line in their place."""
    steps = list(dict.fromkeys(message.step for message in messages if message.step is not None))
    size_of = dict.fromkeys(steps, 0)
    for message, size in zip(messages, sizes, strict=True):
        if message.step is not None:
            size_of[message.step] += size
    total = sum(sizes)
    dropped: list[int] = []
    note: Message | None = None
    for step in steps[:-1]:
        if total + (count(note) if note else 0) <= tokens:
            break
        dropped.append(step)
        total -= size_of[step]
        span = f"Step {dropped[0]} is" if len(dropped) == 1 else f"Steps {dropped[0]} to {step} are"
        note = Message("user", f"({span} left out here, so that the rest fits.)", elided=reason)
    kept = [message for message in messages if message.step not in dropped]
    if note is not None:
        kept.insert(next(at for at, message in enumerate(messages) if message.step in dropped), note)
    return kept, [count(message) for message in kept]
