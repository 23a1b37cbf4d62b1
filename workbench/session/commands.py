"""All that a view, or a program, can do to a running session: one record for each command.

Commands are data, so that they can come from a key, a signal, or another process over a socket. `workbench.runner`
carries them out and answers each with an `Outcome`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a command."""

    done: bool = True
    """False when there was nothing to do it to: no proposal under review, no command that runs, …"""
    problem: str = ""
    """Why it could not be done, in a sentence."""
    busy: bool = False
    """A program still runs in the shell that was to be handed back; `force` ends it."""


class Command(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="command"):
    """The base of all commands."""


class Step(Command, frozen=True, tag="step"):
    """Run the proposal under review, or get one; then stop again."""


class Continue(Command, frozen=True, tag="continue"):
    """Let the agent drive until something stops it."""


class Pause(Command, frozen=True, tag="pause"):
    """Stop at the next review. A running command finishes."""

    reason: str = ""


class RunProposal(Command, frozen=True, tag="run-proposal"):
    """Run the proposal under review; the mode stays as it is."""


class Edit(Command, frozen=True, tag="edit"):
    """Replace the proposed action, and the thought where one is given; the original stays in the log."""

    action: str
    thought: str | None = None
    told: bool | None = None
    """Whether the model is told that it was edited; None leaves it to the agent's configuration."""


class Reject(Command, frozen=True, tag="reject"):
    """Do not run the proposal under review; the agent reads the comment."""

    comment: str = ""


class Resample(Command, frozen=True, tag="resample"):
    """Ask the model for alternatives to the proposal under review, for a person to choose from."""

    count: int = 3
    temperature: float | None = None
    """For these alone; None leaves it as it is."""


class StopSampling(Command, frozen=True, tag="stop-sampling"):
    """Ask for no more alternatives; what has come stays."""


class Choose(Command, frozen=True, tag="choose"):
    """Put an alternative in the place of the proposal under review (0: what was proposed first); nothing runs yet."""

    alternative: int


class ChangeModel(Command, frozen=True, tag="change-model"):
    """Ask another model from the next call on, or the same one at another temperature."""

    model: str
    base_url: str = ""
    temperature: float | None = None
    """None: as the provider has it."""


class Tell(Command, frozen=True, tag="tell"):
    """Tell the agent something; it reads it before its next proposal."""

    text: str


class ChangeLimits(Command, frozen=True, tag="change-limits"):
    """New limits for the whole session; what is left out stays as it is, what is in `remove` is no limit any more."""

    steps: int | None = None
    seconds: float | None = None
    cost: float | None = None
    tokens: int | None = None
    validates: int | None = None
    remove: Sequence[str] = ()


class Extend(Command, frozen=True, tag="extend"):
    """Let the running command take longer than its time limit; where it needs that, the session too."""

    seconds: float


class Act(Command, frozen=True, tag="act"):
    """Run a person's own action, where no agent proposes any; or answer an agent program in the place of its model."""

    action: str
    thought: str = ""
    """Of such an answer."""


class TakeOver(Command, frozen=True, tag="take-over"):
    """Give the shell to the person, as soon as the running command is over. A proposal under review comes again."""

    columns: int
    rows: int


class HandBack(Command, frozen=True, tag="hand-back"):
    """Give the shell back. A program of the person that still runs in it is interrupted with `force` alone."""

    force: bool = False


class SendKeys(Command, frozen=True, tag="send-keys"):
    """What the person types, in take-over."""

    data: bytes


class Resize(Command, frozen=True, tag="resize"):
    """The person's terminal pane changed its size, in take-over."""

    columns: int
    rows: int


class Interrupt(Command, frozen=True, tag="interrupt"):
    """Stop the running command (INT, then TERM, then KILL), or the answer that the model gives; the session goes on."""


class Validate(Command, frozen=True, tag="validate"):
    """Score the artifact as it is now, for the person alone."""


class SubmitBest(Command, frozen=True, tag="submit-best"):
    """Hand in the best of what was validated, which ends the session."""


class Answer(Command, frozen=True, tag="answer"):
    """Answer the question that the session asks (`LiveStatus.question`)."""

    yes: bool


class Breakpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """A condition on a step, and what happens when it holds."""

    when: str
    """As `workbench.library.moments` has its fields."""
    then: str = "stop"
    """`stop`; `ask` for approval; `notify`; `score` the artifact; `tell` the agent `text`."""
    text: str = ""
    enabled: bool = True
    once: bool = False
    """It goes when it is hit."""
    ignore: int = 0
    """Hits that are only counted."""
    hits: int = 0


class SetBreakpoints(Command, frozen=True, tag="set-breakpoints"):
    """These breakpoints, in the place of those before."""

    breakpoints: Sequence[Breakpoint]


class Drive(Command, frozen=True, tag="drive"):
    """Ask for the wheel: the driver may keep it. Answered when that is decided."""


class LetDrive(Command, frozen=True, tag="let-drive"):
    """Answer who asks for the wheel (`LiveStatus.asks`)."""

    yes: bool


class HoldOutput(Command, frozen=True, tag="hold-output"):
    """Hold the shell's output back, or let it come again: a pane has more than it can draw."""

    hold: bool


class Stop(Command, frozen=True, tag="stop"):
    """End the session, saved: a running command is interrupted, a pending model call cancelled."""

    exit_status: str = "stopped"
    reason: str = ""


AnyCommand = (
    Step | Continue | Pause | RunProposal | Edit | Reject | Resample | StopSampling | Choose | ChangeModel | Tell
    | ChangeLimits | Extend | Act | TakeOver | HandBack | SendKeys | Resize | Interrupt | Validate | SubmitBest
    | SetBreakpoints | HoldOutput | Stop | Answer | Drive | LetDrive
)  # fmt: skip
"""For decoding."""
