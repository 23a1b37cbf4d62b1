"""Prose in the width of a pane, and what a person finds in the shell."""

from __future__ import annotations

from workbench.session.events import SessionStarted
from workbench.tui.greeting import greeting
from workbench.tui.text import flowed

TEXT = """A paragraph that was
broken for a narrow page.

    def code(stays):
        as_it_is

- one item
- another
"""


def test_paragraphs_are_joined_and_the_rest_stays() -> None:
    assert flowed(TEXT, 60) == [
        "A paragraph that was broken for a narrow page.",
        "",
        "    def code(stays):",
        "        as_it_is",
        "",
        "- one item",
        "- another",
    ]
    assert max(map(len, flowed(TEXT, 24))) <= 24
    assert flowed("\x1b[2Jwiped", 60) == ["␛[2Jwiped"]


def test_the_greeting_says_the_task_and_how_to_hand_in() -> None:
    started = SessionStarted(
        format=1, task="game", task_name="A game", description="Play it \x1b[2J well.", agent="human"
    )
    text = greeting(started, 80).decode()
    assert "A game" in text and "Play it ␛[2J well." in text
    assert all(word in text for word in ("validate", "submit", "ctrl+]"))
    assert text.endswith("\r\n"), "the prompt stands on a line of its own"
