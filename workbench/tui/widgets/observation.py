"""What came back from the step under the cursor."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content

from workbench.session.events import AGAINST, ToolUsed
from workbench.session.outcome import Failure, Failures
from workbench.session.state import SessionState, Step
from workbench.tui import words
from workbench.tui.text import display_line, one_line, split_lines, wrapped
from workbench.tui.widgets.line_view import PanelView

_NOTE = "$accent"
_BAD = "$warning"
_MUTED = "$foreground 55%"
_READ_TO_THE_END = {"refused", "traceback", "exit", "timeout"}


class ObservationView(PanelView):
    """The observation, and above it what was said and scored beside it."""

    def __init__(self, state: SessionState, found: Failures, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._state = state
        self._found = found
        self._key: tuple[object, ...] = ()
        self._step: Step | None = None
        self.before = 0
        """Lines shown above the observation itself."""

    def show_step(self, step: Step) -> None:
        """Show a step; nothing is drawn when it is as before."""
        beside = (len(step.scores), len(step.messages), len(step.tools), len(_remarks(self._state, step)))
        key = (step.number, step.status, len(step.observation), step.exit_code, *beside, self._body_width)
        if key == self._key:
            return
        failures = self._found.at(step.number)
        if self._step is not step:
            # A failure is read to its end; what worked keeps its columns. `w` changes either.
            self.wrap = step.status == "refused" or bool({each.kind for each in failures} & _READ_TO_THE_END)
        self._key, self._step = key, step
        notes = _wrapped([*_failed(step, failures), *_notes(self._state, step)], self._body_width)
        body: list[str | Content] = list(split_lines(step.observation))
        if not step.observation.strip():
            body = [Content.styled("(blank lines only)" if body else _empty(step), _MUTED)]
        if notes:
            notes.append("")
        self.before = len(notes)
        self.show([*notes, *body], place=step.number)

    def on_resize(self) -> None:
        if self._step is not None:
            self.show_step(self._step)
        super().on_resize()

    @property
    def shown(self) -> int:
        """The number of the step that is shown."""
        return self._step.number if self._step is not None else 0

    def title(self, step: Step, *, named: bool = False) -> str:
        """For the border: what became of it, and how long it took; `named`, which step it is."""
        name = f"Observation {step.number}" if named and step.number else "Observation"
        if step.number == 0 or not step.over:
            return name
        result = words.outcome(step, self._found.at(step.number))
        parts = [f"{result.glyph} {result.word}".strip(" ·")]
        if step.status == "ran" and step.duration:
            parts.append(words.seconds(step.duration))
        if step.signal:
            parts.append(f"SIG{step.signal}")
        return " · ".join([name, *parts])

    def subtitle(self, step: Step) -> str:
        """For the lower border."""
        lines = self.line_count - self.before
        parts = [f"{lines:,} lines"] if step.over and lines > 1 else []
        if step.truncated:
            parts.insert(0, "shortened")
        if step.raw:
            parts.append("was not text")
        if step.cwd and step.over:
            parts.append(one_line(step.cwd, 60))
        return " · ".join(parts)


def _empty(step: Step) -> str:
    if step.number == 0:
        return "(before the first step)"
    if step.conversation and step.status == "running":
        return "(let go; the agent has not told yet what came of it)"
    return {
        "proposed": "(nothing ran yet)",
        "running": "(running; the shell shows what it prints)",
        "rejected": "(rejected: it did not run)",
        "refused": "(refused: it did not run)",
    }.get(step.status, "(no output)")


def _wrapped(notes: list[Content], width: int) -> list[str | Content]:
    """What the workbench says is read to its end, whether or not the observation below it wraps."""
    lines: list[str | Content] = []
    for note in notes:
        line = display_line(note.plain)
        style = note.spans[0].style if note.spans else ""
        lines += [Content.styled(row, style) for row in wrapped(line, max(20, width))]
    return lines


def _failed(step: Step, failures: Iterable[Failure]) -> list[Content]:
    """What failed, where neither the title of the pane nor a note says so."""
    told = {"score", "empty"} | ({"exit"} if step.exit_code is not None else set())
    return [
        content
        for failure in failures
        if failure.kind not in told and not (failure.kind == "refused" and step.status == "refused")
        for content in _note(f"{words.FAILED[failure.kind].glyph} {failure.text}", _BAD)
    ]


def _notes(state: SessionState, step: Step) -> list[Content]:
    notes: list[Content] = []
    if step.rejected_by or step.comment:
        who = words.author_name(step.rejected_by) or "the session"
        notes += _note(f"⊘ rejected by {who}" + (f": {step.comment}" if step.comment else ""))
    if step.shell_restarted:
        notes += _note("↻ the command ended the shell; a new one goes on in the same directory")
    for score in step.scores:
        metric = state.started.metric.name if state.started and state.started.metric else "score"
        against = state.against_baseline(score)
        if score.score is None:
            text = f"✗ {score.kind}: {score.verdict} · {score.message}"
        else:
            error = f" ± {words.number(score.standard_error)}" if score.standard_error is not None else ""
            text = f"▪ {score.kind}: {metric} {words.number(score.score)}{error} ({score.split})"
            text += f" · {AGAINST[against]}" if against else ""
        if not score.visible_to_agent:
            text += " · not shown to the agent"
        text += "".join(f" · {caveat}" for caveat in score.caveats)
        notes += _note(text, _BAD if score.score is None or against == "worse" else _NOTE)
    for use in step.tools:
        notes += _note(_tool_used(use))
    for remark in _remarks(state, step):
        notes += _note(f"• {remark}")
    for message in step.messages:
        notes += _note(f"» {words.author_name(message.author)}: {message.text}")
    return notes


def _remarks(state: SessionState, step: Step) -> list[str]:
    """What was noted about a step; what was noted about the session as a whole is in the log. Of one that ended without
    a step, such as an answer to a question, that is all there is.
    """
    told = step.number or (state.ended is not None and not state.last_step)
    return [note.text for note in state.notes if told and (note.step or 0) == step.number]


def _tool_used(use: ToolUsed) -> str:
    """What memory or literature was asked for, and what came of it."""
    if use.ok:
        facts = [f"{use.results} {'result' if use.results == 1 else 'results'} of {use.source}"]
        facts += ["cached" if use.cached else "", one_line(use.message, 200)]
    else:
        facts = [one_line(use.message or "nothing found", 200)]
    facts.append(words.seconds(use.duration) if use.duration >= 0.1 else "")
    facts.append(f"“{one_line(use.query, 80)}”" if use.query.strip("*") else "")  # last: the action above has it, too
    return f"≡ {use.tool}: {' · '.join(fact for fact in facts if fact)}"


def _note(text: str, style: str = _NOTE) -> list[Content]:
    return [Content.styled(line, style) for line in split_lines(text)]
