"""Prompt templates: text with `$names`. Each prompt has a fixed set of names; the loader refuses others."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from string import Template

_SESSION = frozenset({"workspace", "window", "steps", "cost", "command_docs", "answer_format"})
_TASK = _SESSION | {"task", "task_name", "description", "goal", "metric", "direction", "baseline"}
_STEP = frozenset({"status", "exit_code", "cwd", "open_file", "duration", "step"})

VARIABLES: Mapping[str, frozenset[str]] = {
    "system": _TASK,
    "task": _TASK,
    "next_step": _STEP | {"observation"},
    "no_output": _STEP,
    "format_error": frozenset({"reason", "answer_format", "attempts_left"}),
}
"""The names that each prompt may use, as `$name` or `${name}`."""

NEXT_STEP = "$observation\n\n$status"
NO_OUTPUT = "(The command printed nothing.)\n\n$status"
FORMAT_ERROR = """\
Nothing was run, because your answer could not be used: $reason

$answer_format"""


class PromptError(ValueError):
    """A template that cannot be filled. `str()` says why."""


def check(prompt: str, text: str) -> None:
    """Raises PromptError unless `text` can be the prompt of that name."""
    known = VARIABLES[prompt]
    template = Template(text)
    if not template.is_valid():
        raise PromptError("has a '$' that begins no name; write '$$' for the sign itself")
    for name in template.get_identifiers():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean ${near[0]}?" if near else ""
            raise PromptError(f"${name} is not a known name here{hint} (there are {', '.join(sorted(known))})")
    if prompt == "next_step" and _uses(template, "observation") != 1:
        raise PromptError("must use $observation, once")
    if prompt == "format_error" and not _uses(template, "reason"):
        raise PromptError("must use $reason: without it the model cannot know what to mend")


def names_in(text: str) -> set[str]:
    """The names that a template uses."""
    return set(Template(text).get_identifiers())


def fill(text: str, values: Mapping[str, str]) -> str:
    """The checked template with its values. What looks like a name in a value stays as it is."""
    return Template(text).substitute(values)


def fill_observation(text: str, values: Mapping[str, str], observation: str) -> tuple[str, tuple[int, int]]:
    """The checked `next_step` with its values, and the span of the observation in it."""
    place = next(found for found in Template(text).pattern.finditer(text) if _name(found) == "observation")
    before, after = text[: place.start()], text[place.end() :]
    head = fill(before, values)
    return f"{head}{observation}{fill(after, values)}", (len(head), len(head) + len(observation))


def _uses(template: Template, name: str) -> int:
    return sum(_name(found) == name for found in template.pattern.finditer(template.template))


def _name(found: re.Match[str]) -> str | None:
    return found["named"] or found["braced"]
