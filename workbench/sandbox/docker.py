"""The Docker sandbox: a session's shell in a container of its own (Docker or Podman)."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from msgspec.structs import asdict, replace

from workbench.isolation.container import (
    AGENT_UID,
    START_LIMIT,
    ContainerPlan,
    ContainerProcess,
    in_thread,
    start_problem,
)
from workbench.isolation.engine import connect
from workbench.isolation.meeting import same_kernel
from workbench.isolation.spec import COMMANDS_FOLDER, DEFAULT_IMAGE, PYTHON_FOLDER, RUN_FOLDER, SandboxError
from workbench.isolation.users import own
from workbench.sandbox.base import WORKSPACE, SandboxSpec
from workbench.sandbox.guest_sandbox import GUEST_FILES, GUEST_FOLDER, GuestSandbox

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
        self._facts: dict[str, Any] = {}

    async def _start(self) -> None:
        self.check_workspace()
        api = await in_thread(connect)
        try:
            plan = await in_thread(self._plan)
            self._container = container = ContainerProcess(api, plan)
        finally:
            if self._container is None:
                api.close()
        await container.start()
        await self._attach(container)
        inspected = await container.inspect()
        engine = container.engine
        self._facts = {
            "container": str(inspected.get("Id", ""))[:12],
            "name": str(inspected.get("Name", "")).lstrip("/"),
            "image_id": str(inspected.get("Image", "")),
            "user": "{}:{}".format(*container.plan.user_inside(engine)),
            "engine": engine,
        }
        guest = inspected.get("State", {}).get("Pid")
        if guest and same_kernel(engine):
            # Mostly its memory is limited by the engine. Nothing can have been filled in the first second.
            limits = replace(self.spec.limits, memory_bytes=None) if engine["limits"] else self.spec.limits
            self.watch(guest, limits, self.lose, begin=1.0)
        else:
            self.meter(container.totals)
        if not engine["limits"]:
            self.warn(
                f"a rootless {engine['engine']} limits no processors on this machine (control groups of version 1); "
                "memory is watched, and what takes too much is killed"
            )

    async def _attach(self, container: ContainerProcess) -> None:
        try:
            await self.attach(container.channel, time_limit=START_LIMIT)
        except SandboxError as error:
            said = " ".join((await container.standard_error()).split())
            printed = SandboxError(f"{error}; it printed: {said[-500:]}" if said else str(error), error.hint)
            raise start_problem(self.image, said) or printed from error
        container.settle()

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
            "direct": bool(self.guest_facts.get("passes_descriptors")),
            "python": self.guest_facts.get("python", ""),
            "gpus": list(self.spec.gpus),
            "mounts": sorted(self.spec.readonly.values()),
            "limits": asdict(self.spec.limits),
        }

    def _plan(self) -> ContainerPlan:
        user = agent_user()
        own(self.workspace_folder, user)
        options = [f"workspace={WORKSPACE}", f"socket={SOCKET}", f"bin={PYTHON_FOLDER}", f"commands={COMMANDS_FOLDER}"]
        return ContainerPlan(
            confinement=self.confinement(guest_files(user[0]), {"MLGYM_SOCKET": SOCKET}),
            program=[f"{RUN_FOLDER}/guest.py", *options],
            flags=["-I", "-S"],
            image=self.image,
            user=user,
            session=self.spec.session,
            direct=self._direct,
        )


def agent_user() -> tuple[int, int]:
    """Who the agent is: the host's user, so that the workspace is readable on both sides; 1000 for root."""
    return (AGENT_UID, AGENT_UID) if os.getuid() == 0 else (os.getuid(), os.getgid())


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
