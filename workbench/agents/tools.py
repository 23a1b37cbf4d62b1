"""The agent commands as tools of a chat model: their schemas, and the bash action that a call means.

`call_of` is the inverse of `action_of`: an action that no tool would make is a call of `bash`.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.agents.messages import Tool, ToolCall
from workbench.sandbox.commands import COMMAND_NAMES
from workbench.sandbox.guest.agent_commands import COMMANDS, Command, Parameter


class BadCall(Exception):
    """A call that means no action. `str()` is a reason in words for the model."""


def make_tools(names: Sequence[str]) -> tuple[Tool, ...]:
    """The tools for a model: bash and these agent commands."""
    return tuple(_schema(command) for name, command in _TOOLS.items() if name == "bash" or name in names)


def action_of(call: ToolCall, names: Sequence[str]) -> str:
    """The bash action of a call of bash or one of `names`. Raises BadCall."""
    known = ("bash", *(name for name in COMMAND_NAMES if name in names))
    if call.name not in known:
        raise BadCall(f"there is no tool {call.name!r}; there are {', '.join(known)}.")
    if call.raw_arguments and not call.arguments:
        raise BadCall(f"the arguments of {call.name} are not a JSON object{_where(call.raw_arguments)}.")
    command = _TOOLS[call.name]
    return _action(command, _checked(command, call.arguments))


def left_aside(call: ToolCall) -> list[str]:
    """Arguments of a call that its tool does not take."""
    known = {item.name for item in _TOOLS[call.name].parameters} if call.name in _TOOLS else set(call.arguments)
    return [str(name)[:80] for name in call.arguments if name not in known]


def sendable_name(name: str) -> str:
    """The name of a call in characters that every provider accepts."""
    clean = re.sub(r"[^A-Za-z0-9_-]+", "_", name.strip())[:64]
    return clean if re.match(r"[A-Za-z_]", clean) else f"_{clean}"[:64]


def call_of(action: str, names: Sequence[str], call_id: str) -> ToolCall:
    """The call that means this action."""
    word = action.split(None, 1)[0] if action.strip() else ""
    if word in names and word in _TOOLS:
        arguments = _read_back(_TOOLS[word], action)
        if arguments is not None and _action(_TOOLS[word], arguments) == action:
            return ToolCall(call_id, word, arguments)
    return ToolCall(call_id, "bash", {"command": action})


# -- arguments ---------------------------------------------------------------------------------------------------------


def _schema(command: Command) -> Tool:
    return Tool(
        name=command.name,
        description=command.about_tool,
        parameters={
            "type": "object",
            "properties": {item.name: {"type": item.kind, "description": item.about} for item in command.parameters},
            "required": [item.name for item in command.parameters if item.required],
            "additionalProperties": False,
        },
    )


def _checked(command: Command, given: Mapping[str, Any]) -> dict[str, Any]:
    missing = [item.name for item in command.parameters if item.required and given.get(item.name) is None]
    if missing:
        names = [item.name for item in command.parameters]
        unknown = next((f"; it takes no argument {str(name)[:80]!r}" for name in given if name not in names), "")
        raise BadCall(
            f"{command.name} needs the argument {missing[0]!r}{unknown}; its arguments are: {', '.join(names)}."
        )
    arguments: dict[str, Any] = {}
    for item in command.parameters:
        value = given.get(item.name)
        if value is None:
            continue
        arguments[item.name] = _whole_number(command, item, value) if item.kind == "integer" else value
        if item.kind == "string" and not isinstance(value, str):
            raise BadCall(f"the argument {item.name!r} of {command.name} must be a string.")
    return arguments


def _whole_number(command: Command, item: Parameter, value: object) -> int:
    """Some models write 3.0 or "3" where an integer is asked for."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**15:
        raise BadCall(f"the argument {item.name!r} of {command.name} must be a whole number.")
    return value


def _where(text: str) -> str:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f" ({error.msg}, line {error.lineno}, column {error.colno})"
    except (ValueError, RecursionError):
        pass
    return ""


# -- actions -----------------------------------------------------------------------------------------------------------


def _line(*words: str | int | None) -> str:
    """A command line; None is left out."""
    name, *arguments = (word for word in words if word is not None)
    return " ".join([str(name), *(shlex.quote(str(word)) for word in arguments)])


def here_document(line: str, text: str) -> str:
    """The command with the text as a here-document; the text's last line end may be left out."""
    text = text if text.endswith("\n") else text + "\n"
    delimiter = "END_OF_TEXT"
    while delimiter in text:
        delimiter += "_"
    return f"{line} <<'{delimiter}'\n{text}{delimiter}"


def _action(command: Command, arguments: Mapping[str, Any]) -> str:
    """What bash is to run for a call with these (checked) arguments."""
    if command is _BASH:
        return str(arguments["command"])
    words = [arguments.get(item.name) for item in command.parameters if item.name != "text"]
    if command.name == "edit":
        words = [f"{words[0]}:{words[1]}", *words[2:]]
    elif command.name == "memory_read" and words[0] is None and words[1] is not None:
        words[0] = "*"  # a number that stands alone would be taken for the query
    line = _line(command.name, *words)
    if arguments.get("text"):
        return here_document(line, arguments["text"])
    if command.name == "insert":
        raise BadCall("insert needs a text that is not empty.")
    return f"{line} --delete" if command.name == "edit" else line


_HERE_DOCUMENT = re.compile(r"(?P<line>.*?) <<'(?P<delimiter>END_OF_TEXT_*)'\n(?P<text>.*)(?P=delimiter)", re.DOTALL)


def _read_back(command: Command, action: str) -> dict[str, Any] | None:
    """The arguments that may have made an action; only rendering them again shows whether they did."""
    found = _HERE_DOCUMENT.fullmatch(action)
    text = None if found is None else found["text"]
    try:
        words = shlex.split(action if found is None else found["line"])[1:]
    except ValueError:
        return None
    if command.name == "edit":
        if found is None and words[-1:] == ["--delete"]:
            words, text = words[:-1], ""
        words = [*words[0].split(":"), *words[1:]] if words else words
    names = [item for item in command.parameters if item.name != "text"]
    if len(words) > len(names):
        return None
    arguments: dict[str, Any] = {} if text is None else {"text": text}
    for item, word in zip(names, words, strict=False):
        arguments[item.name] = word
    try:
        return _checked(command, arguments)
    except BadCall:
        return None


_BASH = Command(
    "bash",
    "<command>",
    "Runs a command, or several lines of them, in the shell. The shell stays the same from call to call.",
    Parameter("command", "What bash is to run."),
)
_TOOLS: Mapping[str, Command] = {"bash": _BASH, **COMMANDS}
