"""Prompts on their way into the log: each message is stored once, and named once."""

from __future__ import annotations

import json

from workbench.agents.agent import Prompt
from workbench.environment.live import LiveSession
from workbench.session import events as ev
from workbench.session.prompts import runs_of_same


class PromptLog:
    """Writes `prompt.sent` for a session. The first prompt of a process is written whole."""

    def __init__(self, live: LiveSession) -> None:
        self._live = live
        self._before: tuple[str, ...] = ()

    def sent(self, prompt: Prompt, model: str, attempt: int, alternative: int = 0) -> None:
        """Log what was sent to `model`, in its `attempt` (from 1), for the step that comes; for an alternative, for the
        step under review.

        Raises OSError and LogError (disk full).
        """
        live, current = self._live, self._live.state.current
        same, new = runs_of_same(self._before, prompt.messages)
        messages = [live.objects.put(prompt.messages[place].encode("utf-8", "replace")) for place in new]
        tools = live.objects.put(prompt.tools.encode("utf-8", "replace")) if prompt.tools else ""
        live.emit(
            ev.PromptSent(
                messages=messages,
                model=model,
                step=current.number if alternative else current.number + 1,
                attempt=attempt,
                alternative=alternative,
                notes=[_note(prompt.messages[i], prompt.tokens[i] if prompt.tokens else None) for i in new],
                same=same,
                count=len(prompt.messages),
                counted_by="estimate" if prompt.tokens else "",
                budget=prompt.budget,
                tools=tools,
                tool_tokens=prompt.tool_tokens,
                settings=None if prompt.settings is None else dict(prompt.settings),
            )
        )
        self._before = prompt.messages  # only now: what could not be logged is no ground for the next


def _note(message: str, tokens: int | None) -> ev.MessageNote:
    try:
        value = json.loads(message)
    except ValueError:  # an agent from outside may hand over anything
        value = None
    if not isinstance(value, dict):
        return ev.MessageNote(tokens=tokens)
    step = value.get("step")
    return ev.MessageNote(
        role=str(value.get("role", "")),
        tokens=tokens,
        elided=str(value.get("elided", "")),
        step=step if isinstance(step, int) else None,
    )
