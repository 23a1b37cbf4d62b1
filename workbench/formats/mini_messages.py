"""The messages of mini-swe-agent, in any of its shapes: tool calls, text, the Responses API."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from workbench.formats.reading import as_action, integer, items, number, record, text
from workbench.session import events as ev

_FENCED = re.compile(r"```(?:mswea_bash_command|bash|sh)\s*\n(.*?)\n?```", re.DOTALL)


class Command(NamedTuple):
    command: str
    call: str = ""
    """Of a tool call: its id, by which the output is found."""


def role_of(message: dict[str, Any]) -> str:
    kind = "assistant" if message.get("object") == "response" else "tool"
    return text(message.get("role")) or kind


def limits_of(agent: dict[str, Any]) -> ev.Limits:
    """What may be spent; 0 is no limit."""
    return ev.Limits(
        steps=integer(agent.get("step_limit")) or None,
        cost=number(agent.get("cost_limit")) or None,
        seconds=number(agent.get("wall_time_limit_seconds")) or None,
    )


def said(message: dict[str, Any]) -> str:
    """The text of a message, in any of the shapes."""
    output = message.get("output")
    if message.get("object") == "response":
        return "\n".join(text(part.get("content")) for part in items(output) if part.get("type") == "message")
    return text(output) or text(message.get("content"))


def commands_of(message: dict[str, Any]) -> list[Command]:
    """The commands in a message of the model or of a person: as parsed, else its calls, else its code block."""
    parsed = record(message.get("extra")).get("actions")
    if isinstance(parsed, list):
        return [Command(text(each.get("command")), text(each.get("tool_call_id"))) for each in items(parsed)]
    calls = [(text(call.get("id")), record(call.get("function"))) for call in items(message.get("tool_calls"))]
    if message.get("object") == "response":
        calls = [(text(p.get("call_id")), p) for p in items(message.get("output")) if p.get("type") == "function_call"]
    if calls:
        return [Command(_called(function), call) for call, function in calls]
    blocks = _FENCED.findall(text(message.get("content"))) if message.get("role") == "assistant" else []
    return [Command(blocks[0])] if len(blocks) == 1 else []


def _called(function: dict[str, Any]) -> str:
    arguments = function.get("arguments")
    try:
        given = msgspec.json.decode(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        given = arguments
    return as_action(text(function.get("name")), given)
