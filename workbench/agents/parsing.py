"""From a model's answer to one action, and back: an earlier step as the answer that it would have been.

Each parser takes any answer and either returns an action or raises FormatError with a reason that the model can act on.
`turn` is the inverse: `parse` of it gives the same action.
"""

from __future__ import annotations

import itertools
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from workbench.agents.messages import Message, Response
from workbench.agents.tools import BadCall, action_of, call_of, left_aside

ParserName = Literal["thought_action", "last_fence", "xml", "json", "tool_calls", "action_only"]

_STOP_TOKEN = re.compile(r"(?:<[|\uff5c][^<>\n]{1,40}[|\uff5c]>|</s>|<eos>|<end_of_turn>)$")
"""Tokens by which a model ends its answer; some servers let them through."""
_FENCE = re.compile(r"(?P<indent>[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?)(?P<ticks>`{3,})(?P<tag>[^`]*)")
_FENCE_AT_END = re.compile(r"(?<=[^`\s])`{3,}[ \t]*$")
_LANGUAGES = {
    "python": "Python", "py": "Python", "python3": "Python", "json": "JSON", "yaml": "YAML", "diff": "a diff",
    "patch": "a diff", "javascript": "JavaScript", "js": "JavaScript", "html": "HTML", "c": "C", "cpp": "C++",
}  # fmt: skip
"""Language tags of blocks that are certainly not meant for a shell."""


class FormatError(Exception):
    """An answer without an action to run. `str()` is a reason in words for the model."""


class Parsed(msgspec.Struct, frozen=True):
    """The meaning of an answer."""

    action: str
    thought: str = ""
    remark: str = ""
    """What of the answer was ignored; the model is told together with the outcome."""

    def __post_init__(self) -> None:
        for name in ("action", "thought"):  # bash takes a carriage return for part of the command
            msgspec.structs.force_setattr(self, name, getattr(self, name).replace("\r\n", "\n"))


class Parser(ABC):
    """A format of answers."""

    instructions: str
    """The format in words for the model."""

    def __init__(self, tools: Sequence[str] = ()) -> None:
        """`tools` are the agent commands that tool calls may use, besides bash."""
        self.tools = tuple(tools)

    @abstractmethod
    def parse(self, response: Response) -> Parsed:
        """The action of an answer. Raises FormatError, and nothing else."""

    def turn(self, thought: str, action: str, step: int) -> Message:
        """The answer from which `parse` reads this action."""
        return Message("assistant", self.written(thought, action), step=step)

    def written(self, thought: str, action: str) -> str:
        """The text of such an answer."""
        return action


def make_parser(name: ParserName, tools: Sequence[str] = ()) -> Parser:
    """The parser of that name."""
    return _PARSERS[name](tools)


# -- fenced blocks -----------------------------------------------------------------------------------------------------


class Block(msgspec.Struct, frozen=True):
    """A fenced block. Lines count from 0 and include the fences; `end` is None if it is never closed."""

    start: int
    end: int | None
    tag: str
    content: str


def fenced_blocks(text: str) -> tuple[list[str], list[Block]]:
    """The lines of a text and its fenced blocks, which may be items of a list."""
    lines = text.split("\n")
    blocks: list[Block] = []
    opening: re.Match[str] | None = None
    start = 0
    for number, line in enumerate(lines):
        found = _FENCE.fullmatch(line)
        if found is None:
            continue
        if opening is None:
            opening, start = found, number
        elif (
            len(found["ticks"]) >= len(opening["ticks"])
            and not _without_stop_tokens(found["tag"]).strip()
            and not found["indent"].strip()
            and len(found["indent"]) <= len(opening["indent"]) + 3
        ):
            blocks.append(_block(opening, start, number, lines[start + 1 : number]))
            opening = None
    if opening is not None:
        blocks.append(_last_block(opening, start, lines[start + 1 :]))
    return lines, blocks


def _block(opening: re.Match[str], start: int, end: int | None, lines: list[str]) -> Block:
    """A block; its lines lose the indentation of the fence."""
    if opening["indent"]:
        margin = re.compile(rf"^[ \t]{{0,{len(opening['indent'])}}}")
        lines = [margin.sub("", line, 1) for line in lines]
    return Block(start, end, opening["tag"].strip(), "\n".join(lines))


def _last_block(opening: re.Match[str], start: int, lines: list[str]) -> Block:
    """A block that no line of its own closes; a fence at the end of a line may."""
    ends = (
        (number, found)
        for number, line in enumerate(lines)
        if (found := _FENCE_AT_END.search(line)) and len(found[0].strip()) >= len(opening["ticks"])
    )
    only = [*itertools.islice(ends, 2)]
    if len(only) != 1:
        return _block(opening, start, None, lines)
    [(number, found)] = only
    return _block(opening, start, start + 1 + number, [*lines[:number], lines[number][: found.start()]])


def without(lines: list[str], block: Block) -> str:
    end = len(lines) if block.end is None else block.end + 1
    before, after = "\n".join(lines[: block.start]).strip(), "\n".join(lines[end:]).strip()
    return "\n\n".join(part for part in (before, after) if part)


def _command(block: Block) -> str:
    """The content of a block that bash can run. Raises FormatError."""
    if not block.content.strip():
        raise FormatError(f"the fenced block that begins on line {block.start + 1} is empty.")
    words = block.tag.split()
    language = _LANGUAGES.get(words[0].lower()) if words else None
    if language == "Python":
        raise FormatError(
            "the fenced block is marked as Python, but it would go to bash. Write the program to a file, or run it "
            "with python3 - <<'EOF' … EOF."
        )
    if language is not None:
        raise FormatError(f"the fenced block is marked as {language}, but it would go to bash.")
    return block.content


def _not_closed(response: Response, what: str) -> FormatError:
    if response.stop_reason == "length":
        return FormatError(f"it was cut off in {what}, at the limit for the length of one answer. Do less at a time.")
    return FormatError(f"{what} is never closed.")


def _without_stop_tokens(text: str) -> str:
    for _ in range(20):
        end = text.rstrip()
        found = _STOP_TOKEN.search(end, max(0, len(end) - 50))
        if found is None:
            break
        text = end[: found.start()]
    return text


def _said(response: Response) -> str:
    """The text of an answer without stop tokens. Raises FormatError if there is none."""
    text = _without_stop_tokens(response.text.replace("\r\n", "\n"))
    if not text.strip() and response.stop_reason != "length":
        raise FormatError("it is only reasoning, and no answer follows it." if response.reasoning else "it is empty.")
    return text


class ThoughtAction(Parser):
    """Some text, and exactly one fenced block with the command."""

    instructions = (
        "Answer with a few words on what you learned and what you want to do next, and then exactly one fenced block "
        "that holds what bash is to run:\n\n"
        "```\n"
        "<command>\n"
        "```\n\n"
        "If a line of the command itself begins with three backticks, open and close the block with four."
    )
    several = False
    """There may be other blocks before the one with the command."""

    def parse(self, response: Response) -> Parsed:
        lines, blocks = fenced_blocks(_said(response))
        if not blocks:
            raise _nothing_fenced(response)
        if len(blocks) > 1 and not self.several:
            places = ", ".join(str(block.start + 1) for block in blocks)
            raise FormatError(
                f"it has {len(blocks)} fenced blocks (on lines {places}), and exactly one is wanted. Choose the one to "
                "run now; quote everything else without fences."
            )
        if blocks[-1].end is None:
            raise _not_closed(response, f"the fenced block that begins on line {blocks[-1].start + 1}")
        remark = f"Your answer had {len(blocks)} fenced blocks; only the last one was run." if blocks[1:] else ""
        return Parsed(_command(blocks[-1]), without(lines, blocks[-1]), remark)

    def written(self, thought: str, action: str) -> str:
        longest = max((len(run) for run in re.findall(r"^ {0,3}(`{3,})", action, re.MULTILINE)), default=2)
        fence = "`" * (longest + 1)
        return f"{thought}\n\n{fence}\n{action}\n{fence}" if thought else f"{fence}\n{action}\n{fence}"


class LastFence(ThoughtAction):
    """Any text; the last fenced block is the command."""

    instructions = (
        "Answer with a few words on what you learned and what you want to do next, and then a fenced block that holds "
        "what bash is to run. If there are several blocks, only the last one is run:\n\n"
        "```\n"
        "<command>\n"
        "```"
    )
    several = True


def _nothing_fenced(response: Response) -> FormatError:
    if response.stop_reason == "length":
        return FormatError("it reached the limit for the length of one answer before any command. Be brief.")
    return FormatError("it has no fenced block (a line of three backticks before the command, and one after it).")


# -- other texts -------------------------------------------------------------------------------------------------------


class Xml(Parser):
    """The command in an `<action>` element. What is inside is taken as it stands, not as XML."""

    instructions = (
        "Answer in this form, with one command for bash:\n\n"
        "<thought>\nwhat you learned and what you want to do next\n</thought>\n"
        "<action>\n<command>\n</action>\n\n"
        "What stands in <action> is taken as it is: escape nothing."
    )
    _TAG = re.compile(r"</?action>")

    def parse(self, response: Response) -> Parsed:
        text = _said(response)
        start = text.find("<action>")
        if start < 0:
            raise FormatError("it has no <action> element.")
        end = text.rfind("</action>")
        if end < start:
            raise _not_closed(response, "the <action> element")
        body = text[start + len("<action>") : end]
        inner = self._TAG.findall(body)
        if "</action>" in inner and "<action>" in inner[inner.index("</action>") :]:
            raise FormatError("it has more than one <action> element. Choose the one to run now.")
        if not body.strip():
            raise FormatError("its <action> element is empty.")
        before, after = text[:start].strip(), text[end + len("</action>") :].strip()
        thought = before.removeprefix("<thought>").removesuffix("</thought>").strip()
        return Parsed(
            body.removeprefix("\n").removesuffix("\n"), "\n\n".join(part for part in (thought, after) if part)
        )

    def written(self, thought: str, action: str) -> str:
        said = f"<thought>\n{thought}\n</thought>\n" if thought else ""
        return f"{said}<action>\n{action}\n</action>"


class Json(Parser):
    """One JSON object with `thought` and `action`."""

    instructions = (
        "Answer with one JSON object and nothing else; `action` is what bash is to run:\n\n"
        '{"thought": "what you learned and what you want to do next", "action": "<command>"}'
    )

    def parse(self, response: Response) -> Parsed:
        text = _said(response).strip()
        _, blocks = fenced_blocks(text)
        if len(blocks) == 1 and blocks[0].end is not None and not text.startswith("{"):
            text = blocks[0].content
        try:
            value: Any = json.loads(text, strict=False)
        except (ValueError, RecursionError) as error:
            if response.stop_reason == "length":
                raise _not_closed(response, "the JSON object") from None
            where = ""
            if isinstance(error, json.JSONDecodeError):
                where = f": {error.msg}, line {error.lineno}, column {error.colno}"
            raise FormatError(f"it is not one JSON object{where}.") from None
        if not isinstance(value, dict):
            raise FormatError("it is JSON, but not an object.")
        action, thought = value.get("action"), value.get("thought", "")
        if not isinstance(action, str):
            raise FormatError('its JSON object has no "action", or one that is not a string.')
        if not action.strip():
            raise FormatError('the "action" of its JSON object is empty.')
        return Parsed(action, thought.strip() if isinstance(thought, str) else json.dumps(thought))

    def written(self, thought: str, action: str) -> str:
        return json.dumps({"thought": thought, "action": action}, ensure_ascii=False)


class ActionOnly(Parser):
    """The whole answer is the command."""

    instructions = (
        "Answer with what bash is to run and with nothing else: no explanation and no fences. Comments (#) are the "
        "place for thoughts."
    )

    def parse(self, response: Response) -> Parsed:
        if response.stop_reason == "length":
            raise FormatError("it was cut off at the limit for the length of one answer. Do less at a time.")
        text = _said(response)
        lines, blocks = fenced_blocks(text)
        if len(blocks) == 1 and blocks[0].end is not None and not without(lines, blocks[0]):
            return Parsed(_command(blocks[0]))
        return Parsed(text)


# -- native tool calls -------------------------------------------------------------------------------------------------


class ToolCallParser(Parser):
    """The provider's native tool calling: the first call of an answer is the action."""

    instructions = (
        "Say in a few words what you learned and what you want to do next, and call exactly one tool. You are shown "
        "its outcome before you call the next."
    )

    def parse(self, response: Response) -> Parsed:
        if not response.tool_calls:
            if response.stop_reason == "length":
                raise FormatError("it reached the limit for the length of one answer before any call. Be brief.")
            hint = " When you are done, call submit." if "submit" in self.tools else ""
            raise FormatError(f"it calls no tool.{hint}")
        first, *others = response.tool_calls
        try:
            action = action_of(first, self.tools)
        except BadCall as error:
            if first.raw_arguments and response.stop_reason == "length":
                raise _not_closed(response, f"the call of {first.name}") from None
            raise FormatError(str(error)) from None
        if not action.strip():
            raise FormatError("its command is empty.")
        remarks = []
        if others:
            names = ", ".join(call.name for call in others)
            remarks.append(f"Your answer had {len(others) + 1} calls; only the first was run, not: {names}.")
        if ignored := left_aside(first):
            remarks.append(
                f"{first.name} takes no argument {' or '.join(map(repr, ignored))}; the call was run without."
            )
        return Parsed(action, response.text.strip(), " ".join(remarks))

    def turn(self, thought: str, action: str, step: int) -> Message:
        return Message("assistant", thought, tool_calls=(call_of(action, self.tools, call_id(step)),), step=step)


def call_id(step: int) -> str:
    """The id of the tool call in step `step`: nine letters and digits, which the strictest provider wants."""
    return f"step{step:05d}"


_PARSERS: dict[ParserName, type[Parser]] = {
    "thought_action": ThoughtAction,
    "last_fence": LastFence,
    "xml": Xml,
    "json": Json,
    "action_only": ActionOnly,
    "tool_calls": ToolCallParser,
}
