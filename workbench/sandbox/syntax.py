"""Syntax check before an action is typed: the shell must never sit in a continuation prompt, and nothing of an action
that does not parse may run.

The checker is `bash -n` in a process of its own inside the sandbox, fed on standard input: it is the very bash that
will run the action, it executes nothing under `-n`, and no text of an agent is parsed on the host. Plainly safe
actions (most of them) are recognised here, which saves the 2 ms of a process.

The check is a courtesy, not a wall: an action is typed as one quoted word for `eval`, so that an error that slips
through (aliases can change what parses) is reported by `eval` and harms nothing. When the checker cannot run (no
process to be had), the action is therefore let through.
"""

from __future__ import annotations

import re

from workbench.isolation.spec import SandboxError
from workbench.sandbox.base import Sandbox

REFUSED_STATUS = 2
LARGEST_ACTION = 2 << 20
"""Bytes of one action. Larger ones are refused: files are made by writing them, not by typing."""

_RESERVED = frozenset((
    "if", "then", "else", "elif", "fi", "case", "esac", "for", "select", "while", "until", "do", "done", "in",
    "function", "time", "coproc", "{", "}", "!", "[[", "]]",
))  # fmt: skip
# No text can be read in two ways by what follows: a mismatch is found in one pass. (Possessive quantifiers would say
# the same, but match wrongly in Python 3.11.2.)
_WORD = r"(?:[A-Za-z0-9_./:=,@%+~*?^-]|'[^']*'|\"[^\"\\$`]*\"|\$(?:[A-Za-z_][A-Za-z0-9_]*(?![A-Za-z0-9_])|\?))+"
_REDIRECTION = rf"(?:[012]?>>?|&>|<)[ \t]*{_WORD}|2>&1"
_COMMAND = rf"{_WORD}(?:[ \t]+(?:{_REDIRECTION}|{_WORD}))*"
_SIMPLE = re.compile(rf"[ \t]*{_COMMAND}(?:[ \t]*(?:&&|\|\|?|;)[ \t]*{_COMMAND})*[ \t]*(?:[;&\n][ \t\n]*)?\Z")
_UNTERMINATED = "delimited by end-of-file"


def plainly_safe(action: str) -> bool:
    """Whether `action` is one line of simple commands that parses for certain. False says nothing."""
    if len(action) > 4000 or not _SIMPLE.match(action):
        return False
    return _RESERVED.isdisjoint(re.split(r"[\s;|&]+", action))


def ends_in_continuation(action: str) -> bool:
    """Whether the last line ends in a backslash that would join the next one to it (`bash -n` accepts that)."""
    text = action.removesuffix("\n")
    backslashes = len(text) - len(text.rstrip("\\"))
    if backslashes % 2 == 0:
        return False
    last = text.rpartition("\n")[2]
    return re.search(r"(?:^|[\s;&|])#", last) is None


async def syntax_problem(sandbox: Sandbox, action: str) -> str | None:
    """Bash's message about what is wrong with `action`, ending in a newline; None when it may be run."""
    if plainly_safe(action):
        return None
    if "\0" in action:
        return "bash: the command contains a NUL character, which no argument of a program can hold\n"
    script = action.encode("utf-8", "surrogateescape")
    if len(script) > LARGEST_ACTION:
        return f"bash: the command has {len(script):,} bytes; the largest that is taken has {LARGEST_ACTION:,}\n"
    try:
        result = await sandbox.exec(
            ["/bin/bash", "-n", "-O", "extglob"], stdin=script + b"\n", time_limit=10.0, max_output=64 << 10
        )
    except SandboxError:
        return None
    message = result.stderr.decode("utf-8", "replace").replace("/bin/bash: ", "bash: ")
    if result.timed_out or result.exit_code not in (0, 1, 2):
        return None
    if result.exit_code == 0 and _UNTERMINATED not in message:
        if ends_in_continuation(action):
            return "bash: syntax error: the last line ends in a backslash, and no line follows\n"
        return None
    return message or "bash: syntax error\n"
