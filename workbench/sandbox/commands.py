"""The agent commands by name, and in words for prompts and help.

The words come from the table that the program inside the sandbox uses, so the two cannot differ.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from workbench.sandbox.guest.agent_commands import COMMANDS

COMMAND_NAMES = tuple(COMMANDS)

MEMORY_COMMANDS = tuple(name for name, command in COMMANDS.items() if command.needs == "memory")
LITERATURE_COMMANDS = tuple(name for name, command in COMMANDS.items() if command.needs == "literature")
OPTIONAL_COMMANDS = MEMORY_COMMANDS + LITERATURE_COMMANDS
"""Those that the host serves only to an agent whose configuration names them."""
USUAL_COMMANDS = tuple(name for name in COMMAND_NAMES if name not in OPTIONAL_COMMANDS)
"""Those that are always there."""

LintPolicy = Literal["warn", "refuse", "off"]
"""What `edit`, `insert` and `create` do about Python in which names are not defined, or that flake8's F821, F822, F831
and E111 are about: say so, refuse it (as MLGym does), or nothing.
"""


def linter_folder() -> Path:
    """Where the package pyflakes is on this machine: all that a sandbox needs of it."""
    spec = importlib.util.find_spec("pyflakes")
    assert spec is not None and spec.origin is not None, "mlgym-tui is installed together with pyflakes"
    return Path(spec.origin).parent


def command_docs(names: Sequence[str]) -> str:
    """One paragraph for each of these agent commands, its usage first."""
    shown = [command for name, command in COMMANDS.items() if name in names]
    return "\n\n".join(f"{command.usage}\n    {command.about}" for command in shown)
