"""The shared shell: what an agent's commands return, limits, deaths, and a person at the keys."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.sandbox.conftest import BACKENDS, PATIENCE, make_sandbox
from workbench.sandbox import shell as shell_module
from workbench.sandbox.base import AGENT_COLUMNS, AGENT_ROWS
from workbench.sandbox.guest_sandbox import GuestSandbox
from workbench.sandbox.pty import Pty, SignalName
from workbench.sandbox.screen import CLEARED_NOTE, FULL_SCREEN_NOTE, LEFT_OPEN_NOTE
from workbench.sandbox.shell import CommandResult, Shell, ShellBusy
from workbench.sandbox.shell_state import may_change
from workbench.sandbox.supervisor import Supervisor
from workbench.sandbox.syntax import ends_in_continuation, plainly_safe


class Watched:
    """A shell and what its panes were given."""

    def __init__(self, sandbox: GuestSandbox) -> None:
        self.sandbox = sandbox
        self.shell = Shell(sandbox, time_limit=20.0, ladder_interval=0.3)
        self.shown = bytearray()
        self.restarts: list[tuple[str, str]] = []
        self.started: list[str] = []
        self.finished: list[tuple[str, CommandResult]] = []
        self.shell.on_display = self.shown.extend
        self.shell.on_restart = lambda reason, cwd: self.restarts.append((reason, cwd))

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait for a condition."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not done():  # noqa: ASYNC110 - conditions of several sources
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(f"waited in vain: {self.finished[-2:]} {bytes(self.shown[-600:])!r}") from None

    async def take_over(self, columns: int = 90, rows: int = 30) -> None:
        """A person comes."""
        await self.shell.take_over(
            columns,
            rows,
            on_command_started=self.started.append,
            on_command_finished=lambda text, result: self.finished.append((text, result)),
        )

    async def enter(self, keys: str) -> CommandResult:
        """Type, and wait for the next command to finish."""
        before = len(self.finished)
        self.shell.send_keys(keys.encode())
        await self.until(lambda: len(self.finished) > before)
        return self.finished[-1][1]


def runs(*argv: str) -> bool:
    """Whether somewhere on this machine a process has these arguments."""
    said = b"".join(os.fsencode(word) + b"\0" for word in argv)
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if file.read_bytes() == said:
                return True
    return False


pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:.*but it is not an async function"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BACKENDS)
async def sandbox(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[GuestSandbox]:
    """One sandbox of each backend for all: a shell can do no harm to the next."""
    folder = tmp_path_factory.mktemp("shells") / "workspace"
    folder.mkdir()
    made = make_sandbox(request.param, folder)
    await made.start()
    yield made
    await made.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def watched(sandbox: GuestSandbox) -> AsyncIterator[Watched]:
    """A fresh shell in each backend, and an empty workspace."""
    watched = Watched(sandbox)
    await watched.shell.start()
    yield watched
    await watched.shell.close()
    if any(sandbox.workspace_folder.iterdir()):
        done = await sandbox.exec(["find", sandbox.workspace, "-mindepth", "1", "-delete"])
        assert done.exit_code == 0, done


async def test_the_first_prompt_is_shown_though_it_comes_with_the_answer_before_it(
    sandbox: GuestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_shell = sandbox.open_shell

    async def in_one_piece(cwd: str, columns: int, rows: int) -> Pty:
        pty = await open_shell(cwd, columns, rows)
        listen, held = pty.listen, bytearray()

        def listen_late(on_output: Callable[[bytes], None], on_exit: Callable[[int], None]) -> None:
            def collect(data: bytes) -> None:
                held.extend(data)
                if b"]133;B;" in held:
                    on_output(bytes(held))
                    held.clear()

            listen(collect, on_exit)

        monkeypatch.setattr(pty, "listen", listen_late)
        return pty

    monkeypatch.setattr(sandbox, "open_shell", in_one_piece)
    watched = Watched(sandbox)
    await watched.shell.start()
    await watched.until(lambda: b"$ " in watched.shown)
    await watched.shell.close()


async def test_results_of_commands(watched: Watched, sandbox: GuestSandbox) -> None:
    (sandbox.workspace_folder / "hello.txt").write_text("hello\n")
    run = watched.shell.run
    home = sandbox.workspace
    outcomes = {
        "echo hi": (0, "hi\n", home),
        "false": (1, "", home),
        "echo $?": (0, "1\n", home),
        "(exit 7)": (7, "", home),
        "echo status $?": (0, "status 7\n", home),
        "mkdir -p 'a b' && cd 'a b'": (0, "", f"{home}/a b"),
        "cd ..": (0, "", home),
        "printf abc": (0, "abc", home),
        "cat": (0, "", home),
        "read line; echo \"[$line]\"": (0, "[]\n", home),
        "cat <<'END'\n$a `b`\nEND": (0, "$a `b`\n", home),
        "for i in 1 2\ndo\n  echo $i\ndone": (0, "1\n2\n", home),
        "f() {\n  echo in f\n}\nf": (0, "in f\n", home),
        "echo 'it''s' \"é ! \\\\ $((1+1))\" # done": (0, "its é ! \\ 2\n", home),
        "printf '\\n\\nx\\n'": (0, "\n\nx\n", home),
        "": (0, "", home),
        "# nothing": (0, "", home),
        "[ -t 1 ] && echo terminal": (0, "terminal\n", home),
        "stty size </dev/tty": (0, f"{AGENT_ROWS} {AGENT_COLUMNS}\n", home),
        "nosuchcommand": (127, "bash: nosuchcommand: command not found\n", home),
        "ls *.txt | grep -c hello; echo \"done\" > out; cat < out": (0, "1\ndone\n", home),
    }  # fmt: skip
    for action, expected in outcomes.items():
        result = await run(action)
        assert (result.exit_code, result.observation, result.cwd) == expected, action
        assert result.raw is None and 0 <= result.duration < 10 and not result.shell_restarted
    assert watched.restarts == []
    shown = watched.shown.decode()
    assert "~/workspace$ echo hi\r\nhi\r\n" in shown
    assert "__mlgym" not in shown and "builtin" not in shown


@pytest.mark.parametrize(
    "action",
    [
        "echo 'a",
        'echo "',
        "if true",
        "cat <<X\na",
        "echo a\\",
        "echo $(",
        "{ echo",
        "a )",
        "echo a |",
        "echo touched\nfi",
    ],
)
async def test_refused_before_anything_runs(watched: Watched, action: str) -> None:
    await watched.shell.run("kept=1")
    result = await watched.shell.run(action)
    assert (result.exit_code, result.refused) == (2, True)
    assert result.observation.startswith("bash: ") and "touched\n" not in result.observation.partition("`")[0]
    assert (await watched.shell.run("echo $kept")).observation == "1\n"


def test_the_shell_is_asked_what_it_holds_where_an_action_may_have_changed_that() -> None:
    changing = ["export X=1", "open a.py; export X=1", "open a.py && . ./env", "open a.py\nX=1", "edit <<E\n1\nE\nX=1"]
    others = ["ls", "open a.py", "search_file 'x = 1' a.py", "edit 1:2 a.py <<'E'\nX=1\nexport Y\nE", "goto 3\n"]
    assert [action for action in [*changing, *others] if may_change(action)] == changing


def test_plainly_safe_is_only_what_parses_for_certain() -> None:
    for safe in ("ls -la", "cd /x && python t.py --lr=1 > log 2>&1", "a | b; c", "echo 'a b' \"c\" $HOME &", "x=1 y"):
        assert plainly_safe(safe)
    for unsure in (
        "echo 'a",
        "if",
        "a; ; b",
        "a |",
        "echo $(b)",
        "cat <<E",
        "a[1",
        "f()",
        "echo a\nfi",
        "! a",
        "a > > b",
    ):
        assert not plainly_safe(unsure)
    assert ends_in_continuation("a\\") and ends_in_continuation("a\\\\\\\n")
    assert not ends_in_continuation("a\\\\") and not ends_in_continuation("a # b\\")


@pytest.mark.parametrize("piece", ["a", "$a", "$ab", "'a'", "a ", " ", "a;", "a > b ", "2", "'", '"'], ids=repr)
def test_an_action_of_any_length_is_judged_in_one_pass(piece: str) -> None:
    # Anything but one pass over this much would take for ever.
    assert not plainly_safe(f"a {piece * (3900 // len(piece))}(")


async def test_much_output(watched: Watched) -> None:
    result = await watched.shell.run("head -c 1000000 /dev/zero | tr '\\0' x | fold -w 99; echo; echo end")
    assert result.truncated
    assert (
        len(result.observation) < 30_200 and result.observation.endswith("\nend\n") and "left out" in result.observation
    )
    flood = await watched.shell.run("yes 0123456789012345678901234567890123456789 | head -c 20000000")
    assert flood.exit_code == 0 and len(flood.observation) < 30_200


async def test_results_between_megabytes_of_bars(watched: Watched) -> None:
    bars = (
        "import sys\n"
        "for epoch in range(12):\n"
        "    for step in range(4000):\n"
        "        sys.stdout.write(f'\\repoch {epoch}: {step:4}/4000|{\"█\" * (step // 100):40}| loss={step:.3f}')\n"
        "    sys.stdout.write('\\r' + ' ' * 100 + f'\\repoch {epoch} val_acc=0.{epoch}\\n')\n"
    )
    await watched.shell.run(f"cat >bars.py <<'E'\n{bars}E")
    result = await watched.shell.run("python3 bars.py")
    assert not result.truncated
    assert result.observation == "".join(f"epoch {epoch} val_acc=0.{epoch}\n" for epoch in range(12))


async def test_what_a_command_leaves_the_terminal_in_ends_with_it(watched: Watched) -> None:
    result = await watched.shell.run(r"echo before; printf '\e[?1049h\e[?25l\e[?1000h'; echo after; echo more")
    assert (result.exit_code, result.observation) == (0, f"before\n{LEFT_OPEN_NOTE}\nafter\nmore\n")
    assert b"more\r\n\x1b[?1049l\x1b[?25h\x1b[?1000l" in watched.shown
    assert (await watched.shell.run(r"printf '\e]0;never ends\nnext'")).observation == "\nnext"
    assert (await watched.shell.run("echo old; clear; echo new")).observation == f"old\n{CLEARED_NOTE}\nnew\n"
    await watched.take_over()
    await watched.enter(r"printf '\e[?1049h\e[?1000h'" + "\r")
    assert b"\x1b[?1049l\x1b[?1000l" in watched.shown


async def test_output_that_is_not_text(watched: Watched) -> None:
    result = await watched.shell.run("printf 'a\\0b\\377\\n'")
    assert (result.observation, result.raw) == ("ab\ufffd\n", b"a\0b\xff\r\n")


async def test_large_action(watched: Watched) -> None:
    body = "".join(f"line {number} 'it' \"x\" \\ ! $ é\n" for number in range(3000))
    result = await watched.shell.run(f"cat > big <<'END'\n{body}END\nwc -c < big")
    assert result.observation.strip() == str(len(body.encode()))


@pytest.mark.parametrize(
    ("action", "name"),
    [
        ("echo before; sleep 60; echo after", "INT"),
        ("echo before; while :; do :; done", "INT"),
        ("(trap '' INT; echo before; sleep 60)", "TERM"),
        ("(trap '' INT TERM; echo before; while :; do sleep 60; done)", "KILL"),
    ],
)
async def test_time_limit(watched: Watched, action: str, name: SignalName, monkeypatch: pytest.MonkeyPatch) -> None:
    send = Supervisor._signal_and_wait

    async def patiently(self: Supervisor, sent: SignalName) -> bool:
        self._interval = 0.05 if sent != name else PATIENCE  # what ends it has the time that a busy machine takes
        return await send(self, sent)

    monkeypatch.setattr(Supervisor, "_signal_and_wait", patiently)
    monkeypatch.setattr(shell_module, "_GRACE", 0.0)
    await watched.shell.run("kept=1; PS1='changed> '")
    running = asyncio.ensure_future(watched.shell.run(action, time_limit=60.0))
    await watched.until(lambda: watched.shown.endswith(b"\r\nbefore\r\n"))
    assert watched.shell.extend_time_limit(-60.0)
    result = await running
    assert result.timed_out and not result.interrupted and result.signal == name
    assert result.exit_code not in (0, None) and result.observation.startswith("before\n")
    assert "after" not in result.observation.partition("\n")[2]
    assert (await watched.shell.run("echo $kept")).observation == "1\n"


async def test_an_interrupt_before_the_command_is_typed_counts(watched: Watched) -> None:
    running = asyncio.ensure_future(watched.shell.run("sleep 60 # $(true): checked by a process of its own"))
    await asyncio.sleep(0)
    assert watched.shell.running
    await watched.shell.interrupt()
    result = await running
    assert result.interrupted and result.exit_code == 130 and result.duration == 0
    assert (await watched.shell.run("echo on")).observation == "on\n"


async def test_interrupt_and_more_time(watched: Watched) -> None:
    running = asyncio.ensure_future(watched.shell.run("echo before; sleep 60; echo after"))
    await watched.until(lambda: watched.shown.endswith(b"\r\nbefore\r\n"))
    assert watched.shell.running
    await watched.shell.interrupt()
    result = await running
    assert result.interrupted and not result.timed_out and result.exit_code == 130
    assert result.observation.strip() == "before"
    await watched.shell.interrupt()  # nothing runs: nothing happens
    running = asyncio.ensure_future(watched.shell.run("sleep 0.3; echo late", time_limit=0.2))
    await watched.until(lambda: watched.shell.running)
    releases = [watched.shell.hold_time_limit() for _ in range(2)]
    result = await running
    assert result.observation == "late\n", result
    releases.pop()()
    releases.pop()()  # the command is over: nothing happens


async def test_a_held_time_limit_goes_on_afterwards(watched: Watched) -> None:
    """Holds at the same time count once, and what they took is all that the command gains."""
    running = asyncio.ensure_future(watched.shell.run("sleep 60", time_limit=0.1))
    await watched.until(lambda: watched.shell.running)
    releases = [watched.shell.hold_time_limit() for _ in range(3)]
    await asyncio.wait({running}, timeout=0.2)
    assert not running.done()
    for release in releases:
        release()
    result = await running
    assert result.timed_out and 0.27 <= result.duration < PATIENCE


@pytest.mark.parametrize(
    ("action", "code"), [("exit 3", 3), ("exec false", 1), ("set -e; false", 1), ("kill -9 $$", 137)]
)
async def test_death(watched: Watched, action: str, code: int) -> None:
    await watched.shell.run("cd /usr")
    result = await watched.shell.run("echo last words; " + action)
    assert (result.exit_code, result.shell_restarted, result.cwd) == (code, True, "/usr")
    assert result.observation.startswith("last words\n")
    assert result.signal == ("KILL" if code == 137 else "")
    assert [cwd for _, cwd in watched.restarts] == ["/usr"] and watched.shell.alive
    assert (await watched.shell.run("pwd")).observation == "/usr\n"


async def test_death_in_between(watched: Watched) -> None:
    await watched.shell.run("cd /usr; (sleep 0.1; kill -9 $$) &")
    await watched.until(lambda: not watched.shell.alive)
    result = await watched.shell.run("pwd")
    assert (result.observation, result.shell_restarted) == ("/usr\n", True)
    assert len(watched.restarts) == 1


async def test_background_jobs_go_on(watched: Watched) -> None:
    await watched.shell.run("(while [ ! -e go ]; do sleep 0.02; done; echo late; touch gone) & sleep 100 &")
    await watched.shell.run("touch go; while [ ! -e gone ]; do sleep 0.02; done")
    result = await watched.shell.run("echo mine; jobs -r")
    assert "mine\n" in result.observation and "sleep 100" in result.observation


async def test_one_at_a_time(watched: Watched) -> None:
    running = asyncio.ensure_future(watched.shell.run("sleep 0.2"))
    await watched.until(lambda: watched.shell.running)
    with pytest.raises(ShellBusy):
        await watched.shell.run("echo")
    with pytest.raises(ShellBusy):
        await watched.take_over()
    assert (await running).exit_code == 0


async def test_cancelled_run_does_not_go_on(watched: Watched) -> None:
    running = asyncio.ensure_future(watched.shell.run("sleep 60; touch went_on"))
    await watched.until(lambda: watched.shell.running)
    running.cancel()
    await asyncio.wait({running})
    await watched.until(lambda: not watched.shell.running)
    assert (await watched.shell.run("ls went_on")).exit_code == 2


async def test_trace_shows_the_action_only(watched: Watched) -> None:
    await watched.shell.run("set -x")
    result = await watched.shell.run("echo traced")
    assert result.observation.endswith("+ echo traced\ntraced\n") and "__mlgym" not in result.observation
    result = await watched.shell.run("set +x; trap 'echo ERR' ERR; false")
    assert result.observation.endswith("ERR\n") and result.observation.count("\nERR\n") == 1


# -- a person ----------------------------------------------------------------------------------------------------------


async def test_person_and_agent_share_the_shell(watched: Watched) -> None:
    await watched.shell.run("x=agent; f() { echo function; }; cd /usr")
    await watched.take_over()
    result = await watched.enter("echo $x; f; stty size; y=person\r")
    assert result.observation == "agent\nfunction\n30 90\n" and (result.exit_code, result.cwd) == (0, "/usr")
    assert (await watched.enter("\r\r  \rcd /tmp; false\r")).exit_code == 1
    result = await watched.enter("for i in 1 2\rdo echo $i\rdone\r")
    assert result.observation == "1\n2\n"
    assert (await watched.enter("echo 'a;b\\c'; cat <<E\rhello\rE\r")).observation == "a;b\\c\nhello\n"
    assert (await watched.enter(" echo again\r")).observation == "again\n"
    assert (await watched.enter("\x1b[A\r")).observation == "again\n"
    texts = ["echo $x; f; stty size; y=person", "cd /tmp; false", "for i in 1 2\ndo echo $i\ndone"]
    texts += ["echo 'a;b\\c'; cat <<E\nhello\nE", " echo again", " echo again"]
    assert watched.started == [text for text, _ in watched.finished] == texts
    watched.shell.send_keys(b"half a li")
    await watched.shell.hand_back()
    result = await watched.shell.run(
        "echo $y $PWD; stty size </dev/tty; echo $PROMPT_COMMAND$PS0; declare -F __mlgym_after"
    )
    assert result.observation == f"person /tmp\n{AGENT_ROWS} {AGENT_COLUMNS}\n\n"
    assert len(watched.finished) == len(texts)
    shown = watched.shown.decode()
    assert "__mlgym" not in shown.replace("declare -F __mlgym_after", "") and "eval" not in shown


async def test_the_shell_is_the_persons_until_it_is_handed_back(watched: Watched) -> None:
    await watched.take_over()
    giving = asyncio.ensure_future(watched.shell.hand_back())
    while not giving.done():
        assert watched.shell.driven_by_person
        with pytest.raises(ShellBusy):
            await watched.shell.run("echo too early")
        await asyncio.sleep(0)
    await watched.shell.hand_back()
    assert not watched.shell.driven_by_person and (await watched.shell.run("echo now")).observation == "now\n"


async def test_nothing_of_the_hand_back_is_shown_but_the_prompt(watched: Watched) -> None:
    await watched.take_over()
    await watched.enter("echo mine\r")
    await watched.until(lambda: watched.shown.endswith((b"$ ", b"# ")))
    before = len(watched.shown)
    await watched.shell.hand_back()
    await watched.until(lambda: b"$ " in watched.shown[before:])
    shown = watched.shown[before:].decode()
    assert "^C" not in shown and "\n" not in shown, "all on the line of the prompt"
    assert (await watched.shell.run("echo agent")).observation == "agent\n"
    after = watched.shown[before:].decode().split("$ ")
    assert after[1].startswith("echo agent\r\nagent\r\n"), "at the one prompt"


async def test_an_action_may_be_shown_as_it_was_written(watched: Watched) -> None:
    await watched.shell.run("cat <<'E'\ntext\nE", shown="edit as it was")
    assert "$ edit as it was\r\ntext\r\n" in watched.shown.decode()


async def test_what_something_else_types_is_not_the_persons(watched: Watched) -> None:
    """A job of the agent that types a line while a person has the shell. Where something confines, it cannot at all."""
    job = (
        "import fcntl, os, sys, termios, time\n"
        "while not os.path.exists('now'): time.sleep(0.01)\n"
        "terminal = os.open('/dev/tty', os.O_RDWR)\n"
        "try:\n"
        "    for letter in b'echo forged\\n': fcntl.ioctl(terminal, termios.TIOCSTI, bytes([letter]))\n"
        "    outcome = 'typed'\n"
        "except OSError: outcome = 'refused'\n"
        "os.rename(os.open('draft', os.O_CREAT) and 'draft', outcome)\n"
    )
    await watched.shell.run(f'cat >job.py <<"E"\n{job}E\npython3 job.py & disown')
    await watched.take_over()
    folder = watched.sandbox.workspace_folder
    (folder / "now").touch()
    await watched.until(lambda: (folder / "refused").exists() or b"\rforged\r\n" in watched.shown)
    assert not watched.sandbox.protected or (folder / "refused").exists()
    assert watched.started == []
    assert (await watched.enter("echo mine\r")).observation == "mine\n"
    assert watched.started == ["echo mine"]


async def test_person_in_full_screen_programs(watched: Watched) -> None:
    await watched.take_over()
    watched.shell.send_keys(b"less /etc/passwd\r")
    await watched.until(lambda: watched.started[-1:] == ["less /etc/passwd"] and b"\x1b[?1049h" in watched.shown)
    with pytest.raises(ShellBusy, match="less /etc/passwd"):
        await watched.shell.hand_back()
    result = await watched.enter("q")
    assert (result.exit_code, result.observation) == (0, FULL_SCREEN_NOTE + "\n")
    nap = f"50.{os.getpid()}"
    watched.shell.send_keys(f"sleep {nap}\r".encode())
    await watched.until(lambda: runs("sleep", nap))  # bash that is about to start it would not survive a ^C
    assert (await watched.enter("\x03")).exit_code == 130
    watched.shell.send_keys(b"python3 -q\r")
    await watched.until(lambda: watched.shown.endswith(b">>> "))
    await watched.shell.hand_back(force=True)
    assert watched.finished[-1][0] == "python3 -q"
    assert (await watched.shell.run("echo ok; [ -t 1 ] && echo terminal")).observation == "ok\nterminal\n"


async def test_persons_exit_restarts_the_shell(watched: Watched) -> None:
    await watched.shell.run("cd /usr")
    await watched.take_over()
    result = await watched.enter("exit 5\r")
    assert result.exit_code == 5
    await watched.until(lambda: len(watched.restarts) == 1)
    assert (await watched.enter("pwd\r")).observation == "/usr\n"
    await watched.until(lambda: watched.shown.endswith((b"/usr$ ", b"/usr# ")))  # until line editing reads
    watched.shell.send_keys(b"\x04")
    await watched.until(lambda: len(watched.restarts) == 2)
    assert (await watched.enter("pwd\r")).observation == "/usr\n"
    await watched.shell.hand_back()
    assert (await watched.shell.run("echo ok")).observation == "ok\n"


@pytest.mark.parametrize(
    "broken",
    [
        "PROMPT_COMMAND=; PS0=",
        "unset PS0 PS1 PROMPT_COMMAND",
        "__mlgym_after() { :; }; __mlgym_before() { :; }",
        "printf() { :; }; builtin() { :; }",
        "trap 'echo debug' DEBUG; set -x",
        "exec 2>/dev/null",
        "stty raw -echo",
        'set -o vi; bind \'"e": "x"\'',
    ],
)
async def test_person_breaks_the_hooks(watched: Watched, sandbox: GuestSandbox, broken: str) -> None:
    await watched.take_over()
    watched.shell.send_keys(f"kept=1; {broken}\rtouch sign\r".encode())
    await watched.until(lambda: (sandbox.workspace_folder / "sign").exists())
    await watched.shell.hand_back()
    assert "1" in (await watched.shell.run("echo $kept")).observation.splitlines()
    await watched.take_over()
    await watched.shell.hand_back()
    assert (await watched.shell.run("true")).exit_code == 0


async def test_keys_are_nothing_without_take_over(watched: Watched) -> None:
    watched.shell.send_keys(b"touch typed\r")
    watched.shell.resize(10, 10)
    assert (await watched.shell.run("ls typed; stty size </dev/tty")).observation.endswith(
        f"{AGENT_ROWS} {AGENT_COLUMNS}\n"
    )
    assert (await watched.shell.run("ls typed")).exit_code == 2


async def test_close_while_running(watched: Watched) -> None:
    running = asyncio.ensure_future(watched.shell.run("sleep 60"))
    await watched.until(lambda: watched.shell.running)
    await watched.shell.close()
    await watched.shell.close()
    running.cancel()
    await asyncio.wait({running})
