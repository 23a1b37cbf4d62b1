"""The tour: a recorded session with a guide below it, a card at a time, each with the key that leads to the next."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from workbench.formats.open import open_recording
from workbench.tui.actions import key_of, keyed
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens.workbench import WorkbenchScreen
from workbench.tui.source import RecordedSource

RECORDING = Path(__file__).with_name("tour.zip")
"""What is shown (`scripts/record_tour.py` makes it)."""
SKIP = "session.run"
"""What goes on without doing what a card says: in a replay its key does nothing else."""


class Card(NamedTuple):
    """What is seen at a step, and the action to try next."""

    step: int
    says: str
    action: str = ""
    does: str = ""


CARDS = (
    Card(
        1,
        "This is a saved session: an agent worked on a task, and a person helped once. Nothing runs here. "
        "Steps and thoughts are what the agent decided; file, observation and shell are what came of it.",
        "step.next",
        "goes to the next step",
    ),
    Card(
        2,
        "Every pane is as it was after this step. The agent has rewritten its file: {step.previous} would show it as "
        "it was before.",
        "pane.diff",
        "shows what changed, line by line",
    ),
    Card(
        2,
        "Old and new lines of the file. Each pane has a number that goes there, and {pane.zoom} makes it large.",
        "pane.observation",
        "goes to the observation: what came back",
    ),
    Card(
        2,
        "What came back of the edit: the file as it is now. The next step goes wrong.",
        "go.failure",
        "goes to the next failure",
    ),
    Card(
        3,
        "The trial ended with a traceback. Failures are marked in the list of steps, and in the line below.",
        "step.next",
        "goes to what was done about it",
    ),
    Card(
        4,
        "Here a person stopped the agent and corrected its action before it ran; the log keeps both. In a session that "
        "runs, {session.pause} pauses, {session.edit} edits, {session.take_over} gives you the agent's own shell.",
        "go.score",
        "goes to the next score",
    ),
    Card(
        6,
        "`validate` scores the work in a clean room. The status line has the score and the baseline of the task.",
        "pane.scores",
        "opens all the scores",
    ),
    Card(
        6,
        "Every score: the one at the end is better than the first. {scores.go} would go to its step.",
        "pane.scores",
        "closes them",
    ),
    Card(
        6,
        "Any word is found again, in what the agent thought and did and in what came back.",
        "search.open",
        "asks for one: try `insist`, then enter",
    ),
    Card(
        7,
        "{search.next} would go to the next match. All keys are in one list, those of the pane that you are in first.",
        "app.help",
        "opens it, {dialog.leave} closes it",
    ),
    Card(
        9,
        "That was the tour. `mlgym-tui run battleOfSexes` has an agent that you can watch and steer, and needs no key; "
        "with `human battleOfSexes` you are the one who works; `mlgym-tui` alone lists sessions and tasks.",
        "app.quit",
        "leaves",
    ),
)


class TourScreen(WorkbenchScreen):
    """The workbench, with a card above its last lines."""

    DEFAULT_CSS = """
    TourScreen #card { height: auto; max-height: 6; padding: 0 1; background: $panel; color: $foreground; }
    """
    CSS_PATH: ClassVar[str | Path] = "screens/workbench.tcss"

    at = 0
    """Which card is shown."""
    _tried = False
    """What it says was done, and may still be seen in a dialog."""

    def compose(self) -> ComposeResult:
        yield from super().compose()
        yield Static(self._card(), id="card")

    def _card(self) -> Content:
        card, last = CARDS[self.at], self.at == len(CARDS) - 1
        skips = "" if last else keyed(f"    {{{SKIP}}} goes on without, {{app.quit}} leaves")
        return Content.assemble(
            (f"Tour {self.at + 1} of {len(CARDS)}  ", "$foreground 60%"),
            keyed(card.says) + "\n",
            (key_of(card.action), "bold $background on $primary"),
            (f" {keyed(card.does)}", "bold"),
            (skips, "$foreground 60%"),
        )

    async def action_do(self, action_id: str) -> None:
        self._tried = self._tried or action_id == CARDS[self.at].action
        if action_id == SKIP:
            self._next()
        else:
            await super().action_do(action_id)

    def show_status(self) -> None:
        super().show_status()
        if self._tried and self.is_current:
            self._next()

    def _next(self) -> None:
        self._tried = False
        if self.at < len(CARDS) - 1:
            self.at += 1
            self.query_one("#card", Static).update(self._card())
            if self.shown != CARDS[self.at].step:
                self.go_to(CARDS[self.at].step)


class TourApp(WorkbenchApp):
    """The app of `mlgym-tui tour`."""

    SCREEN = TourScreen

    def __init__(self, theme: str | None = None) -> None:
        super().__init__(RecordedSource(open_recording(RECORDING)), theme=theme, look_only=True)
