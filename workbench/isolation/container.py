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
import re
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.isolation.bwrap import OPEN_FILES
from workbench.isolation.engine import EngineError, engine_errors
from workbench.isolation.meeting import INSIDE, LAUNCH, MeetingPoint
from workbench.isolation.orphans import owner_labels, remove_container
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

START_LIMIT = 30.0
"""Seconds for a started container to be heard of."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ContainerPlan:
    """What a container is made from."""

    confinement: Confinement
    program: Sequence[str]
    """Of Python: its path inside, and its arguments."""
    flags: Sequence[str]
    """For Python itself."""
    image: str
    user: tuple[int, int]
    """User and group id inside."""
    session: str
    """For its name and labels."""
    kept: bool = False
    """How it ended, and what it printed on standard error, is asked for: it stays until it is removed."""
    direct: bool = True
    """It is offered a socket of this machine to call at, which is quicker (see `meeting`)."""

    @property
    def command(self) -> list[str]:
        """The main process."""
        return ["python3", *self.flags, "-c", LAUNCH, INSIDE, *self.program]


class ContainerProcess(IsolatedProcess):
    """A process in a container. Until `end` it owns the connection to the engine."""

    def __init__(self, api: APIClient, plan: ContainerPlan) -> None:
        self.api = api
        self.plan = plan
        self.name = container_name(plan.session)
        self.decode: Callable[[bytes], bytes] | None = None
        """What takes apart what comes over `channel`, where that is not the process's own."""
        self._splitter = FrameSplitter()
        self._over = False

    async def start(self) -> None:
        """Create and start it, and wait until it is heard of. Raises SandboxError, with nothing left behind."""
        meeting: MeetingPoint | None = None
        try:
            if self.plan.direct:
                with contextlib.suppress(OSError):  # no room for temporary files: there is the longer way
                    meeting = MeetingPoint()
            self.channel = stream = await in_thread(lambda: self._launch(meeting))
            async with asyncio.timeout(START_LIMIT):
                caller = await meeting.first_heard(stream) if meeting is not None else None
            if caller is None:
                self.decode = self._splitter.feed
            else:
                self.channel = caller
                stream.close()
        except TimeoutError:
            await self.end()
            raise SandboxError(f"the container did not start within {START_LIMIT:.0f} s") from None
        except BaseException:
            await self.end()
            raise
        finally:
            if meeting is not None:
                meeting.close()

    def _launch(self, meeting: MeetingPoint | None) -> socket.socket:
        """Create, attach, start; the stream to it. What is made is in `_live` at once."""
        plan, api = self.plan, self.api
        try:
            with engine_errors():
                api.create_container(
                    plan.image,
                    entrypoint=plan.command,
                    name=self.name,
                    user="{}:{}".format(*plan.user),
                    working_dir=plan.confinement.cwd,
                    environment=plan.confinement.environment,
                    hostname="sandbox",
                    stdin_open=True,
                    labels=owner_labels(plan.session),
                    network_disabled=plan.kept and not plan.confinement.network,  # quicker than one of nothing
                    host_config=host_config(api, plan, meeting),
                )
                _live[self.name] = api
                attached = api.attach_socket(self.name, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
                stream = _own_socket(attached)
                api.start(self.name)
                return stream
        except EngineError as error:
            text = str(error).lower()
            if error.status == 404 and "image" in text:
                raise SandboxError(
                    f"the image {plan.image} is not on this machine",
                    "build it: mlgym-tui image build" if plan.image.startswith("mlgym-tui/") else "pull or build it",
                ) from error
            if "executable file not found" in text or "no such file or directory" in text:
                raise SandboxError(
                    f"the image {plan.image} has no python3: {error}", "an image needs bash and python3"
                ) from error
            raise

    async def inspect(self) -> dict[str, Any]:
        """What the engine says of the container. Raises SandboxError."""
        look: Any = self.api.inspect_container  # the stubs know no types for it
        with engine_errors():
            return dict(await in_thread(lambda: look(self.name)))

    async def processor_seconds(self) -> float:
        ask: Any = self.api.stats
        with contextlib.suppress(EngineError, KeyError, TypeError, ValueError), engine_errors():
            stats = await in_thread(lambda: ask(self.name, stream=False, one_shot=True))
            return int(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9
        return 0.0

    async def how_it_ended(self) -> str:
        with contextlib.suppress(EngineError), engine_errors():
            await in_thread(lambda: self.api.wait(self.name, timeout=2))
        with contextlib.suppress(EngineError):
            state = (await self.inspect())["State"]
            if state.get("OOMKilled"):
                return "killed: out of memory"
            if state.get("Status") == "exited":
                return describe_status(int(state["ExitCode"]))
        return ""

    async def standard_error(self) -> str:
        said: bytes | bytearray = self._splitter.errors
        if self.plan.kept:
            with contextlib.suppress(EngineError), engine_errors():
                said = await in_thread(lambda: self.api.logs(self.name, stdout=False, stderr=True, tail=20))
        return bytes(said)[-STDERR_TAIL:].decode("utf-8", "replace")

    async def end(self) -> None:
        if self._over:
            return
        self._over = True
        if hasattr(self, "channel"):
            self.channel.close()
        try:
            if self.name in _live:
                await in_thread(lambda: remove_container(self.api, self.name))
                _live.pop(self.name, None)
        finally:
            await in_thread(self.api.close)

    def take_frames_apart(self) -> None:
        """Have threads take the stream apart, where `decode` would: `channel` is the process's own (but slower)."""
        if self.decode is not None:
            self.channel, self.decode = pump(self.channel, self.decode), None


class FrameSplitter:
    """Takes a non-tty stream of the engine apart: 8 bytes of header (stream, length), then that many bytes."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._missing = 0
        self._stream = 1
        self.errors = bytearray()
        """The last of what came on the error stream: why a main process could not start."""

    def feed(self, data: bytes) -> bytes:
        """What of standard output is in `data`. Raises ValueError when it is no such stream."""
        pieces: list[bytes] = []
        at, end = 0, len(data)
        while at < end:
            if self._missing == 0:
                take = min(8 - len(self._header), end - at)
                self._header += data[at : at + take]
                at += take
                if len(self._header) == 8:
                    if self._header[0] > 3 or any(self._header[1:4]):
                        raise ValueError(f"not a stream of the engine: {bytes(self._header)!r}")
                    self._stream = self._header[0]
                    self._missing = int.from_bytes(self._header[4:], "big")
                    self._header.clear()
                continue
            piece = data[at : at + self._missing]
            at += len(piece)
            self._missing -= len(piece)
            if self._stream == 2:
                self.errors = (self.errors + piece)[-4096:]
            else:
                pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


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


def host_config(api: APIClient, plan: ContainerPlan, meeting: MeetingPoint | None = None) -> Any:
    """Isolation and limits of the container."""
    from docker.types import DeviceRequest, LogConfig, Mount, Ulimit

    confinement, limits, size = plan.confinement, plan.confinement.limits, plan.confinement.scratch_bytes
    readonly = {**confinement.readonly, **({meeting.path: INSIDE} if meeting is not None else {})}
    mounts = [Mount(inside, str(path.resolve()), type="bind") for path, inside in confinement.writable.items()]
    mounts += [Mount(to, str(path.resolve()), type="bind", read_only=True) for path, to in readonly.items()]
    gpus = [DeviceRequest(device_ids=[str(gpu) for gpu in confinement.gpus], capabilities=[["gpu"]])]
    ulimits = [Ulimit(name="core", soft=0, hard=0), Ulimit(name="nofile", soft=OPEN_FILES, hard=OPEN_FILES)]
    if limits.file_bytes is not None:
        ulimits.append(Ulimit(name="fsize", soft=limits.file_bytes, hard=limits.file_bytes))
    owner = "uid={},gid={}".format(*plan.user)
    # Output that is not asked for is not to be written to the engine's disk as well.
    log = (
        LogConfig(type="json-file", config={"max-size": "1m", "max-file": "1"}) if plan.kept else LogConfig(type="none")
    )
    return api.create_host_config(
        init=plan.kept,  # else the program does an init's work
        auto_remove=not plan.kept,
        network_mode="bridge" if confinement.network else "none",
        mem_limit=limits.memory_bytes,
        memswap_limit=limits.memory_bytes,  # no swap on top
        nano_cpus=None if limits.cpus is None else int(limits.cpus * 1e9),
        pids_limit=limits.processes,
        ulimits=ulimits,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        read_only=True,
        tmpfs={
            "/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={size}",
            HOME: f"rw,exec,nosuid,nodev,mode=755,size={size},{owner}",
            RUN_FOLDER: f"rw,noexec,nosuid,nodev,mode=755,size={1 << 20},{owner}",
        },
        shm_size=size,
        ipc_mode="private",
        mounts=mounts,
        device_requests=gpus if confinement.gpus else None,
        log_config=LogConfig(**log),
    )


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
        attached.close()
        real.close()
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
