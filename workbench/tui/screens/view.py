"""What the parts of the workbench's screen may ask of it: none of them knows the screen itself, nor each other."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual import on
from textual.events import ScreenResume
from textual.screen import Screen

from workbench.errors import WorkbenchError
from workbench.session import commands as do
from workbench.session.outcome import Failures
from workbench.session.state import SessionState, Step
from workbench.tui.actions import Situation
from workbench.tui.source import SessionSource
from workbench.tui.widgets.diff_view import DiffView
from workbench.tui.widgets.file_window import FileWindow
from workbench.tui.widgets.observation import ObservationView
from workbench.tui.widgets.proposal import ProposalView
from workbench.tui.widgets.step_list import StepList
from workbench.tui.widgets.terminal_pane import TerminalPane
from workbench.tui.widgets.verdict import VerdictView

if TYPE_CHECKING:
    from workbench.tui.widgets.metrics_view import MetricsView
    from workbench.tui.widgets.prompt_view import PromptView
    from workbench.tui.widgets.scores_view import ScoresView

MESSAGE_SECONDS = 6.0
MESSAGES_KEPT = 100


def fault_in(read: Callable[[str], object], text: str) -> str:
    """What is wrong with a text that somebody entered, in a sentence."""
    try:
        read(text)
    except WorkbenchError as error:
        return str(error)
    return ""


class Ground(Screen[None]):
    """A screen that others stand on: the workbench, or home."""

    def __init__(self) -> None:
        super().__init__()
        self.painted = False
        """Whether there was anything to see yet."""
        self.messages: list[str] = []
        """What was said, to be read again."""
        self._said, self._said_until, self._said_of_phase = "", 0.0, False

    def on_screen_resume(self, event: ScreenResume) -> None:
        """Each of its widgets has been styled as it was made: not once more before the first paint."""
        event.refresh_styles = event.refresh_styles and self.stack_updates > 0

    def keep(self, text: str) -> None:
        """Have a message where it can be read again."""
        if text and self.messages[-1:] != [text]:
            self.messages = [*self.messages, text][-MESSAGES_KEPT:]

    def after(self, seconds: float, call: Callable[[], object]) -> asyncio.TimerHandle:
        """Call something once. A `set_timer` that begins late is left out by Textual, so that it would never come."""

        def called() -> None:
            if self.is_attached and not self._pruning:  # else there are no panes any more
                call()

        return asyncio.get_running_loop().call_later(seconds, self.call_next, called)

    def ask(self, title: str, hint: str, then: Callable[[str], Any] = lambda _line: None, **more: Any) -> None:
        """Ask the person for a line, and do something with it; nothing where they leave. `more`: as `Ask` takes it."""
        from workbench.tui.screens.dialogs import Ask  # when first needed: it slows the start

        self.app.push_screen(Ask(title, hint, **more), lambda line: None if line is None else then(line))

    def confirm(self, title: str, text: str, then: Callable[[], Any], *, yes: str, no: str) -> None:
        """Ask the person whether something is to be done, and do it if so."""
        from workbench.tui.screens.dialogs import Confirm  # when first needed: it slows the start

        self.app.push_screen(Confirm(title, text, yes=yes, no=no), lambda sure: then() if sure else None)

    @property
    def taken_over(self) -> bool:
        """The keys belong to the shell."""
        return False

    @property
    def changing_hands(self) -> bool:
        """Until it is known whose the keys are, nobody gets one."""
        return False

    def say(self, text: str, seconds: float = MESSAGE_SECONDS, *, of_phase: bool = False) -> None:
        """Show a message in the status line for a while; `of_phase`: only until the session does something else."""
        self._said, self._said_until, self._said_of_phase = text, time.monotonic() + seconds, of_phase
        self.keep(text)
        self.show_status()

    @property
    def said(self) -> str:
        """The message that the status line shows now."""
        return self._said if time.monotonic() <= self._said_until else ""

    def unsay(self) -> None:
        """What was said is of no more use."""
        self._said = ""

    @abstractmethod
    def show_status(self) -> None:
        """Draw the status line, and what changes with it."""

    @abstractmethod
    def text_to_copy(self) -> str:
        """What `y` copies."""


class SessionView(Ground):
    """A screen with the panes of one session. `cursor` is the step that is shown; None follows the newest."""

    source: SessionSource
    state: SessionState
    found: Failures
    cursor: int | None
    steps: StepList
    proposal: ProposalView
    file: FileWindow
    diff: DiffView
    observation: ObservationView
    show_aside: Callable[[], None]
    """Draws the prompt, the metrics or the scores, where they are open."""
    prompt: PromptView
    """This and the two that follow are there once they were opened."""
    metrics: MetricsView
    scores: ScoresView
    verdict: VerdictView
    shell: TerminalPane
    shell_then: TerminalPane

    @property
    def situation(self) -> Situation:
        """What decides which actions make sense now."""
        source, look_only = self.source, getattr(self.app, "look_only", False)
        return Situation(source.status, self.state.mode, source.drives, source.followed, look_only)

    @property
    def shown(self) -> int:
        """Number of the step that is shown."""
        last = self.state.last_step
        return last if self.cursor is None else min(self.cursor, last)

    @property
    def step(self) -> Step:
        """The step that is shown."""
        return self.state.steps[self.shown]

    @property
    def taken_over(self) -> bool:
        """The keys belong to the shell."""
        return self.shell.interactive

    @property
    def shown_file(self) -> FileWindow | DiffView:
        """The file window, or what takes its place: what the step changed."""
        return self.diff if self.has_class("-diffing") else self.file

    @property
    def shown_shell(self) -> TerminalPane:
        """The shell that is in view: as it is now, or as it was after the step under the cursor."""
        return self.shell if self.shell.has_class("-shown") else self.shell_then

    @on(TerminalPane.Input)
    def _typed(self, message: TerminalPane.Input) -> None:
        if self.source.status is not None:
            self.source.send(do.SendKeys(message.data))

    @on(TerminalPane.Resized)
    def _shell_resized(self, message: TerminalPane.Resized) -> None:
        if self.source.status is not None and self.taken_over and message.pane is self.shell:
            self.source.send(do.Resize(message.columns, message.rows))

    @abstractmethod
    def go_to(self, step: int | None) -> None:
        """Show a step; None, or the newest of a running session, follows."""

    @abstractmethod
    def show_step(self) -> None:
        """Draw the panes for the step under the cursor."""

    @abstractmethod
    def show_titles(self) -> None:
        """Draw the titles of the panes."""
