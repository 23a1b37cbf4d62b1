"""The thought and the action of the step under the cursor, and what can be done about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from workbench.session.diff import diff_lines
from workbench.session.state import Attempt, SessionState, Step
from workbench.tui.actions import key_of
from workbench.tui.highlight import highlight_lines
from workbench.tui.text import display_line, flowed, one_line, split_lines, wrapped
from workbench.tui.widgets.line_view import Line, LineMark, PanelView, add_compared
from workbench.tui.words import ASKED_AGAIN

_THOUGHT = "$foreground 75%"
_MUTED = "$foreground 55%"
_HIGHLIGHTED = 20_000
"""Longer actions are shown without syntax colours."""

_DRAFT_SHOWN = 8_000
"""Characters of the end of a draft that are drawn."""

_REASONING_SHOWN = 40_000
"""Characters of its beginning that are drawn."""


class Hint(NamedTuple):
    """What happens next, the colour of that, and the actions with what they do about it: `session.<name>`,
    or of another room by its whole id.
    """

    head: str
    colour: str
    keys: Mapping[str, str]


NO_HINT = Hint("", "", {})


class ProposalView(Vertical):
    """A scrolling text over one line of hints."""

    DEFAULT_CSS = """
    ProposalView > PanelView { height: 1fr; }
    ProposalView > #hint { height: auto; max-height: 2; background: $background; color: $foreground; }
    ProposalView > #hint.-empty { display: none; }
    """

    def __init__(self, state: SessionState, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name for it)
        super().__init__(id=id)
        self._state = state
        self._key: tuple[object, ...] = ()
        self._step: Step | None = None
        self._lines: tuple[int, int] | None = None
        """Numbers of the lines of the action, from what a person changed last on."""
        self._hint: tuple[Hint, int] = (NO_HINT, 0)
        self._hint_line = Static("", id="hint", markup=False, classes="-empty")
        self.view = PanelView(id="proposal-text")
        self.view.wrap = True

    def compose(self) -> ComposeResult:
        yield self.view
        yield self._hint_line

    def show_step(self, step: Step) -> None:
        """Show a step; nothing is drawn when it is as before."""
        told = (step.edited_by, step.answer, len(step.attempts))
        key = (step.number, step.proposed, step.action, step.thought, *told, self._width)
        if key != self._key:
            self._key, self._step, self._lines = key, step, None
            lines, marks = self._task_text() if step.number == 0 else self._action(step)
            self.view.follow = False
            self.view.show(lines, marks=marks, place=step.number)
            if marks:
                self.view.go_to(max(marks), align="nearest")
            self._keep_in_view()
            if self.view.kept is not None:
                self.view.bring(*self.view.kept)

    def show_draft(self, text: str, reasoning: str = "", attempts: Sequence[Attempt] = ()) -> None:
        """Show what the model has said so far, after answers that could not be used; the end of it stays in view.
        Another step replaces it.
        """
        key = ("draft", text, reasoning, len(attempts), self._width)
        if key != self._key:
            self._key, self._step, self._lines = key, None, None
            self._keep_in_view()
            self.view.follow = True
            parts = (self._attempts(attempts), self._reasoning(reasoning[-_DRAFT_SHOWN:]))
            lines = [line for part in parts if part for line in [*part, ""]]
            self.view.show([*lines, *_prose(text[-_DRAFT_SHOWN:], _THOUGHT)])

    def show_problem(self, text: str) -> None:
        """Show why there is no action. Another step replaces it."""
        key = ("problem", text, self._width)
        if key != self._key:
            self._key, self._step, self._lines = key, None, None
            self._keep_in_view()
            self.view.follow = False
            self.view.show(_prose(text, "$warning"))

    def show_hint(self, hint: Hint) -> None:
        """Show what the keys will do, in a line or two; an empty hint takes no room."""
        if (hint, self.size.width) != self._hint:
            self._hint = (hint, self.size.width)
            self._keep_in_view()
            line = self._hint_line
            line.update(_hint_content(hint, self.size.width))
            line.set_class(not hint.head, "-empty")

    def _keep_in_view(self) -> None:
        """What is decided on is in view, however little room a long thought and the hint leave."""
        self.view.kept = self._lines if self._hint[0].head else None

    def on_resize(self) -> None:
        if self._step is not None:
            self.show_step(self._step)
        self.show_hint(self._hint[0])

    @property
    def text(self) -> str:
        """The action, for copying."""
        return self._step.action if self._step is not None else ""

    @property
    def _width(self) -> int:
        return max(20, self.size.width - 4)

    def _task_text(self) -> tuple[list[Line], dict[int, LineMark]]:
        started = self._state.started
        if started is None:
            return [Content.styled("(the beginning of this session is missing)", _MUTED)], {}
        lines: list[Line] = [Content.styled(started.task_name or started.task, "bold")]
        if started.description:
            text = flowed(started.description.strip("\n"))
            lines += ["", *(Content.styled(line, "$foreground 90%") for line in text)]
        return lines, {}

    def _action(self, step: Step) -> tuple[list[Line], dict[int, LineMark]]:
        lines: list[Line] = []
        marks: dict[int, LineMark] = {}
        if step.edited and step.proposed_thought != step.thought:
            add_compared(lines, marks, diff_lines(split_lines(step.proposed_thought), split_lines(step.thought)))
        elif step.thought.strip():
            lines += _prose(step.thought, _THOUGHT)
        if lines:
            lines.append("")
        first = len(lines) + 1
        if step.edited and step.proposed != step.action:
            add_compared(lines, marks, diff_lines(split_lines(step.proposed), split_lines(step.action)))
        elif step.conversation and not step.action:
            lines.append(Content.styled("(an answer that proposes nothing to run)", _MUTED))
        else:
            lines += prompted(step.action)
        self._lines = max([first, *marks]), len(lines)
        if step.conversation not in ("", "1") or step.relation:
            what = f"Conversation {step.conversation} of the agent program{', ' * bool(step.relation)}{step.relation}"
            lines += ["", Content.styled(one_line(what, 80), _MUTED)]
        # Below the action, however long it is: what is to be decided on stays in view.
        for part in (self._attempts(step.attempts), self._reasoning(step.answer.reasoning)):
            lines += ["", *part] if part else []
        return lines, marks

    def _attempts(self, attempts: Sequence[Attempt]) -> list[Line]:
        """The answers that gave nothing to run, as they came: each under a heading, and behind a line."""
        lines: list[Line] = []
        for count, attempt in enumerate(attempts, 1):
            heading = one_line(f"{ASKED_AGAIN} Answer {count}, {attempt.cause}: {attempt.message}", 300)
            lines += [Content.styled(row, "bold $warning") for row in wrapped(heading, self._width)]
            lines += self._quoted(attempt.text, "$foreground 75%")
        return lines

    def _reasoning(self, text: str) -> list[Line]:
        """What the provider shows of the model's reasoning: under a heading, and behind a line."""
        if not text.strip():
            return []
        lines: list[Line] = [Content.styled("Reasoning before the answer", f"bold {_MUTED}")]
        return [*lines, *self._quoted(text, f"italic {_MUTED}")]

    def _quoted(self, text: str, style: str) -> list[Line]:
        """A text behind a line, with its beginning where it is very long."""
        lines: list[Line] = []
        for line in split_lines(text[:_REASONING_SHOWN].strip("\n")):
            lines += [Content.styled(f"│ {row}", style) for row in wrapped(display_line(line), self._width - 2)]
        if len(text) > _REASONING_SHOWN:
            lines.append(Content.styled("│ … (all of it is in the recording)", _MUTED))
        return lines


def _prose(text: str, style: str) -> list[Line]:
    return [Content.styled(line, style) for line in split_lines(text.strip("\n"))]


def prompted(action: str) -> list[Content]:
    """An action as it would stand at a prompt, coloured as bash."""
    body = split_lines(action.rstrip("\n")) or [""]
    spans = highlight_lines("\n".join(body), "action.sh") if len(action) <= _HIGHLIGHTED else [[] for _ in body]
    shown = []
    for index, line in enumerate(body):
        content = Content(line)
        for start, end, style in spans[index] if index < len(spans) else []:  # empty lines at the end have none
            content = content.stylize(style, start, end)
        shown.append(Content.assemble(("$ " if index == 0 else "  ", "bold $primary"), content))
    return shown


def _hint_content(hint: Hint, width: int) -> Content:
    """Lines that are broken between keys only."""
    pieces: list[tuple[str, str]] = [(hint.head, f"bold ${hint.colour}")] if hint.head else []
    used = len(hint.head)
    for name, label in hint.keys.items():
        key = key_of(name if "." in name else f"session.{name}")
        room = len(key) + len(label) + 3
        if used + room > width:
            pieces.append(("\n", ""))
            used = -2
        else:
            pieces.append(("  ", ""))
        pieces += [(key, "bold $primary"), (f" {label}", "$foreground 70%")]
        used += room
    return Content.assemble(*pieces)
