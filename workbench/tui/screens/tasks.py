"""Tasks at home: what they ask for, how their runs stand, and starting one."""

from __future__ import annotations

from pathlib import Path

from textual.content import Content

from workbench import config
from workbench.library.listing import Listing, TaskStanding
from workbench.runner.start import start
from workbench.session.events import AGAINST
from workbench.session.run import Run
from workbench.session.spec import spec_of
from workbench.tasks.catalogue import Task, find_task, list_tasks
from workbench.tasks.errors import TaskError
from workbench.text import many, number
from workbench.tui.source import LiveSource, SessionSource
from workbench.tui.text import flowed, one_line
from workbench.tui.widgets.run_table import TaskLine

_DELAY = 1.5
"""Seconds before a proposal runs by itself."""


def task_lines(listing: Listing) -> list[TaskLine]:
    """The tasks of this machine, and after them those that there are only runs of."""
    standings = listing.standings()
    lines = []
    for task in list_tasks(problems=[]):
        metric = task.primary_metric
        none = TaskStanding(task.id, 0, metric.name, metric.baseline, None, None)
        lines.append(TaskLine(task.spec.name, standings.pop(task.id, none), True))
    return lines + [TaskLine("", each, False) for each in sorted(standings.values(), key=lambda each: each.task)]


def about_task(ident: str, listing: Listing) -> list[Content]:
    """What a task asks for, and how far people and models got."""
    try:
        task: Task | None = find_task(ident)
    except TaskError:
        task = None
    standing = listing.standings().get(ident)
    lines = []
    if task is not None:
        metric = task.primary_metric
        lines += [
            Content.styled(one_line(task.spec.name), "bold $primary"),
            Content(f"{metric.name}, to {metric.direction}; baseline {number(metric.baseline)}"),
        ]
    if standing is not None:
        scored = f", scored by {one_line(standing.metric)}" if standing.metric else ""
        lines.append(Content(f"{many(standing.runs, 'run')} here{scored}; baseline {number(standing.baseline)}"))
        lines += [_best("people", standing.people), _best("models", standing.models)]
    lines.append(Content(""))
    text = task.description() if task is not None else "This task is not on this machine: only its runs are."
    return [*lines, *map(Content, flowed(text))]


def _best(of: str, run: Run | None) -> Content:
    if run is None:
        return Content(f"best of {of}: none yet")
    who = f" ({one_line(run.model)})" if run.author != "human" else ""
    against = f", {AGAINST[run.against]}" if run.against else ""
    return Content(f"best of {of}: {number(run.best)}{against}{who}, {one_line(run.ident)}")


def start_task(task: str, model: str, sessions: Path) -> SessionSource:
    """A new session, ready to run. Takes as long as preparing the task's data does. Raises WorkbenchError, OSError."""
    by_hand = model == "human"
    given = config.defaults(config.settings())["human" if by_hand else "run"]
    if given.get("model") != model:
        given = {name: value for name, value in given.items() if name not in config.OF_A_MODEL}
    more = {"task": task, "model": model, "mode": "human" if by_hand else "auto", "interactive": True}
    spec = spec_of({"delay": 0.0 if by_hand else _DELAY, **given}, **more)
    return LiveSource(start(spec, sessions))
