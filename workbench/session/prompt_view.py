"""The prompt that a model was sent for a step, ready to be read: its texts, and what differs from the step before.

Pure functions and plain data, for the prompt pane and for `mlgym-tui prompt` alike.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from workbench.session.diff import DiffLine, diff_lines, runs
from workbench.session.plain import read_json
from workbench.session.prompts import Call, SentMessage, SentPrompt
from workbench.session.state import SessionState
from workbench.text import many

Read = Callable[[str], bytes | None]
"""Gives an object of the session by its hash; None where it is lost."""

# -- of a step ---------------------------------------------------------------------------------------------------------


class PromptOfStep(msgspec.Struct, frozen=True):
    """What was sent for a step; `prompt` is None where nothing was, and `nothing` says why."""

    step: int
    calls: tuple[Call, ...] = ()
    """All calls that were made for the step."""
    place: int = 0
    """Which of them `prompt` is, from 0."""
    prompt: SentPrompt | None = None
    previous: SentPrompt | None = None
    """The one that was sent last for an earlier step; None before the first."""
    nothing: str = ""

    @property
    def changes(self) -> list[Change]:
        """What became of the messages of the previous prompt; nothing where no prompt was sent."""
        before = self.previous.parts if self.previous is not None else ()
        return compare(before, self.prompt.parts) if self.prompt is not None else []


def prompt_of_step(state: SessionState, read: Read, step: int, place: int | None = None) -> PromptOfStep:
    """What was sent for a step, in its call `place` (from 0; None: the one that made the proposal)."""
    calls = tuple(state.prompts.of_step(step))
    if not calls:
        return PromptOfStep(step, nothing=_why_nothing(state, step))
    if place is None:
        place = max((i for i, call in enumerate(calls) if not call.sent.alternative), default=len(calls) - 1)
    place = max(0, min(place, len(calls) - 1))
    earlier = state.prompts.before(calls[place])
    previous = _described(state.prompts.prompt(earlier), read) if earlier is not None else None
    return PromptOfStep(step, calls, place, _described(state.prompts.prompt(calls[place]), read), previous)


def _described(prompt: SentPrompt, read: Read) -> SentPrompt:
    """The prompt, with what older logs have only in the object of a message: its role, and what was left out."""
    if all(message.role for message in prompt.messages):
        return prompt
    return replace(prompt, messages=tuple(m if m.role else _from_object(m, read) for m in prompt.messages))


def _from_object(message: SentMessage, read: Read) -> SentMessage:
    value = json_value(read(message.hash))
    if not isinstance(value, dict):
        return message
    step = value.get("step")
    return replace(
        message,
        role=str(value.get("role", "")),
        elided=str(value.get("elided", "")),
        step=step if isinstance(step, int) else None,
    )


def numbered(prompt: SentPrompt) -> list[tuple[int, SentMessage]]:
    """The parts of a prompt, each message with its place from 1; the place of the tools is 0."""
    begin = 1 - (len(prompt.parts) - len(prompt.messages))
    return list(enumerate(prompt.parts, begin))


def last_step_asked(state: SessionState) -> int:
    """The newest step for which a model was asked; the newest of all where none was."""
    calls = state.prompts.calls
    return calls[-1].step if calls else state.last_step


def _why_nothing(state: SessionState, step: int) -> str:
    started = state.started
    if not state.prompts.calls:
        if started is not None and started.source:
            return f"Nothing is known of what was sent: a recording of {started.source} does not hold it."
        model = started.model if started is not None else ""
        kind = model.partition(":")[0]
        if kind == "human" or (started is not None and started.agent == "human"):
            return "Nothing was sent: in this session a person acts, and no model is asked."
        if kind in ("scripted", "replay"):
            return f"Nothing was sent: {model} has its actions ready, and no model is asked."
        return "Nothing was sent to a model yet."
    if step <= 0:
        return "Nothing was sent before the first step."
    author = state.steps[step].author if step <= state.last_step else ""
    if author.startswith("human:"):
        return f"Nothing was sent for step {step}: {author.removeprefix('human:')} did it, and no model was asked."
    return f"Nothing was sent for step {step}."


# -- in words ----------------------------------------------------------------------------------------------------------


def summary(prompt: SentPrompt) -> list[str]:
    """A prompt in up to three lines: its model and sizes, its settings, and what is wrong with it."""
    sent, tokens, usage = prompt.call.sent, prompt.tokens, prompt.call.usage
    first = [sent.model or "model unknown", many(len(prompt.messages), "message")]
    if tokens is not None:
        first.append(f"{tokens:,} tokens ({'estimated' if sent.counted_by == 'estimate' else 'counted'})")
    if prompt.share is not None and sent.budget is not None:
        share = "under 1 %" if prompt.share < 0.01 else f"{100 * prompt.share:.0f} %"
        first.append(f"{share} of the {sent.budget:,} that fit")
    if usage is not None and usage.input_tokens:
        cached = f", {usage.cached_tokens:,} of them cached" if usage.cached_tokens else ""
        first.append(f"the provider counted {usage.input_tokens:,}{cached}")
    second = []
    if sent.settings is not None:
        second.append(", ".join(f"{name} {value}" for name, value in sent.settings.items()) or "no settings")
    if sent.tools:
        second.append(f"tools: {sent.tool_tokens:,} tokens")
    if prompt.elided:
        second.append(f"{many(prompt.elided, 'message')} shortened")
    third = [part for part in (prompt.call.trouble, prompt.problem) if part]
    return [" · ".join(parts) for parts in (first, second, third) if parts]


def comparison(changes: Sequence[Change], previous: SentPrompt | None) -> str:
    """How many messages were added, removed, changed."""
    counts = Counter[str](change.kind for change in changes)
    words = {"added": "added", "removed": "removed", "changed": "changed", "elided": "shortened", "same": "as before"}
    parts = [f"{counts[kind]:,} {word}" for kind, word in words.items() if counts[kind]]
    against = "nothing was sent before" if previous is None else f"against step {previous.call.step}"
    return f"{against}: {', '.join(parts) or 'nothing'}"


# -- its text ----------------------------------------------------------------------------------------------------------


def json_value(data: bytes | None) -> Any:
    """What an object holds; None where it is lost or no JSON."""
    try:
        return read_json(data or b"")
    except ValueError:
        return None


def message_value(data: bytes | None) -> dict[str, Any] | None:
    """A message as it was sent, from its object: `role`, `content`, and perhaps `tool_calls` and `tool_call_id`.

    None where that is lost or damaged. What the workbench notes for itself (`step`, `elided`) is left out.
    """
    value = json_value(data)
    if not isinstance(value, dict):
        return None
    return {key: item for key, item in value.items() if key not in ("step", "elided")}


def message_text(data: bytes | None) -> str:
    """A message as people read it: its text, and each call of a tool on a line after it; or the tools, one by one."""
    value = json_value(data)
    if isinstance(value, list):
        return "\n\n".join(map(_tool_text, value))
    if not isinstance(value, dict):
        return "(the text of this message is not in the recording)"
    parts = _parts_text(value)
    if value.get("tool_call_id"):
        parts.insert(0, f"(answers the call {value['tool_call_id']})")
    calls = value.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        if isinstance(call, dict):
            parts.append(_call_text(call))
    if value.get("continuation"):
        size = len(str(value["continuation"]))
        parts.append(f"(goes back with it: {size:,} characters of signed reasoning, which only its model can read)")
    return "\n".join(part for part in parts if part)


_ARGUMENTS = ("arguments", "input", "args", "action")
_RESULTS = ("output", "response", "content")


def _call_text(call: dict[str, Any]) -> str:
    """A call of a tool, in the form of any provider."""
    what = next((call[name] for name in ("function", "custom") if isinstance(call.get(name), dict)), call)
    given = next((what[name] for name in _ARGUMENTS if what.get(name) is not None), None)
    arguments = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    name = call.get("call_id") or call.get("id")
    return f"(calls {what.get('name')} {arguments}{f', as {name}' if name else ''})"


def text_of(content: Any) -> str:
    """The text of a message's content, in the form of any provider."""
    return "\n".join(filter(None, _parts_text(content)))


def _parts_text(value: Any) -> list[str]:
    """The texts of a message, or of a part of one, in the form of any provider."""
    if isinstance(value, list):
        return [text for part in value for text in _parts_text(part)]
    if not isinstance(value, dict):
        return [] if value is None else [str(value)]
    kind = str(value.get("type", ""))
    for name in ("functionCall", "functionResponse"):
        if isinstance(value.get(name), dict):
            return _parts_text({"type": name, **value[name]})
    if kind == "functionCall" or kind == "tool_use" or kind.endswith("_call"):
        return [_call_text(value)]
    if kind in ("functionResponse", "tool_result") or kind.endswith("_output"):
        told = next((value[name] for name in _RESULTS if value.get(name) is not None), "")
        answers = value.get("call_id") or value.get("tool_use_id") or value.get("id") or value.get("name")
        told = json.dumps(told, ensure_ascii=False) if isinstance(told, dict) else told
        return [f"(answers the call {answers})", *_parts_text(told)]
    for name in ("content", "parts", "text", "thinking", "summary", "refusal"):
        if value.get(name):
            return _parts_text(value[name])
    said = any(isinstance(value.get(name), str) for name in ("text", "refusal"))  # and be it nothing
    return [] if said or kind in ("", "message", "text") else [f"({kind})"]


def _tool_text(tool: Any) -> str:
    if not isinstance(tool, dict):
        return str(tool)
    if isinstance(declared := tool.get("functionDeclarations"), list):
        return "\n\n".join(map(_tool_text, declared))
    inner = tool["function"] if isinstance(tool.get("function"), dict) else tool
    names = ("parameters", "input_schema", "parametersJsonSchema")
    schema = json.dumps(next((inner[name] for name in names if name in inner), None), indent=2, ensure_ascii=False)
    return f"{inner.get('name') or inner.get('type')}: {inner.get('description')}\n{schema}"


# -- compared ----------------------------------------------------------------------------------------------------------

Kind = Literal["same", "added", "removed", "changed", "elided"]


class Change(msgspec.Struct, frozen=True):
    """A message (or the tools) beside what it was in another prompt; `elided` says that more of it is left out now."""

    kind: Kind
    old: SentMessage | None
    new: SentMessage | None

    @property
    def message(self) -> SentMessage:
        """The message as it is now, or as it was where it is gone."""
        found = self.new or self.old
        assert found is not None
        return found


def compare(old: Sequence[SentMessage], new: Sequence[SentMessage]) -> list[Change]:
    """What became of the messages of a prompt, in the order of the new one."""
    changes: list[Change] = []
    for same, a, b, c, d in runs([m.hash for m in old], [m.hash for m in new]):
        if same:
            changes += [Change("same", before, now) for before, now in zip(old[a:b], new[c:d], strict=True)]
        else:
            changes += _replaced(list(old[a:b]), new[c:d])
    return changes


def _replaced(old: list[SentMessage], new: Sequence[SentMessage]) -> Iterator[Change]:
    """Messages in the place of others: one of the same role and step is the same message, changed."""
    places: dict[tuple[str, int | None], list[int]] = {}
    for place in reversed(range(len(old))):
        places.setdefault((old[place].role, old[place].step), []).append(place)
    begin = 0
    for message in new:
        left = places.get((message.role, message.step), [])
        while left and left[-1] < begin:
            left.pop()
        if not left:
            yield Change("added", None, message)
            continue
        at = left.pop()
        yield from (Change("removed", other, None) for other in old[begin:at])
        more = message.elided and message.elided != old[at].elided
        yield Change("elided" if more else "changed", old[at], message)
        begin = at + 1
    yield from (Change("removed", other, None) for other in old[begin:])


def change_lines(change: Change, text_of: Callable[[SentMessage], str]) -> list[DiffLine]:
    """The text of a message, line by line, with what became of each."""
    if change.old is None or change.new is None:
        mark: Literal["+", "-"] = "+" if change.old is None else "-"
        return [DiffLine(mark, line) for line in text_of(change.message).split("\n")]
    return diff_lines(text_of(change.old).split("\n"), text_of(change.new).split("\n"))
