"""What a shell holds besides its directory, so that another can be made like it: variables, functions, aliases.

Only what differs from the shell as it began is kept. Whatever else there is (arrays, jobs, options) is named, so that
who goes on can be told that it is gone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

_LARGEST = 4 << 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWN = re.compile(
    r"_|__mlgym.*|MLGYM_.*|BASH.*|RANDOM|SRANDOM|SECONDS|EPOCH.*|LINENO|PPID|E?UID|(?:OLD)?PWD|SHLVL|SHELLOPTS|FUNCNAME"
    r"|PIPESTATUS|DIRSTACK|GROUPS|HIST.*|COLUMNS|LINES|OPT(?:IND|ERR|ARG)|COMP_.*|PS[0-4]|PROMPT_COMMAND|MAILCHECK|REPLY"
)
"""Variables that are bash's, or ours."""


class ShellState(msgspec.Struct, frozen=True, kw_only=True):
    """What a shell holds, or what of it is not as it was at first."""

    exported: Mapping[str, str] = {}
    variables: Mapping[str, str] = {}
    """Those that are not exported."""
    functions: Mapping[str, str] = {}
    """Name → definition."""
    aliases: Mapping[str, str] = {}
    unset: list[str] = []
    """Variables that were there at first."""
    other: list[str] = []
    """What cannot be given to another shell, in words."""

    def since(self, first: ShellState) -> ShellState:
        """What of this differs from `first`."""

        def new(now: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
            return {name: value for name, value in now.items() if before.get(name) != value}

        there = self.exported.keys() | self.variables.keys()
        return ShellState(
            exported=new(self.exported, first.exported),
            variables=new(self.variables, first.variables),
            functions=new(self.functions, first.functions),
            aliases=new(self.aliases, first.aliases),
            unset=sorted((first.exported.keys() | first.variables.keys()) - there),
            other=[what for what in self.other if what not in first.other],
        )

    @property
    def names(self) -> list[str]:
        """What another shell can be given, by name."""
        return [*self.exported, *self.variables, *(f"{name}()" for name in self.functions), *self.aliases]


def read_captured(data: bytes) -> ShellState:
    """What `CAPTURE` printed."""
    exported: dict[str, str] = {}
    variables: dict[str, str] = {}
    functions: dict[str, str] = {}
    aliases: dict[str, str] = {}
    other: list[str] = []
    for item in data.split(b"\0"):
        kind, text = item[:1], item[1:].decode("utf-8", "replace")
        name, _, value = text.partition("=")
        if kind in b"xv" and _NAME.fullmatch(name) and not _OWN.fullmatch(name):
            if "\ufffd" in value:
                other.append(f"the variable {name}, which is no text")
            else:
                (exported if kind == b"x" else variables)[name] = value
        elif kind == b"n" and _NAME.fullmatch(name) and not _OWN.fullmatch(name):
            other.append(f"the array {name}")
        elif kind == b"f":
            for found in re.finditer(r"^(\S+) \(\) *\n\{.*?^\}", text, re.MULTILINE | re.DOTALL):
                if not found[1].startswith("__mlgym"):
                    functions[found[1]] = found[0]
        elif kind == b"a":
            for found in re.finditer(r"^alias ([^=\s]+)=(?:.|\n(?!alias ))*", text, re.MULTILINE):
                aliases[found[1].removeprefix("-- ")] = found[0]
        elif kind == b"j":
            other += [f"the background job {line.strip()[:120]}" for line in text.splitlines() if line.strip()]
        elif kind == b"o":
            other.append(f"the options {text.strip()}")
    return ShellState(exported=exported, variables=variables, functions=functions, aliases=aliases, other=other)


def encode_state(state: ShellState) -> bytes:
    """As an object of a session holds it."""
    return msgspec.json.encode(state, order="sorted")


def decode_state(data: bytes) -> ShellState:
    """Raises ValueError for what is no such state."""
    if len(data) > _LARGEST:
        raise ValueError("it is too large")
    state = msgspec.json.decode(data, type=ShellState)
    names = [*state.exported, *state.variables, *state.unset]
    if not all(_NAME.fullmatch(name) and not _OWN.fullmatch(name) for name in names):
        raise ValueError("it names what is no variable of a shell")
    return state
