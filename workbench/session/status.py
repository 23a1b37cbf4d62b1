"""What is true of a session only now, beside its log: what it does, what went wrong last, what the model has said so
far. With `SessionState`, it is all that a view of a session needs.
"""

from __future__ import annotations

import time
from typing import Literal

import msgspec

Phase = Literal["starting", "proposing", "review", "executing", "human", "waiting", "scoring", "ending", "ended"]


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """Alternatives that somebody asked the model for."""

    running: bool = False
    wanted: int = 0
    """How many were asked for last."""
    begun: int = 0
    """How many of them were begun: the last of those is on its way while sampling is `running`."""
    problem: str = ""
    """Why the last sampling ended early; empty when it did not."""


class LiveStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """The status of a running session. It is never logged: a new one is published whenever something changes."""

    phase: Phase = "starting"
    problem: str = ""
    """What went wrong last, in a sentence; empty when all is well."""
    asking: str = ""
    """Why the proposal under review waits for approval though the agent drives; empty when it does not."""
    draft: str = ""
    """What the model has said so far of the answer that is on its way."""
    draft_reasoning: str = ""
    """The end of its reasoning before that."""
    drafting_alternative: int = 0
    """The alternative that the draft is of; 0 for a proposal."""
    asks_input: bool = False
    """The command that runs waits, or waited, for somebody to type: a person who takes over answers it."""
    progress: str = ""
    """What the evaluation that runs is doing; empty when none runs."""
    sampling: Sampling = Sampling()
    has_agent: bool = True
    """False where a person is the agent."""
    asks_model: bool = False
    """Whether the agent is one around a chat model, which can be asked for alternatives or replaced by another."""
    temperature: float | None = None
    """At which that model draws its answers; None: as its provider has it."""
    tells_edits: bool | None = None
    """Whether the agent learns of an edit where the person does not say; None when there is nobody to tell."""
    delay: float = 0.0
    """Seconds for which a proposal is shown in auto mode before it runs."""
    worked: float = 0.0
    """Seconds on the session's clock, without pauses, at the time `as_of`."""
    clock_runs: bool = False
    as_of: float = 0.0
    """A time of the machine's monotonic clock, in seconds; other processes of the machine have the same."""

    @property
    def working(self) -> float:
        """Seconds on the session's clock, without pauses, now."""
        return self.worked + (max(0.0, time.monotonic() - self.as_of) if self.clock_runs else 0.0)
