"""Rooms that are processes of this machine: under bubblewrap, or under limits alone (`reduced isolation`)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from workbench.isolation import seccomp
from workbench.isolation.bwrap import Confinement, bwrap_command, probe_bubblewrap, python_inside
from workbench.isolation.gpus import device_nodes, visible_devices
from workbench.isolation.processes import kill_group, memory_of, processor_seconds, start_process
from workbench.isolation.spec import ResourceLimits
from workbench.isolation.watch import DISK_RESERVE, free_space, megabytes
from workbench.scoring.room import (
    TEMPORARY_BYTES,
    UNPRIVILEGED,
    Guest,
    Isolation,
    Room,
    RoomError,
    describe_status,
    read_tail,
)

_python_without_sandbox: list[str] = []
"""The Python for reduced isolation, once it was found."""


async def find_python() -> str:
    """A Python that runs as an unprivileged user, tried once a process. Raises RoomError."""
    if not _python_without_sandbox:
        _python_without_sandbox.append(await _try_pythons())
    return _python_without_sandbox[0]


async def _try_pythons() -> str:
    said = ""
    for python in _candidates():
        test = [python, "-s", "-c", "import sys, socket, resource, random; sys.exit(sys.version_info < (3, 8))"]
        try:
            process = await start_process(
                *test,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                cwd="/",
                **_identity(),
            )
        except OSError as error:
            said = said or str(error.strerror)
            continue
        try:
            _, errors = await process.communicate()
        finally:
            kill_group(process)
        if process.returncode == 0:
            return python
        said = said or errors.decode(errors="replace").strip()[-200:]
    raise RoomError(f"no Python for an unprivileged user: {said}", "install one for all users: apt install python3")


def _candidates() -> list[str]:
    system = [path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if os.access(path, os.X_OK)]
    mine = str(Path(sys.base_prefix) / f"bin/python{sys.version_info.major}.{sys.version_info.minor}")
    return [*system, mine] if sys.platform == "linux" else [mine, *system]


def _identity() -> dict[str, Any]:
    """Arguments for a process that must not run as root."""
    if os.geteuid() != 0:
        return {}
    return {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []}


class _ProcessRoom(Room):
    def __init__(self, channel: socket.socket, process: asyncio.subprocess.Process, isolation: Isolation) -> None:
        super().__init__(channel)
        self.isolation = isolation
        self._process = process
        self._tail = bytearray()
        self._over = False
        self._killed = ""
        """Why we killed it."""
        assert process.stderr is not None
        self._reader = asyncio.ensure_future(read_tail(process.stderr, self._tail))

    async def watch(self, folder: Path, memory_bytes: int) -> None:
        """Kill the room when its processes take more memory together, or fill the disk of its folder.

        Each process has limits of its own; this is for what many do together.
        """
        while True:
            used = memory_of(self._process.pid, memory_bytes)
            if used > memory_bytes:
                self._killed = f"killed: its processes took {megabytes(used)} of memory, of {megabytes(memory_bytes)}"
            elif self.isolation != "sandbox" and free_space(folder) < DISK_RESERVE / 2:
                self._killed = "killed: it filled the disk"
            if self._killed:
                kill_group(self._process)
                return
            await asyncio.sleep(1.0 if used < memory_bytes / 4 else 0.05)

    async def processor_seconds(self) -> float:
        if self._process.returncode is not None:
            return 0.0
        return await asyncio.to_thread(processor_seconds, self._process.pid)

    async def how_it_ended(self) -> str:
        if self._killed:
            return self._killed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                return describe_status(await self._process.wait())
        return ""

    async def standard_error(self) -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await asyncio.shield(self._reader)
        return self._tail.decode("utf-8", "replace")

    async def end(self) -> None:
        """The end of standard error says that the last process has gone."""
        if self._over:  # its number may be another process's by now
            return
        self._over = True
        kill_group(self._process)
        await self._process.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await self._reader


@contextlib.asynccontextmanager
async def process_room(guest: Guest, folder: Path, kind: Literal["bubblewrap", "reduced"]) -> AsyncIterator[Room]:
    """A process with the submission, killed on leaving with all that came of it. Raises RoomError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, contextlib.ExitStack() as kept:
        kept.enter_context(theirs)
        make = _confined if kind == "bubblewrap" else _unconfined
        command, options = await make(guest, folder, f"fd:{theirs.fileno()}")
        try:
            process = await start_process(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                **options,
            )
        except OSError as error:
            raise RoomError(f"the submission's process cannot be started: {error.strerror}") from error
        kept.close()  # the room holds the only other end: its death is seen
        whole = kind == "bubblewrap" and not seccomp.unsupported()
        room = _ProcessRoom(ours, process, "sandbox" if whole else "reduced isolation")
        watched = guest.processes or kind == "reduced"
        watching = asyncio.ensure_future(room.watch(folder, guest.memory_bytes)) if watched else None
        try:
            yield room
        finally:
            if watching is not None:
                watching.cancel()
            await asyncio.shield(room.end())


async def _confined(guest: Guest, folder: Path, channel: str) -> tuple[list[str], dict[str, Any]]:
    """Under bubblewrap: /usr and a few folders to read, a small /tmp, no network, no capabilities, nobody else."""
    why = await asyncio.to_thread(probe_bubblewrap)
    if why is not None:
        raise RoomError(f"bubblewrap does not work here: {why}", "`mlgym-tui doctor` says what is missing")
    mounts = guest.mounts()
    confinement = Confinement(
        readonly={folder / "room": "/room", **mounts},
        hidden=guest.hide,
        devices=device_nodes(guest.gpus),
        env={**guest.environment("/room"), **visible_devices(guest.gpus, confined=True)},
        cwd="/tmp",
        limits=ResourceLimits(processes=None, file_bytes=None),  # the player sets its own
        scratch_bytes=TEMPORARY_BYTES,
    )
    player = [python_inside()[0], "-s", "-B", "/room/player.py", *guest.options(channel, "/room")]
    (folder / "mounts").mkdir()
    command = await asyncio.to_thread(bwrap_command, player, confinement, folder / "mounts")
    return command, {"cwd": "/", "env": {"PATH": os.environ.get("PATH", os.defpath)}}


async def _unconfined(guest: Guest, folder: Path, channel: str) -> tuple[list[str], dict[str, Any]]:
    """A process under limits alone, as another user where we are root."""
    python = await find_python()
    for source in guest.mounts() if os.geteuid() == 0 else ():
        if not all(os.stat(part).st_mode & 0o1 for part in (source, *source.parents)):
            if guest.archive is None:  # code, which may do without packages
                guest = replace(guest, packages=None)
                continue
            raise RoomError(
                f"without a sandbox a model is loaded as another user, who may not enter {source}",
                "install bubblewrap, or set MLGYM_CACHE to a folder that all may enter",
            )
    data = folder / "room" / "data"
    for source, name in guest.data.items():
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).symlink_to(source)
    own = str(folder / "room")
    command = [python, "-s", "-B", f"{own}/player.py", *guest.options(channel, own), "supervise=1"]
    return command, {
        "cwd": folder / "work",
        "env": {
            **guest.environment(own, str(data), str(guest.packages)),
            **visible_devices(guest.gpus, confined=False),
        },
        **_identity(),
    }
