"""What kind of action a command is: the categories of MLGym's behaviour analysis."""

from __future__ import annotations

from typing import Final

KINDS: Final = {
    "E": ("Edit", ("create", "edit", "insert")),
    "V": ("View", ("open", "goto", "scroll_up", "scroll_down")),
    "A": ("Validate", ("validate",)),
    "S": ("Submit", ("submit",)),
    "F": ("Search", ("search_dir", "search_file", "find_file")),
    "P": ("Python", ("torchrun", "python", "python3", "accelerate", "deepspeed")),
    "B": ("Bash", ()),
}
"""Letter → name, and the commands of that kind. In this order they are looked for; what is left is Bash."""

NAMES: Final = {letter: name for letter, (name, _) in KINDS.items()}


def kind_of(action: str, *, by_prefix: bool = False) -> str:
    """The letter of an action's kind, by its first word.

    `by_prefix`: as MLGym's published figures count, by how the action begins (`openssl` is View).
    """
    if by_prefix:
        stripped = action.strip()
        return next((letter for letter, (_, words) in KINDS.items() if stripped.startswith(words)), "B")
    first = action.split(None, 1)[:1]
    return next((letter for letter, (_, words) in KINDS.items() if first and first[0] in words), "B")
