"""Prompts on their way into the log: each message is stored once, and named once."""

from __future__ import annotations

import json

from workbench.agents.agent import Prompt
from workbench.agents.remote import ModelCall
from workbench.environment.live import LiveSession
from workbench.session import events as ev
from workbench.session.prompts import runs_of_same

_CONVERSATIONS = 50
"""Of so many, the newest, the next prompt names what is new in it alone."""


class PromptLog:
    """Writes `prompt.sent` for a session. The first prompt of a process is written whole."""

    def __init__(self, live: LiveSession) -> None:
        self._live = live
        self._before: dict[str, tuple[int | None, tuple[str, ...]]] = {}
        """By conversation: the number of the event, and the messages."""

    def sent(self, prompt: Prompt, model: str, attempt: int, alternative: int = 0, of: ModelCall | None = None) -> int:
        """Log what was sent to `model`, in its `attempt` (from 1), for the step that comes; for an alternative, for the
        step under review. A call `of` an agent program belongs to the step that says so. Returns the event's number.

        Raises OSError and LogError (disk full).
        """
        live, current = self._live, self._live.state.current
        conversation = of.conversation if of is not None else ""
        base, before = self._before.get(conversation, (None, ()))
        same, new = runs_of_same(before, prompt.messages)
        messages = [live.objects.put(prompt.messages[place].encode("utf-8", "replace")) for place in new]
        tools = live.objects.put(prompt.tools.encode("utf-8", "replace")) if prompt.tools else ""
        event = live.emit(
            ev.PromptSent(
                messages=messages,
                model=model,
                step=current.number if alternative else None if of is not None else current.number + 1,
                attempt=attempt,
                alternative=alternative,
                notes=[_note(prompt.messages[i], prompt.tokens[i] if prompt.tokens else None) for i in new],
                same=same,
                base=base if same else None,
                count=len(prompt.messages),
                counted_by="estimate" if prompt.tokens else "",
                budget=prompt.budget,
                tools=tools,
                tool_tokens=prompt.tool_tokens,
                settings=None if prompt.settings is None else dict(prompt.settings),
                conversation=conversation,
                relation=of.relation if of is not None else "",
                protocol=of.protocol if of is not None else "",
            )
        )
        # Only now: what could not be logged is no ground for the next.
        self._before.pop(conversation, None)
        self._before[conversation] = event.seq if of is not None else None, prompt.messages
        if len(self._before) > _CONVERSATIONS:
            del self._before[next(iter(self._before))]
        return event.seq


def _note(message: str, tokens: int | None) -> ev.MessageNote:
    try:
        value = json.loads(message)
    except ValueError:  # an agent from outside may hand over anything
        value = None
    if not isinstance(value, dict):
        return ev.MessageNote(tokens=tokens)
    step = value.get("step")
    return ev.MessageNote(
        role=str(value.get("role") or value.get("type") or ""),
        tokens=tokens,
        elided=str(value.get("elided", "")),
        step=step if isinstance(step, int) else None,
    )
