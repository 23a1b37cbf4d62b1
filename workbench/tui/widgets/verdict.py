"""Why a session ended, and where it began to go wrong, in whole sentences."""

from __future__ import annotations

from textual.content import Content

from workbench.session.outcome import Verdict
from workbench.tui.text import display_line, split_lines, wrapped
from workbench.tui.widgets.line_view import Line, PanelView

_ANSWER = 20_000
"""Characters of the end of an answer that are shown."""


class VerdictView(PanelView):
    """The verdict, and below it the last answer of the model where that could not be parsed."""

    DEFAULT_CSS = """
    VerdictView { height: auto; padding: 0 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name for it)
        super().__init__(id=id)
        self.verdict: Verdict | None = None
        self.wrap = True

    def show_verdict(self, verdict: Verdict) -> None:
        """Show a verdict; nothing is drawn when it is as before."""
        if verdict == self.verdict:
            return
        self.verdict = verdict
        lines: list[Line] = [
            Content.styled(display_line(sentence), "bold $warning" if number == 0 else "")
            for number, sentence in enumerate(verdict.sentences)
        ]
        if verdict.answer:
            lines += ["", Content.styled("The last answer of the model, as it came:", "$foreground 75%")]
            lines += split_lines(verdict.answer[-_ANSWER:])
        self.show(lines)
        self._tall_as_text()

    def on_resize(self) -> None:
        super().on_resize()
        self._tall_as_text()

    def _tall_as_text(self) -> None:
        width = max(20, (self.size.width or self.app.size.width - 2) - 2)
        rows = sum(max(1, len(wrapped(display_line(str(line)), width))) for line in self._lines[:40])
        self.styles.height = rows
