"""The Docker sandbox: what a container is made with, that it goes, and what a user is told when it cannot come.

What both backends have in common is in the shared suite; here is what only containers have.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest
import pytest_asyncio
from msgspec.structs import replace

from tests.sandbox.conftest import PATIENCE
from tests.sandbox.images import import_image
from workbench.isolation import container as container_module
from workbench.isolation import engine, orphans, watch
from workbench.isolation.bwrap import OPEN_FILES
from workbench.isolation.container import AGENT_UID, ContainerPlan, FrameSplitter, container_name, host_config
from workbench.isolation.meeting import INSIDE, LAUNCH, MeetingPoint
from workbench.isolation.orphans import find_orphans, remove_container
from workbench.isolation.spec import DEFAULT_IMAGE, RUN_FOLDER, Confinement, ResourceLimits, SandboxError
from workbench.isolation.temporary import OwnedFolder, find_stale_folders, remove_stale_folders
from workbench.isolation.users import own
from workbench.sandbox import docker as docker_module
from workbench.sandbox.base import WORKSPACE, SandboxSpec
from workbench.sandbox.docker import DockerSandbox, agent_user, guest_files
from workbench.sandbox.pty import DirectPty, RelayedPty

MIB = 1 << 20
ENGINES: dict[str, dict[str, Any]] = {
    "docker": {"engine": "docker", "version": "20.10.24+dfsg1", "rootless": False, "limits": True, "cpus": 2},
    "podman": {"engine": "podman", "version": "4.3.1", "rootless": False, "limits": True, "cpus": 2},
    "rootless": {"engine": "podman", "version": "4.3.1", "rootless": True, "limits": False, "cpus": 2},
    "rootless of old": {"engine": "podman", "version": "3.4.4", "rootless": True, "limits": False, "cpus": 2},
    "rootless docker": {"engine": "docker", "version": "24.0.2", "rootless": True, "limits": True, "cpus": 2},
}


# --- without an engine ------------------------------------------------------------------------------------------------


def framed(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


class TestFrameSplitter:
    def test_any_cut_gives_the_same_bytes(self) -> None:
        dice = random.Random(7)
        payloads = [dice.randbytes(dice.choice([0, 1, 7, 8, 9, 500])) for _ in range(50)]
        stream = b"".join(framed(1, data) for data in payloads)
        for size in (1, 2, 7, 8, 9, 64, len(stream)):
            splitter = FrameSplitter()
            got = b"".join(splitter.feed(stream[at : at + size]) for at in range(0, len(stream), size))
            assert got == b"".join(payloads)

    def test_error_stream_is_kept_apart_and_bounded(self) -> None:
        splitter = FrameSplitter()
        assert splitter.feed(framed(1, b"out") + framed(2, b"x" * 9000 + b"the end")) == b"out"
        assert splitter.errors.endswith(b"the end")
        assert len(splitter.errors) <= 4096

    def test_something_else_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not a stream of the engine"):
            FrameSplitter().feed(b"HTTP/1.1 500")


class TestOwners:
    def test_this_process_is_not_gone(self) -> None:
        assert not orphans.owner_is_gone(orphans.owner_labels("s"))

    def test_a_process_that_ended_is_gone(self) -> None:
        with subprocess.Popen(["sleep", "60"]) as process:
            labels = {
                **orphans.owner_labels("s"),
                orphans.PID_LABEL: str(process.pid),
                orphans.STARTED_LABEL: orphans.process_started(process.pid),
            }
            assert not orphans.owner_is_gone(labels)
            process.kill()
        assert orphans.owner_is_gone(labels)

    def test_another_process_with_the_same_id_is_not_the_owner(self) -> None:
        labels = {**orphans.owner_labels("s"), orphans.STARTED_LABEL: "boot:1"}
        assert orphans.owner_is_gone(labels)

    def test_a_zombie_is_gone(self) -> None:
        process = subprocess.Popen(["true"])
        wait_until(lambda: orphans.process_started(process.pid) == "")
        process.wait()

    def test_nothing_is_said_of_another_host(self) -> None:
        labels = {**orphans.owner_labels("s"), orphans.HOST_LABEL: "elsewhere", orphans.STARTED_LABEL: "boot:1"}
        assert not orphans.owner_is_gone(labels)


class TestPlan:
    def configuration(self, folder: Path, spec: SandboxSpec, engine: str = "docker") -> dict[str, Any]:
        import docker

        api = docker.APIClient(base_url="unix:///nowhere", version="1.41")
        plan = ContainerPlan(
            confinement=DockerSandbox(spec, folder).confinement({}, {}),
            program=["/program.py"],
            flags=["-I"],
            image=DEFAULT_IMAGE,
            user=(1234, 1234),
            session="s",
        )
        return dict(host_config(api, plan, ENGINES[engine]))

    def test_names_can_be_given_to_an_engine(self) -> None:
        name = container_name("20260101-101010-böse/Sitzung mit $x")
        assert name.isascii() and all(c.isalnum() or c in "_.-" for c in name)
        assert name != container_name("20260101-101010-böse/Sitzung mit $x")

    def test_gpus_are_asked_for_by_number(self, tmp_path: Path) -> None:
        (request,) = self.configuration(tmp_path, SandboxSpec(session="s", gpus=[0, 2]))["DeviceRequests"]
        assert request["DeviceIDs"] == ["0", "2"]
        assert request["Capabilities"] == [["gpu"]]

    def test_podman_hands_out_no_gpus(self, tmp_path: Path) -> None:
        with pytest.raises(SandboxError, match="Podman hands out no GPUs") as caught:
            self.configuration(tmp_path, SandboxSpec(session="s", gpus=[0]), "podman")
        assert "--sandbox local" in caught.value.hint

    def test_a_limit_is_set_wherever_the_engine_sets_none(self) -> None:
        limits = ResourceLimits(processes=77, file_bytes=5 * MIB)
        plan = ContainerPlan(Confinement(limits=limits), ["/program.py"], [], DEFAULT_IMAGE, (1234, 1234), "s")
        assert plan.limits(ENGINES["docker"]) == {"core": 0, "nofile": OPEN_FILES, "fsize": 5 * MIB}
        assert plan.limits(ENGINES["podman"])["nproc"] > 1000, "else it asks for more than there may be"
        assert plan.limits(ENGINES["rootless"])["nproc"] == 77
        assert "nproc=77" in plan.command(ENGINES["rootless"])[-2]

    def test_who_writes_folders_of_the_host_is_its_user_in_a_rootless_engine_too(self, tmp_path: Path) -> None:
        plan = ContainerPlan(Confinement(), ["/program.py"], [], DEFAULT_IMAGE, (1234, 1234), "s")
        assert plan.user_inside(ENGINES["rootless"]) == plan.user_inside(ENGINES["podman"]) == (1234, 1234)
        plan = replace(plan, confinement=Confinement(writable={tmp_path: "/work"}))
        assert plan.user_inside(ENGINES["podman"]) == (1234, 1234)
        assert plan.user_inside(ENGINES["rootless"]) == (AGENT_UID, AGENT_UID)
        assert plan.user_inside(ENGINES["rootless of old"]) == (os.getuid(), os.getgid())
        assert plan.user_inside(ENGINES["rootless docker"]) == (0, 0)
        modes = [self.configuration(tmp_path, SandboxSpec(session="s"), engine).get("UsernsMode") for engine in ENGINES]
        assert modes == [None, None, "keep-id:uid=1000,gid=1000", "keep-id", None]

    def test_no_limits_are_no_limits(self, tmp_path: Path) -> None:
        limits = ResourceLimits(memory_bytes=None, cpus=None, processes=None, file_bytes=None, workspace_bytes=None)
        made = self.configuration(tmp_path, SandboxSpec(session="s", limits=limits))
        assert not {"Memory", "MemorySwap", "NanoCpus", "PidsLimit"} & {k for k, v in made.items() if v}
        assert "fsize" not in [limit["Name"] for limit in made["Ulimits"]]

    def test_network_is_off_unless_asked_for(self, tmp_path: Path) -> None:
        assert self.configuration(tmp_path, SandboxSpec(session="s"))["NetworkMode"] == "none"
        assert self.configuration(tmp_path, SandboxSpec(session="s", network=True))["NetworkMode"] == "bridge"

    def test_the_agent_is_never_root_of_the_host(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "getuid", lambda: 0)
        assert agent_user() == (AGENT_UID, AGENT_UID)
        monkeypatch.setattr(os, "getuid", lambda: 501)
        monkeypatch.setattr(os, "getgid", lambda: 20)
        assert agent_user() == (501, 20)

    @pytest.mark.skipif(os.getuid() != 0, reason="needs root: changes owners")
    def test_workspace_is_given_without_following_links(self, tmp_path: Path) -> None:
        outside, workspace = tmp_path / "outside", tmp_path / "workspace"
        outside.mkdir()
        (outside / "file").touch()
        (workspace / "deep").mkdir(parents=True)
        (workspace / "deep" / "file").touch()
        (workspace / "link").symlink_to(outside)
        (workspace / "deep" / "link").symlink_to(outside / "file")
        own(workspace, (1234, 1234))
        changed = [workspace, *workspace.rglob("*")]
        assert {path.lstat().st_uid for path in changed} == {1234}
        assert len(changed) == 5
        assert {outside.stat().st_uid, (outside / "file").stat().st_uid} == {0}

    def test_guest_files_that_the_agent_could_not_read_are_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "guest.py").touch(mode=0o600)
        monkeypatch.setattr(docker_module, "GUEST_FILES", (tmp_path / "guest.py",))
        with pytest.raises(SandboxError, match=r"guest\.py cannot be read") as caught:
            guest_files(os.getuid() + 1)
        assert "chmod" in caught.value.hint
        assert guest_files(os.getuid()) == {tmp_path / "guest.py": f"{RUN_FOLDER}/guest.py"}


class TestTemporaryFolders:
    def test_stale_when_its_process_is_gone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        script = (
            "from workbench.isolation.temporary import OwnedFolder\n"
            "folder = OwnedFolder('meeting'); print(folder.path, flush=True); input()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            path = Path(process.stdout.readline().strip())
            assert path.parent == tmp_path and path not in find_stale_folders()
            process.kill()
        assert path in find_stale_folders()
        assert path in remove_stale_folders()
        assert not path.exists()

    def test_ours_and_strangers_folders_are_left_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        ours = OwnedFolder("meeting")
        others = [tmp_path / name for name in ("mlgym-tui-meeting-link", "mlgym-tui-meeting-full", "mlgym-tui-other")]
        others[0].symlink_to(tmp_path)
        for folder in others[1:]:
            folder.mkdir()
            (folder / "file").touch()
            os.utime(folder, (0, 0))
        assert not {ours.path, *others} & set(find_stale_folders())
        ours.remove()
        ours.remove()
        assert not ours.path.exists()


# --- with an engine ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts sandboxes, and stops them at the end."""
    made: list[DockerSandbox] = []

    async def start(image: str = DEFAULT_IMAGE, direct: bool = True, **fields: Any) -> DockerSandbox:
        folder = tmp_path / f"workspace-{len(made)}"
        folder.mkdir()
        sandbox = DockerSandbox(SandboxSpec(session=f"test-{os.getpid()}", **fields), folder, image, direct=direct)
        made.append(sandbox)
        await sandbox.start()
        return sandbox

    yield start
    for sandbox in made:
        await sandbox.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plain(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DockerSandbox]:
    """One container for what only looks around."""
    sandbox = DockerSandbox(SandboxSpec(session=f"test-plain-{os.getpid()}"), tmp_path_factory.mktemp("workspace"))
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture
def api() -> Iterator[Any]:
    connection = engine.connect()
    yield connection
    connection.close()


def containers_of(api: Any, session: str) -> list[str]:
    label = f"{orphans.SESSION_LABEL}={session}"
    return [found["Id"] for found in api.containers(all=True, filters={"label": label})]


async def said(sandbox: DockerSandbox, script: str, **options: Any) -> str:
    result = await sandbox.exec(["bash", "-c", script], **options)
    return (result.stdout + result.stderr).decode().strip()


@pytest.mark.docker
class TestContainer:
    async def test_isolation_and_limits_are_set_and_hold_inside(
        self, make: Callable[..., Any], api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRET_OF_THE_HOST", "hush")
        data = tmp_path / "data"
        data.mkdir()
        (data / "file").write_text("given")
        (data / "file").chmod(0o666)
        limits = ResourceLimits(memory_bytes=256 * MIB, cpus=0.5, processes=60, file_bytes=3 * MIB)
        sandbox = await make(limits=limits, env={"WINDOW": "50"}, readonly={data: "/data"})

        (number,) = containers_of(api, sandbox.spec.session)
        found = api.inspect_container(number)
        host, labels = found["HostConfig"], found["Config"]["Labels"]
        assert labels[orphans.PID_LABEL] == str(os.getpid())
        assert labels[orphans.HOST_LABEL] == os.uname().nodename
        described = sandbox.describe()
        if described["engine"]["limits"]:
            assert (host["Memory"], host["MemorySwap"]) == (256 * MIB, 256 * MIB)
            assert (host["NanoCpus"], host["PidsLimit"]) == (500_000_000, 60)
        assert (host["NetworkMode"], host["ReadonlyRootfs"], host.get("Init", False)) == ("none", True, False)
        assert (host["Privileged"], host["AutoRemove"]) == (False, True)
        assert "no-new-privileges" in host["SecurityOpt"]

        status = await said(sandbox, "cat /proc/self/status")
        assert "CapEff:\t0000000000000000" in status and "CapBnd:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        own = AGENT_UID if os.getuid() == 0 else os.getuid()
        assert await said(sandbox, "id -u") == str(AGENT_UID if described["engine"]["rootless"] else own)
        assert await said(sandbox, "ls /sys/class/net") == "lo"
        assert "Read-only file system" in await said(sandbox, "touch /usr/x")
        assert "Read-only file system" in await said(sandbox, "echo x >> /data/file")
        assert await said(sandbox, "cat /data/file; echo -n $WINDOW") == "given50"
        assert "hush" not in await said(sandbox, "env")
        assert await said(sandbox, "touch /tmp/a ~/b ./c && echo yes") == "yes"
        await said(sandbox, "head -c 4000000 /dev/zero > big")
        assert await said(sandbox, "stat -c %s big") == str(3 * MIB)
        assert described["backend"] == "docker" and described["network"] is False
        assert described["image_id"] == found["Image"]
        assert described["engine"]["engine"] in ("docker", "podman") and described["engine"]["version"]
        for folder in ("/", "/var", "/var/tmp", "/etc"):
            assert await said(sandbox, f"touch {folder}/x && echo written") != "written", folder

    async def test_more_processors_than_there_are(self, make: Callable[..., Any], api: Any) -> None:
        sandbox = await make(limits=ResourceLimits(cpus=1000))
        if not sandbox.describe()["engine"]["limits"]:
            return  # of this engine nothing is asked
        (number,) = containers_of(api, sandbox.spec.session)
        assert api.inspect_container(number)["HostConfig"]["NanoCpus"] == api.info()["NCPU"] * 10**9

    async def test_process_limit_spares_the_session(self, make: Callable[..., Any]) -> None:
        sandbox = await make(limits=ResourceLimits(processes=40))
        script = """
import os, signal
children = []
try:
    while True:
        if not (child := os.fork()):
            signal.pause()
        children.append(child)
except BlockingIOError:
    print(len(children))
for child in children:
    os.kill(child, signal.SIGKILL)
"""
        result = await sandbox.exec(["python3", "-c", script], time_limit=10)
        assert 20 < int(result.stdout) < 40
        assert await said(sandbox, "echo alive") == "alive"

    async def test_memory_limit_kills_the_command_and_spares_the_session(self, make: Callable[..., Any]) -> None:
        sandbox = await make(limits=ResourceLimits(memory_bytes=96 * MIB))
        result = await sandbox.exec(
            ["python3", "-c", "import time; x = b'x' * (300 << 20); time.sleep(30)"]
        )  # or is watched
        assert result.exit_code in (137, -9)
        assert await said(sandbox, "echo alive") == "alive"

    @pytest.mark.asyncio(loop_scope="module")
    async def test_our_files_cannot_be_changed_from_inside(self, plain: DockerSandbox) -> None:
        for change in ("echo x >> guest.py", "rm -f guest.py", "mv tools.py other.py", "chmod 777 bashrc"):
            result = await plain.exec(["bash", "-c", f"cd {RUN_FOLDER} && {change}"])
            assert result.exit_code != 0, change
        for path, inside in guest_files(AGENT_UID).items():
            assert (await plain.exec(["cat", inside])).stdout == path.read_bytes()

    async def test_stop_removes_it_and_can_be_called_twice(self, make: Callable[..., Any], api: Any) -> None:
        sandbox = await make()
        await sandbox.exec(["sh", "-c", "printf kept > kept.txt"])
        await sandbox.stop()
        assert containers_of(api, sandbox.spec.session) == []
        await sandbox.stop()
        assert (sandbox.workspace_folder / "kept.txt").read_bytes() == b"kept"
        with pytest.raises(SandboxError):
            await sandbox.exec(["true"])

    @pytest.mark.parametrize("direct", [True, False])
    async def test_a_shell_is_not_process_1_and_can_be_used(self, make: Callable[..., Any], direct: bool) -> None:
        sandbox = await make(direct=direct)
        assert sandbox.describe()["direct"] is direct
        shell = await sandbox.open_shell(WORKSPACE)
        assert isinstance(shell, DirectPty if direct else RelayedPty)
        printed = bytearray()
        exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        shell.listen(printed.extend, exited.set_result)
        shell.write(b"tty; echo pid=$((1 == $$)); stty size; exit 7\n")
        assert await asyncio.wait_for(exited, PATIENCE) == 7
        assert b"pid=0" in printed and b"/dev/pts/" in printed and b"40 120" in printed

    async def test_the_socket_of_the_host_is_dead_once_the_guest_has_it(
        self, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        meeting = MeetingPoint()
        monkeypatch.setattr(container_module, "MeetingPoint", lambda: meeting)
        sandbox = await make()
        script = f"import socket; socket.socket(socket.AF_UNIX).connect({INSIDE!r})"
        result = await sandbox.exec(["python3", "-c", script])
        assert b"ConnectionRefusedError" in result.stderr
        assert not meeting.path.parent.exists()

    async def test_a_guest_that_cannot_call_back_uses_the_stream_of_the_engine(
        self, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(container_module, "LAUNCH", LAUNCH.replace("sys.argv[1]", "'/nowhere'"))
        sandbox = await make()
        assert sandbox.describe()["direct"] is False
        assert await said(sandbox, "echo alive") == "alive"

    async def test_a_full_workspace_stops_what_fills_it(
        self, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(watch, "_PAUSE", 0.1)
        sandbox = await make(limits=ResourceLimits(workspace_bytes=10 * MIB))
        warnings: list[str] = []
        sandbox.on_warning = warnings.append
        result = await sandbox.exec(["bash", "-c", "head -c 20M /dev/zero > big; exec sleep 60"], time_limit=20)
        assert result.exit_code == 137 and not result.timed_out
        assert "sleep was killed" in warnings[-1]

    @pytest.mark.asyncio(loop_scope="module")
    async def test_full_screen_programs_are_there(self, plain: DockerSandbox) -> None:
        for program in ("vim", "less", "top", "python3", "git", "jq", "file", "gawk"):
            assert (await plain.exec(["which", program])).exit_code == 0, program


@pytest.mark.docker
class TestFailures:
    async def test_image_is_missing(self, make: Callable[..., Any], api: Any) -> None:
        with pytest.raises(SandboxError, match="not on this machine") as caught:
            await make(image="mlgym-tui/agent:no-such-version")
        assert "mlgym-tui image build" in caught.value.hint
        assert containers_of(api, f"test-{os.getpid()}") == []

    async def test_image_without_python(self, make: Callable[..., Any], api: Any) -> None:
        name = f"mlgym-tui-test/empty:{os.getpid()}"
        import_image(api, name, {})
        try:
            with pytest.raises(SandboxError, match="has no python3"):
                await make(image=name)
            wait_until(lambda: containers_of(api, f"test-{os.getpid()}") == [])
        finally:
            api.remove_image(name, force=True)

    @pytest.mark.parametrize("direct", [True, False])
    async def test_image_for_another_processor(self, make: Callable[..., Any], api: Any, direct: bool) -> None:
        other = 183 if os.uname().machine == "x86_64" else 62  # machines by their number in an ELF header
        header = (
            b"\x7fELF\x02\x01\x01"
            + bytes(9)
            + struct.pack("<HHIQQQIHHHHHH", 2, other, 1, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0)
        )
        name = f"mlgym-tui-test/foreign:{os.getpid()}"
        import_image(api, name, {"usr/bin/python3": header}, ["ENV PATH=/usr/bin"])
        try:
            with pytest.raises(SandboxError, match="made for another processor") as caught:
                await make(image=name, direct=direct)
            assert "mlgym-tui image build" in caught.value.hint
            wait_until(lambda: containers_of(api, f"test-{os.getpid()}") == [])
        finally:
            api.remove_image(name, force=True)

    async def test_mount_that_is_not_there(self, make: Callable[..., Any], api: Any, tmp_path: Path) -> None:
        with pytest.raises(SandboxError, match="nothing is to be seen in the container, and is not there"):
            await make(readonly={tmp_path / "nothing": "/data"})
        assert containers_of(api, f"test-{os.getpid()}") == []

    async def test_cancelled_start_leaves_nothing(self, tmp_path: Path, api: Any) -> None:
        for delay in (0.0, 0.02, 0.1, 0.2):
            sandbox = DockerSandbox(SandboxSpec(session=f"test-{os.getpid()}"), tmp_path)
            task = asyncio.create_task(sandbox.start())
            await asyncio.sleep(delay)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await sandbox.stop()
            assert containers_of(api, f"test-{os.getpid()}") == []

    async def test_two_containers_at_the_same_moment_are_no_failure(
        self, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rootless Podman 4.3 then says now and then that its user has no ids for them."""
        answers = iter(["keep-id requires additional UIDs or GIDs defined in /etc/subuid"] * 2)
        plainly = docker.APIClient.create_container

        def create(self: docker.APIClient, *given: Any, **options: Any) -> Any:
            if refusal := next(answers, ""):
                raise docker.errors.APIError(refusal)
            return plainly(self, *given, **options)

        monkeypatch.setattr(docker.APIClient, "create_container", create)
        assert await said(await make(), "echo alive") == "alive"

    async def test_a_container_that_cannot_be_removed_is_told_and_no_failure(
        self, make: Callable[..., Any], api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sandbox = await make()
        warnings: list[str] = []
        sandbox.on_warning = warnings.append

        def fail(*_: object) -> None:
            raise SandboxError("the engine is gone")

        monkeypatch.setattr(container_module, "remove_container", fail)
        await sandbox.stop()
        assert "mlgym-tui gc" in warnings[0]
        wait_until(lambda: containers_of(api, sandbox.spec.session) == [])

    async def test_workspace_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(SandboxError, match="is not a folder"):
            await DockerSandbox(SandboxSpec(session="s"), tmp_path / "nothing").start()

    @pytest.mark.asyncio(loop_scope="module")
    async def test_nothing_inside_can_kill_or_stop_the_guest(self, plain: DockerSandbox) -> None:
        assert plain.guest_facts["pid"] == 1
        await said(plain, "for signal in KILL STOP TERM INT HUP SEGV ABRT; do kill -$signal 1; done")
        assert await said(plain, "echo alive") == "alive"
        for look in (
            "readlink -v /proc/1/fd/0",
            "readlink -v /proc/1/exe",
            "head -c 1 /proc/1/environ",
            "ls /proc/1/root/",
        ):
            assert "ermission denied" in await said(plain, look), look

    @pytest.mark.asyncio(loop_scope="module")
    async def test_orphans_inside_are_reaped(self, plain: DockerSandbox) -> None:
        await said(plain, "for i in 1 2 3; do (setsid sleep 0.01 &) ; done")
        async with asyncio.timeout(PATIENCE):
            while "sleep" in await said(plain, "ps -eo args="):
                pass

    @pytest.mark.parametrize("direct", [True, False])
    async def test_a_container_that_is_killed_is_noticed(
        self, make: Callable[..., Any], api: Any, direct: bool
    ) -> None:
        sandbox = await make(direct=direct)
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        sandbox.on_warning = lost.set_result
        shell = await sandbox.open_shell(WORKSPACE)
        shell.listen(lambda data: None, exited.set_result)
        await asyncio.to_thread(api.kill, sandbox.describe()["container"])
        await asyncio.wait_for(lost, PATIENCE)
        assert await asyncio.wait_for(exited, PATIENCE) == 137
        await sandbox.stop()
        assert containers_of(api, sandbox.spec.session) == []


OWNER = """
import asyncio, sys
from pathlib import Path
from workbench.isolation.engine import connect
from workbench.isolation.orphans import owner_labels
from workbench.sandbox.base import SandboxSpec
from workbench.sandbox.docker import DockerSandbox

async def main():
    sandbox = DockerSandbox(SandboxSpec(session=sys.argv[1]), Path(sys.argv[2]))
    await sandbox.start()
    if sys.argv[3] == "freeze":
        api = sandbox._container.api
        if sandbox.describe()["engine"]["limits"]:
            api.pause(sandbox._container.name)
        else:  # it pauses nothing
            await sandbox.stop()
            made = connect().create_container(sandbox.describe()["image_id"], labels=owner_labels(sys.argv[1]))
    print("up", flush=True)
    if sys.argv[3] == "leave":
        return
    await asyncio.sleep(600)

asyncio.run(main())
"""


@contextlib.contextmanager
def owner(session: str, folder: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    """Another process with a sandbox of its own."""
    command = [sys.executable, "-c", OWNER, session, str(folder), how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.docker
class TestOwnerIsGone:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    def test_killed(self, api: Any, tmp_path: Path, number: signal.Signals) -> None:
        session = f"test-killed-{os.getpid()}"
        with owner(session, tmp_path, "wait") as process:
            assert len(containers_of(api, session)) == 1
            process.send_signal(number)
            wait_until(lambda: containers_of(api, session) == [])

    def test_ended_without_stop(self, api: Any, tmp_path: Path) -> None:
        session = f"test-left-{os.getpid()}"
        with owner(session, tmp_path, "leave") as process:
            assert process.wait(20) == 0
            assert containers_of(api, session) == []

    def test_what_could_not_end_is_found_and_removed(self, api: Any, tmp_path: Path) -> None:
        session = f"test-frozen-{os.getpid()}"
        with owner(session, tmp_path, "freeze") as process:
            (number,) = containers_of(api, session)
            assert number not in [orphan.container for orphan in find_orphans(api)], "its owner lives"
            process.kill()
            process.wait()
            assert [orphan.container for orphan in find_orphans(api) if orphan.session == session] == [number]
            for _ in range(2):  # gone already is fine
                remove_container(api, number)
                assert containers_of(api, session) == []


def wait_until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
