"""The YAML file of an approval policy. Needs pydantic: imported only where such a file is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from workbench.runner.agents import StartError
from workbench.runner.approval import RULES_HINT, Rule, Rules, Verdict
from workbench.yamlfile import Place, Problem, in_lines, read_yaml


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RuleSpec(_Part):
    """One rule. See `Rule`."""

    command: Annotated[str, Field(min_length=1), AfterValidator(_regex)] | None = None
    path: Annotated[str, Field(min_length=1)] | None = None
    network: bool = False
    cost: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    then: Verdict = "ask"
    reason: str = ""


class RulesFile(_Part):
    """The whole file."""

    rules: list[RuleSpec]
    otherwise: Verdict = "run"


def read_rules(file: Path) -> Rules:
    """The rules of a file. Raises StartError, which names file, line and field."""

    def fault(problems: list[Problem]) -> StartError:
        return StartError(in_lines(problems), RULES_HINT)

    given = read_yaml(file, RulesFile, like="docs/agents.md", fault=fault, check=_cross_check)
    return Rules(tuple(map(_rule, given.rules)), given.otherwise)


def _cross_check(given: RulesFile) -> Iterator[tuple[Place, str]]:
    for index, rule in enumerate(given.rules):
        if not (rule.command or rule.path or rule.network or rule.cost):
            yield ("rules", index), "says nothing: give command, path, network or cost"
        elif rule.then == "run" and rule.command is None:
            yield ("rules", index), "what runs unasked is named by a command"


def _rule(spec: RuleSpec) -> Rule:
    command = re.compile(spec.command, re.MULTILINE) if spec.command is not None else None
    return Rule(command, spec.path, spec.network, spec.cost, spec.then, spec.reason)
