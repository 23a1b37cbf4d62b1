"""The workbench: the panes over one session, live or recorded, and what the keys do.

The screen reads `SessionState` and draws it; what steers the session is in `steering`, what goes through it in
`searching`, where the panes are in `arranging`. Events only mark what changed: it is drawn at most 30 times a second,
however many there are.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.widgets import Static

from workbench.session import commands as do
from workbench.session import events as ev
from workbench.session.bus import Message, ShellOutput
from workbench.session.outcome import Failures
from workbench.session.state import Step
from workbench.session.status import LiveStatus
from workbench.tui import words
from workbench.tui.actions import ACTIONS, BY_ID, key_bindings, why_not
from workbench.tui.screens.arranging import Arranging
from workbench.tui.screens.aside import Aside
from workbench.tui.screens.going import Going
from workbench.tui.screens.noting import Annotations
from workbench.tui.screens.searching import Searching
from workbench.tui.screens.status import (
    asking_to_drive,
    greeting,
    hint,
    proposal_title,
    scored,
    shell_held,
    status_parts,
)
from workbench.tui.screens.steering import Steering
from workbench.tui.screens.view import MESSAGE_SECONDS, SessionView
from workbench.tui.source import SessionSource
from workbench.tui.text import one_line
from workbench.tui.widgets.diff_view import DiffView
from workbench.tui.widgets.file_window import FileWindow
from workbench.tui.widgets.key_bar import KeyBar
from workbench.tui.widgets.observation import ObservationView
from workbench.tui.widgets.pane import Pane, Retitled
from workbench.tui.widgets.proposal import ProposalView
from workbench.tui.widgets.status_bar import StatusBar
from workbench.tui.widgets.step_list import StepList
from workbench.tui.widgets.terminal_pane import TerminalPane
from workbench.tui.widgets.time_bar import TimeBar
from workbench.tui.widgets.verdict import VerdictView

FRAME_SECONDS = 1 / 30
TICK_SECONDS = 0.1
QUIET_SECONDS = 0.04
"""While a key repeats, only the cursor moves; the panes follow when it rests for this long."""

_METHODS = {"continue": "continue_"}
"""Actions whose name is a word of Python."""


class WorkbenchScreen(SessionView):
    """The workbench over one session."""

    CSS_PATH: ClassVar[str | Path] = "workbench.tcss"
    BINDINGS: ClassVar[list[BindingType]] = key_bindings()
    AUTO_FOCUS = "#steps"

    def __init__(self, source: SessionSource) -> None:
        super().__init__()
        self.source = source
        self.state = source.state
        self.found = Failures(source.state)
        self.arranging = Arranging(self)
        self.going = Going(self, self.arranging)
        self.cursor: int | None = None if self.follows else self.going.beginning
        self.searching = Searching(self, self.arranging)
        self.steering = Steering(self, self.arranging, self.searching)
        self.annotations = Annotations(self)
        self._said, self._said_until = "; ".join(source.problems[:2]), time.monotonic() + 3 * MESSAGE_SECONDS
        self.messages = list(source.problems)
        self._dirty_from: int | None = None
        self._draft_new = False
        self._draft = ("", "")
        self._programs = ""
        self._frame: asyncio.TimerHandle | None = None
        self._load: asyncio.TimerHandle | None = None
        self._drawn_at = self._moved_at = 0.0
        self._seen: tuple[object, ...] = ()
        self._phase_since = time.monotonic()
        self._shell_step = -1
        self._reading: int | None = None
        """The step in whose observation a person has scrolled while newer ones came; its top, or a step, ends it."""
        self._writing = (False, False)
        self._ends: list[Callable[[], None]] = []

    @property
    def follows(self) -> bool:
        """There may be more of it: at its end, the cursor goes along."""
        return self.source.status is not None or self.source.followed

    # -- building ----------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        state = self.state
        self.status_bar = StatusBar(id="status")
        self.steps = StepList(state, self.found)
        self.proposal = ProposalView(state, id="proposal")
        self.file = FileWindow(state, self.source.file_bytes, id="file")
        self.diff = DiffView(state, self.source.file_bytes, id="diff")
        self.observation = ObservationView(state, self.found, id="observation")
        self.aside = Aside(self, self.arranging)
        self.shell = TerminalPane(id="shell-live")
        self.shell_then = TerminalPane(id="shell-then")
        self.time_bar = TimeBar(state, self.found)
        self.key_bar = KeyBar(id="key-bar")
        self.verdict = VerdictView(id="verdict")
        self.arranging.lay_out()  # before there are panes, each of which would be styled once more
        self.set_class(self.going.judging, "-judging")
        yield self.status_bar
        yield Pane(7, "Verdict", self.verdict, id="verdict-pane")
        with Container(id="body"):
            with Container(id="mind"):
                yield Pane(1, "Steps", self.steps, id="steps-pane")
                yield Pane(3, "Action", self.proposal, id="proposal-pane")
            with Container(id="world"):
                yield Pane(2, "File", self.file, self.diff, id="file-pane")
                yield Pane(4, "Observation", self.observation, id="observation-pane")
                yield Pane(5, "Shell", self.shell, self.shell_then, id="shell-pane")
                yield from self.aside.panes()
        yield self.time_bar
        yield self.key_bar
        yield Static("terminal too small (60 by 15 is the least)", id="too-small")

    def on_mount(self) -> None:
        if not self.children:  # the app was left while this was built
            return
        self._ends.append(self.source.subscribe(self._hear))
        status = self.source.status
        if status is not None and not status.has_agent and self.state.started is not None:
            self.shell.feed(greeting(self.state.started, self.app.size.width))
        self.shell.on_high = lambda: self.source.send(do.HoldOutput(True))
        self.shell.on_low = lambda: self.source.send(do.HoldOutput(False))
        self.set_interval(TICK_SECONDS, self._tick, name="clock")
        self.arranging.arrange()
        self.show_step()
        self._tick()
        self.call_after_refresh(setattr, self, "painted", True)

    def on_unmount(self) -> None:
        for end in self._ends:
            end()
        self.source.send(do.HoldOutput(False))

    # -- what is going on --------------------------------------------------------------------------------------------

    @property
    def observed(self) -> Step:
        """The step whose observation is shown: while the newest has none yet, that of the one before; while a person
        reads on in one, that one.
        """
        step = self.step
        if self.cursor is None and self._reading is not None:
            return self.state.steps[self._reading]
        if self.cursor is None and step.status in ("proposed", "running") and step.number:
            return self.state.steps[step.number - 1]
        return step

    @property
    def changing_hands(self) -> bool:
        """The shell is about to be the person's, or the agent's again: until then nobody gets a key."""
        if self.steering.releasing:
            return True
        wanted = self.situation
        if wanted.taken_over or not wanted.live:
            return wanted.taken_over and not self.taken_over
        return wanted.mode == "human" and wanted.phase in ("proposing", "review", "waiting")

    @property
    def phase_seconds(self) -> float:
        """How long the session has been in its phase."""
        return time.monotonic() - self._phase_since

    # -- events ------------------------------------------------------------------------------------------------------

    def _hear(self, message: Message) -> None:
        """A message of the session's bus."""
        if isinstance(message, ShellOutput):
            self.shell.feed(message.data)
        elif isinstance(message, LiveStatus):
            self._status_changed(message)
        else:
            self._event(message)

    def _status_changed(self, status: LiveStatus) -> None:
        if (status.draft, status.draft_reasoning) != self._draft:
            self._draft = (status.draft, status.draft_reasoning)
            self._draft_new = True
            self._draw_soon()
        if status.programs != self._programs:
            self._programs = status.programs
            self._title_shell()
        if self.arranging.open == "metrics-pane":
            self.aside.show()
        self.steering.question_changed()

    def _event(self, event: ev.Event) -> None:
        step = getattr(event, "step", None)
        last = self.state.last_step
        first = min(step, last) if isinstance(step, int) else last
        self._dirty_from = first if self._dirty_from is None else min(self._dirty_from, first)
        self._draw_soon()
        mine = isinstance(event, ev.ScoreRecorded) and (not event.visible_to_agent or bool(event.author))
        if isinstance(event, ev.ScoreRecorded) and mine:
            self.say(scored(self.state, event))

    def _draw_soon(self) -> None:
        if self._frame is None:
            since = time.monotonic() - self._drawn_at
            self._frame = self.after(FRAME_SECONDS - since, self._draw_changes)

    def _draw_changes(self) -> None:
        """Draw what changed since the last frame."""
        self._frame = None
        self._drawn_at = time.monotonic()
        first, self._dirty_from = self._dirty_from, None
        if self._draft_new and first is None:
            self._show_proposal(self.step)
        self._draft_new = False
        if first is None:
            return
        if self._reading is None and self.cursor is None and self.observation.scroll_offset.y:
            self._reading = self.observation.shown
        self.found.update(first)
        self.steps.rows_changed(first)
        self.time_bar.steps_changed(first)
        if self.shown >= first:
            self.show_step()
        self._tick()

    def _tick(self) -> None:
        """What changes without an event: the phase, and the time."""
        status = self.source.status
        seen: tuple[object, ...] = ()
        if status is not None:  # each call of an agent program, and each step, is waited for anew
            doing = (status.phase, status.under_way, self.state.last_step)
            seen = (doing, self.state.mode, status.problem, status.driver, self.source.drives)
        if seen != self._seen:
            if seen[:1] != self._seen[:1]:
                self._phase_since = time.monotonic()
                if self._said_of_phase:
                    self.unsay()
            if status is not None and status.problem and seen[2:3] != self._seen[2:3]:
                self.unsay()  # what is new is said, and not what was said before it
                self.keep(status.problem)
            self._seen = seen
            self.steering.phase_changed()
            self._show_proposal(self.step)
        self.steering.wheel_changed()
        self.app.outside.heed(status, self.state)  # type: ignore[attr-defined]
        if self._reading is not None and not self.observation.scroll_offset.y:
            self._reading = None
            self.show_step()
        self.show_status()

    def show_status(self) -> None:
        """Draw the status line, the hint under the action and the key bar; each only when it changed."""
        if not self.is_attached or not self.is_mounted:
            return
        status = self.source.status
        problem = status.problem if status is not None else ""
        now = self.situation
        working: float | None = self.state.working
        if (now.live or now.followed) and status is not None:
            working = status.working
        elif self.cursor is not None and self.shown < self.state.last_step:
            working = None  # nobody knows how much was worked by then; the time bar says when it was
        self.status_bar.show(
            status_parts(
                self.state,
                now,
                self.state.standing(self.shown),
                cursor=self.shown,
                following=self.cursor is None,
                phase_seconds=self.phase_seconds,
                message=(now.live and asking_to_drive(status)) or self.said or problem,
                working=working,
            )
        )
        delay = 0.0 if status is None or status.asking else status.delay
        self.proposal.show_hint(hint(self.step, self.state, now, seconds=self.phase_seconds, delay=delay))
        shown = [
            action
            for action in sorted(ACTIONS, key=lambda a: a.bar)
            if action.bar and not action.pane and not why_not(action, now)
        ]
        self.key_bar.show(shown)

    # -- the step under the cursor -----------------------------------------------------------------------------------

    def go_to(self, step: int | None) -> None:
        """Show a step; None, or the newest of a running session, follows."""
        self._reading = None
        last = self.state.last_step
        if step is None or (step >= last and self.follows):
            self.cursor = None
        else:
            self.cursor = max(0, min(step, last))
        resting = time.monotonic() - self._moved_at > 2 * QUIET_SECONDS
        self._moved_at = time.monotonic()
        self.steps.cursor = self.time_bar.cursor = self.shown
        if self._load is not None:
            self._load.cancel()
        if resting:
            self.show_step()
        else:
            self._load = self.after(QUIET_SECONDS, self.show_step)
        self.show_status()

    def show_step(self) -> None:
        """Draw the panes for the step under the cursor. Each draws only what is new to it."""
        self._load = None
        number, step = self.shown, self.step
        self.steps.cursor = self.time_bar.cursor = number
        self._show_proposal(step)
        self.observation.show_step(self.observed)
        self.shown_file.show_step(number)
        self._show_shell()
        self.aside.show()
        self.going.show_verdict()
        self.show_titles()

    def _show_proposal(self, step: Step) -> None:
        """The action; while the next one is on its way, what the model has said of it so far; where none came, why."""
        status = self.source.status
        drafting = stuck = False
        if status is not None and self.cursor is None:
            drafting = status.phase == "proposing" and bool(
                status.draft or status.draft_reasoning or self.state.attempts
            )
            stuck = status.phase == "waiting" and status.has_agent and bool(status.problem)
        if status is not None and drafting:
            self.proposal.show_draft(status.draft, status.draft_reasoning, self.state.attempts)
        elif status is not None and stuck:
            self.proposal.show_problem(status.problem)
        else:
            self.proposal.show_step(step)
        if (drafting, stuck) != self._writing:
            self._writing = (drafting, stuck)
            self._title_proposal(step)

    def _show_shell(self) -> None:
        live = self.source.status is not None and self.cursor is None
        self.shell.set_class(live, "-shown")
        self.shell_then.set_class(not live, "-shown")
        if not live and self._shell_step != self.shown:
            self._shell_step = self.shown
            self.shell_then.show_bytes(*self.source.shell_text(self.shown))

    def show_titles(self) -> None:
        """Draw the titles of the panes."""
        step = self.step
        started = self.state.started
        agent = (words.asked_now(self.state) or started.agent) if started else ""
        self.arranging.pane("steps-pane").set_title("Steps", agent)
        self._title_proposal(step)
        self.arranging.pane("file-pane").set_title(
            self.arranging.tabbed("file-pane", self.shown_file.title), self.shown_file.subtitle
        )
        seen = self.observed
        name = self.arranging.tabbed("observation-pane", self.observation.title(seen, named=seen is not step))
        self.arranging.pane("observation-pane").set_title(name, self.observation.subtitle(seen))
        self._title_shell()
        self.aside.title()

    def _title_proposal(self, step: Step) -> None:
        title, marks = proposal_title(step, drafting=self._writing[0], stuck=self._writing[1])
        noted = self.annotations.of(step.number)
        self.arranging.pane("proposal-pane").set_title(title, " · ".join(filter(None, (marks, noted))))

    def _title_shell(self) -> None:
        pane = self.arranging.pane("shell-pane")
        if self.taken_over:
            pane.set_title(shell_held(self.situation))
        else:
            then = self.cursor is not None or self.source.status is None
            running = self.source.status.programs if self.source.status is not None else ""
            title = f"Shell · as of step {self.shown}" if then else "Shell" if self.situation.ended else "Shell · live"
            title = f"Shell · {one_line(running)}" if running and not then else title
            skipped = self.shell.border_subtitle if not then else ""
            pane.set_title(self.arranging.tabbed("shell-pane", title), skipped or "")

    def on_resize(self) -> None:
        self.arranging.arrange()

    # -- what the keys do --------------------------------------------------------------------------------------------

    async def action_do(self, action_id: str) -> None:
        """Do an action of the registry, or say why not."""
        action = BY_ID[action_id]
        reason = why_not(action, self.situation)
        if reason:
            self.say(reason)
            return
        room, _, name = action_id.partition(".")
        if room == "session":
            doing = getattr(self.steering, _METHODS.get(name, name))()
            if inspect.isawaitable(doing):
                await doing
        elif room in ("search", "note"):
            getattr(self.searching if room == "search" else self.annotations, name)()
        elif room in ("step", "go", "pane"):
            await self.aside.make(name)
            {"step": self.going.step, "go": self.going.to, "pane": self.going.pane}[room](name)
        elif room == "prompt":
            if not self.arranging.close():
                self.app.do("home")  # type: ignore[attr-defined]
        else:
            self.app.do(name)  # type: ignore[attr-defined]

    @on(StepList.Chosen)
    def _chosen(self, message: StepList.Chosen) -> None:
        self.go_to(message.row)

    @on(Retitled)
    def _title_changed(self) -> None:
        self.show_titles()

    @on(TerminalPane.Release)
    def _released(self) -> None:
        self.steering.release()

    def text_to_copy(self) -> str:
        """What `y` copies: the selection, else what the pane with the focus shows."""
        return self.get_selected_text() or self.arranging.text
