"""What a person who does a task finds in the shell before the first prompt: the task, and how to hand in."""

from __future__ import annotations

from workbench.session.events import SessionStarted
from workbench.tui.text import flowed, printable, wrapped

_WIDEST = 90
_HOW = (
    ("validate", "scores your work as it is; nothing is handed in"),
    ("submit", "scores it, hands it in and ends the session"),
    ("ctrl+]", "shows the workbench; t brings you back to the shell"),
)


def greeting(started: SessionStarted, columns: int) -> bytes:
    """Text for the terminal, ending where the prompt begins."""
    width = max(20, min(columns - 6, _WIDEST))
    lines = [f"\x1b[1m{printable(started.task_name or started.task)}\x1b[0m", ""]
    lines += [row for line in flowed(started.description.strip()) for row in wrapped(line, width)]
    lines += ["", *(f"\x1b[1m{key:<10}\x1b[0m{what}" for key, what in _HOW), "", ""]
    return "\r\n".join(lines).encode("utf-8", "replace")
