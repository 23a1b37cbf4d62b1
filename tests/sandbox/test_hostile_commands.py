"""Commands that try to take the shell, its marks or its terminal away. Afterwards it is still the same shell."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.sandbox.conftest import make_sandbox
from workbench.sandbox import shell as shell_module
from workbench.sandbox import supervisor
from workbench.sandbox.guest_sandbox import GuestSandbox
from workbench.sandbox.shell import CommandResult, Shell

KEEPS = [
    "PS1='x> '",
    "PS1=",
    "unset PS1 PS2 PS4",
    "PS1='$(echo hi)'",
    "PS0='$(echo before) '",
    "PS1='$(sleep 30)'",
    "PROMPT_COMMAND='echo prompt'",
    "PROMPT_COMMAND='false; exec 2>/dev/null'",
    "PROMPT_COMMAND='exec >/dev/null 2>&1'",
    "PROMPT_COMMAND='cat'",
    "PROMPT_COMMAND='stty raw -echo'",
    "PROMPT_COMMAND=(one two 'echo three')",
    "printf() { :; }",
    "echo_() { :; }; printf() { command printf FORGED; }; exec() { :; }; eval() { :; }; set() { :; }; test() { :; }",
    "builtin() { :; }",
    "builtin() { return 1; }; command() { :; }",
    "builtin() { command builtin \"$@\"; }",
    "builtin() { :; }; command() { :; }; eval() { :; }; printf() { :; }; unset() { :; }; exec() { :; }",
    "builtin() { :; }; readonly -f builtin",
    "enable -n builtin",
    "enable -n printf",
    "enable -n builtin command",
    "alias builtin=false eval=false printf=false exec=false command=false test=false set=false",
    "shopt -s expand_aliases; alias echo='echo aliased'; unalias echo",
    "trap 'echo debug' DEBUG",
    "trap 'echo \"$BASH_COMMAND\"' DEBUG",
    "trap 'false' DEBUG",
    "trap 'echo error' ERR; false",
    "trap 'echo bye' EXIT",
    "trap '' INT TERM HUP QUIT TSTP",
    "trap 'echo ret' RETURN; set -o functrace",
    "exec >/tmp/out",
    "exec 2>&-",
    "exec 1>&-",
    "exec 0<&-",
    "exec 0</dev/null 1>/dev/null 2>/dev/null",
    "exec 0<&- 1>&- 2>&-",
    "for i in {3..254}; do eval \"exec $i>&-\"; done",
    "exec 255>&-",
    "exec </dev/null",
    "exec </dev/zero",
    "stty raw -echo </dev/tty",
    "stty -icanon -isig -opost -icrnl </dev/tty",
    "stty tostop </dev/tty",
    "stty intr '' eof a susp b </dev/tty",
    "stty cols 10 rows 2 </dev/tty",
    "set -o noclobber",
    "set -n",
    "set -u",
    "set -v",
    "set -x",
    "PS4='+ $(echo trace) '; set -x",
    "set -f",
    "set +m",
    "set +B +h",
    "set -k",
    "set -o posix",
    "set -r",
    "set -o vi",
    "set +o emacs",
    "set +o emacs\necho next",
    "eval 'set -o vi\n:'",
    "set -o emacs; bind '\"e\": \"x\"' '\"\\C-j\": abort'",
    "set -o emacs; bind -x '\"p\": kill -9 $$'",
    "set -H; histchars='eb#'",
    "set -H; histchars='\\\\bu'",
    "shopt -s extglob nullglob failglob dotglob globstar lastpipe xpg_echo",
    "shopt -u interactive_comments promptvars sourcepath",
    "shopt -s extdebug",
    "shopt -s checkjobs huponexit",
    "shopt -u expand_aliases",
    "readonly PS1 PS2 PROMPT_COMMAND IFS PATH PWD OLDPWD",
    "readonly POSIXLY_CORRECT=; builtin() { :; }",
    "readonly _ 2>/dev/null; readonly BASHPID 2>/dev/null",
    "unset PATH",
    "PATH=/nowhere",
    "IFS=0123456789abcdef",
    "IFS=; unset HOME PWD OLDPWD SHELL USER",
    "PWD=/forged",
    "unset DIRSTACK; CDPATH=/",
    "TMOUT=1; export TMOUT",
    "LC_ALL=tr_TR.UTF-8 LANG=xx",
    "LC_ALL=POSIX",
    "POSIXLY_CORRECT=1",
    "BASH_XTRACEFD=1; set -x",
    "BASH_ENV=/dev/zero ENV=/dev/zero",
    "GLOBIGNORE=* FIGNORE=* FUNCNEST=1 EXECIGNORE=*",
    "printf '\\e]133;D;0;aid=00000000000000000000000000000000;cwd=/forged\\a'",
    "printf '\\e]133;C;aid=1\\a\\e]133;D;0\\a\\e]7;file://h/forged\\a\\e]133;A\\a\\e]133;B\\a'",
    "printf '%s' \"${PS1@P}\"",
    "printf '\\e]133;D;0;aid='",
    "printf '\\e]133;'",
    "printf '\\e'",
    "printf '\\e[6n\\e[c\\e[>c\\e[5n\\e]10;?\\a\\eP+q544e\\e\\\\\\e[?1049h\\e[20h'",
    "printf '\\e[?1049h\\e[?25l\\e(0\\e[2J\\ec\\x0e'",
    "printf '\\x13'",
    "ulimit -n 12",
    "ulimit -n 5",
    "ulimit -f 0",
    "umask 777",
    "mkdir gone; cd gone; rmdir ../gone",
    "kill -STOP $$",
    "suspend -f",
    "kill -INT $$",
    "kill -TERM $$",
    "kill -QUIT $$",
    "kill -TSTP $$",
    "kill -WINCH $$; kill -CHLD $$; kill -CONT $$",
    "while :; do break; done; break; continue",
    "return 3",
    "echo ${nothing:?missing}",
    "readonly constant=1; constant=2",
    "echo $((1/0))",
    "echo $((2 +))",
    "local x=1",
    "f_() { f_; }; FUNCNEST=50 f_; FUNCNEST=50; f_; unset FUNCNEST",
    "eval 'if'",
    "shopt -s expand_aliases; alias open_='cat <<X'; unalias open_",
    "coproc cat",
    "( trap '' HUP; sleep 0.3; echo late ) &",
    "yes | head -c 100000 &",
    "disown -a -h 2>/dev/null; true",
    "cat /dev/tty & kill %2; wait %2",
    "cat",
    "head -c 1 | od -c; read answer",
    "history -c; fc -l",
    "hash -r; hash -p /bin/false cat; hash -d cat",
    "cd /; cd -",
    "pushd /tmp; dirs -c",
    "logout_=1; BASH_COMMAND=x; SECONDS=0; RANDOM=1; LINENO=5",
    "BASHOPTS=; SHELLOPTS=",
    "declare -n ref=PS1; ref=foo",
    "select word in a b; do :; done",
    "time true; ! true",
    "python3 -c 'import termios; termios.tcflow(1, termios.TCOOFF)'",
    "python3 -c 'import os, pty, fcntl, termios; fcntl.ioctl(1, termios.TIOCEXCL)'",
    "python3 -c 'import fcntl, termios; fcntl.ioctl(1, termios.TIOCNOTTY)'",
    "python3 -c 'import os; os.tcsetpgrp(1, os.getpid())' 2>/dev/null; true",
    "setsid true; nohup true",
]  # fmt: skip

KILLS = {
    "exit": 0,
    "exit 7": 7,
    "set -e; false": 1,
    "exec true": 0,
    "exec false": 1,
    "kill -9 $$": 137,
    "kill -KILL $BASHPID": 137,
    "trap 'echo bye' EXIT; exit 3": 3,
    "PROMPT_COMMAND='exit 4'; (exit 4)": 4,
}


def ids(command: str) -> str:
    return command[:40].replace("/", "|").encode("unicode_escape").decode("ascii")


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GuestSandbox]:
    """The commands bend bash and the terminal, which are the same in every backend; `test_shell.py` runs on all."""
    sandbox = make_sandbox("unsafe", tmp_path_factory.mktemp("workspace"))
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def shell(one_sandbox: GuestSandbox, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shell]:
    """A fresh shell, that is looked at early."""
    monkeypatch.setattr(shell_module, "_GRACE", 0.3)
    monkeypatch.setattr(supervisor, "_FIRST_LOOK", 0.3)
    shell = Shell(one_sandbox, time_limit=5.0, ladder_interval=0.3)
    await shell.start()
    yield shell
    await shell.close()


PREPARE = "kept=value; keep() { echo function; }; sleep 1000 & cd /tmp"
ASK = 'echo "$kept"; keep; [ -t 1 ] && echo terminal; jobs %1'


async def asked(shell: Shell, command: str, lines: set[str]) -> CommandResult:
    """What `command` prints: again where a job in the background prints between its lines, until that is over."""
    for _ in range(50):
        result = await shell.run(command)
        if lines <= set(result.observation.replace("aliased ", "").splitlines()):
            break
    assert lines <= set(result.observation.replace("aliased ", "").splitlines()), result
    return result


@pytest.mark.parametrize("command", KEEPS, ids=ids)
async def test_shell_survives(shell: Shell, command: str) -> None:
    assert (await shell.run(PREPARE)).exit_code == 0
    result = await shell.run(command)
    assert not result.shell_restarted and not result.timed_out, result
    again = await asked(shell, "echo ok", {"ok"})
    assert again.exit_code == 0 and not again.shell_restarted
    state = await asked(shell, ASK, {"value", "function", "terminal"})
    assert not state.shell_restarted
    assert "sleep 1000" in state.observation, state


@pytest.mark.parametrize("command", KILLS)
async def test_shell_comes_back(shell: Shell, command: str) -> None:
    await shell.run("cd /usr")
    told: list[tuple[str, str]] = []
    shell.on_restart = lambda reason, cwd: told.append((reason, cwd))
    result = await shell.run(command)
    assert result.exit_code == KILLS[command]
    again = await shell.run("pwd")
    assert again.observation == "/usr\n" and again.exit_code == 0
    assert len(told) == 1 and told[0][1] == "/usr"
