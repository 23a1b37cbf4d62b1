"""Everything a person can do in the workbench, in one table.

Key bindings, the help screen, the palette and the key bar at the bottom are made from it; a test holds that no binding
exists outside of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding, BindingType

Need = Literal["nothing", "running", "driver", "review", "edit", "command", "score"]
"""What an action needs: a running session; one that the person does not drive already; a proposal under review; a
proposal, or a turn of the person, to write; a running command, or an answer on its way; a moment in which the artifact
can be scored."""


@dataclass(frozen=True)
class Action:
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
    pane: bool = False
    """Bound by the panes and dialogs themselves, for the one that has the focus."""

    @property
    def shown_keys(self) -> str:
        """The keys as people write them."""
        return " ".join(_KEY_NAMES.get(key, key) for key in self.keys)


_KEY_NAMES = {
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "shift+left": "shift+←",
    "shift+right": "shift+→",
    "dollar_sign": "$",
    "slash": "/",
    "question_mark": "?",
    "colon": ":",
    "exclamation_mark": "!",
    "escape": "esc",
    "ctrl+right_square_bracket": "ctrl+]",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "pageup": "pgup",
    "pagedown": "pgdn",
}

STEER, STEPS, PANES = "Steer the session", "Go through steps", "Panes"
LOOK, APP, DIALOG = "Inside a pane", "Workbench", "In a dialog"

ACTIONS: tuple[Action, ...] = (
    Action("session.run", ("enter",), "run", "Run the proposed action", STEER, "review", bar=1),
    Action("session.edit", ("e",), "edit", "Edit the proposed action and thought before it runs", STEER, "edit", bar=2),
    Action("session.editor", ("E",), "$EDITOR", "Edit the proposed action in $EDITOR", STEER, "edit"),
    Action("session.reject", ("r",), "reject", "Reject the proposed action, with a comment", STEER, "review", bar=3),
    Action("session.alternatives", ("a",), "alternatives", "Ask for alternatives to the proposed action", STEER),
    Action("session.step", ("s",), "step", "Take one step, then stop", STEER, "driver", bar=4),
    Action("session.continue", ("c",), "continue", "Let the agent go on by itself", STEER, "driver", bar=5),
    Action("session.pause", ("p",), "pause", "Stop before the next action runs", STEER, "driver", bar=6),
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
    Action("session.validate", ("v",), "validate", "Score the work as it is now, for your eyes", STEER, "score"),
    Action("step.previous", ("h", "left"), "previous", "Previous step", STEPS, bar=9),
    Action("step.next", ("l", "right"), "next", "Next step; at the end, follow the session", STEPS, bar=10),
    Action("step.first", ("0",), "first", "First step", STEPS),
    Action("step.last", ("dollar_sign",), "last", "Last step, and follow the session", STEPS),
    Action("search.open", ("slash",), "search", "Search in actions, thoughts and observations", STEPS, bar=11),
    Action("search.next", ("n",), "next match", "Next match", STEPS),
    Action("search.previous", ("N",), "previous match", "Previous match", STEPS),
    Action("pane.steps", ("1",), "steps", "Go to the steps", PANES),
    Action("pane.file", ("2",), "file", "Go to the file window", PANES),
    Action("pane.proposal", ("3",), "action", "Go to the thought and action", PANES),
    Action("pane.observation", ("4",), "observation", "Go to the observation", PANES),
    Action("pane.shell", ("5",), "shell", "Go to the shell", PANES),
    Action("pane.prompt", ("6",), "prompt", "Open or close the prompt: what the model was sent for this step", PANES),
    Action("prompt.close", ("escape",), "close", "Close the prompt", PANES),
    Action("pane.next", ("tab",), "next pane", "Next pane", PANES),
    Action("pane.previous", ("shift+tab",), "previous pane", "Previous pane", PANES),
    Action("pane.zoom", ("z",), "zoom", "Zoom the pane, or bring it back", PANES, bar=12),
    Action("lines.down", ("j", "down"), "down", "Down a line (in the steps: next step)", LOOK, pane=True),
    Action("lines.up", ("k", "up"), "up", "Up a line (in the steps: previous step)", LOOK, pane=True),
    Action("lines.half_down", ("ctrl+d",), "half page down", "Half a page down", LOOK, pane=True),
    Action("lines.half_up", ("ctrl+u",), "half page up", "Half a page up", LOOK, pane=True),
    Action("lines.page_down", ("pagedown", "shift+pagedown"), "page down", "A page down", LOOK, pane=True),
    Action("lines.page_up", ("pageup", "shift+pageup", "b"), "page up", "A page up", LOOK, pane=True),
    Action("lines.first", ("g", "home"), "top", "To the top", LOOK, pane=True),
    Action("lines.last", ("G", "end"), "end", "To the end", LOOK, pane=True),
    Action("lines.left", ("shift+left",), "left", "Move the view left", LOOK, pane=True),
    Action("lines.right", ("shift+right",), "right", "Move the view right", LOOK, pane=True),
    Action("lines.wrap", ("w",), "wrap", "Wrap long lines, or not", LOOK, pane=True),
    Action("lines.follow", ("F",), "follow", "Stay at the end as lines come", LOOK, pane=True),
    Action("prompt.compare", ("d",), "what is new", "In the prompt: only what is new in this step", LOOK, pane=True),
    Action("prompt.previous", ("left_square_bracket",), "call before", "In the prompt: call before", LOOK, pane=True),
    Action("prompt.next", ("right_square_bracket",), "next call", "In the prompt: next call", LOOK, pane=True),
    Action("app.copy", ("y",), "copy", "Copy the selection, or what the pane shows, to the clipboard", APP),
    Action("app.help", ("question_mark", "f1"), "help", "Every key", APP, bar=13),
    Action("app.palette", ("ctrl+p", "colon"), "palette", "Find an action by its name", APP, bar=14),
    Action("app.messages", ("exclamation_mark",), "messages", "What failed and what was said, to its end", APP),
    Action("app.redraw", ("ctrl+l",), "redraw", "Draw the screen again", APP),
    Action("app.ctrl_c", ("ctrl+c",), "copy selection", "Copy the selection; without one, say how to stop things", APP),
    Action("app.theme", (), "theme", "Dark or light", APP),
    Action("app.quit", ("q", "ctrl+q"), "quit", "Quit; a running session is saved and can be resumed", APP, bar=15),
    Action("dialog.accept", ("ctrl+s", "ctrl+j"), "accept", "Accept an edit (nothing runs yet)", DIALOG, pane=True),
    Action("dialog.send", ("enter", "ctrl+s"), "send", "Send a message or a comment", DIALOG, pane=True),
    Action("dialog.line", ("ctrl+j", "alt+enter"), "new line", "New line in a message", DIALOG, pane=True),
    Action("dialog.tell", ("ctrl+t",), "tell", "Tell the model of an edit, or not", DIALOG, pane=True),
    Action("alternatives.pick", ("enter",), "pick", "Take the chosen alternative (nothing runs)", DIALOG, pane=True),
    Action("alternatives.number", tuple("0123456789"), "pick", "Take that alternative", DIALOG, pane=True),
    Action("alternatives.edit", ("e",), "edit", "Take the chosen alternative, and edit it", DIALOG, pane=True),
    Action("alternatives.more", ("a",), "more", "Ask for more alternatives", DIALOG, pane=True),
    Action("alternatives.next", ("j", "down", "l", "right"), "next", "Next alternative", DIALOG, pane=True),
    Action("alternatives.previous", ("k", "up", "h", "left"), "previous", "Alternative before", DIALOG, pane=True),
    Action("dialog.yes", ("y",), "yes", "Yes; enter is not enough", DIALOG, pane=True),
    Action("dialog.no", ("n",), "no", "No", DIALOG, pane=True),
    Action("dialog.leave", ("escape",), "leave", "Leave a dialog, and change nothing", DIALOG, pane=True),
)

BY_ID = {action.id: action for action in ACTIONS}


def key_bindings(ids: Iterable[str] | None = None) -> list[BindingType]:
    """Bindings for a screen: each calls `do('<id>')`. Those that panes bind themselves are left out."""
    wanted = None if ids is None else set(ids)
    return [
        Binding(",".join(action.keys), f"do('{action.id}')", action.label, show=False, id=action.id)
        for action in ACTIONS
        if action.keys and not action.pane and (wanted is None or action.id in wanted)
    ]


@dataclass(frozen=True)
class Situation:
    """What the session is doing, as far as it decides which actions make sense."""

    live: bool
    """A runner drives it and it has not ended."""
    phase: str = ""
    mode: str = ""
    agent: bool = True
    """Somebody other than the person proposes actions."""
    ended: bool = False
    """It ran in this window, and is over."""
    asks_model: bool = False
    """It can be asked for alternatives, and its model be changed."""
    asks_input: bool = False
    """The command that runs waits, or waited, for somebody to type."""
    progress: str = ""
    """What an evaluation is doing; empty when none runs."""

    @property
    def taken_over(self) -> bool:
        return (
            self.live
            and self.mode == "human"
            and (self.phase == "human" or (self.phase == "executing" and self.asks_input))
        )


def why_not(action: Action, now: Situation) -> str:
    """Why an action cannot be done now, in a sentence; empty when it can."""
    if action.need == "nothing":
        return ""
    if not now.live:
        return "the session has ended: nothing runs any more" if now.ended else "this is a replay: nothing runs here"
    if now.phase in ("starting", "ending"):
        return f"the session is {now.phase}"
    if action.need == "driver":
        if now.mode == "human":
            return "you have the shell: ctrl+] gives it back"
        return "" if now.agent else "you are the one who acts: t takes the shell, e writes an action"
    if action.need == "review" and now.phase != "review":
        return _no_proposal(now)
    if action.need == "edit" and now.phase != "review" and (now.agent or now.phase != "waiting"):
        return _no_proposal(now)
    if action.need == "command" and now.phase not in ("executing", "human", "proposing"):
        return "no command is running, and no answer is on its way"
    if action.need == "score" and now.phase not in ("review", "waiting", "human"):
        return f"not while the session is {now.phase}: pause it first"
    return ""


def _no_proposal(now: Situation) -> str:
    return {
        "proposing": "the agent is still thinking",
        "executing": "the action runs already; i interrupts it",
        "human": "you have the shell: ctrl+] gives it back",
        "scoring": "the work is being scored",
    }.get(now.phase, "no action is proposed")
