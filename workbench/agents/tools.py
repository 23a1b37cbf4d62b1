"""The agent commands as tools of a chat model: their schemas, and the bash action that a call means.

`call_of` is the inverse of `action_of`: an action that no tool would make is a call of `bash`.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from workbench.agents.messages import Tool, ToolCall
from workbench.sandbox.commands import COMMAND_NAMES
from workbench.sandbox.guest.tools import COMMANDS


class BadCall(Exception):
    """A call that means no action. `str()` is a reason in words for the model."""


@dataclass(frozen=True)
class _Parameter:
    name: str
    about: str
    kind: Literal["string", "integer"] = "string"
    required: bool = True


@dataclass(frozen=True)
class _ToolSpec:
    name: str
    parameters: Sequence[_Parameter] = ()
    make: Callable[[Mapping[str, Any]], str] | None = None
    """Makes the action from the arguments; None if it is one line with the arguments in order."""
    about: str = ""
    """The description for the model; empty if the help of the agent command will do."""

    def action(self, arguments: Mapping[str, Any]) -> str:
        """The action of a call with these (checked) arguments."""
        if self.make is not None:
            return self.make(arguments)
        return _line(self.name, *(arguments.get(parameter.name) for parameter in self.parameters))


def command_docs(names: Sequence[str]) -> str:
    """One paragraph for each of these agent commands, its usage first."""
    return "\n\n".join(f"{COMMANDS[name][0]}\n    {COMMANDS[name][1]}" for name in COMMAND_NAMES if name in names)


def make_tools(names: Sequence[str]) -> tuple[Tool, ...]:
    """The tools for a model: bash and these agent commands."""
    return tuple(_schema(spec) for name, spec in _TOOLS.items() if name == "bash" or name in names)


def action_of(call: ToolCall, names: Sequence[str]) -> str:
    """The bash action of a call of bash or one of `names`. Raises BadCall."""
    known = ("bash", *(name for name in COMMAND_NAMES if name in names))
    if call.name not in known:
        raise BadCall(f"there is no tool {call.name!r}; there are {', '.join(known)}.")
    if call.raw_arguments and not call.arguments:
        raise BadCall(f"the arguments of {call.name} are not a JSON object{_where(call.raw_arguments)}.")
    spec = _TOOLS[call.name]
    return spec.action(_checked(spec, call.arguments))


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
        if arguments is not None and _TOOLS[word].action(arguments) == action:
            return ToolCall(call_id, word, arguments)
    return ToolCall(call_id, "bash", {"command": action})


# -- arguments ---------------------------------------------------------------------------------------------------------


def _schema(spec: _ToolSpec) -> Tool:
    return Tool(
        name=spec.name,
        description=spec.about or COMMANDS[spec.name][1],
        parameters={
            "type": "object",
            "properties": {item.name: {"type": item.kind, "description": item.about} for item in spec.parameters},
            "required": [item.name for item in spec.parameters if item.required],
            "additionalProperties": False,
        },
    )


def _checked(spec: _ToolSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    missing = [item.name for item in spec.parameters if item.required and given.get(item.name) is None]
    if missing:
        names = [item.name for item in spec.parameters]
        unknown = next((f"; it takes no argument {str(name)[:80]!r}" for name in given if name not in names), "")
        raise BadCall(f"{spec.name} needs the argument {missing[0]!r}{unknown}; its arguments are: {', '.join(names)}.")
    arguments: dict[str, Any] = {}
    for item in spec.parameters:
        value = given.get(item.name)
        if value is None:
            continue
        arguments[item.name] = _whole_number(spec, item, value) if item.kind == "integer" else value
        if item.kind == "string" and not isinstance(value, str):
            raise BadCall(f"the argument {item.name!r} of {spec.name} must be a string.")
    return arguments


def _whole_number(spec: _ToolSpec, item: _Parameter, value: object) -> int:
    """Some models write 3.0 or "3" where an integer is asked for."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**15:
        raise BadCall(f"the argument {item.name!r} of {spec.name} must be a whole number.")
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


def _with_text(line: str, text: str) -> str:
    """The command with the text as a here-document; the text's last line end may be left out."""
    text = text if text.endswith("\n") else text + "\n"
    delimiter = "END_OF_TEXT"
    while delimiter in text:
        delimiter += "_"
    return f"{line} <<'{delimiter}'\n{text}{delimiter}"


def _create(arguments: Mapping[str, Any]) -> str:
    line = _line("create", arguments["path"])
    return _with_text(line, arguments["text"]) if arguments.get("text") else line


def _edit(arguments: Mapping[str, Any]) -> str:
    span = f"{arguments['first_line']}:{arguments['last_line']}"
    line = _line("edit", span, arguments.get("path"))
    return _with_text(line, arguments["text"]) if arguments["text"] else f"{line} --delete"


def _insert(arguments: Mapping[str, Any]) -> str:
    if not arguments["text"]:
        raise BadCall("insert needs a text that is not empty.")
    return _with_text(_line("insert", arguments["after_line"], arguments.get("path")), arguments["text"])


def _memory_read(arguments: Mapping[str, Any]) -> str:
    query, number = arguments.get("query"), arguments.get("number")
    return _line("memory_read", "*" if query is None and number is not None else query, number)


_HERE_DOCUMENT = re.compile(r"(?P<line>.*?) <<'(?P<delimiter>END_OF_TEXT_*)'\n(?P<text>.*)(?P=delimiter)", re.DOTALL)


def _read_back(spec: _ToolSpec, action: str) -> dict[str, Any] | None:
    """The arguments that may have made an action; only rendering them again shows whether they did."""
    found = _HERE_DOCUMENT.fullmatch(action)
    text = None if found is None else found["text"]
    try:
        words = shlex.split(action if found is None else found["line"])[1:]
    except ValueError:
        return None
    if spec.name == "edit":
        if found is None and words[-1:] == ["--delete"]:
            words, text = words[:-1], ""
        words = [*words[0].split(":"), *words[1:]] if words else words
    names = [item for item in spec.parameters if item.name != "text"]
    if len(words) > len(names):
        return None
    arguments: dict[str, Any] = {} if text is None else {"text": text}
    for item, word in zip(names, words, strict=False):
        arguments[item.name] = word
    try:
        return _checked(spec, arguments)
    except BadCall:
        return None


_FILE = _Parameter("path", "Path of the file; the open file when left out.", required=False)
_FOLDER = _Parameter("folder", "Where to search; the current folder when left out.", required=False)
_TERM = _Parameter("term", "What to search for; case counts.")
_HOW_MANY = _Parameter("number", "How many to show at most; 5 when left out.", "integer", required=False)

_TOOLS: Mapping[str, _ToolSpec] = {
    spec.name: spec
    for spec in (
        _ToolSpec(
            "bash",
            [_Parameter("command", "What bash is to run.")],
            lambda arguments: str(arguments["command"]),
            about="Runs a command, or several lines of them, in the shell. The shell stays the same from call to call.",
        ),
        _ToolSpec(
            "open",
            [
                _Parameter("path", "Path of the file."),
                _Parameter("line", "A line to show, counted from 1.", "integer", required=False),
            ],
        ),
        _ToolSpec("goto", [_Parameter("line", "The line, counted from 1.", "integer")]),
        _ToolSpec("scroll_up"),
        _ToolSpec("scroll_down"),
        _ToolSpec(
            "create",
            [
                _Parameter("path", "Path of the new file."),
                _Parameter("text", "Its content; empty when left out.", required=False),
            ],
            _create,
            about="Creates a file with a text, or an empty one, and opens it. A file that exists is never overwritten: "
            "it is opened instead, and the call fails. The folder must exist.",
        ),
        _ToolSpec(
            "edit",
            [
                _Parameter("first_line", "The first line to replace, counted from 1.", "integer"),
                _Parameter("last_line", "The last line to replace.", "integer"),
                _FILE,
                _Parameter("text", "The new lines; empty to delete."),
            ],
            _edit,
            about="Replaces lines of a file by a text, taken as it stands, indentation included. An edit after which a "
            "Python file no longer parses is refused and changes nothing. The file becomes the open file, and the "
            "window around the edit is shown.",
        ),
        _ToolSpec(
            "insert",
            [
                _Parameter("after_line", "The line after which to insert; 0 inserts at the top.", "integer"),
                _FILE,
                _Parameter("text", "The new lines."),
            ],
            _insert,
            about="Inserts a text after a line of a file. Checked as by edit.",
        ),
        _ToolSpec("search_dir", [_TERM, _FOLDER]),
        _ToolSpec("search_file", [_TERM, _FILE]),
        _ToolSpec("find_file", [_Parameter("name", "A file name; may hold the wildcards * ? [ ]."), _FOLDER]),
        _ToolSpec("validate"),
        _ToolSpec("submit"),
        _ToolSpec(
            "memory_write",
            [_Parameter("note", "The note, as it is to be read later.")],
            about="Keeps a note that you will find again in later sessions on this task. Other sessions on it can read "
            "it.",
        ),
        _ToolSpec(
            "memory_read",
            [
                _Parameter(
                    "query", "What the notes should be about; the newest are shown when it is left out.", required=False
                ),
                _HOW_MANY,
            ],
            _memory_read,
        ),
        _ToolSpec("literature_search", [_Parameter("query", "What the papers should be about."), _HOW_MANY]),
        _ToolSpec(
            "literature_read",
            [
                _Parameter("paper", "An id that literature_search showed, or the address of a PDF."),
                _Parameter("page", "Which page of the text; the first when left out.", "integer", required=False),
            ],
        ),
    )
}
