"""The Docker sandbox: a session's shell in a container of its own (Docker or Podman)."""

from __future__ import annotations

import os
import stat
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.isolation.bwrap import own
from workbench.isolation.container import START_LIMIT, ContainerPlan, ContainerProcess, in_thread
from workbench.isolation.engine import connect, describe_engine
from workbench.isolation.image import DEFAULT_IMAGE
from workbench.isolation.meeting import same_kernel
from workbench.isolation.spec import PYTHON_FOLDER, RUN_FOLDER, SandboxError
from workbench.sandbox.base import WORKSPACE, SandboxSpec
from workbench.sandbox.guest_sandbox import GUEST_FILES, GUEST_FOLDER, GuestSandbox

if TYPE_CHECKING:
    from docker import APIClient

AGENT_UID = 1000
"""Who the agent is where the host's user is root."""
SOCKET = f"{RUN_FOLDER}/socket"


class DockerSandbox(GuestSandbox):
    """A container with no capabilities, no network unless asked for, a read-only root and limits on everything."""

    def __init__(
        self, spec: SandboxSpec, workspace_folder: Path, image: str = DEFAULT_IMAGE, *, direct: bool = True
    ) -> None:
        """With `direct`, the guest is met at a socket of this machine where that is possible (see `meeting`)."""
        super().__init__(spec, workspace_folder)
        self.image = image
        self._direct = direct
        self._container: ContainerProcess | None = None
        self._engine: dict[str, Any] = {}
        self._facts: dict[str, Any] = {}
        self._user = (0, 0)

    async def start(self) -> None:
        """Create the container and wait for the guest. Raises SandboxError, and leaves nothing behind then."""
        if self._container is not None:
            raise SandboxError("the sandbox was started already")
        self.check_workspace()
        api = await in_thread(connect)
        try:
            plan = await in_thread(lambda: self._plan(api))
            self._container = container = ContainerProcess(api, plan)
            await container.start()
            await self._attach(container)
            inspected = await container.inspect()
        except OSError as error:
            await self.stop()
            raise SandboxError(
                f"the sandbox could not be started: {error.strerror} ({error.filename or 'no file named'})",
                "check the owner of the workspace, and the free space of its disk",
            ) from error
        except BaseException:
            await self.stop()
            raise
        finally:
            if self._container is None:
                api.close()
        self._facts = _container_facts(inspected)
        guest = inspected.get("State", {}).get("Pid")
        if guest and same_kernel(self._engine):
            # Its memory is limited by the engine. Nothing can have been filled in the first second.
            self.watch(guest, replace(self.spec.limits, memory_bytes=None), self.lose, begin=1.0)

    async def _attach(self, container: ContainerProcess) -> None:
        try:
            await self.attach(container.channel, container.decode, time_limit=START_LIMIT)
        except SandboxError as error:
            said = " ".join((await container.standard_error()).split())
            if "exec python3 failed" in said:
                raise SandboxError(
                    f"the image {self.image} has no python3", "an image needs bash and python3"
                ) from error
            raise SandboxError(f"{error}; it printed: {said[-500:]}" if said else str(error), error.hint) from error

    async def stop(self) -> None:
        """Kill everything inside and remove the container. Can be called twice. Warns when it cannot be removed."""
        self.detach()
        await self.stop_watching()
        if self._container is not None:
            try:
                await self._container.end()
            except SandboxError as error:
                name = self._container.name
                self.warn(f"the container {name} could not be removed ({error}): mlgym-tui gc removes it")

    def describe(self) -> dict[str, Any]:
        """Backend, isolation, limits, image and versions, for the log."""
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
            "limits": asdict(self.spec.limits),
        }

    def _plan(self, api: APIClient) -> ContainerPlan:
        self._engine = {name: value for name, value in describe_engine(api).items() if name not in _NOT_LOGGED}
        self._user = agent_user(rootless=bool(self._engine["rootless"]))
        own(self.workspace_folder, self._user)
        confinement = self.confinement(guest_files(self._user[0]), {"MLGYM_SOCKET": SOCKET})
        limits, there = confinement.limits, self._engine["cpus"]
        if limits.cpus is not None and there and limits.cpus > there:  # an engine refuses more than it has
            confinement = replace(confinement, limits=replace(limits, cpus=float(there)))
        options = [f"workspace={WORKSPACE}", f"socket={SOCKET}", f"bin={PYTHON_FOLDER}"]
        return ContainerPlan(
            confinement=confinement,
            program=[f"{RUN_FOLDER}/guest.py", *options],
            flags=["-I", "-S"],
            image=self.image,
            user=self._user,
            session=self.spec.session,
            direct=self._direct and same_kernel(self._engine),
        )


def agent_user(*, rootless: bool) -> tuple[int, int]:
    """Who the agent is inside: the host's user, so that the workspace is readable on both sides; 1000 for root.

    In a rootless engine the host's user is root inside, without any of root's rights.
    """
    if rootless:
        return 0, 0
    return (AGENT_UID, AGENT_UID) if os.getuid() == 0 else (os.getuid(), os.getgid())


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
