"""Prose in the width of a pane, and what a person finds in the shell."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from workbench.session.events import SessionStarted
from workbench.tui.screens.status import greeting
from workbench.tui.text import flowed, wrapped

TEXT = """A paragraph that was
broken for a narrow page.

    def code(stays):
        as_it_is

- one item
- another
"""


def test_paragraphs_are_joined_and_the_rest_stays() -> None:
    assert flowed(TEXT) == [
        "A paragraph that was broken for a narrow page.",
        "",
        "    def code(stays):",
        "        as_it_is",
        "",
        "- one item",
        "- another",
    ]
    assert flowed("\x1b[2Jwiped") == ["␛[2Jwiped"]


@pytest.mark.parametrize(
    ("line", "width", "rows"),
    [
        ("the agent is told why", 9, ["the agent", "is told", "why"]),
        ("as a word_without_end here", 8, ["as a wor", "d_withou", "t_end", "here"]),
        ("one is words", 6, ["one is", "words"]),
        ("  indented text", 10, ["  indented", "text"]),
        ("naïve résumé of it", 7, ["naïve", "résumé", "of it"]),
        ("模型没有回答。再试一次", 8, ["模型没有", "回答。再", "试一次"]),
        ("模型没有。再试一次", 8, ["模型没", "有。再试", "一次"]),
        ("the 模型 says 没有", 9, ["the 模型", "says 没有"]),
        ("한국어 단어 사이", 8, ["한국어", "단어", "사이"]),
        ("", 8, [""]),
    ],
)
def test_rows_end_at_words_and_have_room_in_columns(line: str, width: int, rows: list[str]) -> None:
    assert wrapped(line, width) == rows
    assert all(cell_len(row) <= width for row in rows)


def test_the_greeting_says_the_task_and_how_to_hand_in() -> None:
    started = SessionStarted(
        format=1, task="game", task_name="A game", description="Play it \x1b[2J well.", agent="human"
    )
    text = greeting(started, 80).decode()
    assert "A game" in text and "Play it ␛[2J well." in text
    assert all(word in text for word in ("validate", "submit", "ctrl+]", "0 3 z shows the whole task"))
    assert text.endswith("\r\n"), "the prompt stands on a line of its own"
