"""What each pane shows and the keys that are about it, for the top of the help."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from textual.widget import Widget

_VIEW = ("lines.down", "lines.up", "lines.wrap", "lines.left", "lines.right", "pane.zoom", "app.copy")


class Place(NamedTuple):
    """A part of the screen that can have the focus."""

    title: str
    says: str
    """What is to be seen there, in a sentence."""
    ids: tuple[str, ...]
    """Actions that are about it, the most useful first."""


PLACES = {
    "steps": Place(
        "Steps",
        "Every step: whose it was, what came of it, its score; the other panes show the one under the cursor.",
        ("step.next", "step.previous", "step.first", "step.last", "go.failure", "go.score", "go.change", "search.open"),
    ),
    "proposal": Place(
        "Action",
        "What the agent thinks and wants to do, and below it what happens next; nothing runs that is not shown here.",
        ("session.run", "session.edit", "session.reject", "session.alternatives", "session.step", "note.add", *_VIEW),
    ),
    "file": Place(
        "File",
        "The file that the agent has open, the lines that it sees, and what the step changed in it.",
        ("pane.diff", "go.change", "go.change_back", *_VIEW),
    ),
    "observation": Place(
        "Observation",
        "What the agent was told that its action did: the output as a terminal shows it, and the exit code.",
        ("go.failure", "go.failure_back", "search.open", "search.next", *_VIEW),
    ),
    "shell": Place(
        "Shell",
        "The terminal that the agent's commands run in; it can be yours at any time, with all that is in it.",
        ("session.take_over", "session.release", "session.interrupt", "lines.up", "lines.first", "lines.last"),
    ),
    "prompt": Place(
        "Prompt",
        "The messages that the model was sent for this step, with their tokens, and what was left out.",
        ("prompt.compare", "prompt.previous", "prompt.next", "prompt.close", *_VIEW),
    ),
    "verdict": Place(
        "Verdict",
        "Why the session ended as it did, and at which step it began to go wrong.",
        ("go.wrong", "go.failure_back", "go.verdict"),
    ),
    "metrics": Place(
        "Metrics",
        "The curves of what the training of this step printed, with the program's own steps.",
        ("metrics.compare", "session.extend", "session.interrupt", "prompt.close", *_VIEW),
    ),
    "scores": Place(
        "Scores",
        "Every validate and submit, with what was scored; the best so far can be submitted.",
        ("scores.go", "scores.change", "scores.submit", "session.validate", "prompt.close"),
    ),
    "runs": Place(
        "Runs",
        "All runs below the folder, newest first; below the list, what is known of the one under the cursor.",
        ("home.open", "home.filter", "home.sort", "home.group", "home.mark", "home.compare", "home.tag", "home.tasks"),
    ),
    "tasks": Place(
        "Tasks",
        "The tasks of this machine, with the best that people and models have reached in your runs.",
        ("home.new", "home.open", "home.tasks"),
    ),
}
"""By the id of the pane (without `-pane`) or of the widget."""


def place_of(focused: Widget | None) -> Place | None:
    """The place that has the focus, where it is one of these."""
    within: Iterable[object] = focused.ancestors_with_self if focused is not None else ()
    names = (str(getattr(node, "id", "")).removesuffix("-pane") for node in within)
    return next((PLACES[name] for name in names if name in PLACES), None)
