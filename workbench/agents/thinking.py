"""Reasoning that a model writes into its text: `<think>…</think>`, or a lone `</think>` that ends it.

Servers that know their model separate it; others send the text as it comes, and a command inside the reasoning must not
run. But a command may contain such a tag, too, for example a program that removes them. So inside a fenced block, an
`<action>` element or a JSON object a tag is plain text, unless it ends the reasoning in which that block or element
began.
"""

from __future__ import annotations

import itertools
import json
import re

import msgspec

_TAG = re.compile(r"<(?P<end>/?)think(?:ing)?>", re.IGNORECASE)
_FENCE = re.compile(r"^[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?P<ticks>`{3,})(?P<tag>[^`\n]*)$", re.MULTILINE)
_ACTION_ENDS = re.compile("</action>")
_AT_LINE_END = re.compile(r"(?<=\S)`{3,}[ \t]*$", re.MULTILINE)
_MARK = re.compile(rf"{_TAG.pattern}|{_FENCE.pattern}|<action>", re.IGNORECASE | re.MULTILINE)
_MOST_TAGS, _MOST_WORK = 64, 3_000_000
"""With more tags, or more work (tags times length), all before the last tag counts as reasoning."""
_DECODER = json.JSONDecoder(strict=False)


def split_thinking(text: str) -> tuple[str, str]:
    """The reasoning in a text, and the rest. Reasoning that never ends goes on to the end."""
    tags = [*itertools.islice(_TAG.finditer(text), _MOST_TAGS + 1)]
    if not tags:
        return "", text
    if len(tags) > _MOST_TAGS or len(tags) * len(text) > _MOST_WORK:
        *_, last = _TAG.finditer(text)
        return (text[: last.start()], text[last.end() :].strip()) if last["end"] else (text, "")
    thought: list[str] = []
    said: list[str] = []
    at = 0
    while found := _next_tag(text, at):
        if found["end"]:  # its beginning is missing: all so far was reasoning
            thought += [*said, text[at : found.start()]]
            said, at = [], found.end()
            continue
        said.append(text[at : found.start()])
        end = _end_of_thinking(text, found)
        if end is None and _on_its_line(text, found):
            return _joined([*thought, text[found.end() :]]), "".join(said).strip()
        if end is None:  # a word about such tags
            said.append(found[0])
            at = found.end()
        else:
            thought.append(text[found.end() : end.start()])
            at = end.end()
    rest = "".join([*said, text[at:]])
    return (_joined(thought), rest.strip()) if thought else ("", text)


def _joined(parts: list[str]) -> str:
    return "\n\n".join(stripped for part in parts if (stripped := part.strip()))


def _on_its_line(text: str, tag: re.Match[str]) -> bool:
    """Whether nothing stands before the tag on its line."""
    return not text[text.rfind("\n", 0, tag.start()) + 1 : tag.start()].strip()


def _end_of_thinking(text: str, begin: re.Match[str]) -> re.Match[str] | None:
    """The tag that ends the reasoning which `begin` begins: the first one if `begin` is at the start of its line, else
    the first that is no part of a command.
    """
    if _on_its_line(text, begin):
        return next((tag for tag in _TAG.finditer(text, begin.end()) if tag["end"]), None)
    at = begin.end()
    while (tag := _next_tag(text, at)) and not tag["end"]:
        at = tag.end()
    return tag


def _next_tag(text: str, at: int) -> re.Match[str] | None:
    """The first tag after a position that is not inside a command."""
    if text[at:].lstrip().startswith("{"):
        at = _end_of_json(text, at)
    while mark := _MARK.search(text, at):
        if _TAG.fullmatch(mark[0]):
            return _TAG.match(text, mark.start())
        command = _Command.begun_by(text, mark)
        if (tag := command.ended_by_thinking(text)) is not None:
            return tag
        at = command.end
    return None


def _end_of_json(text: str, at: int) -> int:
    start = text.index("{", at)
    try:
        return _DECODER.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return at


class _Command(msgspec.Struct, frozen=True):
    """A fenced block or an element: the span of its content."""

    start: int
    end: int

    @classmethod
    def begun_by(cls, text: str, mark: re.Match[str]) -> _Command:
        if not mark["ticks"]:
            end = _ACTION_ENDS.search(text, mark.end())
        else:
            closing = rf"^[ \t]*`{{{len(mark['ticks'])},}}[ \t]*(?:<.*)?$"
            end = re.compile(closing, re.MULTILINE).search(text, mark.end()) or _AT_LINE_END.search(text, mark.end())
        return cls(mark.end(), end.end() if end else len(text))

    def ended_by_thinking(self, text: str) -> re.Match[str] | None:
        """The tag that ends the reasoning in which the command began: it has no opening tag inside, and is alone on its
        line or followed by an element.
        """
        inside = 0
        for tag in _TAG.finditer(text, self.start, self.end):
            inside += -1 if tag["end"] else 1
            if inside < 0:
                after = text[tag.end() :].partition("\n")[0]
                begun_again = text.find("<action>", tag.end(), self.end) >= 0
                if begun_again or (_on_its_line(text, tag) and not after.strip()):
                    return tag
                inside = 0
        return None
