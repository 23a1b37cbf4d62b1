"""What the host types into the shell: the wrapper around an action, probes, repairs, the hooks of a take-over.

Everything here must work in a shell that an agent has bent: functions and aliases with the names of builtins, closed
descriptors, changed options. So each name is quoted (no alias), goes through `builtin` (no function) or one of its
stand-ins, and no variable is set. Where the first of `VARIANTS` has been broken, a probe finds one that still works.

Bash reads a typed line at 0.2 µs a byte and parses it at more than that, so what is the same for each action stands in
three read-only functions that are typed once, and the line of an action is about 110 bytes and the action.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from workbench.sandbox.base import UNATTENDED

_WORD = 850
"""Bytes quoted into one typed line: at most 3,400 as typed. A terminal in canonical mode takes 4,095."""

_PLAIN = b' abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+=:,;@%&|<>()[]{}*?~^#"$`'
_NAMED = {0x0A: "\\n", 0x27: "\\'", 0x5C: "\\\\"}
_TYPED = [chr(byte) if byte in _PLAIN else _NAMED.get(byte, f"\\{byte:03o}") for byte in range(256)]


class Variant(msgspec.Struct, frozen=True):
    """A way to call builtins and to reach the terminal."""

    call: str
    to_terminal: str = ">/dev/tty"
    from_nothing: str = "</dev/null"


# In the order of how much they ask of the shell. A probe tries all at once, and the first that answers is used.
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

_EDITING = re.compile(r"\b(?:set|source|bind|eval)\b|(?:^|[\s;&|])\.\s")
"""An action that may switch line editing on (`set -o vi`). While it is off when the action begins, bash would then
leave the `eval` in its middle and read commands from the standard input; so it is switched on before."""

_EDITING_OFF = re.compile(r"\bset\b.*\+o\s*\S")
"""An action that may switch line editing off: bash then reads on from standard input, so that must be the terminal."""

_AGENT_MODE = "{call}set +o emacs +o vi +o history +H"
"""No line editing and no history while the host types: neither key bindings nor `histchars` can garble a line."""


def quote(text: bytes) -> list[str]:
    """`text` as `$'…'` words to be joined by backslash-newline: no control character is ever typed raw."""
    pieces = range(0, len(text), _WORD) or (0,)
    return ["$'" + "".join([_TYPED[byte] for byte in text[at : at + _WORD]]) + "'" for at in pieces]


# __mlgym_s prints the start mark, __mlgym_e the end mark within the `eval`, __mlgym_a the one after it, and puts the
# shell back into the state that the host types in. Marks go to /dev/tty, as an action may have redirected the shell's
# own output (`exec >file`); where that cannot be opened (`set -r`), to standard output. `set --` keeps $? from being
# lost to the first command of the function without naming a variable, which an agent could have made read-only. The
# directory is ~+0, not $PWD, which anybody can set; readonly, so that no action redefines the functions by accident.
_FUNCTIONS = r"""
__mlgym_s() {
  \builtin test -t 1 -a -t 2 || \command exec 1>/dev/tty 2>&1
  \builtin printf '\e]133;C;aid=%s\a' "$1" >/dev/tty || \builtin printf '\e]133;C;aid=%s\a' "$1"
}
__mlgym_e() {
  \builtin set -- "$?" "$1"
  \builtin printf '\e]133;D;%s;aid=%s;cwd=%q\a' "$1" "$2" ~+0 >/dev/tty ||
    \builtin printf '\e]133;D;%s;aid=%s;cwd=%q\a' "$1" "$2" ~+0
}
__mlgym_a() {
  \builtin set -- "$?" "$1"
  AGENT_MODE
  REOPEN
  \builtin printf '\e]133;D;%s;aid=%s;cwd=%q\a' "$1" "$2" ~+0 >/dev/tty ||
    \builtin printf '\e]133;D;%s;aid=%s;cwd=%q\a' "$1" "$2" ~+0
}
\builtin readonly -f __mlgym_s __mlgym_e __mlgym_a
"""


def action_line(action: str, nonce: str, variant: Variant | None, *, last_status: int = 0) -> bytes:
    """Start mark, the action, end mark: one line for the shell's parser (several for the terminal when it is long).

    With a `variant` the line needs none of our functions. The end mark stands twice. The one inside the `eval` is
    first and spares an ERR trap from going off for `eval` itself; the one outside counts when the action could not be
    parsed to its end. The host takes the first.
    """
    call = "\\builtin " if variant is None else variant.call
    nothing = "</dev/null" if variant is None else variant.from_nothing
    if variant is None:
        start, end, after = f"\\__mlgym_s {nonce};", f"\\__mlgym_e {nonce}", f"\\__mlgym_a {nonce}"
    else:
        start = f"{call}printf '\\e]133;C;aid={nonce}\\a'{variant.to_terminal};"
        end = f"{call}printf '\\e]133;D;%s;aid={nonce};cwd=%q\\a' \"$?\" ~+0{variant.to_terminal}"
        after = f"{end};{_AGENT_MODE.format(call=call)};{_REOPEN.format(call=call)}"
    # `[[ $- == *e* ]]`: under `set -e` the subshell's status would end the shell.
    if last_status and ("$?" in action or "${?" in action):
        # Only an action that asks for the status of the one before pays for the fork.
        start += f"[[ $- == *e* ]]||({call}exit {last_status});"
    script = f"{start}{action}\n{end}".encode("utf-8", "surrogateescape")
    head = ""
    if variant is not None:  # without __mlgym_s nothing else opens what an action has closed
        head = f"{call}test -t 1 -a -t 2||\\command exec 0<>/dev/tty 1>&0 2>&0;"
    if _EDITING.search(action):
        head += f"{call}set -o emacs;"
        if _EDITING_OFF.search(action):
            nothing = ""
    return f"{head}{call}eval -- {_joined(quote(script))}{nothing};{after}\n".encode()


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
    agent_mode, reopen = _AGENT_MODE.format(call="\\builtin "), _REOPEN.format(call="\\builtin ")
    functions = _FUNCTIONS.replace("AGENT_MODE", agent_mode).replace("REOPEN", reopen)
    define = f"\\builtin eval -- {_joined(quote(functions.encode()))};"
    return probe_line(nonce, before=agent_mode + ";" + _prompt_marks(prompt_nonce) + ";" + define)


def _prompt_marks(prompt_nonce: str) -> str:
    a, b = (f"\\[\\e]133;{kind};aid={prompt_nonce}\\a\\]" for kind in "AB")
    return f"[[ $PS1 == *'{b}' ]]||PS1='{a}'$PS1'{b}'"


# PS0 is printed between the end of a line and its command, and PROMPT_COMMAND runs before each prompt: so the person's
# lines are told apart without a DEBUG trap, which would change what their commands do. The text of a line comes from
# the history, as the person typed it; what could end the mark early (; BEL ESC newlines) is escaped.
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
__mlgym_attend() {
  \builtin local name pair
  for pair in UNATTENDED; do
    name=${pair%%=*}
    if [[ ${!name-} == "${pair#*=}" ]]; then
      \builtin unset -v "$name"
      __mlgym_away+=("$pair")
    fi
  done
}
__mlgym_attend
HISTCONTROL= HISTIGNORE=
\builtin shopt -s cmdhist lithist
\builtin set -o history
"""


def install_hooks(nonce: str, prompt_nonce: str, history: Sequence[str]) -> bytes:
    """Line editing, history and hooks for a person. The first D mark with `nonce` says that they are in place.

    Line editing is switched on outside of the `eval`: within it bash would keep the prompt of a continued line,
    and never come to the primary one.
    """
    unattended = " ".join(f"{name}={value}" for name, value in UNATTENDED.items())
    hooks = _HOOKS.replace("PROMPT_MARKS", _prompt_marks(prompt_nonce)).replace("UNATTENDED", unattended)
    script = hooks.replace("NONCE", nonce).strip().encode()
    for command in history:
        script += b"\n\\builtin history -s -- " + "".join(quote(command.encode("utf-8", "surrogateescape"))).encode()
    return f"\\builtin eval -- {_joined(quote(script))};\\builtin set -o emacs\n".encode()


def as_paste(line: bytes) -> bytes:
    """A line in the brackets of a paste, entered with either of the two keys that do that."""
    return b"\x1b[200~" + line.rstrip(b"\n") + b"\x1b[201~\r\n"


def remove_hooks(nonce: str) -> bytes:
    """Undo `install_hooks` (the marks around the prompt stay), and answer like a probe.

    The variables that the person was without come back, but for those that they set.
    """
    before = (
        "[[ ${PROMPT_COMMAND[0]-} != __mlgym_after ]]||\\builtin unset -v 'PROMPT_COMMAND[0]';"
        "\\builtin unset -v PS0;\\builtin unset -f __mlgym_before __mlgym_after __mlgym_attend;"
        'for __mlgym_x in ${__mlgym_away[@]+"${__mlgym_away[@]}"};do [[ -v ${__mlgym_x%%=*} ]]||'
        '\\builtin export "$__mlgym_x";done;\\builtin unset -v __mlgym_x __mlgym_away;'
    )
    return probe_line(nonce, before=before)


def _joined(words: Sequence[str]) -> str:
    return "\\\n".join(words)
