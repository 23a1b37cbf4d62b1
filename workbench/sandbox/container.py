"""One container for one session: how it is made, started with its main process attached, and ended.

The main process is the guest. As process 1 it cannot be killed or stopped by anything inside, and it waits for orphans
(shells are its children, never process 1). It is attached before it starts: nothing that it says can be lost, and when
its stream closes, because the host closed it or is no more, the guest ends, and the engine removes the container.

Everything here blocks; the sandbox calls it from threads.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.isolation.bwrap import OPEN_FILES
from workbench.isolation.engine import explain
from workbench.isolation.orphans import owner_labels, remove_container
from workbench.isolation.spec import HOME, RUN_FOLDER, ResourceLimits, SandboxError
from workbench.sandbox.base import WORKSPACE, SandboxSpec

if TYPE_CHECKING:
    from docker import APIClient

AGENT_UID = 1000
"""Who the agent is where the host's user is root."""

SCRATCH_BYTES = 2 << 30
"""Largest size of /tmp and of the home folder, which are in memory (and count as such)."""


@dataclass(frozen=True)
class ContainerPlan:
    """What a container is made from."""

    spec: SandboxSpec
    image: str
    workspace_folder: Path
    command: Sequence[str]
    """The main process."""
    user: tuple[int, int]
    """User and group id inside."""
    environment: Mapping[str, str]
    files: Mapping[Path, str]
    """Files and folders of ours, host path → path inside, read-only."""


class AgentContainer:
    """A running container and the stream to its main process."""

    def __init__(self, api: APIClient, container: str, name: str, stream: socket.socket) -> None:
        self.api = api
        self.id = container
        self.name = name
        self.stream = stream
        """Its standard input; what it prints comes back in frames (`FrameSplitter`)."""

    @classmethod
    def launch(cls, api: APIClient, plan: ContainerPlan) -> AgentContainer:
        """Create, attach, start. Raises SandboxError, and leaves nothing behind then."""
        from docker.errors import DockerException, ImageNotFound
        from requests.exceptions import RequestException

        name = container_name(plan.spec.session)
        try:
            made = api.create_container(
                plan.image,
                entrypoint=list(plan.command),
                name=name,
                user="{}:{}".format(*plan.user),
                working_dir=WORKSPACE,
                environment=dict(plan.environment),
                hostname="sandbox",
                stdin_open=True,
                labels=owner_labels(plan.spec.session),
                host_config=host_config(api, plan),
            )
        except ImageNotFound as error:
            raise SandboxError(
                f"the image {plan.image} is not on this machine",
                "build it: mlgym-tui image build" if plan.image.startswith("mlgym-tui/") else "pull or build it",
            ) from error
        except (DockerException, RequestException) as error:
            raise _explain_start(error, plan) from error
        container = str(made["Id"])
        _live[container] = api
        try:
            attached = api.attach_socket(container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            stream = _own_socket(attached)
            api.start(container)
        except BaseException as error:
            with contextlib.suppress(SandboxError):
                remove_container(api, container)
            _live.pop(container, None)
            if isinstance(error, DockerException | RequestException):
                raise _explain_start(error, plan) from error
            raise
        return cls(api, container, name, stream)

    def inspect(self) -> dict[str, Any]:
        """What the engine says of the container. Raises SandboxError."""
        from docker.errors import DockerException
        from requests.exceptions import RequestException

        look: Any = self.api.inspect_container  # the stubs know no types for it
        try:
            found: dict[str, Any] = look(self.id)
        except (DockerException, RequestException) as error:
            raise explain(error) from error
        return found

    def remove(self) -> None:
        """Kill everything inside and remove it. Can be called twice. Raises SandboxError."""
        if self.id in _live:
            self.stream.close()
            remove_container(self.api, self.id)
            _live.pop(self.id, None)


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


def container_name(session: str) -> str:
    """A name that tells a person whose it is, and is never taken."""
    return f"mlgym-tui-{re.sub(r'[^A-Za-z0-9_.-]', '-', session)[:60]}-{secrets.token_hex(3)}"


def agent_user(*, rootless: bool) -> tuple[int, int]:
    """Who the agent is inside: the host's user, so that the workspace is readable on both sides; 1000 for root.

    In a rootless engine the host's user is root inside, without any of root's rights.
    """
    if rootless:
        return 0, 0
    return (AGENT_UID, AGENT_UID) if os.getuid() == 0 else (os.getuid(), os.getgid())


def host_config(api: APIClient, plan: ContainerPlan) -> Any:
    """Isolation and limits of the container."""
    from docker.types import DeviceRequest, LogConfig, Mount

    limits, spec = plan.spec.limits, plan.spec
    mounts = [Mount(WORKSPACE, str(plan.workspace_folder.resolve()), type="bind")]
    for folder, inside in {**spec.mounts, **plan.files}.items():
        mounts.append(Mount(inside, str(Path(folder).resolve()), type="bind", read_only=True))
    gpus = [DeviceRequest(device_ids=[str(gpu) for gpu in spec.gpus], capabilities=[["gpu"]])] if spec.gpus else None
    return api.create_host_config(
        init=False,  # the guest does an init's work
        auto_remove=True,
        network_mode="bridge" if spec.network else "none",
        mem_limit=limits.memory_bytes,
        memswap_limit=limits.memory_bytes,  # no swap on top
        nano_cpus=None if limits.cpus is None else int(limits.cpus * 1e9),
        pids_limit=limits.processes,
        ulimits=_ulimits(limits),
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        read_only=True,
        tmpfs=_tmpfs(plan),
        shm_size=_scratch_bytes(limits),
        ipc_mode="private",
        mounts=mounts,
        device_requests=gpus,
        log_config=LogConfig(type="none"),  # else each byte of output is written to the engine's disk as well
    )


def _tmpfs(plan: ContainerPlan) -> dict[str, str]:
    size = _scratch_bytes(plan.spec.limits)
    owner = "uid={},gid={}".format(*plan.user)
    return {
        "/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={size}",
        HOME: f"rw,exec,nosuid,nodev,mode=755,size={size},{owner}",
        RUN_FOLDER: f"rw,noexec,nosuid,nodev,mode=755,size={1 << 20},{owner}",
    }


def _scratch_bytes(limits: ResourceLimits) -> int:
    return min(SCRATCH_BYTES, limits.memory_bytes // 2) if limits.memory_bytes else SCRATCH_BYTES


def _ulimits(limits: ResourceLimits) -> list[Any]:
    from docker.types import Ulimit

    wanted = [Ulimit(name="core", soft=0, hard=0), Ulimit(name="nofile", soft=OPEN_FILES, hard=OPEN_FILES)]
    if limits.file_bytes is not None:
        wanted.append(Ulimit(name="fsize", soft=limits.file_bytes, hard=limits.file_bytes))
    return wanted


def give_workspace(folder: Path, user: tuple[int, int]) -> None:
    """Make the workspace the agent's own; root only (else it is already). Links are changed, never followed."""
    if os.getuid() != 0:
        return
    for place, folders, files in os.walk(folder, followlinks=False):
        os.chown(place, *user, follow_symlinks=False)
        for name in [*files, *folders]:
            with contextlib.suppress(FileNotFoundError):
                os.chown(os.path.join(place, name), *user, follow_symlinks=False)


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


def _explain_start(error: Exception, plan: ContainerPlan) -> SandboxError:
    text = str(getattr(error, "explanation", None) or error)
    if "bind source path does not exist" in text or "invalid mount config" in text or "mounts denied" in text.lower():
        return SandboxError(
            f"the container engine does not see this machine's files: {text}",
            "an engine on another machine or in a VM must share the sessions folder; or use --sandbox local",
        )
    if "executable file not found" in text or "no such file or directory" in text.lower():
        return SandboxError(
            f"the image {plan.image} has no {plan.command[0]}: {text}", "an image needs bash and python3"
        )
    return explain(error)


_live: dict[str, APIClient] = {}
"""Containers of this process that are not removed yet."""


@atexit.register
def _remove_live() -> None:
    for container, api in list(_live.items()):
        api.timeout = 5
        with contextlib.suppress(Exception):
            remove_container(api, container)
        _live.pop(container, None)
