"""A conversation as providers want it: every call has its answer, and turns alternate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from workbench.agents.messages import Message, ToolCall

Part = dict[str, Any]
"""A part of a turn, in a provider's own form."""


def merged(messages: Sequence[Message]) -> list[Message]:
    """Joins consecutive messages of one role, user or assistant: some providers want them to alternate."""
    result: list[Message] = []
    for message in messages:
        last = result[-1] if result else None
        if last is not None and last.role == message.role and message.role in ("user", "assistant"):
            content = "\n\n".join(part for part in (last.content, message.content) if part)
            result[-1] = replace(last, content=content, tool_calls=last.tool_calls + message.tool_calls)
        else:
            result.append(message)
    return result


def alternating(turns: Iterable[tuple[bool, list[Part]]], text: Callable[[str], Part]) -> list[tuple[bool, list[Part]]]:
    """Joins consecutive turns of one side (the model's, or not); the result begins and ends with the user."""
    result: list[tuple[bool, list[Part]]] = []
    for by_model, parts in turns:
        if parts and result and result[-1][0] == by_model:
            result[-1][1].extend(parts)
        elif parts:
            result.append((by_model, parts))
    if not result or result[0][0]:
        result.insert(0, (False, [text("Begin.")]))
    if result[-1][0]:
        result.append((False, [text("Go on.")]))
    return result


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """The arguments of a call for a provider that accepts only an object."""
    return {"raw_arguments": call.raw_arguments} if call.raw_arguments else dict(call.arguments)


def split_system(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    """The system messages at the beginning as one text, and the other messages; later system messages become the
    user's.
    """
    begin = 0
    while begin < len(messages) and messages[begin].role == "system":
        begin += 1
    system = "\n\n".join(message.content for message in messages[:begin] if message.content)
    rest = [replace(message, role="user") if message.role == "system" else message for message in messages[begin:]]
    return system, rest


def answered_calls(messages: Sequence[Message]) -> list[Message]:
    """Puts every tool message after the call that it answers. If that call was left out, the message becomes the user's
    text; a call without an answer gets an empty one. Providers refuse anything else.
    """
    result: list[Message] = []
    waiting: dict[str, None] = {}

    def settle() -> None:
        result.extend(Message("tool", "(no result)", tool_call_id=missing) for missing in waiting)
        waiting.clear()

    for message in messages:
        if message.role == "tool":
            if message.tool_call_id in waiting:
                del waiting[message.tool_call_id]
                result.append(message)
            else:
                result.append(replace(message, role="user", tool_call_id=""))
            continue
        settle()
        result.append(message)
        waiting.update(dict.fromkeys(call.id for call in message.tool_calls))
    settle()
    return result
