"""Every key, made from the registry of actions."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen

from workbench.tui import words
from workbench.tui.actions import ACTIONS
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


class HelpScreen(ModalScreen[None]):
    """Keys and signs."""

    CSS_PATH: ClassVar[str | Path] = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1", "leave", "leave", show=False, id="dialog.leave")
    ]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog -large") as box:
            box.border_title = Content("Keys")
            box.border_subtitle = Content("j k scroll · esc leaves")
            yield LineView(id="help")

    def on_mount(self) -> None:
        self.query_one(LineView).show_lines(help_lines())

    def action_leave(self) -> None:
        self.dismiss(None)
