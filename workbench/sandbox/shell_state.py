"""Asks a shell what it holds, and gives it to another: lines that the host types, and which actions make it ask."""

from __future__ import annotations

import contextlib
import re

from workbench.isolation.spec import SandboxError
from workbench.sandbox.base import Sandbox
from workbench.sandbox.bash import Bash
from workbench.sandbox.guest.agent_commands import COMMANDS
from workbench.sandbox.typed_lines import probe_line, quote
from workbench.session.shell_state import ShellState, read_captured

_PATIENCE = 1.0
"""Seconds for an answer. A shell that gives none is not asked again."""

_CHANGES = re.compile(
    r"\b(?:export|declare|typeset|alias|unalias|unset|source|shopt|set|readonly|eval|function|activate|read|mapfile|let"
    r"|umask|trap)\b|printf\s+-v|\w\s*\(\)|(?:^|[;&|({]|\s)(?:\.\s|[A-Za-z_]\w*(?:\[[^]]*\])?\+?=|for\s)|&\s*(?:$|[^&>\s\d])",
    re.MULTILINE,
)
"""What an action has that changes what the shell holds. Others cost nothing."""

_CAPTURE = r"""
__mlgym_o=$-
\builtin set +eux
\builtin printf j; \builtin jobs; \builtin printf '\0'
for __mlgym_x in $(\builtin compgen -v); do
  case ${!__mlgym_x@a} in
    *[aA]*) \builtin printf 'n%s\0' "$__mlgym_x";;
    *x*) \builtin printf 'x%s=%s\0' "$__mlgym_x" "${!__mlgym_x}";;
    *) \builtin printf 'v%s=%s\0' "$__mlgym_x" "${!__mlgym_x}";;
  esac
done
\builtin printf 'f%s\0a%s\0o%s\0' "$(\builtin declare -f)" "$(\builtin alias -p)" "$__mlgym_o, umask $(\builtin umask)"
"""


_LONGEST = 128 << 10
"""Characters of an action that is looked through."""
_AGENT_COMMAND = re.compile(rf"\s*(?:{'|'.join(COMMANDS)})\b[^\n;&|`$]*\n*")
"""One of these alone: what is searched for may look like anything."""
_HERE_DOCUMENT = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")


def _commands(action: str) -> str:
    """An action without the texts of its here-documents."""
    lines = action.split("\n")
    last = {line.strip(): place for place, line in enumerate(lines)}
    kept, place = [], 0
    while place < len(lines):
        kept.append(lines[place])
        begun = _HERE_DOCUMENT.search(lines[place])
        place += 1
        if begun is not None and last.get(begun[2], -1) >= place:
            while lines[place].strip() != begun[2]:
                place += 1
            place += 1
    return "\n".join(kept)


def may_change(action: str) -> bool:
    """Whether a shell may hold something else after an action."""
    if len(action) > _LONGEST:
        return True
    commands = _commands(action)
    return _AGENT_COMMAND.fullmatch(commands) is None and _CHANGES.search(commands) is not None


def capture_line(nonce: str, path: str) -> bytes:
    """Have the shell write what it holds to a file, from a subshell: nothing of it is changed. Answers like a probe.

    In the subshell of a command substitution, for that knows the shell's jobs.
    """
    return _evaluated(nonce, f'\\builtin : "$({{ {_CAPTURE} }} >|{path} 2>/dev/null </dev/null)"')


def give_line(nonce: str, state: ShellState) -> bytes:
    """Have a shell hold what another did. Answers like a probe."""
    lines = [f"\\builtin unset -v {name}" for name in state.unset]
    lines += [f"\\builtin export {name}={_word(value)}" for name, value in state.exported.items()]
    lines += [f"{name}={_word(value)}" for name, value in state.variables.items()]
    lines += [f"\\builtin eval -- {_word(text)}" for text in (*state.functions.values(), *state.aliases.values())]
    return _evaluated(nonce, "{\n" + "\n".join([*lines, ":"]) + "\n} 2>/dev/null </dev/null")


def _word(text: str) -> str:
    return "".join(quote(text.encode("utf-8", "surrogateescape")))


def _evaluated(nonce: str, script: str) -> bytes:
    words = "\\\n".join(quote(script.encode("utf-8", "surrogateescape")))
    return probe_line(nonce, before=f"\\builtin eval -- {words};")


class ShellKeeper:
    """Knows what a shell holds that it did not hold at first. Asked only while nothing runs in it."""

    def __init__(self, bash: Bash, sandbox: Sandbox) -> None:
        self._bash = bash
        self._sandbox = sandbox
        self._first: ShellState | None = None
        self._stale = self._silent = False

    async def before(self, action: str) -> None:
        """An action is about to run, or a person to type (`action` is then anything)."""
        if not self._silent and may_change(action):
            self._first = self._first or await self._capture()
            self._stale = True

    def another_shell(self) -> None:
        """A new bash took the place of one that died."""
        self._silent = False
        self._stale = self._first is not None

    async def changes(self) -> ShellState | None:
        """What the shell holds now that it did not at first; None where nobody can have changed that since it was
        asked last, or it does not say.
        """
        if not self._stale or self._silent or self._first is None:
            return None
        self._stale = False
        now = await self._capture()
        return None if now is None else now.since(self._first)

    async def give(self, saved: ShellState) -> list[str]:
        """Have a fresh shell hold what another did. Returns what it does not."""
        self._first = self._first or await self._capture()
        self._bash.hidden = True
        given = await self._bash.answers_to(lambda nonce: give_line(nonce, saved), _PATIENCE)
        now = await self._capture() if given else None
        if now is None or self._first is None:
            return [*saved.names, *saved.other]
        held = now.since(self._first)
        return [name for name in saved.names if name not in held.names] + saved.other

    async def _capture(self) -> ShellState | None:
        before, self._bash.hidden = self._bash.last_status, True
        path = f"/tmp/.mlgym-{self._bash.new_nonce()}"
        with contextlib.suppress(SandboxError):
            answered = await self._bash.answers_to(lambda nonce: capture_line(nonce, path), _PATIENCE)
            self._bash.last_status, self._silent = before, not answered
            if answered:
                read = await self._sandbox.exec(["/bin/sh", "-c", 'cat -- "$1"; rm -f -- "$1"', "sh", path])
                return read_captured(read.stdout) if read.exit_code == 0 else None
        return None
