"""What the agent commands are called and what they do, in words for prompts and help.

The words come from the table in the program that runs inside the sandbox, so that they cannot differ from what it does.
"""

from __future__ import annotations

from pathlib import Path

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


def command_docs() -> str:
    """One paragraph for each agent command, its usage first."""
    paragraphs = []
    for name in COMMAND_NAMES:
        usage, text = COMMANDS[name]
        lines = usage.split("\n")
        paragraphs.append("\n".join([*lines, f"    {text}"]))
    return "\n\n".join(paragraphs) + "\n"
