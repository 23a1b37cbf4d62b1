"""Texts to read: every key, made from the registry of actions, and what failed or was said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen

from workbench.session.state import SessionState
from workbench.tui import words
from workbench.tui.actions import ACTIONS
from workbench.tui.text import split_lines
from workbench.tui.widgets.line_view import LineView

_WIDTH = 20

SIGNS = (
    *((sign.glyph, f"a step by a {sign.word}") for sign in words.AUTHORS.values()),
    (words.EDITED, "edited before it ran"),
    (words.CHANGED_AGENT, "the first step after the model or its temperature was changed"),
    ("✓  ✗1", "exit code 0, or another one"),
    ("◷  ■", "timed out; interrupted"),
    ("⊘  !", "rejected by a person; refused for its syntax"),
    ("▲  ▼", "the score is better, or worse, than the one before"),
    ("worked 0:41", "the time that the limit is on: the session's, without pauses"),
    ("at 0:52", "when the step under the cursor ended, pauses included"),
    ("+  ~  ▔", "lines added, changed, taken out since the step before"),
)


def help_lines() -> list[Content]:
    """The text of the help screen."""
    lines: list[Content] = []
    group = ""
    for action in ACTIONS:
        if not action.keys:
            continue
        if action.group != group:
            group = action.group
            lines += [Content(""), Content.styled(group, "bold $primary")]
        lines.append(Content.assemble((f"  {action.shown_keys:<{_WIDTH}}", "bold"), action.description))
    lines += [Content(""), Content.styled("Signs", "bold $primary")]
    lines += [Content.assemble((f"  {glyphs:<{_WIDTH}}", "bold"), text) for glyphs, text in SIGNS]
    lines += [
        Content(""),
        Content.styled("Mouse", "bold $primary"),
        Content("  Click chooses and focuses, the wheel scrolls, dragging selects; y copies the selection."),
        Content("  With shift held, the selection is your terminal's own."),
        Content("  In take-over every key but ctrl+] goes to the shell."),
    ]
    return lines[1:]


def message_lines(state: SessionState, said: Sequence[str]) -> list[Content]:
    """What failed in a session, and what its status line has said."""
    failed = [f"{words.clock(event.elapsed)}  {event.cause}: {event.message}" for event in state.failures]
    for step in state.steps:
        failed += [
            f"step {step.number}, {score.kind}: {score.verdict}: {score.message}"
            for score in step.scores
            if score.score is None
        ]
    lines: list[Content] = []
    for heading, texts in (("What failed", failed), ("What was said here, the newest first", said[::-1])):
        lines += [Content(""), Content.styled(heading, "bold $primary")]
        lines += [Content(line) for text in texts or ["nothing"] for line in split_lines(text)]
    return lines[1:]


class Reading(ModalScreen[None]):
    """A text to scroll through."""

    CSS_PATH: ClassVar[str | Path] = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1", "leave", "leave", show=False, id="dialog.leave")
    ]

    def __init__(self, title: str, lines: Sequence[Content]) -> None:
        super().__init__()
        self._title_text, self._lines = title, lines

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog -large") as box:
            box.border_title = Content(self._title_text)
            box.border_subtitle = Content("j k scroll · esc leaves")
            yield LineView(id="text")

    def on_mount(self) -> None:
        view = self.query_one(LineView)
        view.wrap = True
        view.show_lines(self._lines)

    def action_leave(self) -> None:
        self.dismiss(None)


class HelpScreen(Reading):
    """Keys and signs."""

    def __init__(self) -> None:
        super().__init__("Keys", help_lines())
