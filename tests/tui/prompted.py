"""A session whose model was sent prompts, made by hand: a shortened output, a retry, a person's step, hostile text."""

from __future__ import annotations

import json
from pathlib import Path

from tests.tui.sessions import PERSON, SessionBuilder
from workbench.session import events as ev
from workbench.session.prompts import runs_of_same

MODEL = "openai:gpt-4o"
HOSTILE = "red \x1b[31m [bold]marked[/bold] \u202e txet \x9b2J"
TOOLS = [{"name": "bash", "description": "Runs a command.", "parameters": {"type": "object"}}]


def message(role: str, content: str, step: int | None = None, elided: str = "") -> str:
    value = {"role": role, "content": content}
    known = {"step": step, "elided": elided}
    return json.dumps({**value, **{key: item for key, item in known.items() if item}})


class Talk:
    """Sends prompts, and proposes what the model answers."""

    def __init__(self, made: SessionBuilder) -> None:
        self.made = made
        self.before: list[str] = []

    def send(self, messages: list[str], *, answer: str = "", attempt: int = 1) -> None:
        """A prompt for the step that comes, and perhaps an answer that is no proposal."""
        made = self.made
        same, new = runs_of_same(self.before, messages)
        values = [json.loads(messages[place]) for place in new]
        made.add(
            ev.PromptSent(
                messages=[made.objects.put(messages[place].encode()) for place in new],
                model=MODEL,
                step=made.step + 1,
                attempt=attempt,
                notes=[
                    ev.MessageNote(
                        role=value["role"],
                        tokens=len(value["content"]),
                        elided=value.get("elided", ""),
                        step=value.get("step"),
                    )
                    for value in values
                ],
                same=same,
                count=len(messages),
                counted_by="estimate",
                budget=10_000,
                tools=made.objects.put(json.dumps(TOOLS).encode()),
                tool_tokens=30,
                settings={"temperature": 0.0, "max_tokens": 512},
            )
        )
        made.add(ev.ModelResponded(text=answer or "ok", model=MODEL, usage=ev.Usage(input_tokens=321), attempt=attempt))
        self.before = messages


def prompted(folder: Path) -> SessionBuilder:
    """Steps 1, 2, 4 and 5 by a model (2 after a bad answer), step 3 by a person."""
    made = SessionBuilder(folder)
    talk = Talk(made)
    system, task = message("system", "You do research."), message("user", "Improve the strategy.")
    first = [message("assistant", "I look.\nls", 1), message("user", "strategy.py\nnotes.txt\n[exit code 0]", 1)]
    second = [message("assistant", "I print.\ncat x", 2), message("user", f"{HOSTILE}\n[exit code 0]", 2)]
    talk.send([system, task])
    made.ran("ls", "strategy.py\nnotes.txt", author="model:gpt-4o")
    talk.send([system, task, *first], answer="no fence at all")
    made.add(ev.ModelFailed(cause="bad_format", message="it has no fenced block"))
    retry = [message("assistant", "no fence at all"), message("user", "Nothing was run: it has no fenced block.")]
    talk.send([system, task, *first, *retry], attempt=2)
    made.ran("cat x", HOSTILE, author="model:gpt-4o")
    made.ran("pwd", "/home", author=PERSON)
    person = message("user", "A person took over the shell and ran:\n$ pwd", 3)
    talk.send([system, task, *first, *second, person])
    made.ran("seq 1 9", "1\n2", author="model:gpt-4o")
    shortened = [first[0], message("user", "(2 lines of output left out)\n[exit code 0]", 1, "over the budget of 90")]
    last = [message("assistant", "I count.\nseq 1 9", 4), message("user", "1\n2\n[exit code 0]", 4)]
    talk.send([system, task, *shortened, *second, person, *last])
    made.ran("submit", "Submitted.", author="model:gpt-4o")
    made.end()
    return made
