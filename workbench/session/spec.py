"""What was asked of a session: the one record that the command line, Gymnasium and tests fill. `session.started` is
written from it and read into it, and the sandbox is made by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from workbench.session.events import Limits, Mode
from workbench.session.state import SessionState

SandboxName = Literal["local", "docker"]

STEPS = 50
"""Limit on steps where nobody sets one."""
WINDOW = 100
"""Lines of the file window where nobody says."""
_WINDOWS = (5, 10_000)


def is_name(text: str) -> bool:
    """Whether it can be the name of a person."""
    return re.fullmatch(r"[\w.@-][\w.@ -]{0,59}", text) is not None


class SessionSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is started with. What is left out is as the agent's configuration or the task says, or as it was
    where a session goes on.
    """

    task: str = ""
    """An id, or the path of a task's folder. Where a session goes on, it has its task."""
    model: str = ""
    """Empty: the agent's own, or `scripted:demo` where no agent is named."""
    agent: str = ""
    """A name, the path of a YAML file, or `module:Class`; empty: `default` for the models of providers."""
    base_url: str = ""
    """The server of the model, where it is not the provider's own."""
    temperature: float | None = None
    """At which the model draws its answers."""
    sandbox: SandboxName | None = None
    unsafe_local: bool = False
    """Run commands without a sandbox."""
    image: str | None = None
    """Docker image, instead of our own."""
    limits: Limits = Limits()
    seed: int | None = None
    """Of the evaluations. None: one that nobody can guess."""
    window: int | None = None
    """Lines of the agent's file window."""
    command_seconds: float | None = None
    """Limit on a command that trains nothing."""
    mode: Mode | None = None
    interactive: bool = False
    """A person is there to decide."""
    delay: float = 0.0
    """Seconds for which a proposal is shown in auto mode before it runs."""
    gpus: str = ""
    """As `sandbox.gpus.read_request` reads it."""
    share_gpus: bool = False
    """Take GPUs that other sessions have, too."""
    dataset: str = ""
    """`tiny`: the small generated stand-in of the task's data."""
    protocol: str = ""
    """`mlgym`: `validate` sees the test data, and MLGym's primary metric counts."""
    starter: str = ""
    """A folder whose files take the place of those that the task starts with."""
    approve: str = ""
    """What waits for a person in auto mode: `always`, `never`, or the path of a file with rules."""

    breakpoints: tuple[str, ...] = ()
    """Conditions at which it stops, as `runner.breakpoints.read_breakpoint` reads them."""
    agent_command: str = ""
    """A program that is the agent, for bash. It asks the gateway of the session for its model."""
    agent_env: tuple[str, ...] = ()
    """Its settings: NAME=VALUE."""
    agent_mount: tuple[str, ...] = ()
    """Folders of this machine that it sees in the sandbox, read-only, besides its own."""
    agent_on_host: bool = False
    """It runs on this machine, and not in the sandbox."""
    upstream: str = ""
    """Where the gateway has its answers from: `provider:name`."""
    upstream_model: str = ""
    """In place of the model that the program names."""
    sweep: str = ""
    """The job of a sweep that it is."""
    person: str = ""
    """Who works, where that is not the user of the machine."""
    interface: str = ""
    """Of a person who is the agent: `shell`, their own terminal; empty: the workbench."""
    blind: bool = False
    """No score is shown before the end."""
    submit_best: bool = False
    """A submission that is worse than the best that was validated is that one instead."""

    printed_metrics: tuple[str, ...] = ()
    """Regular expressions for what else programs print as a metric."""

    def over(self, state: SessionState) -> SessionSpec:
        """For a session that goes on: what was asked now, and for the rest what its log says."""
        started = state.started
        assert started is not None
        given = {name: value for name, value in msgspec.structs.asdict(self.limits).items() if value is not None}
        least, most = _WINDOWS
        by_hand = (self.model or state.model) == "human"
        return msgspec.structs.replace(
            self,
            task=started.task,
            agent=started.agent_reference,
            sandbox=self.sandbox or ("docker" if started.sandbox == "docker" else "local"),
            limits=msgspec.structs.replace(state.limits, **given),
            seed=started.seed,
            window=self.window or min(max(started.window, least), most),
            mode=self.mode or (state.mode if state.driven else "human" if by_hand else "auto"),
            dataset=started.dataset,
            protocol=started.protocol,
            approve=self.approve or state.approve,
            person=self.person or (started.person if is_name(started.person) else ""),
            blind=started.blind,
            submit_best=self.submit_best or started.submit_best,
        )


def spec_of(options: Mapping[str, Any], **more: Any) -> SessionSpec:
    """What options of the command line ask for: they have the names of the fields, but for the limits."""
    names = {"max_steps": "steps", "max_time": "seconds", "max_cost": "cost", "max_tokens": "tokens"}
    limits = Limits(**{field: options.get(name) for name, field in names.items()})
    given = {name: options[name] for name in SessionSpec.__struct_fields__ if options.get(name) is not None}
    return SessionSpec(**{**given, **more}, limits=limits)
