"""A room in a container of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.isolation.spec import SandboxError
from workbench.sandbox.container import FrameSplitter
from workbench.scoring.room import STDERR_TAIL, TEMPORARY_BYTES, UNPRIVILEGED, Guest, Room, RoomError, describe_status

if TYPE_CHECKING:
    from docker import APIClient

CONNECT_SECONDS = 30.0
PROCESSES = 16
MEMORY_BESIDE = 64 << 20
"""Bytes for the container beyond what the submission's process may take."""


async def container_available() -> bool:
    """Whether an engine answers and has the image."""

    def ask() -> bool:
        from docker.errors import DockerException

        from workbench.isolation.engine import connect
        from workbench.isolation.image import DEFAULT_IMAGE

        try:
            api: Any = connect(time_limit=5.0)
        except SandboxError:
            return False
        try:
            api.inspect_image(DEFAULT_IMAGE)
        except (DockerException, OSError):
            return False
        finally:
            api.close()
        return True

    return await asyncio.to_thread(ask)


@contextlib.asynccontextmanager
async def container_room(guest: Guest, folder: Path) -> AsyncIterator[Room]:
    """A container with the submission running in it, removed on leaving. Raises RoomError."""
    from workbench.isolation.engine import connect
    from workbench.isolation.orphans import remove_container

    name = f"mlgym-tui-room-{secrets.token_hex(6)}"
    try:
        api = await asyncio.to_thread(connect)
    except SandboxError as error:
        raise RoomError(str(error), error.hint) from error
    with contextlib.closing(api), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        shared = shares_sockets()
        address = folder / "room" / "channel"
        if shared:
            listener.bind(str(address))
            address.chmod(0o666)  # the folder around it is closed to others
            listener.listen(1)
            listener.setblocking(False)
        starting = asyncio.ensure_future(asyncio.to_thread(_start, api, name, guest, folder, shared))
        try:
            attached = await asyncio.shield(starting)
            if attached is None:
                channel = await _accept(listener, api, name)
                os.unlink(address)
            else:
                channel = pump(attached)
            with channel:
                yield _ContainerRoom(channel, api, name)
        finally:
            # A start that is under way cannot be stopped, only waited for.
            await asyncio.wait([starting])
            with contextlib.suppress(Exception):
                starting.exception()
            await asyncio.shield(asyncio.to_thread(remove_container, api, name))


def shares_sockets() -> bool:
    """Whether a socket file of this machine works in a container: not where the engine runs in a VM or elsewhere."""
    from workbench.isolation.engine import engine_address

    return sys.platform == "linux" and engine_address().startswith("unix://")


def pump(attached: socket.socket) -> socket.socket:
    """The judge's end of a channel over a container's attached standard streams (several times slower)."""
    ours, theirs = socket.socketpair()

    def outward() -> None:
        with contextlib.suppress(OSError):
            while data := theirs.recv(1 << 16):
                attached.sendall(data)
            attached.shutdown(socket.SHUT_WR)

    def inward() -> None:
        splitter = FrameSplitter()
        with attached, theirs:
            with contextlib.suppress(OSError, ValueError):
                while data := attached.recv(1 << 16):
                    if said := splitter.feed(data):
                        theirs.sendall(said)
            for end in (theirs, attached):  # closing alone would not wake the other thread
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            writer.join()

    writer = threading.Thread(target=outward, name="room-outward", daemon=True)
    writer.start()
    threading.Thread(target=inward, name="room-inward", daemon=True).start()
    return ours


def _attach(api: APIClient, name: str) -> socket.socket:
    """The standard streams of a container that is not started yet."""
    stream: Any = api.attach_socket(name, params={"stdin": 1, "stdout": 1, "stream": 1})
    real = getattr(stream, "_sock", stream)
    if type(real) is not socket.socket:
        raise RoomError("the container engine is reached over TLS or ssh", "use the engine of this machine")
    attached = socket.socket(fileno=os.dup(real.fileno()))
    attached.settimeout(None)
    with contextlib.suppress(OSError, ValueError):
        stream.close()
        real.close()
    return attached


def _start(api: APIClient, name: str, guest: Guest, folder: Path, shared: bool) -> socket.socket | None:
    """Create and start the container; its standard streams, where they are the channel."""
    from docker.errors import DockerException
    from docker.types import DeviceRequest, LogConfig
    from requests.exceptions import RequestException

    from workbench.isolation.engine import explain
    from workbench.isolation.image import DEFAULT_IMAGE
    from workbench.isolation.orphans import owner_labels

    memory = guest.memory_bytes + MEMORY_BESIDE
    channel = "unix:/room/channel" if shared else "stdio"
    binds = {str(source): {"bind": inside, "mode": "ro"} for source, inside in guest.mounts().items()}
    devices = [DeviceRequest(device_ids=[str(number) for number in guest.gpus], capabilities=[["gpu"]])]
    host_config = api.create_host_config(
        binds={str(folder / "room"): {"bind": "/room", "mode": "ro"}, **binds},
        device_requests=devices if guest.gpus else None,
        network_mode="none",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        read_only=True,
        tmpfs={"/tmp": f"size={TEMPORARY_BYTES},mode=1777,nosuid,nodev"},
        shm_size=1 << 20,
        mem_limit=memory,
        memswap_limit=memory,
        pids_limit=PROCESSES + guest.processes,
        init=True,
        log_config=LogConfig(type="json-file", config={"max-size": "1m", "max-file": "1"}),
    )
    try:
        api.create_container(
            DEFAULT_IMAGE,
            command=["python3", "-s", "-B", "/room/player.py", *guest.options(channel, "/room")],
            name=name,
            user=f"{UNPRIVILEGED}:{UNPRIVILEGED}",
            working_dir="/tmp",
            environment=guest.environment("/room"),
            labels=owner_labels(guest.session or "evaluation"),
            host_config=host_config,
            network_disabled=True,
            stdin_open=not shared,
        )
        attached = None if shared else _attach(api, name)
        api.start(name)
    except (DockerException, RequestException) as error:
        explained = explain(error)
        raise RoomError(str(explained), explained.hint) from error
    return attached


async def _accept(listener: socket.socket, api: APIClient, name: str) -> socket.socket:
    """The player's connection. It comes before the submission is loaded, so it is the player's."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            channel, _ = await asyncio.get_running_loop().sock_accept(listener)
    except TimeoutError:
        said = await asyncio.to_thread(_logs, api, name)
        raise RoomError(
            f"the room's container does not answer: {said.strip()[-300:] or 'it says nothing'}",
            "docker ps -a shows whether it was started",
        ) from None
    return channel


class _ContainerRoom(Room):
    def __init__(self, channel: socket.socket, api: APIClient, name: str) -> None:
        super().__init__(channel)
        self._api = api
        self._name = name

    async def end(self) -> None:
        from workbench.isolation.orphans import remove_container

        await asyncio.to_thread(remove_container, self._api, self._name)

    async def processor_seconds(self) -> float:
        return await asyncio.to_thread(_processor_seconds, self._api, self._name)

    async def how_it_ended(self) -> str:
        state = await asyncio.to_thread(_wait, self._api, self._name)
        if state.get("OOMKilled"):
            return "killed: out of memory"
        return describe_status(int(state["ExitCode"])) if state.get("Status") == "exited" else ""

    async def standard_error(self) -> str:
        return await asyncio.to_thread(_logs, self._api, self._name)


def _processor_seconds(api: Any, name: str) -> float:
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        return int(api.stats(name, stream=False, one_shot=True)["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9
    except (DockerException, RequestException, KeyError, TypeError, ValueError):
        return 0.0


def _wait(api: APIClient, name: str) -> dict[str, Any]:
    """The state of a container, once it has ended or two seconds are over."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    with contextlib.suppress(DockerException, RequestException):
        api.wait(name, timeout=2)
    try:
        return dict(api.inspect_container(name)["State"])
    except (DockerException, RequestException):
        return {}


def _logs(api: APIClient, name: str) -> str:
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        logs = api.logs(name, stdout=False, stderr=True, tail=20)
    except (DockerException, RequestException):
        return ""
    return bytes(logs)[-STDERR_TAIL:].decode("utf-8", "replace")
