"""What a sweep's plan says, and the jobs that follow from it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from workbench.errors import WorkbenchError
from workbench.session.events import Limits
from workbench.session.spec import SessionSpec
from workbench.yamlfile import NotEmpty, Part, Place, Problem, in_lines, read_yaml

_MOST_JOBS = 100_000
Positive = Annotated[float, Meta(gt=0, le=1e12)]
Whole = Annotated[int, Meta(ge=1, le=10**12)]


class PlanError(WorkbenchError):
    """A plan that cannot be used."""


class JobLimits(Part, frozen=True):
    """Of each session, as `--max-steps` and so on."""

    steps: Whole | None = None
    seconds: Positive | None = None
    cost: Positive | None = None
    tokens: Whole | None = None


class Budget(Part, frozen=True):
    """Of all sessions together."""

    cost: Positive | None = None
    """US dollars."""
    tokens: Whole | None = None
    """Of models whose price is not known."""
    hours: Positive | None = None
    """By the clock, of one call of `sweep`."""


class AgentProgram(Part, frozen=True, kw_only=True):
    """An agent that is a program: its models are those that answer it, as `--upstream` has them."""

    command: NotEmpty
    """For bash."""
    env: list[NotEmpty] = field(default_factory=list)
    """Settings, NAME=VALUE."""
    mounts: list[NotEmpty] = field(default_factory=list)
    """Folders that it sees in the sandbox, besides its own."""
    upstream_model: str = ""
    """In place of the model that it names."""


class Plan(Part, frozen=True, kw_only=True):
    """A `PLAN.yaml`."""

    tasks: Annotated[list[NotEmpty], Meta(min_length=1)]
    models: list[NotEmpty] = field(default_factory=list)
    agents: list[NotEmpty | AgentProgram] = field(default_factory=list)
    seeds: list[int] | Annotated[int, Meta(ge=1, le=10_000)] = 1
    """How many sessions of each combination, or the seeds of their evaluations."""
    parallel: Annotated[int, Meta(ge=1, le=1024)] | None = None
    """Sessions at a time; by default one for each two processors."""
    retries: Annotated[int, Meta(ge=0, le=20)] = 2
    """How often a session goes on that ended for a cause that may pass: the model's server, a process that died."""
    limits: JobLimits = JobLimits()
    budget: Budget = Budget()
    sandbox: Literal["local", "docker"] | None = None
    dataset: str = ""
    protocol: Literal["", "mlgym"] = ""
    base_url: str = ""
    window: Annotated[int, Meta(ge=5, le=10_000)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    gpus: str = ""


class Job(msgspec.Struct, frozen=True):
    """One session of a sweep."""

    key: str
    """The same for the same combination, however the plan grows."""
    spec: SessionSpec

    @property
    def name(self) -> str:
        """For people."""
        spec = self.spec
        return " ".join(filter(None, (spec.task, self.who, "" if spec.seed is None else f"#{spec.seed}")))

    @property
    def who(self) -> str:
        """Model and agent."""
        spec = self.spec
        who = (spec.upstream, spec.agent_command[:60]) if spec.agent_command else (spec.model, spec.agent)
        return " ".join(filter(None, who))


def read_plan(file: Path) -> Plan:
    """Raises PlanError, with file, line and field."""

    def fault(problems: list[Problem]) -> PlanError:
        return PlanError(in_lines(problems), "docs/sweeps.md describes the fields of a plan")

    return read_yaml(file, Plan, like="docs/sweeps.md", fault=fault, check=_repeated)


def _repeated(plan: Plan) -> Iterator[tuple[Place, str]]:
    seeds = plan.seeds if isinstance(plan.seeds, list) else []
    for name, values in (("tasks", plan.tasks), ("models", plan.models), ("agents", plan.agents), ("seeds", seeds)):
        for place, value in enumerate(values):
            if value in values[:place]:
                yield (name, place), f"{value!r} is there twice"
    for place, agent in enumerate(plan.agents):
        if isinstance(agent, AgentProgram) and not plan.models:
            yield ("agents", place), "needs models: those that answer the program, as --upstream has them"


def jobs(plan: Plan) -> list[Job]:
    """Every combination, the seeds outermost, so that each combination has a session before any has two.

    Raises PlanError for more than can be listed.
    """
    seeds = plan.seeds if isinstance(plan.seeds, list) else list(range(plan.seeds))
    models, agents = plan.models or [""], plan.agents or [""]
    if len(seeds) * len(plan.tasks) * len(models) * len(agents) > _MOST_JOBS:
        raise PlanError(f"the plan has more than {_MOST_JOBS:,} sessions", "split it")
    shared: dict[str, Any] = {
        "limits": Limits(**msgspec.structs.asdict(plan.limits)), "sandbox": plan.sandbox, "dataset": plan.dataset,
        "protocol": plan.protocol, "base_url": plan.base_url, "window": plan.window, "temperature": plan.temperature,
        "gpus": plan.gpus, "mode": "auto",
    }  # fmt: skip
    return [
        _job(SessionSpec(task=task, seed=seed, **_acting(model, agent), **shared))
        for seed, task, model, agent in itertools.product(seeds, plan.tasks, models, agents)
    ]


def _acting(model: str, agent: str | AgentProgram) -> dict[str, Any]:
    """Fields of the spec."""
    if isinstance(agent, str):
        return {"model": model, "agent": agent}
    return {
        "upstream": model, "agent_command": agent.command, "agent_env": tuple(agent.env),
        "agent_mount": tuple(agent.mounts), "upstream_model": agent.upstream_model,
    }  # fmt: skip


def _job(spec: SessionSpec) -> Job:
    # Limits may be raised for a session that goes on: they are no part of what it is.
    known: tuple[Any, ...] = (
        spec.task, spec.model, spec.agent, spec.seed, spec.dataset, spec.protocol, spec.temperature, spec.base_url
    )  # fmt: skip
    if spec.agent_command:
        known += (spec.agent_command, spec.agent_env, spec.agent_mount, spec.upstream, spec.upstream_model)
    key = hashlib.sha256(repr(known).encode()).hexdigest()[:16]
    return Job(key, msgspec.structs.replace(spec, sweep=key))


def only(found: list[Job], numbers: Iterable[int]) -> list[Job]:
    """Some jobs, by their numbers from 0. Raises PlanError."""
    wanted = list(numbers)
    for number in wanted:
        if not 0 <= number < len(found):
            raise PlanError(f"there is no session {number}: the plan has {len(found)}", "numbers begin at 0")
    return [found[number] for number in wanted]
