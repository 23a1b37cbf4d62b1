"""What stops an agent that drives by itself, as it was asked for: actions to be approved, and breakpoints."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from workbench.runner.agents import StartError
from workbench.runner.approval import ALWAYS, NEVER, RULES_HINT, Approval
from workbench.session.commands import Breakpoint
from workbench.session.spec import SessionSpec


class Conditions(NamedTuple):
    """As the session begins."""

    approval: Approval = NEVER
    breakpoints: tuple[Breakpoint, ...] = ()


def conditions_of(spec: SessionSpec) -> Conditions:
    """Those of a session. Raises StartError and FilterError: to be asked for before anything is made."""
    breakpoints: tuple[Breakpoint, ...] = ()
    if spec.breakpoints:
        from workbench.library.moments import read_breakpoint  # when first needed: it slows the start

        breakpoints = tuple(map(read_breakpoint, spec.breakpoints))
    approval = read_approval(spec.approve)
    if approval == ALWAYS and not spec.interactive:
        raise StartError(
            "nobody is there to approve each action", "--approve never needs nobody, and without --headless you are"
        )
    return Conditions(approval, breakpoints)


def read_approval(given: str) -> Approval:
    """The policy of `always`, `never`, or the path of a file with rules. Raises StartError."""
    if given in ("", "never"):
        return NEVER
    if given == "always":
        return ALWAYS
    path = Path(given).expanduser()
    if path.suffix not in (".yaml", ".yml") and not path.is_file():
        raise StartError(f"{given!r} is neither always nor never, nor a YAML file of rules", RULES_HINT)
    from workbench.runner.approval_rules import read_rules

    return read_rules(path)
