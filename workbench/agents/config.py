"""The schema of an agent's YAML file. Errors name file, line and field.

Needs pydantic, so it is imported only when such a file is read.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from workbench.agents import history, prompts
from workbench.agents.agent import LoopPolicy
from workbench.agents.messages import Sampling
from workbench.agents.parsing import ParserName
from workbench.errors import WorkbenchError
from workbench.sandbox.commands import COMMAND_NAMES, USUAL_COMMANDS, LintPolicy
from workbench.session.events import Limits
from workbench.text import did_you_mean
from workbench.yamlfile import Place, Problem, in_lines, read_yaml


class AgentError(WorkbenchError):
    """An agent that cannot be used. `str()` says where and why, in words for people."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Count = Annotated[int, Field(ge=0)]


class Prompts(_Part):
    """Templates; workbench.agents.prompts says which names each may use."""

    system: str
    task: str
    next_step: str = prompts.NEXT_STEP
    no_output: str = prompts.NO_OUTPUT
    format_error: str = prompts.FORMAT_ERROR


class Full(_Part):
    """Everything is sent."""

    processor: Literal["full"]


class LastObservations(_Part):
    """The first and the last outputs are sent in full."""

    processor: Literal["last_observations"]
    first: Count = 5
    last: Annotated[int, Field(ge=1)] = 5


class ClosedWindows(_Part):
    """Only the newest view of each file is sent."""

    processor: Literal["closed_windows"]


class TokenBudget(_Part):
    """The messages have at most so many tokens."""

    processor: Literal["token_budget"]
    tokens: Annotated[int, Field(ge=500)] | None = None
    """None: as many as fit into the model's context window beside the answer; no limit if the window is not known."""


HistoryStep = Annotated[Full | LastObservations | ClosedWindows | TokenBudget, Field(discriminator="processor")]


def _tool_name(name: str) -> str:
    if name not in COMMAND_NAMES:
        raise ValueError(f"is not an agent command; {did_you_mean(name, COMMAND_NAMES)}")
    return name


class AgentLimits(_Part):
    """What a session of this agent may spend, unless the user says otherwise. None is no limit."""

    steps: Annotated[int, Field(ge=1)] | None = 50
    cost: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 4.0
    """US dollars."""
    tokens: Annotated[int, Field(ge=1)] | None = 2_000_000
    """Of input and output together. It matters where the price of the model is not known."""
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def as_limits(self) -> Limits:
        """As the limits of a session."""
        return Limits(steps=self.steps, cost=self.cost, tokens=self.tokens, seconds=self.seconds)


class SamplingSpec(_Part):
    """How answers are sampled. A setting that the model refuses is not sent; null leaves it to the provider."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] | None = 0.95
    max_output_tokens: Annotated[int, Field(ge=1)] | None = 8192
    """Reasoning tokens count too."""

    def as_sampling(self) -> Sampling:
        """As models take it."""
        return Sampling(self.temperature, self.top_p, self.max_output_tokens)


class AgentConfig(_Part):
    """A whole agent file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    description: str = ""
    model: Annotated[str, Field(pattern=r"^[^:\s]+:\S+$")] | None = None
    """`provider:name`; None if the user has to name one."""
    prompts: Prompts
    parser: ParserName = "thought_action"
    history: list[HistoryStep] = [
        LastObservations(processor="last_observations"),
        TokenBudget(processor="token_budget"),
    ]
    """Applied one after the other; an empty list sends everything."""
    tools: list[Annotated[str, AfterValidator(_tool_name)]] = list(USUAL_COMMANDS)
    """The agent commands that the model is told of, besides bash. Naming one of memory or literature switches it on."""
    window: Annotated[int, Field(ge=10, le=100_000)] = 1000
    """Lines of the file window."""
    limits: AgentLimits = AgentLimits()
    sampling: SamplingSpec = SamplingSpec()
    format_attempts: Annotated[int, Field(ge=1, le=20)] = 3
    """How many answers in a row may be unusable before the call counts as failed."""
    tell_edits: bool = True
    """Whether the model learns that a person edited its action, unless that person decides."""
    tell_budget: bool = True
    """Whether the model is told how many steps and how much money are left."""
    loops: LoopPolicy = "warn"
    """What happens when it repeats itself."""
    lint: LintPolicy = "warn"
    """What happens to an edit of a Python file that introduces undefined names."""


def read_agent(file: Path) -> AgentConfig:
    """The agent that a file describes, checked as a whole. Raises AgentError."""

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
        if name in config.tools[:index]:
            found.append((("tools", index), f"{name!r} is given twice"))
    return found


def processors(config: AgentConfig, *, context: int | None, count: history.Count) -> list[history.Processor]:
    """The history processors of an agent, in order. `context` is how many tokens of input its model can take."""
    result: list[history.Processor] = []
    for item in config.history:
        match item:
            case Full():
                result.append(history.full)
            case LastObservations(first=first, last=last):
                result.append(partial(history.last_observations, first=first, last=last))
            case ClosedWindows():
                result.append(history.closed_windows)
            case TokenBudget():
                most = _at_most(item, context)
                if most is not None:
                    result.append(partial(history.token_budget, tokens=most, count=count))
    return result


def prompt_budget(config: AgentConfig, *, context: int | None) -> int | None:
    """The most tokens that the messages of a call may have: the smallest budget among the processors, else what fits
    into the model's context (`context`). None if there is no known limit.
    """
    budgets = [_at_most(item, context) for item in config.history if isinstance(item, TokenBudget)]
    return min((number for number in (*budgets, context) if number is not None), default=None)


def _at_most(budget: TokenBudget, context: int | None) -> int | None:
    return min((number for number in (budget.tokens, context) if number is not None), default=None)
