"""What an agent did in a run, counted as the published figures of MLGym do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from workbench.formats import mlgym_text as text
from workbench.session import events as ev
from workbench.session.events import Event


@dataclass
class Behaviour:
    """How often an agent did what."""

    steps: int = 0
    edits: int = 0
    """Uses of `edit` (not `create` or `insert`)."""
    lint_failures: int = 0
    validates: int = 0
    validates_ok: int = 0
    timeouts: int = 0
    categories: dict[str, int] = field(default_factory=dict)
    """Action category → steps."""


def behaviour(events: Iterable[Event]) -> Behaviour:
    """Counts over the events of one MLGym recording."""
    counts = Behaviour()
    for event in events:
        if isinstance(event, ev.ActionProposed):
            category = text.action_category(event.action)
            counts.steps += 1
            counts.edits += event.action.lstrip().startswith("edit")
            counts.validates += category == "Validate"
            counts.categories[category] = counts.categories.get(category, 0) + 1
        elif isinstance(event, ev.ActionFinished):
            counts.lint_failures += text.lint_rejected(event.observation)
            counts.timeouts += event.timed_out
        elif isinstance(event, ev.ScoreRecorded):
            counts.validates_ok += event.kind == "validate" and event.verdict == "ok"
    return counts
