"""The action that an answer proposes, as a person reads and edits it, and the answer that an edited one amounts to.

A call of a shell is shown as its command; any other call as its name and arguments, in JSON. Where there is no call,
the fenced blocks of the text are the action.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from workbench.agents.parsing import fenced_blocks, without
from workbench.gateway.protocols.base import Said, ToolCall
from workbench.session.plain import read_json, refuse_deep, without_surrogates

_SHELLS = re.compile(r"(?:.*[_.])?(?:bash|shell|sh|terminal|exec|cmd|run_command|execute_command|exec_command)", re.I)
"""Names of tools whose `command` is one of a shell, whatever else they take."""
COMMANDS = ("command", "cmd", "script")
"""How the argument of such a tool is called."""
_NAME = re.compile(r"\s*(?P<name>[^\s{\"]{1,200})\s*(?=\{)")


class Shown(msgspec.Struct, frozen=True):
    """An answer, for a person."""

    thought: str
    action: str
    """Empty where it proposes nothing."""


def shown(said: Said) -> Shown:
    """What an answer thinks and proposes."""
    if said.calls:
        command = _command(said.calls)
        return Shown(said.text.strip(), _listed(said.calls) if command is None else command)
    lines, found = fenced_blocks(said.text)
    closed = [block for block in found if block.end is not None]
    if len(closed) == 1:
        return Shown(without(lines, closed[0]), closed[0].content)
    if not closed:
        return Shown(said.text.strip(), "")
    return Shown(said.text.strip(), "\n".join("\n".join(lines[block.start : (block.end or 0) + 1]) for block in closed))


def refusal(comment: str) -> str:
    """The text of the answer that takes the place of a rejected one."""
    return f"The action that I proposed was rejected, and was not run{f': {comment}' if comment else '.'}"


def rewritten(said: Said, before: Shown, thought: str, action: str) -> tuple[str, tuple[ToolCall, ...]]:
    """Text and calls of the answer once a person has changed thought and action. Raises ValueError for an action that
    no answer of this kind can hold.
    """
    if said.calls:
        text = said.text if thought == before.thought else thought
        return text, said.calls if action == before.action else _edited_calls(said.calls, action)
    lines, found = fenced_blocks(said.text)
    closed = [block for block in found if block.end is not None]
    if len(closed) > 1:
        if thought != before.thought:
            return thought, ()
        again, now = fenced_blocks(action)
        if len(now) != len(closed) or any(block.end is None for block in now):
            raise ValueError(f"the answer has {len(closed)} fenced blocks: leave each its fences")
        for old, new in reversed(list(zip(closed, now, strict=True))):
            lines[old.start : (old.end or 0) + 1] = again[new.start : (new.end or 0) + 1]
        return "\n".join(lines), ()
    if not closed:
        if action.strip():
            return f"{thought}\n\n```bash\n{action}\n```".strip(), ()
        return said.text if thought == before.thought else thought, ()
    (block,) = closed
    fence = lines[block.start], lines[block.end or 0]
    if thought != before.thought:
        return "\n".join([*([thought, ""] if thought else []), fence[0].strip(), action, fence[1].strip()]), ()
    return "\n".join([*lines[: block.start + 1], *action.split("\n"), *lines[block.end or 0 :]]), ()


def is_shell(name: str) -> bool:
    """Whether a tool of that name is one, as agents call it."""
    return _SHELLS.fullmatch(name) is not None


def _arguments(call: ToolCall) -> Any:
    try:
        return read_json(call.arguments)
    except ValueError:
        return None


def _place(call: ToolCall) -> str | None:
    """The argument that is all that a person wants to see of a call; None where that is not known."""
    arguments = _arguments(call)
    if not isinstance(arguments, dict):
        return None
    if len(arguments) == 1:
        name, value = next(iter(arguments.items()))
        if isinstance(value, str) or (name in COMMANDS and _of_shell(value)):
            return str(name)
    if is_shell(call.name):
        return next((n for n in COMMANDS if isinstance(arguments.get(n), str) or _of_shell(arguments.get(n))), None)
    return None


def _of_shell(value: Any) -> bool:
    """Whether it is `bash -c COMMAND`, as a list."""
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(word, str) for word in value)
        and value[0].rpartition("/")[2] in ("bash", "sh", "zsh")
        and re.fullmatch(r"-l?i?c", value[1]) is not None
    )


def _command(calls: Sequence[ToolCall]) -> str | None:
    if len(calls) != 1 or (place := _place(calls[0])) is None:
        return None
    value = _arguments(calls[0])[place]
    return value[2] if isinstance(value, list) else str(value)


def _listed(calls: Sequence[ToolCall]) -> str:
    found = []
    for call in calls:
        arguments = _arguments(call)
        written = json.dumps(arguments, indent=1, ensure_ascii=False) if isinstance(arguments, dict) else call.arguments
        found.append(f"{call.name} {written}")
    return "\n".join(found)


def _edited_calls(calls: tuple[ToolCall, ...], action: str) -> tuple[ToolCall, ...]:
    if _command(calls) is not None:
        arguments, place = _arguments(calls[0]), _place(calls[0])
        value = arguments[place]
        arguments[place] = [*value[:2], action] if isinstance(value, list) else action
        return (replace(calls[0], arguments=json.dumps(arguments, ensure_ascii=False)),)
    if len(calls) == 1 and not isinstance(_arguments(calls[0]), dict):  # text, and no JSON
        name, _, text = action.partition(" ")
        return (replace(calls[0], name=name, arguments=text),)
    left, found = list(calls), list[ToolCall]()
    for name, arguments in read_calls(action):
        call = next((call for call in left if call.name == name), left[0] if left else None)
        if call is None:
            raise ValueError(f"the answer has {len(calls)} calls, and none can be added")
        left.remove(call)
        found.append(replace(call, name=name, arguments=arguments))
    return tuple(found)


def read_calls(action: str) -> Iterator[tuple[str, str]]:
    """Name and arguments of each call that a person has written. Raises ValueError."""
    at = 0
    while action[at:].strip():
        head = _NAME.match(action, at)
        if head is None:
            raise ValueError("each call is its name and a JSON object with its arguments")
        try:
            arguments, at = json.JSONDecoder().raw_decode(action, head.end())
            refuse_deep(arguments)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the arguments of {head['name']} are no JSON: {error}") from None
        yield head["name"], json.dumps(without_surrogates(arguments), ensure_ascii=False)
