"""What the parts of the workbench's screen may ask of it: none of them knows the screen itself, nor each other."""

from __future__ import annotations

from abc import abstractmethod

from textual.screen import Screen

from workbench.session.state import SessionState, Step
from workbench.tui.actions import Situation
from workbench.tui.source import SessionSource
from workbench.tui.widgets.file_window import FileWindow
from workbench.tui.widgets.observation import ObservationView
from workbench.tui.widgets.prompt_view import PromptView
from workbench.tui.widgets.proposal import ProposalView
from workbench.tui.widgets.step_list import StepList
from workbench.tui.widgets.terminal_pane import TerminalPane

MESSAGE_SECONDS = 6.0


class SessionView(Screen[None]):
    """A screen with the panes of one session. `cursor` is the step that is shown; None follows the newest."""

    source: SessionSource
    state: SessionState
    cursor: int | None
    steps: StepList
    proposal: ProposalView
    file: FileWindow
    observation: ObservationView
    prompt: PromptView
    shell: TerminalPane
    shell_then: TerminalPane

    @property
    def situation(self) -> Situation:
        """What decides which actions make sense now."""
        status = self.source.status
        if status is None:
            return Situation(live=False)
        ended = status.phase == "ended"
        return Situation(
            not ended,
            status.phase,
            self.state.mode,
            status.has_agent,
            ended,
            asks_model=status.asks_model,
            asks_input=status.asks_input,
            progress=status.progress,
        )

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
    def shown_shell(self) -> TerminalPane:
        """The shell that is in view: as it is now, or as it was after the step under the cursor."""
        return self.shell if self.shell.has_class("-shown") else self.shell_then

    @abstractmethod
    def say(self, text: str, seconds: float = MESSAGE_SECONDS, *, of_phase: bool = False) -> None:
        """Show a message in the status line for a while; `of_phase`: only until the session does something else."""

    @abstractmethod
    def go_to(self, step: int | None) -> None:
        """Show a step; None, or the newest of a running session, follows."""

    @abstractmethod
    def show_step(self) -> None:
        """Draw the panes for the step under the cursor."""

    @abstractmethod
    def show_prompt(self) -> None:
        """Draw the prompt, where it is open."""

    @abstractmethod
    def show_status(self) -> None:
        """Draw the status line, the hint under the action and the key bar."""

    @abstractmethod
    def show_titles(self) -> None:
        """Draw the titles of the panes."""
