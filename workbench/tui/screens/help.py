"""Texts to read: every key, made from the registry of actions, and what failed or was said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content

from workbench.session.outcome import KINDS, Failures
from workbench.session.state import SessionState
from workbench.tui import words
from workbench.tui.actions import ACTIONS, ANALYSIS, BY_ID, COMPARE, LOOK, Action, Situation, keyed, why_not
from workbench.tui.places import Place
from workbench.tui.screens.dialogs import Dialog
from workbench.tui.text import split_lines
from workbench.tui.widgets.line_view import LineView

_WIDTH = 20
_ALONE = (COMPARE, ANALYSIS)

SIGNS = (
    *((sign.glyph, f"a step by a {sign.word}") for sign in words.AUTHORS.values()),
    (words.EDITED, "edited before it ran"),
    (words.CHANGED_AGENT, "the first step after the agent, its model or temperature was changed"),
    ("✓  ✗1", "exit code 0, or another one"),
    ("◷  ■", "timed out; interrupted"),
    ("⊘  !", "rejected by a person; refused: an edit by the linter, or a command for its syntax"),
    ("✗", "failed, or a traceback, in a log without exit codes; nothing could be scored"),
    ("≠  ↻", "an answer that could not be parsed ended the run; or the model was asked again"),
    ("↺  ∅", "the same once more, and nothing has changed; nothing was submitted"),
    ("▪  =  ▲  ▼", "the first score; as good as the one before, better, or worse"),
    ("worked 0:41", "the time that the limit is on: the session's, without pauses"),
    ("at 0:52", "when the step under the cursor ended, pauses included"),
    ("+  ~  ▔", "lines added, changed, taken out since the step before"),
)


def _key_line(action: Action) -> Content:
    return Content.assemble((f"  {action.shown_keys:<{_WIDTH}}", "bold"), action.description)


def help_lines(first: str = "", place: Place | None = None, now: Situation | None = None) -> list[Content]:
    """The text of the help screen: at its top what is said of a place, then the group `first`. A screen that steers
    nothing has no other keys than those and the panes'. Where nothing runs, what would steer it comes last.
    """

    def heading(action: Action) -> str:
        idle = now is not None and not now.live and not now.followed
        reason = why_not(action, now) if now is not None and idle else ""
        return f"{action.group} ({reason})" if reason else action.group

    lines: list[Content] = []
    if place is not None:
        lines += [Content(""), Content.styled(f"Here: {place.title}", "bold $primary"), Content(place.says)]
        lines += [_key_line(BY_ID[ident]) for ident in place.ids if BY_ID[ident].keys_now]
    group = ""
    groups = [first, *dict.fromkeys(action.group for action in ACTIONS)]
    for action in sorted(ACTIONS, key=lambda each: (heading(each) != each.group, groups.index(each.group))):
        if not action.keys_now or (first in _ALONE and action.group not in (first, LOOK)):
            continue
        if heading(action) != group:
            group = heading(action)
            lines += [Content(""), Content.styled(group, "bold $primary")]
        lines.append(_key_line(action))
    lines += [Content(""), Content.styled("Signs", "bold $primary")]
    lines += [Content.assemble((f"  {glyphs:<{_WIDTH}}", "bold"), text) for glyphs, text in SIGNS]
    lines += [
        Content(""),
        Content.styled("Mouse", "bold $primary"),
        Content(
            keyed("  Click chooses and focuses, the wheel scrolls, dragging selects; {app.copy} copies the selection.")
        ),
        Content("  With shift held, the selection is your terminal's own."),
        Content(keyed("  In take-over every key but {session.release} goes to the shell.")),
    ]
    return lines[1:]


def message_lines(state: SessionState, said: Sequence[str]) -> list[Content]:
    """What failed in a session, and what its status line has said."""
    failed = [f"{words.clock(event.elapsed)}  {event.cause}: {event.message}" for event in state.failures]
    known = Failures(state)
    for number in (0, *known.steps):
        whole = [score for score in state.steps[number].scores if score.score is None]
        failed += [f"step {number}, {score.kind}: {score.verdict}: {score.message}" for score in whole]
        failed += [
            f"step {number}, {KINDS[each.kind]}: {each.text}"
            for each in known.at(number)
            if not any(each.text.startswith(f"{score.kind}: ") for score in whole)
        ]
    lines: list[Content] = []
    for heading, texts in (("What failed", failed), ("What was said here, the newest first", said[::-1])):
        lines += [Content(""), Content.styled(heading, "bold $primary")]
        lines += [Content(line) for text in texts or ["nothing"] for line in split_lines(text)]
    return lines[1:]


class Reading(Dialog[None]):
    """A text to scroll through."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,question_mark,f1", "leave", "leave", show=False, id="dialog.leave")
    ]

    def __init__(self, title: str, lines: Sequence[Content]) -> None:
        super().__init__(title)
        self._lines = lines

    def compose(self) -> ComposeResult:
        with self.box(keyed("{lines.down} {lines.up} scroll · {dialog.leave} leaves"), large=True):
            yield LineView(id="text")

    def on_mount(self) -> None:
        view = self.query_one(LineView)
        view.wrap = True
        view.show(self._lines)


class HelpScreen(Reading):
    """Keys and signs."""

    def __init__(self, first: str = "", place: Place | None = None, now: Situation | None = None) -> None:
        super().__init__("Keys", help_lines(first, place, now))
