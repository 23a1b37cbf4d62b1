"""What is true of a session only now, beside its log: what it does, what went wrong last, what the model has said so
far. With `SessionState`, it is all that a view of a session needs.
"""

from __future__ import annotations

import time
from typing import Literal

import msgspec

from workbench.session.commands import Breakpoint
from workbench.session.events import MetricLogged

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


class Gpu(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a GPU of the sandbox does."""

    index: int
    busy: float
    """From 0 to 1."""
    memory: int
    """Bytes that are taken, by whomever."""
    memory_total: int


class Resources(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the sandbox uses while a command runs. What cannot be known is None."""

    cpus: float | None = None
    """Processors that were busy, on average since the look before."""
    memory: int | None = None
    """Bytes that its processes take together."""
    memory_free: int | None = None
    """Bytes that they may still take."""
    workspace: int | None = None
    """Bytes of its files; measured rarely."""
    disk_free: int | None = None
    """Bytes that they may still take."""
    gpus: tuple[Gpu, ...] = ()


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
    """What the evaluation or the training that runs is doing; empty when none runs."""
    time_limit: float = 0.0
    """Seconds that the running command may take, as far as it is known by now; 0: nothing runs."""
    curves: tuple[MetricLogged, ...] = ()
    """The first metrics that the running command prints, losses before all others; each of few points."""
    resources: Resources | None = None
    """What the running command uses."""
    programs: str = ""
    """What runs of an agent program beside the shell, each process behind its parent; empty where nothing does."""
    question: str = ""
    """What the person is asked, to be answered with yes or no; empty when nothing is."""
    driver: str = ""
    """The view whose commands are carried out (`terminal 2`); empty when nobody drives."""
    asks: str = ""
    """The view that asks the driver for the wheel; empty when none does."""
    views: int = 0
    """How many there are, the driver among them."""
    sampling: Sampling = Sampling()
    under_way: int | None = None
    """Model calls of an agent program that have no answer yet; None for all other agents."""
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
    breakpoints: tuple[Breakpoint, ...] = ()
    """Conditions at which it stops, or does something, with how often each was met."""
    worked: float = 0.0
    """Seconds on the session's clock, without pauses, at the time `as_of`."""
    clock_runs: bool = False
    as_of: float = 0.0
    """A time of the machine's monotonic clock, in seconds; other processes of the machine have the same."""

    @property
    def working(self) -> float:
        """Seconds on the session's clock, without pauses, now."""
        return self.worked + (max(0.0, time.monotonic() - self.as_of) if self.clock_runs else 0.0)
