"""What the host types into the shell: the wrapper around an action, probes, repairs, the hooks of a take-over.

Everything here must work in a shell that an agent has bent: functions and aliases with the names of builtins, closed
descriptors, changed options. So each name is quoted (no alias), goes through `builtin` (no function) or one of its
stand-ins, and no variable is set. Where `Variant.NORMAL` has been broken, a probe finds a variant that still works.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_WORD = 900
"""Bytes quoted into one typed line: at most 3,600 as typed. A terminal in canonical mode takes 4,095."""

_PLAIN = b' abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+=:,;@%&|<>()[]{}*?~^#"$`'
_TYPED = [chr(byte) if byte in _PLAIN else "\\n" if byte == 0x0A else f"\\{byte:03o}" for byte in range(256)]


@dataclass(frozen=True)
class Variant:
    """A way to call builtins and to reach the terminal."""

    call: str
    to_terminal: str = ">/dev/tty"
    from_nothing: str = "</dev/null"


VARIANTS: tuple[Variant, ...] = (
    Variant("\\builtin "),
    Variant("\\command "),  # `builtin` is a function, or disabled
    Variant("\\"),  # so is `command`
    Variant("\\builtin ", to_terminal=""),  # a restricted shell (`set -r`)
    Variant("\\builtin ", to_terminal="", from_nothing=""),  # no descriptor left (`ulimit -n`)
    Variant("\\", to_terminal="", from_nothing=""),
)

_REOPEN = (
    "{call}test -t 0 -a -t 1 -a -t 2||\\command exec 0<>/dev/tty 1>&0 2>&0;"
    "{call}test -t 0 -a -t 1 -a -t 2||\\exec 0<>/dev/tty 1>&0 2>&0"
)
"""`builtin exec` would undo its redirections at once; `command exec` does not."""

_BEFORE_ACTION = "{call}test -t 1 -a -t 2||\\command exec 0<>/dev/tty 1>&0 2>&0;{call}set -o emacs"
"""A prompt hook may have redirected the shell. With line editing on, `set -o vi` in an action is harmless; while it
is off, bash would go on reading commands from its standard input in the middle of the `eval`."""

_EDITING_OFF = re.compile(r"\bset\b.*\+o\s*\S")
"""An action that may switch line editing off: bash then reads on from standard input, so that must be the terminal."""

_AGENT_MODE = "{call}set +o emacs +o vi +o history +H"
"""No line editing and no history while the host types: neither key bindings nor `histchars` can garble a line."""


def quote(text: bytes) -> list[str]:
    """`text` as `$'…'` words to be joined by backslash-newline: no control character is ever typed raw."""
    pieces = range(0, len(text), _WORD) or (0,)
    return ["$'" + "".join([_TYPED[byte] for byte in text[at : at + _WORD]]) + "'" for at in pieces]


def action_line(action: str, nonce: str, variant: Variant, *, last_status: int = 0) -> bytes:
    """Start mark, the action, end mark: one line for the shell's parser (several for the terminal when it is long).

    The end mark stands twice. The one inside the `eval` is first and spares an ERR trap from going off for `eval`
    itself; the one outside counts when the action could not be parsed to its end. The host takes the first.
    """
    call = variant.call
    end = f"{call}printf '\\e]133;D;%s;aid={nonce};cwd=%q\\a' \"$?\" ~+0{variant.to_terminal}"
    start = f"{call}printf '\\e]133;C;aid={nonce}\\a'{variant.to_terminal};"
    if last_status and ("$?" in action or "${?" in action):
        # Only an action that asks for it pays for the fork. Under `set -e` it would end the shell.
        start += f"[[ $- == *e* ]]||({call}exit {last_status});"
    script = start.encode() + action.encode("utf-8", "surrogateescape") + b"\n" + end.encode()
    head = _BEFORE_ACTION.format(call=call)
    nothing = "" if _EDITING_OFF.search(action) else variant.from_nothing
    tail = f"{end};{_AGENT_MODE.format(call=call)};{_REOPEN.format(call=call)}"
    return f"{head};{call}eval -- {_joined(quote(script))}{nothing};{tail}\n".encode()


def probe_line(nonce: str, variant: Variant = VARIANTS[0], before: str = "") -> bytes:
    """A line that answers with a D mark: last exit status, directory, process id. `before`: commands ahead of it.

    The shell reads its lines in order: when it answers, it has read everything that was typed before.
    """
    call = variant.call
    return (
        f"{before}{call}printf '\\e]133;D;%s;aid={nonce};cwd=%q;pid=%s\\a' \"$?\" ~+0 $${variant.to_terminal};"
        f"{_AGENT_MODE.format(call=call)};{_REOPEN.format(call=call)}\n"
    ).encode()


def repair_lines() -> bytes:
    """Give builtins their names back. In POSIX mode special builtins come before functions, so `unset` is `unset`."""
    names = "builtin command eval exec printf set test unset enable shopt"
    return (
        f"POSIXLY_CORRECT=1\n\\unset -f {names}\n\\unset POSIXLY_CORRECT\n\\enable builtin\n\\builtin enable {names}\n"
    ).encode()


def free_prompt(prompt_nonce: str) -> bytes:
    """Interrupt what holds up the prompt (which also drops what was typed and not read), and take away the hooks."""
    names = "PROMPT_COMMAND PS0 PS1 TMOUT"
    lines = [f"{call}unset -v {names}" for call in ("\\builtin ", "\\")]
    lines.append(f"PS1='\\w\\$ ';{_prompt_marks(prompt_nonce)}")
    return b"\x03" + "\n".join(lines).encode() + b"\n"


def start_line(nonce: str, prompt_nonce: str) -> bytes:
    """The first line that a fresh shell gets: marks around its prompt, and the settings for typing by the host."""
    return probe_line(nonce, before=_AGENT_MODE.format(call="\\builtin ") + ";" + _prompt_marks(prompt_nonce) + ";")


def _prompt_marks(prompt_nonce: str) -> str:
    a, b = (f"\\[\\e]133;{kind};aid={prompt_nonce}\\a\\]" for kind in "AB")
    return f"[[ $PS1 == *'{b}' ]]||PS1='{a}'$PS1'{b}'"


_HOOKS = r"""
__mlgym_before() {
  \builtin local text
  text=$(HISTTIMEFORMAT= \builtin history 1)
  text=${text#"${text%%[!$' \t\n']*}"}
  text=${text#"${text%%[!0-9]*}"}
  text=${text:2}
  text=${text//'\'/'\\'}
  text=${text//';'/'\x3b'}
  text=${text//$'\n'/'\x0a'}
  text=${text//$'\r'/'\x0d'}
  text=${text//$'\e'/'\x1b'}
  text=${text//$'\a'/'\x07'}
  \builtin printf '\e]633;E;%s;aid=NONCE\a\e]133;C;aid=NONCE\a' "$text"
}
__mlgym_after() {
  \builtin printf '\e]133;D;%s;aid=NONCE;cwd=%q\a' "$?" ~+0 >/dev/tty
  PS0='$(__mlgym_before)'
  PROMPT_MARKS
}
[[ ${PROMPT_COMMAND[0]-} == __mlgym_after ]] ||
  PROMPT_COMMAND=(__mlgym_after ${PROMPT_COMMAND[0]+"${PROMPT_COMMAND[@]}"})
HISTCONTROL= HISTIGNORE=
\builtin shopt -s cmdhist lithist
\builtin set -o history -o emacs
"""


def install_hooks(nonce: str, prompt_nonce: str, history: Sequence[str]) -> bytes:
    """Line editing, history and hooks for a person. The first D mark with `nonce` says that they are in place."""
    script = _HOOKS.replace("PROMPT_MARKS", _prompt_marks(prompt_nonce)).replace("NONCE", nonce).strip().encode()
    for command in history:
        script += b"\n\\builtin history -s -- " + "".join(quote(command.encode("utf-8", "surrogateescape"))).encode()
    return f"\\builtin eval -- {_joined(quote(script))}\n".encode()


def remove_hooks(nonce: str) -> bytes:
    """Undo `install_hooks` (the marks around the prompt stay), and answer like a probe."""
    before = (
        "[[ ${PROMPT_COMMAND[0]-} != __mlgym_after ]]||\\builtin unset -v 'PROMPT_COMMAND[0]';"
        "\\builtin unset -v PS0;\\builtin unset -f __mlgym_before __mlgym_after;"
    )
    return probe_line(nonce, before=before)


def _joined(words: Sequence[str]) -> str:
    return "\\\n".join(words)
