"""The Docker sandbox: a session's shell in a container of its own (Docker or Podman)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.isolation.engine import connect, describe_engine, engine_info, probe_docker
from workbench.isolation.image import DEFAULT_IMAGE
from workbench.isolation.meeting import INSIDE, LAUNCH, MeetingPoint, same_kernel
from workbench.isolation.orphans import Orphan, find_orphans, remove_orphans
from workbench.isolation.spec import PYTHON_FOLDER, RUN_FOLDER, SandboxError, base_environment
from workbench.isolation.watch import DISK_RESERVE, ResourceWatch, megabytes
from workbench.sandbox.base import UNATTENDED, WORKSPACE, SandboxSpec
from workbench.sandbox.container import AgentContainer, ContainerPlan, FrameSplitter, agent_user, give_workspace
from workbench.sandbox.guest_sandbox import GUEST_FILES, GUEST_FOLDER, GuestSandbox

if TYPE_CHECKING:
    from docker import APIClient

__all__ = [
    "DEFAULT_IMAGE",
    "DockerSandbox",
    "Orphan",
    "engine_info",
    "find_orphans",
    "probe_docker",
    "remove_orphans",
]

START_LIMIT = 30.0
"""Seconds for a started container to be heard of."""
SOCKET = f"{RUN_FOLDER}/socket"

_Result = TypeVar("_Result")


class DockerSandbox(GuestSandbox):
    """A container with no capabilities, no network unless asked for, a read-only root and limits on everything."""

    def __init__(
        self, spec: SandboxSpec, workspace_folder: Path, image: str = DEFAULT_IMAGE, *, direct: bool = True
    ) -> None:
        """With `direct`, the guest is met at a socket of this machine where that is possible (see `meeting`)."""
        super().__init__(spec, workspace_folder)
        self.image = image
        self._direct = direct
        self._meeting: MeetingPoint | None = None
        self._watching: asyncio.Task[None] | None = None
        self._api: APIClient | None = None
        self._container: AgentContainer | None = None
        self._engine: dict[str, Any] = {}
        self._facts: dict[str, Any] = {}
        self._user = (0, 0)

    async def start(self) -> None:
        """Create the container and wait for the guest. Raises SandboxError, and leaves nothing behind then."""
        if self._container is not None:
            raise SandboxError("the sandbox was started already")
        self._check_workspace()
        try:
            container = await _in_thread(self._launch)
            await self._meet(container)
            inspected = await _in_thread(container.inspect)
        except OSError as error:
            await self.stop()
            raise SandboxError(
                f"the sandbox could not be started: {error.strerror} ({error.filename or 'no file named'})",
                "check the owner of the workspace, and the free space of its disk",
            ) from error
        except BaseException:
            await self.stop()
            raise
        self._facts = _container_facts(inspected)
        self._watch(inspected)

    async def _meet(self, container: AgentContainer) -> None:
        """Connect to the guest: at the socket when it calls there, else over the engine's stream."""
        splitter = FrameSplitter()
        try:
            async with asyncio.timeout(START_LIMIT):
                caller = await self._meeting.first_heard(container.stream) if self._meeting is not None else None
                if caller is not None:
                    container.stream.close()
                    await self.attach(caller, time_limit=START_LIMIT)
                else:
                    await self.attach(container.stream, splitter.feed, time_limit=START_LIMIT)
        except TimeoutError:
            raise SandboxError(f"the container did not start within {START_LIMIT:.0f} s") from None
        except SandboxError as error:
            raise self._explain_guest(error, bytes(splitter.errors)) from error
        finally:
            if self._meeting is not None:
                self._meeting.close()

    def _check_workspace(self) -> None:
        if not self.workspace_folder.is_dir():
            raise SandboxError(f"the workspace {self.workspace_folder} is not a folder")
        disk = os.statvfs(self.workspace_folder)
        free = disk.f_bavail * disk.f_frsize
        if free < 2 * DISK_RESERVE:
            raise SandboxError(
                f"the disk of {self.workspace_folder} is almost full ({megabytes(free)} left)", "free some space there"
            )

    def _watch(self, inspected: dict[str, Any]) -> None:
        """Watch the disk where the container's processes can be seen. Its memory is limited by the engine."""
        guest = inspected.get("State", {}).get("Pid")
        if guest and same_kernel(self._engine):
            limits = replace(self.spec.limits, memory_bytes=None)
            watch = ResourceWatch(guest, self.workspace_folder, limits, self.warn, self.lose)
            self._watching = asyncio.get_running_loop().create_task(_run_later(watch))

    async def stop(self) -> None:
        """Kill everything inside and remove the container. Can be called twice. Warns when it cannot be removed."""
        self.detach()
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching], timeout=2.0)
        if self._meeting is not None:
            self._meeting.close()
        container, self._container = self._container, None
        api, self._api = self._api, None
        if container is not None:
            try:
                await _in_thread(container.remove)
            except SandboxError as error:
                self.warn(f"the container {container.name} could not be removed ({error}): mlgym-tui gc removes it")
        if api is not None:
            await _in_thread(api.close)

    def describe(self) -> dict[str, Any]:
        """Backend, isolation, limits, image and versions, for the log."""
        limits = self.spec.limits
        return {
            "backend": "docker",
            "protected": True,
            "isolation": "container: no capabilities, no new privileges, read-only root, own namespaces",
            "network": self.spec.network,
            "image": self.image,
            **self._facts,
            "user": "{}:{}".format(*self._user),
            "engine": self._engine,
            "direct": bool(self.guest_facts.get("passes_descriptors")),
            "python": self.guest_facts.get("python", ""),
            "gpus": list(self.spec.gpus),
            "mounts": sorted(self.spec.mounts.values()),
            "limits": {
                "memory_bytes": limits.memory_bytes,
                "cpus": limits.cpus,
                "processes": limits.processes,
                "file_bytes": limits.file_bytes,
                "workspace_bytes": limits.workspace_bytes,
            },
        }

    def _launch(self) -> AgentContainer:
        api = self._api = connect()
        self._engine = {name: value for name, value in describe_engine(api).items() if name not in _NOT_LOGGED}
        self._user = agent_user(rootless=bool(self._engine["rootless"]))
        give_workspace(self.workspace_folder, self._user)
        files = guest_files(self._user[0])
        if self._direct and same_kernel(self._engine):
            with contextlib.suppress(OSError):  # no room for temporary files: there is the longer way
                self._meeting = MeetingPoint()
                files[self._meeting.path] = INSIDE
        guest = [f"{RUN_FOLDER}/guest.py", f"workspace={WORKSPACE}", f"socket={SOCKET}", f"bin={PYTHON_FOLDER}"]
        self._container = AgentContainer.launch(  # noted here: a start that is cancelled now must still find it
            api,
            ContainerPlan(
                spec=self._affordable_spec(),
                image=self.image,
                workspace_folder=self.workspace_folder,
                command=["python3", "-I", "-S", "-c", LAUNCH, INSIDE, *guest],
                user=self._user,
                environment=self._environment(),
                files=files,
            ),
        )
        return self._container

    def _affordable_spec(self) -> SandboxSpec:
        """An engine refuses a limit of more processors than it has."""
        limits, there = self.spec.limits, self._engine["cpus"]
        if limits.cpus is None or not there or limits.cpus <= there:
            return self.spec
        return replace(self.spec, limits=replace(limits, cpus=float(there)))

    def _environment(self) -> dict[str, str]:
        return {
            **base_environment(),
            **UNATTENDED,
            "MLGYM_SOCKET": SOCKET,
            **self.spec.env,
        }

    def _explain_guest(self, error: SandboxError, printed: bytes) -> SandboxError:
        said = " ".join(printed.decode("utf-8", "replace").split())
        if "exec python3 failed" in said:
            return SandboxError(f"the image {self.image} has no python3", "an image needs bash and python3")
        if said:
            return SandboxError(f"{error}; it printed: {said[-500:]}", error.hint)
        return error


_NOT_LOGGED = ("runtimes", "images_folder")


def guest_files(uid: int) -> dict[Path, str]:
    """What is mounted at RUN_FOLDER. Raises SandboxError when the agent's user could not read it."""
    found = {}
    for path in GUEST_FILES:
        status = path.stat()
        if not (status.st_mode & stat.S_IROTH or (status.st_mode & stat.S_IRUSR and status.st_uid == uid)):
            raise SandboxError(
                f"{path} cannot be read by the agent's user ({uid})",
                f"make it readable: chmod -R a+rX {GUEST_FOLDER}",
            )
        found[path] = f"{RUN_FOLDER}/{path.name}"
    return found


def _container_facts(inspected: dict[str, Any]) -> dict[str, Any]:
    return {
        "container": str(inspected.get("Id", ""))[:12],
        "name": str(inspected.get("Name", "")).lstrip("/"),
        "image_id": str(inspected.get("Image", "")),
    }


async def _run_later(watch: ResourceWatch) -> None:
    """Nothing can have been filled in the first second, and short sessions need no watch."""
    await asyncio.sleep(1.0)
    await watch.run()


async def _in_thread(work: Callable[[], _Result]) -> _Result:
    """Run blocking work off the event loop, and to its end: what it makes must be known even when we are cancelled."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await task
        raise
