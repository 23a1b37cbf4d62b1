"""The schema of an agent's YAML file. Errors name file, line and field."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, field

from workbench.agents import history, prompts
from workbench.agents.agent import LoopPolicy
from workbench.agents.messages import Message, Sampling
from workbench.agents.parsing import ParserName
from workbench.errors import WorkbenchError
from workbench.sandbox.commands import COMMAND_NAMES, USUAL_COMMANDS, LintPolicy
from workbench.session.events import Limits
from workbench.text import did_you_mean
from workbench.yamlfile import Part, Place, Problem, in_lines, read_yaml


class AgentError(WorkbenchError):
    """An agent that cannot be used. `str()` says where and why, in words for people."""


class Prompts(Part, frozen=True, kw_only=True):
    """Templates; workbench.agents.prompts says which names each may use."""

    system: str
    task: str
    next_step: str = prompts.NEXT_STEP
    no_output: str = prompts.NO_OUTPUT
    format_error: str = prompts.FORMAT_ERROR


class HistoryStep(Part, frozen=True, kw_only=True, tag_field="processor"):
    """A step of shortening the conversation; see workbench.agents.history."""

    def process(self, messages: Sequence[Message], context: int | None, count: history.Count) -> list[Message]:
        """The messages that are left. `context` is how many tokens of input the model can take, if that is known;
        `count` counts the tokens of a message. Raises ContextTooLong.
        """
        return list(messages)


class Full(HistoryStep, frozen=True, kw_only=True, tag="full"):
    """Everything is sent."""


class LastObservations(HistoryStep, frozen=True, kw_only=True, tag="last_observations"):
    """The first and the last outputs are sent in full."""

    first: Annotated[int, Meta(ge=0)] = 5
    last: Annotated[int, Meta(ge=1)] = 5

    def process(self, messages: Sequence[Message], context: int | None, count: history.Count) -> list[Message]:
        return history.last_observations(messages, first=self.first, last=self.last)


class ClosedWindows(HistoryStep, frozen=True, kw_only=True, tag="closed_windows"):
    """Only the newest view of each file is sent."""

    def process(self, messages: Sequence[Message], context: int | None, count: history.Count) -> list[Message]:
        return history.closed_windows(messages)


class TokenBudget(HistoryStep, frozen=True, kw_only=True, tag="token_budget"):
    """The messages have at most so many tokens."""

    tokens: Annotated[int, Meta(ge=500)] | None = None
    """None: as many as fit into the model's context window beside the answer; no limit if the window is not known."""

    def most(self, context: int | None) -> int | None:
        """The budget for a model with that much room; None if there is none."""
        return min((number for number in (self.tokens, context) if number is not None), default=None)

    def process(self, messages: Sequence[Message], context: int | None, count: history.Count) -> list[Message]:
        most = self.most(context)
        return list(messages) if most is None else history.token_budget(messages, tokens=most, count=count)


class AgentLimits(Part, frozen=True, kw_only=True):
    """What a session of this agent may spend, unless the user says otherwise. None is no limit."""

    steps: Annotated[int, Meta(ge=1)] | None = 50
    cost: Annotated[float, Meta(gt=0, le=sys.float_info.max)] | None = 4.0
    """US dollars."""
    tokens: Annotated[int, Meta(ge=1)] | None = 2_000_000
    """Of input and output together. It matters where the price of the model is not known."""
    seconds: Annotated[float, Meta(gt=0, le=sys.float_info.max)] | None = None

    def as_limits(self) -> Limits:
        """As the limits of a session."""
        return Limits(steps=self.steps, cost=self.cost, tokens=self.tokens, seconds=self.seconds)


class SamplingSpec(Part, frozen=True, kw_only=True):
    """How answers are sampled. A setting that the model refuses is not sent; null leaves it to the provider."""

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = 0.0
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = 0.95
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = 8192
    """Reasoning tokens count too."""

    def as_sampling(self) -> Sampling:
        """As models take it."""
        return Sampling(self.temperature, self.top_p, self.max_output_tokens)


class AgentConfig(Part, frozen=True, kw_only=True):
    """A whole agent file."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")]
    description: str = ""
    model: Annotated[str, Meta(pattern=r"^[^:\s]+:\S+\Z")] | None = None
    """`provider:name`; None if the user has to name one."""
    prompts: Prompts
    parser: ParserName = "thought_action"
    history: list[Full | LastObservations | ClosedWindows | TokenBudget] = field(
        default_factory=lambda: [LastObservations(), TokenBudget()]
    )
    """Applied one after the other; an empty list sends everything."""
    tools: list[str] = field(default_factory=lambda: list(USUAL_COMMANDS))
    """The agent commands that the model is told about, besides bash. Naming a memory or literature command enables it.
    """
    window: Annotated[int, Meta(ge=10, le=100_000)] = 1000
    """Lines of the file window."""
    limits: AgentLimits = AgentLimits()
    sampling: SamplingSpec = SamplingSpec()
    format_attempts: Annotated[int, Meta(ge=1, le=20)] = 3
    """How many answers in a row may be unusable before the call counts as failed."""
    tell_edits: bool = True
    """Whether the model is told that a person edited its action. That person may decide otherwise."""
    tell_budget: bool = True
    """Whether the model is told how many steps and how much money are left."""
    submit: Literal["last", "best"] = "last"
    """What a submission is that is worse than the best that was validated: as it is, or that one instead."""
    loops: LoopPolicy = "warn"
    """What happens when it repeats itself."""
    lint: LintPolicy = "warn"
    """What happens to an edit of a Python file that introduces undefined names."""

    def prompt_budget(self, context: int | None) -> int | None:
        """The most tokens that the messages of a call may have: the smallest budget of the history, else what fits into
        the model's context (`context`). None if there is no known limit.
        """
        budgets = [step.most(context) for step in self.history if isinstance(step, TokenBudget)]
        return min((number for number in (*budgets, context) if number is not None), default=None)


def read_agent(file: Path) -> AgentConfig:
    """The agent that a file describes, with all its faults checked at once. Raises AgentError."""

    def fault(problems: list[Problem]) -> AgentError:
        return AgentError(in_lines(problems))

    return read_yaml(file, AgentConfig, like="the shipped agents", fault=fault, check=_cross_check)


def _cross_check(config: AgentConfig) -> list[tuple[Place, str]]:
    """Errors that concern several fields."""
    found: list[tuple[Place, str]] = []
    for prompt in prompts.VARIABLES:
        try:
            prompts.check(prompt, getattr(config.prompts, prompt))
        except prompts.PromptError as error:
            found.append((("prompts", prompt), str(error)))
    if "description" not in prompts.names_in(f"{config.prompts.system}\n{config.prompts.task}"):
        found.append((("prompts", "task"), "neither it nor the system prompt uses $description: what is to be done"))
    for index, name in enumerate(config.tools):
        if name not in COMMAND_NAMES:
            found.append((("tools", index), f"{name!r} is not an agent command; {did_you_mean(name, COMMAND_NAMES)}"))
        if name in config.tools[:index]:
            found.append((("tools", index), f"{name!r} is given twice"))
    return found
