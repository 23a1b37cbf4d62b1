"""An action of the agent while bash runs it: its marks, what it prints, what it waits for, how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

import msgspec

from workbench.sandbox import typed_lines
from workbench.sandbox.bash import Bash
from workbench.sandbox.markers import Mark
from workbench.sandbox.output import OutputRecord
from workbench.sandbox.pty import Waiting

_LONGEST_PROMPT = 16 << 10
"""Bytes after the beginning of a prompt that are taken for the prompt while a lost end mark is asked for."""
_HELD = 1e9
"""Seconds: as good as no limit."""


class Onlooker:
    """A person who looks on while actions run: they are told which program waits for input, and may answer it."""

    def __init__(self) -> None:
        self.on_waiting: Callable[[str], None] | None = None
        """Told which program waits for somebody to type, and "" when none does any more; None: nobody looks on."""
        self.action: RunningAction | None = None
        """What runs, or ran last."""
        self._attending = False
        self._typed = bytearray()
        """Keys that no program wants yet."""
        self._told = ""

    @property
    def presence(self) -> Literal["nobody", "watching", "attending"]:
        """Whether a person can answer a program that waits, or is there to do so."""
        return "attending" if self._attending else "nobody" if self.on_waiting is None else "watching"

    def attend(self, there: bool) -> bytes:
        """The person comes to answer programs, or leaves. Returns the keys that no program took."""
        left, self._typed = bytes(self._typed), bytearray()
        self._attending = there
        if self.action is not None:
            self.action.waiting = None
            self.action.changed.set()
        return left

    def keys(self, data: bytes) -> None:
        """Keys of the person, for whatever waits for them now or later. Ignored when nobody attends."""
        if self._attending:
            self._typed += data
            self._answer()

    def waiting_changed(self) -> None:
        """Another program waits for input, or none any more."""
        waiting = self.action.waiting if self.action is not None else None
        program = waiting.program or "a program" if waiting is not None else ""
        if self.on_waiting is not None and program != self._told:
            self.on_waiting(program)
        self._told = program
        self._answer()

    def _answer(self) -> None:
        """Give a program that waits the keys for it: of lines one at a time, so that bash gets none that is left."""
        action, keys = self.action, self._typed
        if not self._attending or action is None or action.waiting is None or not keys:
            return
        terminal = action.bash.terminal
        if terminal is None:
            return
        ends = [at + 1 for at in (keys.find(b"\r"), keys.find(b"\n")) if at >= 0]
        size = min(ends, default=len(keys)) if action.waiting.how == "read" else len(keys)
        if ends and action.waiting.how == "read":
            action.waiting = None
            action.changed.set()
        terminal.write(bytes(keys[:size]))
        del keys[:size]


class RunningAction(msgspec.Struct):
    """An action from the moment it is typed until its outcome is known."""

    text: str
    bash: Bash
    onlooker: Onlooker
    display: Callable[[bytes], None]
    began: float
    deadline: float
    nonce: str
    done: asyncio.Future[None]
    record: OutputRecord = msgspec.field(default_factory=OutputRecord)
    started: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    """Set when its start mark came, which says that bash has read the line."""
    changed: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    """Set when the supervisor has something to look at."""
    supervised: bool = False
    typed: int = 0
    """How often its line was typed."""
    prompt_seen: bool = False
    """The shell is back at its prompt, but the end mark did not come."""
    aside: bytearray | None = None
    """What came since the prompt seemed to begin."""
    last_output: float = 0.0
    ended: float = 0.0
    holds: int = 0
    """How many evaluations hold its deadline back."""
    held_since: float = 0.0
    status: int | None = None
    dead: bool = False
    """The shell died of it."""
    waiting: Waiting | None = None
    """What waits for input at the terminal, since `waiting_since`."""
    waiting_since: float = 0.0
    waited_for: str = ""
    """The program that was ended because it waited in vain."""
    interrupt_asked: bool = False
    interrupted: bool = False
    timed_out: bool = False
    signal: str = ""

    @property
    def over(self) -> bool:
        """Whether its outcome is known."""
        return self.done.done()

    def type(self) -> None:
        """Type its line (again)."""
        bash = self.bash
        # The short line needs our functions, which an agent can break. Where it was typed twice in vain, the line
        # that needs none of them is.
        usual = bash.variant is typed_lines.VARIANTS[0] and self.typed < 2
        self.typed += 1
        line = typed_lines.action_line(
            self.text, self.nonce, None if usual else bash.variant, last_status=bash.last_status
        )
        bash.type_line(line, trace=self.nonce)

    def printed(self, data: bytes) -> None:
        """Output that is not a mark."""
        if not self.started.is_set():
            return  # our own line, a prompt of the shell: the action has been shown instead
        self.last_output = asyncio.get_running_loop().time()
        if self.aside is None:
            self.record.add(data)
            self.display(data)
        else:
            self.aside += data
            if len(self.aside) > _LONGEST_PROMPT:
                self.put_back()

    def marked(self, mark: Mark) -> None:
        """A mark with this action's nonce."""
        if mark.kind == "C" and not self.started.is_set():
            # The time limit counts from here: a busy machine, or a hook at the prompt, takes nothing of it.
            self.last_output = now = asyncio.get_running_loop().time()
            self.deadline += now - self.began
            self.started.set()
            self.changed.set()
        elif mark.kind == "D" and not self.started.is_set() and self.bash.variant.from_nothing:
            # `eval` did not run: no descriptor is left for its standard input (`ulimit -n`).
            self.bash.variant = typed_lines.VARIANTS[4]
            self.nonce = self.bash.new_nonce()
            self.type()
        elif mark.kind == "D":
            self.started.set()
            self.bash.moved(mark.cwd)
            self.finish(mark.status)

    def prompted(self, kind: str) -> None:
        """The shell shows a prompt though the end mark has not come: an interrupt took our line away, most likely."""
        if self.started.is_set() and kind == "A" and self.aside is None:
            self.aside = bytearray()
        elif self.started.is_set() and kind == "B":
            self.prompt_seen = True
            self.changed.set()

    def put_back(self) -> None:
        """What looked like a prompt was output of the command."""
        if self.aside is not None:
            self.record.add(bytes(self.aside))
            self.display(bytes(self.aside))
            self.aside = None

    def hold_time_limit(self) -> Callable[[], None]:
        """Stop the clock until the returned function is called (once). Several holds at a time count once."""
        loop = asyncio.get_running_loop()
        if not self.holds:
            self.held_since = loop.time()
            self.deadline += _HELD
        self.holds += 1
        self.changed.set()

        def release() -> None:
            self.holds -= 1
            if not self.holds:
                self.deadline += loop.time() - self.held_since - _HELD
                self.changed.set()

        return release

    def finish(self, status: int | None, *, dead: bool = False) -> None:
        """It is over; `dead`: so is the shell."""
        if self.over:
            return
        self.status, self.dead = status, dead
        self.ended = asyncio.get_running_loop().time()
        self.bash.last_status = status or 0
        self.display(self.record.undo())
        self.waiting = None
        self.onlooker.waiting_changed()
        self.done.set_result(None)
