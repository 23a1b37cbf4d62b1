"""What the agent commands are called and what they do, in words for prompts and help.

The words come from the table in the program that runs inside the sandbox, so that they cannot differ from what it does.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

from workbench.sandbox.guest.tools import COMMANDS

GUEST_FOLDER = Path(__file__).resolve().parent / "guest"
"""Folder of the files that are put into a sandbox: tools.py, functions.sh."""

COMMAND_NAMES = tuple(COMMANDS)

MEMORY_COMMANDS = ("memory_write", "memory_read")
LITERATURE_COMMANDS = ("literature_search", "literature_read")
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


def command_docs() -> str:
    """One paragraph for each agent command, its usage first."""
    paragraphs = []
    for name in COMMAND_NAMES:
        usage, text = COMMANDS[name]
        lines = usage.split("\n")
        paragraphs.append("\n".join([*lines, f"    {text}"]))
    return "\n\n".join(paragraphs) + "\n"
