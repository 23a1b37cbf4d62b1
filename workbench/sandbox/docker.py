"""The Docker sandbox: a session's shell in a container of its own (Docker or Podman)."""

from __future__ import annotations

import asyncio
import contextlib
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.sandbox.base import RUN_FOLDER, WORKSPACE, SandboxError, SandboxSpec
from workbench.sandbox.container import HOME, AgentContainer, ContainerPlan, FrameSplitter, agent_user, give_workspace
from workbench.sandbox.engine import connect, describe_engine, engine_info, probe_docker
from workbench.sandbox.guest_sandbox import GUEST_FOLDER, GuestSandbox
from workbench.sandbox.image import DEFAULT_IMAGE
from workbench.sandbox.orphans import Orphan, find_orphans, remove_orphans

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

SOCKET = f"{RUN_FOLDER}/socket"
MOUNTED_SUFFIXES = (".py", ".sh", "")
"""Of the files in GUEST_FOLDER, those with these endings are seen inside."""

_Result = TypeVar("_Result")


class DockerSandbox(GuestSandbox):
    """A container with no capabilities, no network unless asked for, a read-only root and limits on everything."""

    def __init__(self, spec: SandboxSpec, workspace_folder: Path, image: str = DEFAULT_IMAGE) -> None:
        super().__init__(spec, workspace_folder)
        self.image = image
        self._api: APIClient | None = None
        self._container: AgentContainer | None = None
        self._engine: dict[str, Any] = {}
        self._facts: dict[str, Any] = {}
        self._user = (0, 0)

    async def start(self) -> None:
        """Create the container and wait for the guest. Raises SandboxError, and leaves nothing behind then."""
        if self._container is not None:
            raise SandboxError("the sandbox was started already")
        try:
            container = await _in_thread(self._launch)
            splitter = FrameSplitter()
            try:
                await self.attach(container.stream, splitter.feed)
            except SandboxError as error:
                raise self._explain_guest(error, bytes(splitter.errors)) from error
            self._facts = _container_facts(await _in_thread(container.inspect))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Kill everything inside and remove the container. Can be called twice."""
        self.detach()
        container, self._container = self._container, None
        api, self._api = self._api, None
        if container is not None:
            await _in_thread(container.remove)
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
        self._container = AgentContainer.launch(  # noted here: a start that is cancelled now must still find it
            api,
            ContainerPlan(
                spec=self.spec,
                image=self.image,
                workspace_folder=self.workspace_folder,
                command=["python3", "-I", "-S", f"{RUN_FOLDER}/guest.py", f"workspace={WORKSPACE}", f"socket={SOCKET}"],
                user=self._user,
                environment=self._environment(),
                files=guest_files(self._user[0]),
            ),
        )
        return self._container

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": HOME,
            "USER": "agent",
            "LOGNAME": "agent",
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
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
    for path in sorted(GUEST_FOLDER.iterdir()):
        if path.is_file() and path.suffix in MOUNTED_SUFFIXES and path.name != "__init__.py":
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


async def _in_thread(work: Callable[[], _Result]) -> _Result:
    """Run blocking work off the event loop, and to its end: what it makes must be known even when we are cancelled."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await task
        raise
