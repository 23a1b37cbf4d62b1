"""A process in a container of its own: how it is made, started with its streams attached, and ended.

It is the main process. As process 1 it cannot be killed or stopped by anything inside. It is attached before it starts:
nothing that it says can be lost, and when its stream closes, because the host closed it or is no more, it ends, and the
engine removes the container.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import platform
import re
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from workbench.isolation.bwrap import process_limits
from workbench.isolation.engine import EngineError, describe_engine, engine_errors
from workbench.isolation.image import image_id
from workbench.isolation.meeting import INSIDE, LAUNCH, MeetingPoint, same_kernel
from workbench.isolation.orphans import owner_labels, remove_container
from workbench.isolation.processes import used_by
from workbench.isolation.spec import (
    HOME,
    RUN_FOLDER,
    STDERR_TAIL,
    Confinement,
    IsolatedProcess,
    SandboxError,
    describe_status,
)

if TYPE_CHECKING:
    from docker import APIClient

AGENT_UID = 1000
"""The agent's user id where the host's user is root, or the engine can choose it."""
NOBODY = 65534
MOST_PROCESSES = 32768
"""Of one user, over all containers; the number of process ids on a small machine."""
START_LIMIT = 30.0
"""Seconds for a started container to be heard of."""

_FRAME = struct.Struct(">B3sI")
_Result = TypeVar("_Result")


class ContainerPlan(msgspec.Struct, frozen=True):
    """What a container is made from."""

    confinement: Confinement
    program: Sequence[str]
    """The Python program: its path inside, and its arguments."""
    flags: Sequence[str]
    """Options of Python itself."""
    image: str
    user: tuple[int, int]
    """User and group id."""
    session: str
    """For its name and labels."""
    kept: bool = False
    """It stays until it is removed, so that the engine can be asked how it ended and what it printed."""
    direct: bool = True
    """Where the engine runs on our kernel, it is offered a socket to call at, which is quicker (see `meeting`)."""

    def command(self, engine: Mapping[str, Any]) -> list[str]:
        """The main process. It sets its limits itself, too: a rootless Podman takes none."""
        limits = ",".join(f"{name}={value}" for name, value in self.limits(engine).items())
        return ["python3", *self.flags, "-c", LAUNCH, INSIDE, limits, *self.program]

    def limits(self, engine: Mapping[str, Any]) -> dict[str, int]:
        """Limits of each process by their short names, within those of this process.

        Podman asks for more processes than there may be, unless it is told. Where no control group counts them, the
        limit of processes is of all that this user has in containers.
        """
        limits = self.confinement.limits
        processes = MOST_PROCESSES if engine["engine"] == "podman" else None
        if not engine["limits"] and limits.processes is not None and not self.kept:  # what is kept limits itself
            processes = limits.processes
        return process_limits(processes, limits.file_bytes)

    def user_inside(self, engine: Mapping[str, Any]) -> tuple[int, int]:
        """Who it is inside: to an engine of the user's own, our files are not those of the user asked for."""
        if not engine["rootless"] or not self.confinement.writable:
            return self.user
        if engine["engine"] != "podman":
            return 0, 0  # the only one who is us, without any of root's rights
        return (AGENT_UID, AGENT_UID) if _maps_freely(engine) else (os.getuid(), os.getgid())


def _maps_freely(engine: Mapping[str, Any]) -> bool:
    """Whether this Podman can give its user any id inside a container."""
    version = [int(part) for part in re.findall(r"\d+", engine["version"])[:2]]
    return version >= [4, 3]


class ContainerProcess(IsolatedProcess):
    """A process in a container. Until `end` it owns the connection to the engine."""

    def __init__(self, api: APIClient, plan: ContainerPlan) -> None:
        self.api = api
        self.plan = plan
        self.name = container_name(plan.session)
        self.engine: dict[str, Any] = {}
        """What the engine is (see `describe_engine`), once it has started."""
        self._splitter = FrameSplitter()
        self._stream: socket.socket | None = None
        self._over = False

    async def start(self) -> None:
        """Create and start it, and wait until it is heard of. Raises SandboxError, with nothing left behind."""
        meeting: MeetingPoint | None = None
        try:
            self.engine = await in_thread(lambda: describe_engine(self.api))
            if self.plan.direct and same_kernel(self.engine):
                with contextlib.suppress(OSError):  # no room for temporary files: there is the longer way
                    meeting = MeetingPoint()
            self.channel = stream = await in_thread(lambda: self._launch(meeting))
            async with asyncio.timeout(START_LIMIT):
                caller = await meeting.first_heard(stream) if meeting is not None else None
            if caller is None:
                self.channel = pump(stream, self._splitter.feed)
            else:
                self.channel, self._stream = caller, stream
                if self.plan.kept:  # the engine can be asked what it printed
                    self.settle()
        except BaseException as error:
            with contextlib.suppress(EngineError):  # what went wrong first is what counts
                await self.end()
            if isinstance(error, TimeoutError):
                raise SandboxError(f"the container did not start within {START_LIMIT:.0f} s") from None
            raise
        finally:
            if meeting is not None:
                meeting.close()

    def _launch(self, meeting: MeetingPoint | None) -> socket.socket:
        """Create, attach, start; the stream to it. What is made is in `_live` at once."""
        plan, api = self.plan, self.api
        image = image_id(api, plan.image)
        _live[self.name] = api  # from here on: an engine that answers too late may have made it
        try:
            self._create(image, meeting)
            with engine_errors():
                attached = api.attach_socket(self.name, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
                stream = _own_socket(attached)
                api.start(self.name)
                return stream
        except EngineError as error:
            raise start_problem(plan.image, str(error)) or error from error

    def _create(self, image: str, meeting: MeetingPoint | None) -> None:
        plan, api = self.plan, self.api
        for pause in (0.1, 0.5, None):
            try:
                with engine_errors():
                    api.create_container(
                        image,
                        entrypoint=plan.command(self.engine),
                        name=self.name,
                        user="{}:{}".format(*plan.user_inside(self.engine)),
                        working_dir=plan.confinement.cwd,
                        environment=plan.confinement.environment,
                        hostname="sandbox",
                        stdin_open=True,
                        labels=owner_labels(plan.session),
                        network_disabled=plan.kept and not plan.confinement.network,  # quicker than one of nothing
                        host_config=host_config(api, plan, self.engine, meeting),
                    )
                return
            except EngineError as error:
                # Rootless Podman 4.3 says so now and then, too, where two containers are made at the same moment.
                if pause is None or "keep-id requires additional" not in str(error):
                    raise
                time.sleep(pause)

    def settle(self) -> None:
        """It has started for good: nothing will be asked of what it printed by then."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    async def inspect(self) -> dict[str, Any]:
        """What the engine says of the container. Raises SandboxError."""
        return dict(await self._ask("inspect_container"))

    async def _ask(self, call: str, **options: Any) -> Any:
        """A call of the SDK that is about the container. Raises EngineError."""
        with engine_errors():
            return await in_thread(lambda: getattr(self.api, call)(self.name, **options))

    async def processor_seconds(self) -> float:
        with contextlib.suppress(OSError):
            return (await in_thread(self.totals))[0]
        return 0.0

    def totals(self) -> tuple[float, int]:
        """Seconds of processor time so far, and bytes of memory now. It blocks. Raises OSError where the engine does
        not say.
        """
        try:
            with engine_errors():
                if not self.engine["limits"] and same_kernel(self.engine):  # then it counts nothing either
                    asked: Any = self.api  # the stubs know no types for it
                    return used_by(asked.inspect_container(self.name)["State"]["Pid"])
                stats = self.api.stats(self.name, stream=False, one_shot=True)
            memory = stats["memory_stats"]
            cached = memory.get("stats", {}).get("inactive_file", 0)  # given up whenever memory is wanted
            return int(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9, int(memory["usage"]) - int(cached)
        except (EngineError, KeyError, TypeError, ValueError) as error:
            raise OSError(str(error)) from error

    async def how_it_ended(self) -> str:
        with contextlib.suppress(EngineError):
            await self._ask("wait", timeout=2)
        with contextlib.suppress(EngineError):
            state = (await self.inspect())["State"]
            if state.get("OOMKilled"):
                return "killed: out of memory"
            if state.get("Status") == "exited":
                return describe_status(int(state["ExitCode"]))
        return ""

    async def standard_error(self) -> str:
        if self._stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self._splitter.feed(self._stream.recv(1 << 16))
        said: bytes | bytearray = self._splitter.errors
        if self.plan.kept:
            with contextlib.suppress(EngineError):
                said = await self._ask("logs", stdout=False, stderr=True, tail=20)
        return bytes(said)[-STDERR_TAIL:].decode("utf-8", "replace")

    async def end(self) -> None:
        if self._over:
            return
        self._over = True
        self.settle()
        if hasattr(self, "channel"):
            self.channel.close()
        try:
            if self.name in _live:
                await in_thread(lambda: remove_container(self.api, self.name))
                _live.pop(self.name, None)
        finally:
            await in_thread(self.api.close)


@contextlib.contextmanager
def run_in_image(api: APIClient, image: str, command: Sequence[str]) -> Iterator[tuple[str, str]]:
    """A container of an image (its id) in which a command was run, isolated as all are, and what that printed. It is
    removed at the end. Raises SandboxError.
    """
    engine = describe_engine(api)
    plan = ContainerPlan(Confinement(cwd="/"), command, (), image, (NOBODY, NOBODY), "image", kept=True)
    asked: Any = api  # the stubs know no types for some of it
    name = container_name(plan.session)
    try:
        try:
            with engine_errors():
                asked.create_container(
                    image,
                    entrypoint=list(command),
                    name=name,
                    user="{}:{}".format(*plan.user_inside(engine)),
                    labels=owner_labels(plan.session),
                    network_disabled=True,
                    host_config={**host_config(api, plan, engine), "ReadonlyRootfs": False},  # for what is put there
                )
                asked.start(name)
                asked.wait(name, timeout=START_LIMIT)
                said = bytes(asked.logs(name)).decode("utf-8", "replace")
        except EngineError as error:
            raise start_problem(image, str(error)) or error from error
        yield name, said
    finally:
        remove_container(api, name)


class FrameSplitter:
    """Takes a non-tty stream of the engine apart: 8 bytes of header (stream, length), then that many bytes."""

    def __init__(self) -> None:
        self._received = bytearray()
        self.errors = bytearray()
        """The last of what came on the error stream: why a main process could not start."""

    def feed(self, data: bytes) -> bytes:
        """What of standard output has come whole with `data`. Raises ValueError when it is no such stream."""
        self._received += data
        pieces, at = [], 0
        while len(self._received) - at >= _FRAME.size:
            stream, zeros, size = _FRAME.unpack_from(self._received, at)
            if stream > 3 or any(zeros):
                raise ValueError(f"not a stream of the engine: {stream} {zeros!r}")
            start, end = at + _FRAME.size, at + _FRAME.size + size
            if len(self._received) < end:
                break
            at, piece = end, bytes(self._received[start:end])
            if stream == 2:
                self.errors = (self.errors + piece)[-4096:]
            else:
                pieces.append(piece)
        del self._received[:at]
        return b"".join(pieces)


def pump(attached: socket.socket, decode: Callable[[bytes], bytes]) -> socket.socket:
    """A socket that stands for the standard streams of a container over a stream of the engine."""
    ours, theirs = socket.socketpair()
    attached.settimeout(None)

    def outward() -> None:
        with contextlib.suppress(OSError):
            while data := theirs.recv(1 << 16):
                attached.sendall(data)
            attached.shutdown(socket.SHUT_WR)

    def inward() -> None:
        with attached, theirs:
            with contextlib.suppress(OSError, ValueError):
                while data := attached.recv(1 << 16):
                    if said := decode(data):
                        theirs.sendall(said)
            for end in (theirs, attached):  # closing alone would not wake the other thread
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            writer.join()

    writer = threading.Thread(target=outward, name="container-outward", daemon=True)
    writer.start()
    threading.Thread(target=inward, name="container-inward", daemon=True).start()
    return ours


def container_name(session: str) -> str:
    """A name that tells a person whose it is, and is never taken."""
    return f"mlgym-tui-{re.sub(r'[^A-Za-z0-9_.-]', '-', session)[:60]}-{secrets.token_hex(3)}"


def start_problem(image: str, said: str) -> SandboxError | None:
    """What the words of an engine, or of a program that it could not start, mean for an image; None where nothing."""
    low = said.lower()
    if "exec format error" in low:
        machine = platform.machine()
        return SandboxError(
            f"the image {image} is made for another processor than this machine's ({machine})",
            "build it here (mlgym-tui image build), or take the image of this processor",
        )
    if re.search("executable file not found|exec:? .*no such file or directory|exec python3 failed", low):
        return SandboxError(f"the image {image} has no python3: {said}", "an image needs bash and python3")
    return None


def host_config(
    api: APIClient, plan: ContainerPlan, engine: Mapping[str, Any], meeting: MeetingPoint | None = None
) -> Any:
    """Isolation and limits of the container, for the engine (see `describe_engine`). Raises SandboxError."""
    from docker.types import DeviceRequest, LogConfig, Mount, Ulimit

    confinement, limits, size = plan.confinement, plan.confinement.limits, plan.confinement.scratch_bytes
    podman = engine["engine"] == "podman"
    if confinement.gpus and podman:
        raise SandboxError(
            "Podman hands out no GPUs over its Docker-compatible socket", "--sandbox local, Docker, or --gpus none"
        )
    readonly = {**confinement.readonly, **({meeting.path: INSIDE} if meeting is not None else {})}
    for missing in (path for path in (*confinement.writable, *readonly) if not path.exists()):
        raise SandboxError(f"{missing} is to be seen in the container, and is not there")  # Podman would make it
    mounts = [Mount(inside, str(path.resolve()), type="bind") for path, inside in confinement.writable.items()]
    mounts += [Mount(to, str(path.resolve()), type="bind", read_only=True) for path, to in readonly.items()]
    gpus = [DeviceRequest(device_ids=[str(gpu) for gpu in confinement.gpus], capabilities=[["gpu"]])]
    owned = "mode=755,uid={},gid={}".format(*plan.user)
    above = {}
    if podman:  # it takes no owner, and gives a folder the rights that it has in the image: there it must not be
        owned = "mode=1777,notmpcopyup"
        above = {str(Path(path).parent): f"rw,mode=755,size={1 << 20},notmpcopyup" for path in (HOME, RUN_FOLDER)}
        above["/var/tmp"] = "ro"  # else one without a limit
    # Where nobody will ask for the output, the engine must not write it to its disk.
    log = (
        LogConfig(type="json-file", config={"max-size": "1m", "max-file": "1"}) if plan.kept else LogConfig(type="none")
    )
    cpus = limits.cpus and min(limits.cpus, engine["cpus"] or limits.cpus)  # an engine refuses more than it has
    made = api.create_host_config(
        init=plan.kept,  # else the program does an init's work
        auto_remove=not plan.kept,
        network_mode="bridge" if confinement.network else "none",
        mem_limit=limits.memory_bytes,
        memswap_limit=limits.memory_bytes,  # no swap on top
        nano_cpus=int(cpus * 1e9) if cpus else None,
        pids_limit=limits.processes,
        ulimits=[Ulimit(name=name, soft=value, hard=value) for name, value in plan.limits(engine).items()],
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        read_only=True,
        tmpfs={
            **above,
            "/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={size}",
            HOME: f"rw,exec,nosuid,nodev,size={size},{owned}",
            RUN_FOLDER: f"rw,noexec,nosuid,nodev,size={1 << 20},{owned}",
        },
        shm_size=size,
        ipc_mode="private",
        mounts=mounts,
        device_requests=gpus if confinement.gpus else None,
        log_config=LogConfig(**log),
    )
    if podman and engine["rootless"]:
        # Our files are to be the agent's. The SDK would refuse this.
        made["UsernsMode"] = f"keep-id:uid={AGENT_UID},gid={AGENT_UID}" if _maps_freely(engine) else "keep-id"
    return made


def _own_socket(attached: Any) -> socket.socket:
    """The real socket below what the SDK hands out, as one of our own that can be closed without it."""
    real = getattr(attached, "_sock", attached)
    if type(real) is not socket.socket:
        raise SandboxError(
            "the container engine is reached over TLS or ssh, so it does not see this machine's files",
            "unset DOCKER_HOST to use the engine of this machine, or use the local sandbox: --sandbox local",
        )
    own = socket.socket(fileno=os.dup(real.fileno()))
    own.setblocking(False)
    with contextlib.suppress(OSError, ValueError):
        # From the outside in: what is closed too late tries to flush what is closed already, and Python 3.13 says so.
        for layer in (getattr(attached, "_response", attached), attached, real):
            layer.close()
    return own


async def in_thread(work: Callable[[], _Result]) -> _Result:
    """Run blocking work off the event loop, and to its end: what it makes must be known even when we are cancelled."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await task
        raise


_live: dict[str, APIClient] = {}
"""Containers of this process that are not removed yet."""


@atexit.register
def _remove_live() -> None:
    for container, api in list(_live.items()):
        api.timeout = 5
        with contextlib.suppress(Exception):
            remove_container(api, container)
        _live.pop(container, None)
