"""The YAML file of an approval policy."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from workbench.library.expression import Expression
from workbench.library.filter import FilterError
from workbench.library.moments import condition, needs_outcome
from workbench.runner.agents import StartError
from workbench.runner.approval import RULES_HINT, Approval, Rule, Verdict
from workbench.yamlfile import NotEmpty, Part, Place, Problem, in_lines, read_yaml


class RuleSpec(Part, frozen=True, kw_only=True):
    """One rule. See `Rule`."""

    command: NotEmpty | None = None
    path: NotEmpty | None = None
    network: bool = False
    when: NotEmpty | None = None
    cost: Annotated[float, Meta(gt=0, le=sys.float_info.max)] | None = None
    then: Verdict = "ask"
    reason: str = ""


class RulesFile(Part, frozen=True, kw_only=True):
    """The whole file."""

    rules: list[RuleSpec]
    otherwise: Verdict = "run"


def read_rules(file: Path) -> Approval:
    """The rules of a file. Raises StartError, which names file, line and field."""

    def fault(problems: list[Problem]) -> StartError:
        return StartError(in_lines(problems), RULES_HINT)

    given = read_yaml(file, RulesFile, like="docs/agents.md", fault=fault, check=_cross_check)
    return Approval(tuple(map(_rule, given.rules)), given.otherwise)


def _cross_check(given: RulesFile) -> Iterator[tuple[Place, str]]:
    for index, rule in enumerate(given.rules):
        if not (rule.command or rule.path or rule.network or rule.cost or rule.when):
            yield ("rules", index), "says nothing: give command, path, network, when or cost"
        elif rule.then == "run" and rule.command is None:
            yield ("rules", index), "what runs unasked is named by a command"
        try:
            Expression(rule.command or "")
        except ValueError as error:
            yield ("rules", index, "command"), f"is no regular expression: {error}"
        try:
            given_when = condition(rule.when or "")
        except FilterError as error:
            yield ("rules", index, "when"), str(error)
        else:
            if needs_outcome(given_when):
                yield ("rules", index, "when"), "asks for what is known only when the action has run"


def _rule(spec: RuleSpec) -> Rule:
    command = Expression(spec.command, re.MULTILINE) if spec.command is not None else None
    when = condition(spec.when) if spec.when is not None else None
    return Rule(command, spec.path, spec.network, spec.cost, when, spec.then, spec.reason)
