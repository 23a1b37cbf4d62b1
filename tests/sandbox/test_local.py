"""What the local sandbox keeps the agent from, and what it leaves behind: nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.sandbox.conftest import PATIENCE, make_sandbox, open_terminal
from workbench.isolation import bwrap
from workbench.isolation import watch as watch_module
from workbench.isolation.bwrap import (
    bwrap_command,
    explain_failure,
    limit_command,
    lowered_limits,
    probe_bubblewrap,
)
from workbench.isolation.local import LocalWay
from workbench.isolation.processes import processes_below
from workbench.isolation.spec import Confinement, ResourceLimits, SandboxError
from workbench.isolation.temporary import OwnedFolder, find_stale_folders
from workbench.isolation.users import sandbox_uid
from workbench.isolation.watch import ResourceWatch
from workbench.sandbox import guest_sandbox, local
from workbench.sandbox.base import SandboxSpec
from workbench.sandbox.guest_sandbox import GUEST_FOLDER
from workbench.sandbox.local import LocalSandbox, compiled_guest

BWRAP = pytest.mark.bwrap
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=[pytest.param("bubblewrap", marks=BWRAP), pytest.param("landlock", marks=pytest.mark.landlock)])
def way(request: pytest.FixtureRequest) -> LocalWay:
    """Each way to confine in turn."""
    return cast(LocalWay, request.param)


@pytest.fixture
async def kept(way: LocalWay, workspace: Path) -> AsyncIterator[LocalSandbox]:
    """A started sandbox that confines in each way."""
    sandbox = LocalSandbox(SandboxSpec(session="test-session", env={"WINDOW": "100"}), workspace, way)
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def confined(workspace: Path) -> AsyncIterator[LocalSandbox]:
    """A started sandbox under bubblewrap."""
    sandbox = LocalSandbox(SandboxSpec(session="test-session", env={"WINDOW": "100"}), workspace)
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


async def sh(sandbox: LocalSandbox, script: str) -> str:
    """Output of a script, both streams."""
    done = await sandbox.exec(["bash", "-c", f"exec 2>&1\n{script}"], time_limit=20)
    return done.stdout.decode()


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of one's own (with a short path), to see what is left in it."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        os.chmod(folder, 0o1777)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def alive(pid: int) -> bool:
    """Whether a process is there (a zombie is not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(done: Callable[[], bool]) -> None:
    """Wait for a condition that nobody announces."""
    async with asyncio.timeout(PATIENCE):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def gone(pids: list[int]) -> None:
    """Wait until none of these processes is there."""
    await until(lambda: not any(alive(pid) for pid in pids))


@pytest.mark.bwrap
async def test_the_host_is_out_of_sight(confined: LocalSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = await sh(confined, "ls -a / /home /run /run/mlgym; ls /root /mnt /srv /opt; cat /etc/shadow; env")
    assert "No such file or directory" in seen and "root:" not in seen
    folders = set(seen.split("\n\n")[0].split())
    assert folders >= {"bin", "dev", "etc", "home", "proc", "run", "tmp", "usr"}
    assert not folders & {"root", "mnt", "srv", "opt", "var", "boot", "sys", "work"}
    ours = {
        "agent_commands.py",
        "bashrc",
        "bin",
        "functions.sh",
        "guest.py",
        "guest.pyc",
        "mcp.py",
        "seccomp.py",
        "socket",
        "tools.py",
    }
    assert set((await sh(confined, "ls /run/mlgym")).split()) == ours
    assert (await sh(confined, f"ls {CHECKOUT}/workbench/session")).endswith("No such file or directory\n")
    assert (await sh(confined, "cat /etc/passwd | cut -d: -f1")).split() == ["root", "agent", "nobody"]
    processes = (await sh(confined, "cat /proc/[0-9]*/comm")).split()
    assert len(processes) < 5 and "pytest" not in " ".join(processes)
    assert (await sh(confined, "id -un; hostname")).split() == ["agent", "sandbox"]


@pytest.mark.parametrize("damage", ["empty", "cut", "link", "pipe"])
def test_a_kept_guest_that_is_not_as_it_was_is_compiled_again(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLGYM_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "run"
    folder.mkdir()
    first = compiled_guest(sys.executable, folder)
    assert first is not None
    program = first.read_bytes()
    assert str(GUEST_FOLDER).encode() not in program  # the agent can read it
    (kept,) = (tmp_path / "cache" / "guest").iterdir()
    whole = kept.read_bytes()
    kept.unlink()
    if damage == "link":
        (tmp_path / "elsewhere").write_bytes(whole)
        kept.symlink_to(tmp_path / "elsewhere")
    elif damage == "pipe":
        os.mkfifo(kept)
    else:
        kept.write_bytes(whole[:100] if damage == "cut" else b"")
    again = compiled_guest(sys.executable, folder)
    assert again is not None and again.read_bytes() == program
    assert not kept.is_symlink() and kept.read_bytes() == whole

    monkeypatch.setattr(local, "_COMPILE", "raise SystemExit('nobody compiles what is kept')")
    assert compiled_guest(sys.executable, folder) is not None


@pytest.mark.bwrap
async def test_a_sandbox_starts_whatever_the_umask(workspace: Path) -> None:
    before = os.umask(0o077)
    try:
        sandbox = LocalSandbox(SandboxSpec(session="test-session"), workspace)
        await sandbox.start()
        try:
            assert (await sh(sandbox, "id -un; ls -d /etc/passwd")).split() == ["agent", "/etc/passwd"]
        finally:
            await sandbox.stop()
    finally:
        os.umask(before)


@pytest.mark.bwrap
async def test_no_variable_of_the_host_gets_in(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_API_KEY", "sk-very-secret")
    sandbox = LocalSandbox(SandboxSpec(session="test-session", env={"WINDOW": "77"}), workspace)
    await sandbox.start()
    try:
        everything = await sh(sandbox, "env; cat /proc/1/environ /proc/self/environ | tr '\\0' '\\n'")
        assert "SECRET" not in everything and "very-secret" not in everything
        assert {"WINDOW=77", "HOME=/home/agent", "MLGYM_SOCKET=/run/mlgym/socket"} <= set(everything.split("\n"))
    finally:
        await sandbox.stop()


@pytest.mark.bwrap
async def test_only_the_workspace_can_be_written(confined: LocalSandbox, workspace: Path) -> None:
    tried = await sh(
        confined,
        "for f in /x /etc/x /usr/x /run/x /run/mlgym/x /dev/x /proc/sys/kernel/hostname /run/mlgym/guest.py; do\n"
        "  (echo x > $f) 2>/dev/null && echo wrote $f; done\n"
        "rm -f /run/mlgym/socket /run/mlgym/guest.py 2>/dev/null && echo removed\n"
        "for f in /tmp/x ~/x ~/workspace/x /dev/shm/x; do echo x > $f && echo ok; done",
    )
    assert tried == "ok\n" * 4
    assert (workspace / "x").read_text() == "x\n"
    assert (workspace / "x").stat().st_uid == sandbox_uid()


@pytest.mark.bwrap
async def test_no_network_no_privileges(confined: LocalSandbox) -> None:
    status = await sh(confined, "grep -E '^(Cap|NoNewPrivs)' /proc/self/status; cat /proc/net/dev")
    values = dict(line.split(":", 1) for line in status.split("\n") if line.startswith(("Cap", "NoNew")))
    assert all(int(values[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
    assert values["NoNewPrivs"].strip() == "1"
    devices = status.partition("Receive")[2]
    assert [line.split(":")[0].strip() for line in devices.split("\n") if ":" in line] == ["lo"]
    assert "connected" not in await sh(confined, "timeout 5 bash -c 'exec 3<>/dev/tcp/1.1.1.1/80 && echo connected'")
    if "--disable-userns" in bwrap.bubblewrap_options():
        assert "inside" not in await sh(confined, "unshare -Ur echo inside")
    assert "mounted" not in await sh(confined, "mount -t tmpfs none /tmp && echo mounted")


async def test_the_guest_cannot_be_hurt_from_inside(kept: LocalSandbox) -> None:
    terminal = await open_terminal(kept)
    said = await sh(
        kept,
        "kill -9 1; kill -STOP 1; kill -TERM 1; ls /proc/1/fd /proc/1/root; cat /proc/1/environ; echo survived\n"
        "python3 -c 'import os,ctypes; l=ctypes.CDLL(None,use_errno=True); "
        'print("attached", l.ptrace(16,1,0,0), l.syscall(438, os.pidfd_open(1), 3, 0))\'',
    )
    assert "survived" in said and "Permission denied" in said and "attached -1 -1" in said
    await sh(kept, "kill -9 -1")
    assert (await kept.exec(["echo", "here"])).stdout == b"here\n"
    if kept.way == "bubblewrap":
        assert await terminal.exited() == 137  # everything else was killed
    else:
        assert await terminal.run("echo mine") == "mine"  # each command is behind a wall of its own
    assert await (await open_terminal(kept)).run("echo again") == "again"


async def test_terminal_injection_stays_inside(kept: LocalSandbox) -> None:
    terminal = await open_terminal(kept)
    inject = "import fcntl,termios\nfor c in b'echo inje\\'\\'cted\\n': fcntl.ioctl(0, termios.TIOCSTI, bytes([c]))"
    (kept.workspace_folder / "inject.py").write_text(inject)
    terminal.type("python3 inject.py\n")
    # Where the kernel allows it at all, the agent types into its own shell, and nowhere else.
    await terminal.until(lambda: b"injected" in terminal.printed or b"Error" in terminal.printed)
    assert await terminal.run("echo mine") == "mine"


async def test_limits_bind(way: LocalWay, workspace: Path) -> None:
    limits = ResourceLimits(processes=40, file_bytes=1 << 20, cpus=1, memory_bytes=1 << 30)
    sandbox = LocalSandbox(SandboxSpec(session="test-session", limits=limits), workspace, way)
    await sandbox.start()
    try:
        assert "fork" in await sh(sandbox, "sh -c 'for i in $(seq 400); do sleep 5 & done'")
        assert "size limit" in await sh(sandbox, "head -c 3000000 /dev/zero > big")
        assert (workspace / "big").stat().st_size == 1 << 20
        processors, core, processes = (await sh(sandbox, "nproc; ulimit -c; ulimit -Hu")).split()
        assert (processors, core) == ("1", "0")
        assert processes == "40" or (way == "landlock" and int(processes) > 40)  # others of the user's are counted, too
        described = sandbox.describe()
        assert described["protected"] is True and described["limits"]["processes"] == 40
    finally:
        await sandbox.stop()


@pytest.fixture
def watched_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox's limits are looked after without much of a pause."""
    monkeypatch.setattr(watch_module, "_PAUSE", 0.1)


@pytest.mark.usefixtures("watched_often")
async def test_memory_is_watched_in_sum(way: LocalWay, workspace: Path) -> None:
    limits = ResourceLimits(memory_bytes=300 << 20)
    sandbox = LocalSandbox(SandboxSpec(session="test-session", limits=limits), workspace, way)
    warnings: list[str] = []
    sandbox.on_warning = warnings.append
    await sandbox.start()
    try:
        terminal = await open_terminal(sandbox)
        grow = (
            "import sys, time; x = bytearray(int(sys.argv[1]) << 20); x[::4096] = b'x' * len(x[::4096]); time.sleep(30)"
        )
        (sandbox.workspace_folder / "grow.py").write_text(grow)
        terminal.type("keep=kept; python3 grow.py 120 & python3 grow.py 250; echo status$?E''ND; kill %1\n")
        await terminal.expect("END")
        assert "of memory: python3" in warnings[0] and "was killed" in warnings[0]
        assert "kept" in (await terminal.run("echo; echo $keep")).splitlines()  # bash tells of the job when it likes
    finally:
        await sandbox.stop()


@pytest.mark.usefixtures("watched_often")
async def test_a_full_workspace_stops_the_command_not_the_shell(way: LocalWay, workspace: Path) -> None:
    limits = ResourceLimits(workspace_bytes=20 << 20)
    sandbox = LocalSandbox(SandboxSpec(session="test-session", limits=limits), workspace, way)
    warnings: list[str] = []
    sandbox.on_warning = warnings.append
    await sandbox.start()
    try:
        terminal = await open_terminal(sandbox)
        terminal.type("keep=kept; sh -c 'head -c 30000000 /dev/zero > big; sleep 60'; echo status$?E''ND\n")
        assert "status137" in await terminal.expect("END")
        assert "the workspace holds" in warnings[0]
        await sandbox.stop_watching()  # or `rm` may be killed for what it is about to delete
        assert await terminal.run("rm big; echo $keep") == "kept"
    finally:
        await sandbox.stop()


async def test_a_full_disk_stops_commands_and_then_the_sandbox(way: LocalWay, workspace: Path) -> None:
    sandbox = LocalSandbox(SandboxSpec(session="test-session"), workspace, way)
    await sandbox.start()
    try:
        terminal = await open_terminal(sandbox)
        assert sandbox._child is not None
        warnings: list[str] = []
        given_up: list[str] = []
        watch = ResourceWatch(
            sandbox._child, workspace, ResourceLimits(), warnings.append, given_up.append, disk_reserve=1 << 60
        )
        terminal.type("sleep 60; echo status$?E''ND\n")
        guest = sandbox._child
        await until(lambda: "sleep" in [process.name for process in processes_below(guest)])
        watch._look_at_disk()
        assert "status137" in await terminal.expect("END")
        assert "has only" in warnings[0] and not given_up
        for _ in range(10):
            watch._look_at_disk()
        assert given_up
    finally:
        await sandbox.stop()


async def test_an_almost_full_disk_is_refused(way: LocalWay, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest_sandbox, "DISK_RESERVE", 1 << 60)
    with pytest.raises(SandboxError, match="almost full"):
        await LocalSandbox(SandboxSpec(session="test-session"), workspace, way).start()


@pytest.mark.bwrap
async def test_a_host_folder_is_mounted_read_only(workspace: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    (data / "train.csv").write_text("1,2\n")
    spec = SandboxSpec(session="test-session", readonly={data: "/data/games"})
    sandbox = LocalSandbox(spec, workspace)
    await sandbox.start()
    try:
        assert await sh(sandbox, "cat /data/games/train.csv") == "1,2\n"
        assert "Read-only" in await sh(sandbox, "echo x >> /data/games/train.csv; touch /data/games/y")
    finally:
        await sandbox.stop()
    assert (data / "train.csv").exists()


@pytest.mark.bwrap
async def test_nothing_is_left_on_disk(workspace: Path, temporary: Path) -> None:
    sandbox = LocalSandbox(SandboxSpec(session="test-session"), workspace)
    await sandbox.start()
    assert not os.listdir(temporary)
    await sandbox.stop()
    assert (workspace / "hello.txt").read_text() == "hello\n"


async def test_an_unprotected_one_removes_its_folder(workspace: Path, temporary: Path) -> None:
    sandbox = make_sandbox("unsafe", workspace)
    await sandbox.start()
    assert sandbox.protected is False and sandbox.workspace == str(workspace)
    assert (await sandbox.exec(["pwd"])).stdout.decode().strip() == str(workspace)
    await sandbox.stop()
    assert not os.listdir(temporary)


@pytest.mark.parametrize("has_python3", [False, True], ids=["in one folder", "another python3 first"])
async def test_unprotected_pythons_two_names_are_one_interpreter(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_python3: bool
) -> None:
    """A version manager behind /usr/bin has a `python` where the system has `python3` alone."""
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder, names in zip(folders, [["python3"] if has_python3 else [], ["python", "python3"]], strict=True):
        folder.mkdir()
        for name in names:
            (folder / name).write_text(f"#!/bin/sh\necho {folder.name}\n")
            (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folders[0]}:{folders[1]}:{os.environ['PATH']}")
    sandbox = make_sandbox("unsafe", workspace)
    await sandbox.start()
    try:
        said = {(await sandbox.exec([name])).stdout for name in ("python", "python3")}
    finally:
        await sandbox.stop()
    assert said == {b"second\n"}


async def test_the_end_of_the_guest_is_noticed(kept: LocalSandbox) -> None:
    terminal = await open_terminal(kept)
    lost: list[str] = []
    kept.on_warning = lost.append
    assert kept._child is not None
    waiting = asyncio.ensure_future(kept.exec(["sleep", "30"]))
    await asyncio.sleep(0)
    os.kill(kept._child, signal.SIGKILL)
    with pytest.raises(SandboxError, match="ended"):
        await waiting
    assert await terminal.exited() == 137
    assert lost == ["the sandbox ended"]
    with pytest.raises(SandboxError):
        await kept.open_shell(kept.workspace)


async def test_the_end_of_an_unprotected_guest_is_noticed_and_cleaned_up(workspace: Path) -> None:
    sandbox = LocalSandbox(SandboxSpec(session="test-session"), workspace, "none")
    await sandbox.start()
    terminal = await open_terminal(sandbox)
    said = await terminal.run(
        "setsid sh -c 'echo $$ > made; mv made pid; exec sleep 600' >/dev/null 2>&1 & disown;"
        "until [ -s pid ]; do sleep 0.01; done; cat pid"
    )
    pid = int(said.split()[-1])
    assert sandbox._child is not None
    os.kill(sandbox._child, signal.SIGKILL)
    assert await terminal.exited() == 137
    assert alive(pid)
    await sandbox.stop()
    await gone([pid])


RUN_AND_WAIT = """
import asyncio, sys
from pathlib import Path
from workbench.sandbox.base import SandboxSpec
from workbench.sandbox.local import LocalSandbox
async def main():
    sandbox = LocalSandbox(SandboxSpec(session="s"), Path(sys.argv[1]), sys.argv[2])
    await sandbox.start()
    done = await sandbox.exec(["bash", "-c", "id -u; ulimit -Hu; echo made > made"])
    shell = await sandbox.open_shell(sandbox.workspace)
    seen = asyncio.Event()
    shell.listen(lambda data: seen.set(), lambda status: None)
    shell.write(b"setsid sleep 98765 & trap '' HUP TERM\\n")
    await seen.wait()
    print(sandbox._child, done.stdout.decode().split(), flush=True)
    if sys.argv[3] == "hang":
        await asyncio.sleep(600)
    await sandbox.stop()
asyncio.run(main())
"""


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("bubblewrap", marks=BWRAP),
        pytest.param("landlock", marks=pytest.mark.landlock),
        "none",
    ],
)
async def test_nothing_outlives_a_killed_workbench(kind: str, workspace: Path, temporary: Path) -> None:
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", RUN_AND_WAIT, str(workspace), kind, "hang"], stdout=subprocess.PIPE, cwd=CHECKOUT
    ) as process:
        assert process.stdout is not None
        guest = int((await asyncio.to_thread(process.stdout.readline)).split()[0])
        inside = [guest, *(one.pid for one in processes_below(guest))]
        assert len(inside) > 1
        process.kill()
    await gone(inside)
    await until(lambda: not list(temporary.iterdir()))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_works_for_an_ordinary_user(way: LocalWay, ordinary: tuple[list[str], Path]) -> None:
    python, folder = ordinary
    (folder / "code" / "run.py").write_text(RUN_AND_WAIT)
    # Limits of the machine below ours are taken over, and are no obstacle.
    limits = ["prlimit", "--nofile=1000:1000", f"--fsize={1 << 20}:{1 << 20}"]
    command = [*limits, *python, str(folder / "code" / "run.py"), str(folder / "workspace"), way, "stop"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    user, processes = done.stdout.split("[", 1)[1].strip("]\n").replace("'", "").split(", ")
    assert user == ("1000" if way == "bubblewrap" else "65533")
    assert int(processes) == 512 or (way == "landlock" and int(processes) > 512)
    assert (folder / "workspace" / "made").stat().st_uid == 65533


@pytest.mark.bwrap
async def test_a_clean_room_command_runs_with_pipes(tmp_path: Path) -> None:
    data = tmp_path / "private" / "evaluator"
    data.mkdir(parents=True)
    (tmp_path / "private").chmod(0o700)
    (data / "answer.py").write_text("print(input()[::-1])")
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    command = bwrap_command(
        ["python3", "/eval/answer.py"], Confinement(readonly={data: "/eval"}, env={"A": "1"}, cwd="/eval"), run_folder
    )
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate(b"drawer\n")
    assert (process.returncode, out, err) == (0, b"reward\n", b"")


@pytest.mark.bwrap
async def test_a_python_outside_usr_is_brought_along(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = os.path.realpath(sys.base_prefix)  # noqa: ASYNC240
    if prefix.startswith("/usr"):
        pytest.skip("this Python is in /usr")
    found = (f"{prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}", Path(prefix))
    for module in (bwrap, local):
        monkeypatch.setattr(module, "python_inside", lambda: found)
    sandbox = LocalSandbox(SandboxSpec(session="s"), workspace)
    await sandbox.start()
    try:
        assert sandbox.describe()["python"] == ".".join(map(str, sys.version_info[:3]))
        assert (await sh(sandbox, "command -v python3")).startswith(prefix)
        assert "Read-only" in await sh(sandbox, f"touch {prefix}/x")
    finally:
        await sandbox.stop()


@pytest.mark.bwrap
async def test_what_cannot_start_says_why(tmp_path: Path, temporary: Path) -> None:
    with pytest.raises(SandboxError, match="is not a folder"):
        await LocalSandbox(SandboxSpec(session="s"), tmp_path / "absent").start()
    spec = SandboxSpec(session="s", readonly={tmp_path / "no-data": "/data"})
    with pytest.raises(SandboxError) as caught:
        await LocalSandbox(spec, tmp_path).start()
    assert "no-data" in str(caught.value) + caught.value.hint
    assert not os.listdir(temporary)


async def test_without_bubblewrap_it_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe_bubblewrap.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        with pytest.raises(SandboxError) as caught:
            await LocalSandbox(SandboxSpec(session="s"), tmp_path).start()
    finally:
        probe_bubblewrap.cache_clear()
    assert "install bubblewrap" in caught.value.hint or "needs Linux" in caught.value.hint


def test_complaints_are_explained() -> None:
    assert "--sandbox docker" in explain_failure("bwrap: No permissions to create a new namespace, likely because ...")
    assert "too old" in explain_failure("bwrap: Unknown option --cap-drop")
    assert "python3" in explain_failure("bwrap: execvp python3: No such file or directory")


@pytest.mark.parametrize(
    ("system", "command"),
    [({"ID": "debian"}, "sudo apt install x"), ({"ID": "ubuntu", "ID_LIKE": "debian"}, "sudo apt install x"),
     ({"ID": "fedora"}, "sudo dnf install x"), ({"ID": "rocky", "ID_LIKE": "rhel fedora"}, "sudo dnf install x")],
)  # fmt: skip
def test_packages_are_installed_as_the_system_does(
    system: dict[str, str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: system)
    assert bwrap.installing("x") == command


def test_every_setting_that_forbids_namespaces_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    switches = [(str(tmp_path / name), bad, good) for name, bad, good in (("a", "1", "0"), ("b", "0", "1"))]
    (tmp_path / "a").write_text("1\n")
    (tmp_path / "b").write_text("0\n")
    monkeypatch.setattr(bwrap, "NAMESPACE_SWITCHES", switches)
    folder = str(tmp_path).replace("/", ".")
    assert f"sysctl -w {folder}.a=0 {folder}.b=1 " in explain_failure("bwrap: setting up uid map: Permission denied")
    (tmp_path / "a").write_text("0\n")
    assert f"sysctl -w {folder}.b=1 " in explain_failure("bwrap: setting up uid map: Permission denied")


@pytest.mark.bwrap
async def test_mounts_do_not_tell_where_the_program_lies(confined: LocalSandbox) -> None:
    assert str(CHECKOUT) not in await sh(confined, "cat /proc/self/mountinfo")


def test_lower_limits_of_the_machine_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {resource.RLIMIT_NOFILE: 1024, resource.RLIMIT_FSIZE: 2048, resource.RLIMIT_NPROC: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (0, own.get(kind, resource.RLIM_INFINITY)))
    assert {"--nofile=1024:1024", "--fsize=2048:2048"} <= set(limit_command(ResourceLimits()))
    files, size = lowered_limits(ResourceLimits())
    assert "1,024 open files (ulimit -Hn)" in files and "2 KB in a file (ulimit -Hf)" in size
    assert lowered_limits(ResourceLimits(file_bytes=None))[1:] == []
    assert "ulimit -Ha" in explain_failure("prlimit: failed to set the NOFILE resource limit: Operation not permitted")


@pytest.mark.bwrap
async def test_a_limit_on_files_that_leaves_no_room_is_named(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(source))

    monkeypatch.setattr(shutil, "copy", full)
    with pytest.raises(SandboxError, match="File too large") as caught:
        await LocalSandbox(SandboxSpec(session="s"), workspace).start()
    assert "ulimit -f" in caught.value.hint


@pytest.mark.bwrap
def test_the_folder_of_a_probe_is_one_that_gc_sees(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def killed(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(OwnedFolder, "remove", lambda folder: os.close(folder._lock))
    monkeypatch.setattr(bwrap, "bwrap_command", killed)
    with pytest.raises(KeyboardInterrupt):
        bwrap.try_bubblewrap()
    assert [path for path in find_stale_folders() if path.parent == tmp_path] == list(tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 1


async def test_unprotected_python_is_that_of_the_packages(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without packages it is the user's own, whose `python` is added where it has none."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "python3").symlink_to(sys.executable)
    for name in ("bash", "readlink", "sh"):
        (own / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(own))
    packages = {"PYTHONPATH": str(tmp_path / "packages")}
    for env, expected in (({}, str(own / "python3")), (packages, bwrap.python_inside()[0])):
        sandbox = LocalSandbox(SandboxSpec(session="s", env=env), workspace, "none")
        await sandbox.start()
        try:
            assert (await sh(sandbox, 'readlink "$(type -P python)"')).strip() == expected
        finally:
            await sandbox.stop()
