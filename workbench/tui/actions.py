"""Everything a person can do in the workbench, in one table.

Key bindings, the help screen, the palette and the key bar at the bottom are made from it; a test holds that no binding
exists outside of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Literal

import msgspec
from textual.binding import Binding, BindingType

from workbench.session.status import LiveStatus

Need = Literal["nothing", "running", "driver", "review", "edit", "command", "score", "wheel"]
"""What an action needs: a running session; one that the person does not drive already; a proposal under review; a
proposal, or a turn of the person, to write; a running command, or an answer on its way; a moment in which the artifact
can be scored; a session that this view may drive."""


class Action(msgspec.Struct, frozen=True):
    """One thing to do."""

    id: str
    """Also the id of its binding, by which keys can be changed."""
    keys: tuple[str, ...]
    label: str
    """A word or two, for the key bar."""
    description: str
    group: str
    need: Need = "nothing"
    bar: int = 0
    """Rank in the key bar: lower goes first, 0 is not shown."""
    writes: bool = False
    """It starts something, or leaves something behind: not for who may only look."""

    @property
    def pane(self) -> bool:
        """Bound by the panes and dialogs themselves, for the one that has the focus."""
        return self.group in _OF_PANES or self.id == "app.leave"

    @property
    def keys_now(self) -> tuple[str, ...]:
        """The keys that it has, by Textual's names: the person's own, else `keys`."""
        return _mine.get(self.id, self.keys)

    @property
    def changed(self) -> bool:
        """Whether these are the person's own."""
        return self.id in _mine

    @property
    def shown_keys(self) -> str:
        """The keys that it has, as people write them."""
        return " ".join(KEY_NAMES.get(key, key) for key in self.keys_now)


_mine: dict[str, tuple[str, ...]] = {}


def use_keys(mine: dict[str, tuple[str, ...]]) -> None:
    """Have actions shown with other keys: those that the app binds, by the action's id."""
    global _mine
    _mine = mine


def key_of(action_id: str) -> str:
    """The first key of an action, as people write it; its description where it has none."""
    action = BY_ID[action_id]
    return action.shown_keys.split(" ")[0] or f"({action.label})"


def keyed(text: str) -> str:
    """A text with the key of an action for each `{id}` in it."""
    return re.sub(r"\{([a-z_.]+)\}", lambda found: key_of(found[1]), text)


KEY_NAMES = {
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "shift+left": "shift+←",
    "shift+right": "shift+→",
    "dollar_sign": "$",
    "slash": "/",
    "equals_sign": "=",
    "number_sign": "#",
    "question_mark": "?",
    "colon": ":",
    "exclamation_mark": "!",
    "asterisk": "*",
    "escape": "esc",
    "ctrl+right_square_bracket": "ctrl+]",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "pageup": "pgup",
    "pagedown": "pgdn",
}

STEER, STEPS, PANES = "Steer the session", "Go through steps", "Panes"
LOOK, APP, HOME, DIALOG, COMPARE, ANALYSIS = (
    "Inside a pane", "Workbench", "At home: runs and tasks", "In a dialog", "Comparing runs", "Analysis",
)  # fmt: skip
_OF_PANES = (LOOK, HOME, DIALOG, COMPARE, ANALYSIS)

ACTIONS: tuple[Action, ...] = (
    Action("session.run", ("enter",), "run", "Run the proposed action", STEER, "review", bar=1),
    Action("session.edit", ("e",), "edit", "Edit the proposed action and thought before it runs", STEER, "edit", bar=2),
    Action("session.editor", ("E",), "$EDITOR", "Edit the proposed action in $EDITOR", STEER, "edit"),
    Action("session.reject", ("r",), "reject", "Reject the proposed action, with a comment", STEER, "review", bar=3),
    Action("session.alternatives", ("a",), "alternatives", "Ask for alternatives to the proposed action", STEER),
    Action("session.step", ("s",), "step", "Take one step, then stop", STEER, "driver", bar=4),
    Action("session.continue", ("c",), "continue", "Let the agent go on by itself", STEER, "driver", bar=5),
    Action("session.pause", ("p",), "pause", "Stop before the next action runs", STEER, "driver", bar=6),
    Action("session.why_paused", ("P",), "pause because", "Pause, and say why: lunch, a meeting", STEER, "running"),
    Action("session.toggle", ("space",), "pause/continue", "Pause, or go on", STEER, "driver"),
    Action(
        "session.take_over", ("t",), "take over", "Take the shell over: you type, the agent waits", STEER, "running", 7
    ),
    Action("session.release", ("ctrl+right_square_bracket",), "release", "Give the shell back", STEER, "running"),
    Action(
        "session.interrupt", ("i",), "interrupt", "Stop the running command, or the model's answer", STEER, "command", 8
    ),
    Action("session.message", ("m",), "message", "Tell the agent something", STEER, "running"),
    Action("session.model", ("M",), "model", "Another model or temperature from here on", STEER, "running"),
    Action("session.limits", ("u",), "limits", "Change the limits on steps, time, cost and tokens", STEER, "running"),
    Action("session.extend", ("T",), "more time", "More time for the running command", STEER, "command"),
    Action("session.validate", ("v",), "validate", "Score the work as it is now, for your eyes", STEER, "score"),
    Action(
        "session.drive", ("D",), "drive", "Ask for the wheel, or answer who asks: one view drives", STEER, "wheel", 8
    ),
    Action(
        "session.until", ("U",), "run until", "Run until an edit, a failure, …; in a replay, the next such step", STEER
    ),
    Action("session.submit_best", (), "submit best", "Submit the best of what was validated", STEER, "score"),
    Action(
        "session.fork", ("B",), "fork", "A new session that goes on from this step, with its files", STEER, writes=True
    ),
    Action("session.breakpoints", ("b",), "breakpoints", "Breakpoints; in a replay, the next match", STEPS),
    Action("step.previous", ("h", "left"), "previous", "Previous step", STEPS, bar=9),
    Action("step.next", ("l", "right"), "next", "Next step; at the end, follow the session", STEPS, bar=10),
    Action("step.first", ("0",), "first", "First step", STEPS),
    Action("step.last", ("dollar_sign",), "last", "Last step, and follow the session", STEPS),
    Action("go.failure", ("x",), "failure", "Next step in which something failed", STEPS, bar=11),
    Action("go.failure_back", ("X",), "failure before", "Previous step in which something failed", STEPS),
    Action("go.score", ("o",), "score", "Next step that was scored", STEPS),
    Action("go.score_back", ("O",), "score before", "Previous step that was scored", STEPS),
    Action("go.change", ("f",), "file change", "Next step that changed a file", STEPS),
    Action("go.change_back", ("F",), "file change before", "Previous step that changed a file", STEPS),
    Action("go.wrong", ("W",), "where it went wrong", "Step where it began to go wrong", STEPS),
    Action("go.verdict", ("V",), "verdict", "Why the session ended; once more closes it", STEPS),
    Action("search.open", ("slash",), "search", "Search in actions, thoughts and observations", STEPS, bar=12),
    Action("search.list", ("number_sign",), "all matches", "List of all matches", STEPS),
    Action("search.next", ("n",), "next match", "Next match", STEPS),
    Action("search.previous", ("N",), "previous match", "Previous match", STEPS),
    Action(
        "note.add",
        ("A",),
        "annotate",
        "Annotate the step: a comment, #tag, !kind of failure, or 1 to 5",
        STEPS,
        writes=True,
    ),
    Action("pane.steps", ("1",), "steps", "Go to the steps", PANES),
    Action("pane.file", ("2",), "file", "Go to the file window", PANES),
    Action("pane.diff", ("d",), "changes", "What the step changed: old and new lines; or the file window again", PANES),
    Action("pane.proposal", ("3",), "action", "Go to the thought and action", PANES),
    Action("pane.observation", ("4",), "observation", "Go to the observation", PANES),
    Action("pane.shell", ("5",), "shell", "Go to the shell", PANES),
    Action("pane.prompt", ("6",), "prompt", "Open or close the prompt: what the model was sent for this step", PANES),
    Action("pane.metrics", ("8",), "metrics", "Open or close the metrics: the curves of the step", PANES),
    Action("pane.scores", ("9",), "scores", "Open or close the scores: every validate and submit", PANES),
    Action("pane.verdict", ("7",), "verdict", "Read the verdict: why the session ended", PANES),
    Action("prompt.close", ("escape",), "close", "Close the prompt, the metrics or the scores", PANES),
    Action("pane.next", ("tab",), "next pane", "Next pane", PANES),
    Action("pane.previous", ("shift+tab",), "previous pane", "Previous pane", PANES),
    Action("pane.zoom", ("z",), "zoom", "Zoom the pane, or bring it back", PANES, bar=16),
    Action("lines.down", ("j", "down"), "down", "Down a line (in the steps: next step)", LOOK),
    Action("lines.up", ("k", "up"), "up", "Up a line (in the steps: previous step)", LOOK),
    Action("lines.half_down", ("ctrl+d",), "half page down", "Half a page down", LOOK),
    Action("lines.half_up", ("ctrl+u",), "half page up", "Half a page up", LOOK),
    Action("lines.page_down", ("pagedown", "shift+pagedown"), "page down", "A page down", LOOK),
    Action("lines.page_up", ("pageup", "shift+pageup"), "page up", "A page up", LOOK),
    Action("lines.first", ("g", "home"), "top", "To the top", LOOK),
    Action("lines.last", ("G", "end"), "end", "To the end", LOOK),
    Action("lines.left", ("shift+left",), "left", "Move the view left", LOOK),
    Action("lines.right", ("shift+right",), "right", "Move the view right", LOOK),
    Action("lines.wrap", ("w",), "wrap", "Wrap long lines, or not", LOOK),
    Action("lines.follow", ("ctrl+e",), "follow", "Stay at the end as lines come", LOOK),
    Action("prompt.compare", ("d",), "what is new", "In the prompt: only what is new in this step", LOOK),
    Action("prompt.previous", ("less_than_sign",), "call before", "In the prompt: call before", LOOK),
    Action("prompt.next", ("greater_than_sign",), "next call", "In the prompt: next call", LOOK),
    Action("metrics.compare", ("equals_sign",), "compare", "In the metrics: all steps, or this one", LOOK),
    Action("scores.change", ("enter",), "change", "In the scores: what changed since the one before", LOOK),
    Action("scores.submit", ("S",), "submit", "In the scores: submit the best of what was validated", LOOK),
    Action("scores.go", ("space",), "step", "In the scores: go to the step", LOOK),
    Action("app.copy", ("y",), "copy", "Copy the selection, or what the pane shows, to the clipboard", APP),
    Action("app.help", ("question_mark", "f1"), "help", "Every key", APP, bar=13),
    Action("app.palette", ("ctrl+p", "colon"), "palette", "Find an action by its name", APP, bar=14),
    Action("app.messages", ("exclamation_mark",), "messages", "What failed and what was said, to its end", APP),
    Action("app.redraw", ("ctrl+l",), "redraw", "Draw the screen again", APP),
    Action("app.ctrl_c", ("ctrl+c",), "copy selection", "Copy the selection; without one, say how to stop things", APP),
    Action(
        "app.suspend", ("ctrl+z",), "suspend", "To the shell, until `fg`; a session that runs here is paused first", APP
    ),
    Action("app.theme", (), "theme", "Choose a theme", APP),
    Action("app.next_run", ("right_square_bracket", "L"), "next run", "Next run of the list at home", APP),
    Action("app.previous_run", ("left_square_bracket", "H"), "run before", "Run before it in the list at home", APP),
    Action("app.quit", ("q",), "quit", "Quit, or go home; a running session is saved first", APP, bar=15),
    Action("app.leave", ("ctrl+q",), "quit", "Quit, from anywhere but the shell", APP),
    Action("home.open", ("enter",), "open", "Open the run; of a task, what it asks for", HOME, bar=1),
    Action(
        "home.filter", ("slash",), "filter", "Filter as you type: task:blotto score>1.2 or not by:human", HOME, bar=2
    ),
    Action("home.leave", ("escape",), "show all", "Take the filter off", HOME),
    Action("home.sort", ("s",), "sort", "Sort by the next column", HOME, bar=3),
    Action("home.sort_back", ("S",), "sort back", "Sort by the column before", HOME),
    Action("home.reverse", ("r",), "reverse", "Sort the other way round", HOME),
    Action("home.group", ("v",), "group", "In groups by task, by model, or in none", HOME, bar=4),
    Action("home.fold", ("z",), "fold", "Fold the group under the cursor, or unfold it", HOME),
    Action("home.fold_all", ("Z",), "fold all", "Fold all groups, or unfold them", HOME),
    Action("home.tasks", ("tab",), "tasks", "From the runs to the tasks, and back", HOME, bar=5),
    Action("home.new", ("n",), "new", "Start the task", HOME, bar=6, writes=True),
    Action("home.search", ("ctrl+f",), "search", "Search in actions, outputs and thoughts of these runs", HOME, bar=7),
    Action("home.mark", ("space",), "mark", "Mark the run, to compare it with others", HOME, bar=8),
    Action("home.compare", ("c",), "compare", "Compare those that are marked", HOME),
    Action("home.analysis", ("A",), "analysis", "Compare models and tasks over all runs", HOME),
    Action("home.tag", ("t",), "tag", "Tag the run; a tag that it has is taken off", HOME, bar=9, writes=True),
    Action("home.star", ("asterisk",), "star", "Star the run, or not", HOME, bar=10, writes=True),
    Action("home.rate", ("R",), "rate", "Rate the run, from 1 to 5", HOME, writes=True),
    Action("home.comment", ("m",), "comment", "Write a comment on the run", HOME, writes=True),
    Action("home.failure", ("F",), "failure", "Say what kind of failure it was", HOME, writes=True),
    Action("home.task", ("d",), "task", "What the task of the run asks for", HOME),
    Action("home.refresh", ("ctrl+r",), "look again", "Look for new runs now", HOME),
    Action("hits.choose", ("enter",), "go there", "Go to the match under the cursor", DIALOG),
    Action("dialog.accept", ("ctrl+s", "ctrl+j"), "accept", "Accept an edit (nothing runs yet)", DIALOG),
    Action("dialog.send", ("enter", "ctrl+s"), "send", "Send a message or a comment", DIALOG),
    Action("dialog.line", ("ctrl+j", "alt+enter"), "new line", "New line in a message", DIALOG),
    Action("dialog.tell", ("ctrl+t",), "tell", "Tell the model of an edit, or not", DIALOG),
    Action("alternatives.pick", ("enter",), "pick", "Take the chosen alternative (nothing runs)", DIALOG),
    Action("alternatives.number", tuple("0123456789"), "pick", "Take that alternative", DIALOG),
    Action("alternatives.edit", ("e",), "edit", "Take the chosen alternative, and edit it", DIALOG),
    Action("alternatives.more", ("a",), "more", "Ask for more alternatives", DIALOG),
    Action("alternatives.next", ("j", "down", "l", "right"), "next", "Next alternative", DIALOG),
    Action("alternatives.previous", ("k", "up", "h", "left"), "previous", "Alternative before", DIALOG),
    Action("dialog.yes", ("y",), "yes", "Yes; enter is not enough", DIALOG),
    Action("dialog.no", ("n",), "no", "No", DIALOG),
    Action("analysis.which", ("b",), "best, last", "Best attempts or last scores", ANALYSIS),
    Action("analysis.model", ("space",), "model", "Leave out the model under the cursor", ANALYSIS),
    Action("analysis.task", ("t",), "task", "Leave out the task under the cursor", ANALYSIS),
    Action("analysis.curves", ("c",), "curves", "Training curves of the runs under the cursor, or profiles", ANALYSIS),
    Action("analysis.metric", ("m",), "metric", "The next metric of those curves", ANALYSIS),
    Action("analysis.all", ("a",), "all", "All models and tasks again", ANALYSIS),
    Action("analysis.tampered", ("x",), "tampered", "Without runs that changed a protected file, or with", ANALYSIS),
    Action("breakpoints.switch", ("space",), "on, off", "Switch a breakpoint off, or on", DIALOG),
    Action("breakpoints.edit", ("e",), "edit", "Edit a breakpoint", DIALOG),
    Action("breakpoints.remove", ("d", "delete"), "remove", "Take a breakpoint away", DIALOG),
    Action("compare.next", ("x",), "difference", "Next row in which the runs differ", COMPARE),
    Action("compare.previous", ("X",), "difference before", "Row before in which they differ", COMPARE),
    Action("compare.actions", ("1",), "actions", "Thoughts and actions side by side", COMPARE),
    Action("compare.outputs", ("2",), "observations", "Observations side by side", COMPARE),
    Action("compare.files", ("3",), "files", "Files that differ as of these steps", COMPARE),
    Action("compare.plot", ("4",), "plot", "Scores, time, cost and a metric over the steps", COMPARE),
    Action("compare.pair", ("p",), "pair", "The next two runs for files and marks, where there are more", COMPARE),
    Action("compare.focus", ("tab",), "pane", "Next text, or the list", COMPARE),
    Action("dialog.leave", ("escape",), "leave", "Leave a dialog, and change nothing", DIALOG),
)

LOOK_ONLY = "this can only be looked at from here"
BY_ID = {action.id: action for action in ACTIONS}


LINES = {
    "lines.down": "move(1)",
    "lines.up": "move(-1)",
    "lines.half_down": "page(0.5)",
    "lines.half_up": "page(-0.5)",
    "lines.page_down": "page(1)",
    "lines.page_up": "page(-1)",
    "lines.first": "first",
    "lines.last": "last",
}
SIDEWAYS = {"lines.left": "sideways(-1)", "lines.right": "sideways(1)"}
"""What panes of lines call for these."""


def bindings_of(calls: Mapping[str, str], *, priority: bool = False) -> list[BindingType]:
    """Bindings of a pane, a dialog or a screen: the id of an action → what it calls there; `priority`: before what has
    the focus sees the key.
    """
    return [
        Binding(",".join(BY_ID[ident].keys), call, BY_ID[ident].label, show=False, priority=priority, id=ident)
        for ident, call in calls.items()
    ]


def key_bindings(ids: Collection[str] = BY_ID, of: str = "") -> list[BindingType]:
    """Bindings for a screen: each calls `do('<id>')`. Those that panes bind themselves are left out. For a pane `of` is
    `screen.`, which does them.
    """
    own = [action.id for action in ACTIONS if action.keys and not action.pane and action.id in ids]
    return bindings_of({ident: f"{of}do('{ident}')" for ident in own})


AT_HOME_TOO = ("app.copy", "app.suspend", "app.help", "app.messages", "app.redraw", "app.ctrl_c", "app.quit")


def home_bindings() -> list[BindingType]:
    """Bindings for the screen of runs and tasks."""
    own = [action.id for action in ACTIONS if action.group == HOME]
    return [*key_bindings(AT_HOME_TOO), *bindings_of({ident: f"do('{ident}')" for ident in own})]


class Situation(msgspec.Struct, frozen=True):
    """What the session is doing, as far as it decides which actions make sense."""

    status: LiveStatus | None = None
    """What is true of it now; None in a recording."""
    mode: str = ""
    drives: bool = False
    """This view has the wheel."""
    watched: bool = False
    """Another process drives it, and this view cannot ask for the wheel."""
    look_only: bool = False
    """Nothing is started, noted or forked from here."""

    @property
    def session(self) -> LiveStatus:
        """As `status`; where there is none, one in which nothing happens."""
        return self.status or _OVER

    @property
    def phase(self) -> str:
        return self.session.phase

    @property
    def ended(self) -> bool:
        """It ran in this window, and is over."""
        return self.status is not None and self.phase == "ended"

    @property
    def live(self) -> bool:
        """It runs, and this view drives it."""
        return self.drives and self.phase != "ended"

    @property
    def followed(self) -> bool:
        """Another view drives it, or nobody, and what it does is seen here."""
        return self.watched if self.status is None else self.phase != "ended" and not self.drives

    @property
    def may_drive(self) -> bool:
        """This view can ask for the wheel."""
        return self.status is not None and not self.watched

    @property
    def asked(self) -> bool:
        """Another view asks this one for the wheel."""
        return self.drives and bool(self.session.asks)

    @property
    def writes(self) -> bool:
        """The person can write what nobody has proposed: their own action, or an answer to an agent program."""
        if self.phase == "waiting" and not self.session.has_agent:
            return True
        return self.phase in ("waiting", "proposing") and bool(self.session.under_way)

    @property
    def taken_over(self) -> bool:
        """The person has the shell; `asks_input`: to answer a command that waits for somebody to type."""
        has_it = self.phase == "human" or (self.phase == "executing" and self.session.asks_input)
        return self.live and self.mode == "human" and has_it


_OVER = LiveStatus(phase="ended")

HAS_SHELL = "you have the shell: {session.release} gives it back"
_ACTS = "you are the one who acts: {session.take_over} takes the shell, {session.edit} writes an action"


def why_not(action: Action, now: Situation) -> str:
    """Why an action cannot be done now, in a sentence; empty when it can."""
    if action.writes and now.look_only:
        return LOOK_ONLY
    if action.need == "nothing":
        return ""
    if action.need == "wheel" and (now.asked or (now.followed and now.may_drive)):
        return ""
    if now.followed and now.may_drive:
        asks = f"{now.session.driver} drives: {{session.drive}} asks for the wheel"
        return keyed(asks if now.session.driver else "nobody drives: {session.drive} takes the wheel")
    if now.followed:
        return "another process drives this session: it can only be looked at from here"
    if not now.live:
        return "the session has ended: nothing runs any more" if now.ended else "this is a replay: nothing runs here"
    if now.phase in ("starting", "ending"):
        return f"the session is {now.phase}"
    if action.need == "wheel":
        return "you drive, and nobody asks for the wheel"
    if action.need == "driver":
        if now.mode == "human":
            return keyed(HAS_SHELL)
        return "" if now.session.has_agent else keyed(_ACTS)
    if action.need == "review" and now.phase != "review":
        return no_proposal(now)
    if action.need == "edit" and now.phase != "review" and not now.writes:
        return no_proposal(now)
    if action.need == "command" and now.phase not in ("executing", "human", "proposing"):
        return "no command is running, and no answer is on its way"
    if action.need == "score" and now.phase not in ("review", "waiting", "human"):
        return f"not while the session is {now.phase}: pause it first"
    return ""


def no_proposal(now: Situation) -> str:
    """Why there is none to decide on."""
    return {
        "proposing": "the agent is still thinking",
        "executing": keyed("the action runs already; {session.interrupt} interrupts it"),
        "human": keyed(HAS_SHELL),
        "scoring": "the work is being scored",
        "waiting": "no action is proposed" if now.session.has_agent else keyed(_ACTS),
    }.get(now.phase, "no action is proposed")
