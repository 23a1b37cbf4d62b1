"""Sessions as Markdown: to be read, pasted and compared."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from workbench.session.events import AGAINST
from workbench.session.recording import Recording
from workbench.session.state import SessionState, Step, fold
from workbench.text import number, visible

_LONGEST = 20_000
"""Characters of an observation that are shown: its beginning and its end."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~-])")


def write_md(recording: Recording, _out: Path) -> bytes:
    """The session as one document."""
    state = fold(recording.events)
    parts = [f"# {plain(recording.name)}", "\n".join(f"- {name}: {plain(said)}" for name, said in facts(state))]
    if state.scores_until():
        rows = [
            f"| {entry.step} | {entry.kind} | {entry.verdict} | {number(entry.score)} |"
            for entry in state.scores_until()
        ]
        parts.append(
            "\n".join(["## Scores", "", "| step | kind | verdict | score |", "| ---: | --- | --- | ---: |", *rows])
        )
    if state.started and state.started.description:
        parts += ["## Task", fenced(state.started.description)]
    said = notes_by_step(state)
    if said.get(None):
        parts += ["## Notes", "\n".join(f"- {plain(note)}" for note in said[None])]
    parts.append("## Steps")
    parts += [_step(step, said.get(step.number, [])) for step in state.steps[1:]]
    return ("\n\n".join(parts) + "\n").encode("utf-8", "replace")


def facts(state: SessionState) -> list[tuple[str, str]]:
    """What is said of a session first, in words."""
    started, scores = state.started, state.final_scores()
    known = [
        ("task", started.task if started else ""),
        ("agent", started.agent if started else ""),
        ("model", state.model),
        ("recorded by", started.source if started else ""),
        ("began", started.time if started else ""),
        ("steps", str(state.last_step)),
        ("ended", f"{state.ended.exit_status} {state.ended.reason}".strip() if state.ended else "not known"),
        ("metric", scores.metric),
        ("best", f"{number(scores.best)} {AGAINST[scores.against_baseline]}" if scores.best is not None else ""),
        ("last", number(scores.last) if scores.last is not None else ""),
        ("baseline", number(scores.baseline) if scores.baseline is not None else ""),
        ("cost", f"${state.cost:.4f}" if state.cost else ""),
        ("tokens", f"{state.input_tokens:,} in, {state.output_tokens:,} out" if state.input_tokens else ""),
    ]
    return [(name, said) for name, said in known if said]


def outcome(step: Step) -> str:
    """How a step went, in a few words."""
    words = [f"exit {step.exit_code}" if step.exit_code is not None else "", "timed out" if step.timed_out else "",
             "interrupted" if step.interrupted else "", f"edited by {step.edited_by}" if step.edited else "",
             f"{step.duration:.2f} s" if step.duration else ""]  # fmt: skip
    if not step.executed:
        words.insert(0, "not run" + (f": {step.comment}" if step.comment else ""))
    return ", ".join(filter(None, words))


def shortened(said: str) -> str:
    """An observation, with the middle of a very long one left out."""
    if len(said) <= _LONGEST:
        return said
    left = len(said) - _LONGEST
    return f"{said[: _LONGEST // 2]}\n… {left:,} characters left out …\n{said[-_LONGEST // 2 :]}"


def plain(said: str) -> str:
    """A text without any Markdown in it."""
    return _SPECIAL.sub(r"\\\1", visible(said).replace("\n", " "))


def fenced(said: str) -> str:
    """A block of text that no text can end."""
    ticks = max((len(run) for run in re.findall("`+", said)), default=0)
    fence = "`" * max(3, ticks + 1)
    return f"{fence}text\n{visible(said).rstrip()}\n{fence}"


def notes_by_step(state: SessionState) -> dict[int | None, list[str]]:
    """Remarks by the number of their step; None: on the session. Those of people have their author."""
    notes: dict[int | None, list[str]] = {}
    for note in state.notes:
        notes.setdefault(note.step, []).append(f"{note.author}: {note.text}" if note.author else note.text)
    return notes


def people_noted(state: SessionState) -> list[dict[str, Any]]:
    """What people noted, for formats that have no place of their own for it."""
    return [{"step": note.step, "author": note.author, "text": note.text} for note in state.notes if note.author]


def _step(step: Step, notes: list[str]) -> str:
    parts = [f"### {step.number} · {plain(step.author)}"]
    if step.thought.strip():
        parts.append("\n".join(f"> {plain(line)}" for line in step.thought.strip().split("\n")))
    if step.edited:
        parts += ["Proposed:", fenced(step.proposed)]
    parts.append(fenced(step.action))
    if said := outcome(step):
        parts.append(plain(said))
    if step.observation.strip() and step.status != "rejected":
        parts.append(fenced(shortened(step.observation)))
    parts += [f"- {plain(note)}" for note in notes]
    parts += [f"**score: {number(score.score)}**" for score in step.scores if score.score is not None]
    return "\n\n".join(parts)
