"""What every backend does alike."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.sandbox.conftest import BACKENDS, make_sandbox, open_terminal
from workbench.isolation.spec import ResourceLimits, SandboxError
from workbench.sandbox import guest_sandbox
from workbench.sandbox.base import SandboxSpec
from workbench.sandbox.guest_sandbox import GuestSandbox
from workbench.sandbox.shell import Shell

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Name of a backend."""
    return str(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_sandbox(backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GuestSandbox]:
    """One sandbox of each backend for all tests that do not end it."""
    made = make_sandbox(backend, tmp_path_factory.mktemp("suite"))
    await made.start()
    yield made
    await made.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def sandbox(one_sandbox: GuestSandbox) -> AsyncIterator[GuestSandbox]:
    """A sandbox with an empty workspace and without shells."""
    yield one_sandbox
    for shell in list(one_sandbox._shells.values()):
        await shell.close()
    one_sandbox.on_request = None
    await one_sandbox.exec(["find", one_sandbox.workspace, "-mindepth", "1", "-delete"])
    assert one_sandbox.alive and not any(one_sandbox.workspace_folder.iterdir())


ASK = """
import json, os, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(os.environ["MLGYM_SOCKET"])
s.sendall(sys.argv[1].encode() + b"\\n"); print(s.makefile().readline(), end="")
"""


async def test_exec_gives_output_status_and_takes_input(sandbox: GuestSandbox) -> None:
    done = await sandbox.exec(["sh", "-c", "cat; echo oops >&2; pwd; exit 3"], stdin=b"in" * 100_000)
    assert done.exit_code == 3
    assert done.stdout == b"in" * 100_000 + sandbox.workspace.encode() + b"\n"
    assert done.stderr == b"oops\n"
    assert not done.timed_out and not done.truncated


async def test_exec_kills_at_its_time_limit_and_keeps_the_output(sandbox: GuestSandbox) -> None:
    for limit in (0.1, 1.0, 10.0, 30.0):  # long enough for sh to begin, however busy the machine is
        done = await sandbox.exec(["sh", "-c", "echo before; sleep 600 & sleep 600"], time_limit=limit)
        assert done.timed_out and done.exit_code == 137
        if done.stdout:
            break
    assert done.stdout == b"before\n"


async def test_exec_truncates(sandbox: GuestSandbox) -> None:
    done = await sandbox.exec(["head", "-c", "3000000", "/dev/zero"], max_output=1_000_000)
    assert done.truncated and len(done.stdout) == 1_000_000 and done.exit_code == 0


async def test_exec_does_not_wait_for_what_stays_behind(sandbox: GuestSandbox) -> None:
    done = await sandbox.exec(["sh", "-c", "setsid sleep 30 & echo out"], time_limit=20)
    assert done.stdout == b"out\n" and not done.timed_out


async def test_exec_of_nothing_is_an_error(sandbox: GuestSandbox) -> None:
    with pytest.raises(SandboxError, match="no-such-program"):
        await sandbox.exec(["no-such-program"])
    with pytest.raises(SandboxError):
        await sandbox.exec(["true"], cwd="/no/such/folder")


async def test_exec_several_at_once(sandbox: GuestSandbox) -> None:
    done = await asyncio.gather(*(sandbox.exec(["sh", "-c", f"sleep 0.05; echo {n}"]) for n in range(8)))
    assert [result.stdout for result in done] == [f"{n}\n".encode() for n in range(8)]


async def test_what_it_uses_is_measured(sandbox: GuestSandbox) -> None:
    assert sandbox.measure is not None
    busy = asyncio.ensure_future(sandbox.exec(["sh", "-c", "until [ -e over ]; do :; done"]))
    used = await asyncio.to_thread(sandbox.measure)
    while not used.cpus:
        assert not busy.done()
        await asyncio.sleep(0.02)
        used = await asyncio.to_thread(sandbox.measure)
    assert (used.memory or 0) > 1 << 20 and (used.memory_free or 0) > 0 and (used.disk_free or 0) > 0
    (sandbox.workspace_folder / "over").touch()
    assert (await busy).exit_code == 0


async def test_shell_is_an_interactive_bash_on_a_terminal(sandbox: GuestSandbox) -> None:
    terminal = await open_terminal(sandbox)
    assert await terminal.run("[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo $- $WINDOW $TERM") != ""
    assert "i" in (await terminal.run("echo $-")).split("\n")[0]
    assert await terminal.run("pwd; stty size; echo $WINDOW") == f"{sandbox.workspace}\n40 120\n100"
    assert "job control" not in await terminal.run("set -m; jobs")
    await terminal.run("x=5; f() { echo f; }; cd /")
    assert await terminal.run("echo $x; f; pwd") == "5\nf\n/"


async def test_shell_starts_in_the_workspace_when_its_folder_is_gone(sandbox: GuestSandbox) -> None:
    terminal = await open_terminal(sandbox, "/no/such/folder")
    assert await terminal.run("pwd") == sandbox.workspace


async def test_resize_reaches_the_shell(sandbox: GuestSandbox) -> None:
    terminal = await open_terminal(sandbox)
    terminal.pty.resize(77, 22)  # readline may draw its line anew, now or a little later
    assert "<22 77>" in await terminal.run('echo "<$(stty size)>"')


async def test_reset_modes_and_echo(sandbox: GuestSandbox) -> None:
    terminal = await open_terminal(sandbox)
    terminal.type("stty raw -echo; echo RA''W; cat > typed; stty -a; echo E''ND\n")
    await terminal.expect("RAW")
    terminal.pty.reset_modes()
    terminal.type("typed")
    await terminal.expect("typed")
    terminal.pty.reset_modes(echo=False)
    terminal.type("hidden\n\x04")
    modes = (await terminal.expect("END")).replace(";", " ").split()
    assert {"icanon", "isig", "opost", "onlcr", "-ixon", "icrnl"} <= set(modes)
    assert b"hidden" not in terminal.printed


async def test_signals_reach_the_foreground(sandbox: GuestSandbox) -> None:
    terminal = await open_terminal(sandbox)
    for name, status in (("INT", 130), ("TERM", 143), ("KILL", 137)):
        terminal.type("sh -c 'echo STAR''TED; exec sleep 60'\necho status$?E''ND\n")
        await terminal.expect("STARTED")
        await terminal.pty.signal(name)  # type: ignore[arg-type]
        assert f"status{status}" in await terminal.expect("END")
    terminal.type("trap '' INT; echo LOO''P; while :; do :; done\n")
    await terminal.expect("LOOP")
    await terminal.pty.signal("INT")
    await terminal.pty.signal("TERM")
    assert terminal.exit_status is None
    await terminal.pty.signal("KILL")
    assert await terminal.exited() == 137


async def test_interrupt_of_a_loop_and_of_a_substitution_spares_the_shell(sandbox: GuestSandbox) -> None:
    terminal = await open_terminal(sandbox)
    await terminal.run("keep=kept")
    terminal.type("echo LOO''P; while :; do :; done\n")
    await terminal.expect("LOOP")
    await terminal.pty.signal("INT")
    terminal.type('echo "[$keep]"\n')
    await terminal.expect("[kept]")
    terminal.type("x=$(echo SUB''ST >/dev/tty; trap '' INT; sleep 60); echo after\n")
    await terminal.expect("SUBST")
    await terminal.pty.signal("TERM")
    terminal.type('echo "[$keep]"\n')
    await terminal.expect("[kept]")


async def test_the_exit_status_comes_after_the_last_output(sandbox: GuestSandbox) -> None:
    for command, status in (("seq 20000; exit 7", 7), ("kill -9 $$", 137), ("exec true", 0)):
        terminal = await open_terminal(sandbox)
        terminal.type(f"{command}\n")
        assert await terminal.exited() == status
        if "seq" in command:
            assert terminal.printed.rstrip().split(b"\n")[19999].strip() == b"20000"
        await terminal.pty.close()


async def test_a_background_job_does_not_hold_up_the_exit(sandbox: GuestSandbox) -> None:
    terminal = await open_terminal(sandbox)
    terminal.type("(trap '' HUP; exec sleep 60) & disown; exit 4\n")
    assert await terminal.exited() == 4


async def test_a_shell_that_closes_its_terminal_is_not_hung_up(sandbox: GuestSandbox) -> None:
    terminal = await open_terminal(sandbox)
    await terminal.run("keep=1")
    terminal.type("exec </dev/null >/dev/null 2>&1 255>&-\n")
    terminal.type("")
    assert terminal.exit_status in (None, 0)  # bash ends at the end of its input, or reads on
    await terminal.pty.close()


async def test_close_kills_the_session(sandbox: GuestSandbox) -> None:
    terminal = await open_terminal(sandbox)
    long = f"8{os.getpid():07d}"  # seconds of sleep that nobody else sleeps
    await terminal.run(f"trap '' HUP TERM; sleep {long}1 & (sleep {long}2; true) &")
    await terminal.pty.close()
    await terminal.pty.close()
    assert terminal.exit_status == 137
    left = await sandbox.exec(["sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"])
    assert f"sleep {long}" not in left.stdout.decode()


async def test_output_flows_without_loss_and_stops_when_paused(sandbox: GuestSandbox) -> None:
    terminal = await open_terminal(sandbox)
    text = await terminal.run("seq 200000")
    assert text == "\n".join(map(str, range(1, 200_001)))
    terminal.pty.pause_reading()
    terminal.type("seq 300000; echo D''ONE > marker\n")
    await sandbox.exec(["sleep", "0.2"])
    assert not terminal.printed
    assert not (sandbox.workspace_folder / "marker").exists()  # the writer is held back
    terminal.pty.resume_reading()
    await terminal.expect("300000")
    assert terminal.printed.count(b"\n") == 300_000


async def test_much_input_is_queued(sandbox: GuestSandbox) -> None:
    terminal = await open_terminal(sandbox)
    terminal.type("echo G''O; cat > typed; echo E''ND\n")
    await terminal.expect("GO")
    lines = "".join(f"line {n} of the input\n" for n in range(20_000))
    terminal.type(lines + "\x04")
    await terminal.expect("END")
    assert (sandbox.workspace_folder / "typed").read_bytes() == lines.encode()


async def ask(sandbox: GuestSandbox, request: str) -> Any:
    done = await sandbox.exec(["python3", "-c", ASK, request])
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


async def test_requests_come_through_the_socket(sandbox: GuestSandbox) -> None:
    refused = await ask(sandbox, '{"op": "validate"}')
    assert refused["ok"] is False

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["op"] == "fail":
            raise RuntimeError("the evaluator is broken")
        return {"ok": True, "echo": request, "padding": "x" * 300_000}

    sandbox.on_request = answer
    many = await asyncio.gather(*(ask(sandbox, json.dumps({"op": "validate", "n": n})) for n in range(5)))
    assert [one["echo"]["n"] for one in many] == [0, 1, 2, 3, 4]
    assert await ask(sandbox, '{"op": "fail"}') == {"ok": False, "message": "the evaluator is broken"}
    assert (await ask(sandbox, "rubbish"))["ok"] is False
    assert (await ask(sandbox, "[1]"))["ok"] is False


async def test_a_request_over_the_limit_and_a_client_that_leaves(sandbox: GuestSandbox) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        started.set()
        await release.wait()
        return {"ok": True}

    sandbox.on_request = answer
    script = (
        "import os,socket\ns=socket.socket(socket.AF_UNIX); s.connect(os.environ['MLGYM_SOCKET'])\n"
        "s.sendall(b'x'*1500000+b'\\n'); print(s.makefile().readline())"
    )
    done = await sandbox.exec(["python3", "-c", script])
    assert b"larger than 1 MB" in done.stdout or b"Broken" in done.stderr
    gone = (
        "import os,socket\ns=socket.socket(socket.AF_UNIX); s.connect(os.environ['MLGYM_SOCKET']); s.sendall(b'{}\\n')"
    )
    await sandbox.exec(["python3", "-c", gone])
    await started.wait()
    release.set()
    assert (await ask(sandbox, "{}"))["ok"] is True


async def test_stop_leaves_nothing_and_shells_are_told(backend: str, workspace: Path) -> None:
    sandbox = make_sandbox(backend, workspace)
    await sandbox.start()
    terminal = await open_terminal(sandbox)
    long = f"9{os.getpid():07d}"
    await terminal.run(f"setsid sleep {long} & (setsid setsid sleep {long} &)")
    await sandbox.stop()
    await sandbox.stop()
    assert terminal.exit_status == 137
    assert not _command_lines(f"sleep\x00{long}")
    with pytest.raises(SandboxError):
        await sandbox.exec(["true"])


def _command_lines(text: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if text in line:
                found.append(line)
    return found


async def test_the_exit_status_of_a_shell_is_told(sandbox: GuestSandbox) -> None:
    terminal = await open_terminal(sandbox)
    terminal.type("exit 9\n")
    assert await terminal.exited() == 9
    assert sandbox.describe()["backend"] in ("local", "docker")
    json.dumps(sandbox.describe())


TYPE_IN = """
import fcntl, os, sys
terminal = os.open(sys.argv[1], os.O_RDWR)
for request in (0x5412, 0x541C):
    try:
        for letter in b"\\x03\\n":
            fcntl.ioctl(terminal, request, bytes([letter]))
        print("typed")
    except OSError as error:
        print(error.errno)
"""


async def test_nothing_inside_types_into_a_terminal(protected: GuestSandbox) -> None:
    """In the shell, what it starts, and what runs beside it."""
    (protected.workspace_folder / "type_in.py").write_text(TYPE_IN)
    terminal = await open_terminal(protected)
    assert (await terminal.run("python3 type_in.py /dev/tty")).split()[:2] == ["1", "1"]
    result = await protected.exec(["python3", "-c", TYPE_IN, "/dev/ptmx"])
    assert result.stdout.split() == [b"1", b"1"]


async def test_python_has_both_its_names(sandbox: GuestSandbox) -> None:
    """They are one interpreter, that of the task's packages, in the shell as in a side command."""
    ask = "import os, sys; print(os.path.realpath(sys.executable), sys.prefix)"
    said = {(await sandbox.exec([name, "-c", ask])).stdout for name in ("python", "python3")}
    assert len(said) == 1 and said.pop().startswith(b"/")
    terminal = await open_terminal(sandbox)
    assert await terminal.run("python --version") == await terminal.run("python3 --version") != ""


FORK_BOMB = """
import os, time
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        open("full", "w").close()
        time.sleep(0.05)
"""


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("local", marks=pytest.mark.bwrap),
        pytest.param("landlock", marks=pytest.mark.landlock),
        pytest.param("docker", marks=pytest.mark.docker),
    ],
)
async def test_a_sandbox_recovers_from_a_fork_bomb_and_says_so(
    backend: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest_sandbox, "_FULL", (0.1, 0.1, 0.0))
    limits = ResourceLimits(processes=40)
    sandbox = make_sandbox(backend, workspace, SandboxSpec(session="bomb", limits=limits))
    warnings: list[str] = []
    sandbox.on_warning = warnings.append
    await sandbox.start()
    try:
        (sandbox.workspace_folder / "bomb.py").write_text(FORK_BOMB)
        os.mkfifo(sandbox.workspace_folder / "never", 0o666)
        shell = Shell(sandbox, time_limit=80.0)
        await shell.start()
        await shell.run("exec 3<>never; kept=variable; python3 bomb.py & until [ -e full ]; do read -rt 0.1 -u 3; done")
        await shell.run("/bin/true")  # finds the sandbox full, and may fail for it
        result = await shell.run("/bin/echo $kept")
        assert result.observation.endswith("variable\n")
        (warned,) = [text for text in warnings if "full of processes" in text]
        assert "python3" in warned
    finally:
        await sandbox.stop()
