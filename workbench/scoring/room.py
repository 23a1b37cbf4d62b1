"""Rooms that a submission runs in, each a fresh one: bubblewrap, a container, or a process under limits alone.

In a room are a Python, `player.py` with `seccomp.py`, and the submission; nothing of the judge, its task or this
package. What connects the room with the judge is one socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from workbench.isolation import seccomp
from workbench.isolation.spec import SandboxError
from workbench.isolation.temporary import OwnedFolder
from workbench.scoring.bundle import unpack
from workbench.scoring.copying import Check, copy_in_thread

RoomKind = Literal["bubblewrap", "docker", "reduced"]
RoomChoice = Literal["auto", "bubblewrap", "docker", "reduced"]
Isolation = Literal["sandbox", "reduced isolation"]

UNPRIVILEGED = 65532
"""User and group that a submission runs as when we are root: process limits do not bind root."""
TEMPORARY_BYTES = 16 << 20
"""Size of the private /tmp."""
STDERR_TAIL = 2048
DATA, PACKAGES = "/data", "/opt/mlgym/packages"
"""Where a room has them."""
MOST_THREADS = 8

_PROGRAM = (Path(__file__).with_name("player.py"), Path(seccomp.__file__))


class RoomError(SandboxError):
    """No room could be had: the machine's fault, not the submission's."""


@dataclass(frozen=True)
class Guest:
    """What runs in the room."""

    files: Mapping[str, bytes]
    """In the room's folder; the one called `name` is loaded."""
    name: str
    function: str
    seed: bytes
    """For the submission's own random numbers; 32 bytes that tell nothing of other randomness."""
    memory_bytes: int
    cpu_seconds: int
    session: str = ""
    """For the labels of a container."""
    hide: Sequence[Path] = ()
    """Folders of the judge's side, wherever they are."""
    archive: Path | None = None
    """Of a checkpoint or model (see `bundle`): it is unpacked into the room."""
    archive_bytes: int = 0
    """The most that its files may take."""
    packages: Path | None = None
    """Folder with Python packages."""
    data: Mapping[Path, str] = field(default_factory=dict)
    """Public data: folder of this machine → path below DATA, or "" for all of it."""
    processes: int = 0
    """How many threads and further processes it may start."""
    gpus: Sequence[int] = ()

    @property
    def threads(self) -> int:
        """How many it should compute with at once."""
        return min(os.cpu_count() or 1, MOST_THREADS) if self.processes else 1

    def options(self, channel: str, folder: str) -> list[str]:
        """Arguments of `player.py`."""
        return [
            f"channel={channel}",
            f"file={folder}/{self.name}",
            f"name={self.name}",
            f"function={self.function}",
            f"seed={int.from_bytes(self.seed[:16], 'big')}",
            f"memory={self.memory_bytes}",
            f"cpu={self.cpu_seconds}",
            f"processes={self.processes}",
            f"gpu={int(bool(self.gpus))}",
        ]

    def mounts(self) -> dict[Path, str]:
        """Folders of this machine that are seen in the room, besides its own."""
        seen = {folder: f"{DATA}/{name}".rstrip("/") for folder, name in self.data.items()}
        return {**seen, **({self.packages: PACKAGES} if self.packages is not None else {})}

    def environment(self, folder: str, data: str = DATA, packages: str = PACKAGES) -> dict[str, str]:
        """All variables in the room, with the paths there of the room's own files, the data and the packages.

        Hashes repeat, and numerical libraries start no threads but where the guest may.
        """
        threads = str(self.threads)
        seen = {
            "PATH": "/usr/bin:/bin",
            "HOME": "/tmp",
            "LANG": "C.UTF-8",
            "PYTHONHASHSEED": str(int.from_bytes(self.seed[16:20], "big")),
            "OPENBLAS_NUM_THREADS": threads,
            "OMP_NUM_THREADS": threads,
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        if self.archive is not None:
            seen |= {"ARTIFACT": f"{folder}/artifact", "DATA": data}
        if self.packages is not None:
            seen["PYTHONPATH"] = packages
        return seen


class Room:
    """A room with a running submission. `channel` is the judge's end of the socket."""

    isolation: Isolation = "sandbox"

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel

    async def end(self) -> None:
        """Kill all of it, and wait until it is gone. Can be called twice."""
        raise NotImplementedError

    async def processor_seconds(self) -> float:
        """The processor time that all its processes have taken so far; 0 where that is not known."""
        raise NotImplementedError

    async def how_it_ended(self) -> str:
        """How the process ended ("exit status 3"), waiting a moment for that; empty when it is not known."""
        raise NotImplementedError

    async def standard_error(self) -> str:
        """The last that the room wrote to its standard error."""
        raise NotImplementedError


@contextlib.asynccontextmanager
async def open_room(choice: RoomChoice, guest: Guest) -> AsyncIterator[Room]:
    """A fresh room with the submission running in it; on leaving, everything in it is killed and removed.

    `auto` takes bubblewrap, else a container, else reduced isolation. Raises RoomError, ArtifactError, or SandboxError
    where the disk is full.
    """
    kind = await choose(choice)
    owned = OwnedFolder("room")
    try:
        folder = await copy_in_thread(owned.path, lambda check: _furnish(owned.path, guest, check))
        if kind == "docker":
            from workbench.scoring.container_room import container_room

            room = container_room(guest, folder)
        else:
            from workbench.scoring.process_room import process_room

            room = process_room(guest, folder, kind)
        async with room as opened:
            yield opened
    finally:
        await asyncio.shield(asyncio.to_thread(owned.remove))


async def choose(choice: RoomChoice) -> RoomKind:
    """The kind of room that `choice` comes down to on this machine. Raises RoomError."""
    if choice != "auto":
        return choice
    from workbench.isolation.bwrap import probe_bubblewrap
    from workbench.scoring.container_room import container_available

    if await asyncio.to_thread(probe_bubblewrap) is None:
        return "bubblewrap"
    return "docker" if await container_available() else "reduced"


def _furnish(folder: Path, guest: Guest, check: Check) -> Path:
    """The folder that only the room's user can enter, with the player and the submission in `room`."""
    inner = folder / "room"
    for made in (inner, folder / "work"):
        made.mkdir()
        made.chmod(0o755)
    for name, data in {**guest.files, **{path.name: path.read_bytes() for path in _PROGRAM}}.items():
        (inner / name).write_bytes(data)
        (inner / name).chmod(0o444)
    if guest.archive is not None:
        unpack(guest.archive, inner / "artifact", guest.archive_bytes, check)
    if os.geteuid() == 0:
        for made in (folder, folder / "work"):
            os.chown(made, UNPRIVILEGED, UNPRIVILEGED)
    return folder


def describe_status(status: int) -> str:
    """An exit status in words; 128 + n, and -n, mean signal n."""
    number = -status if status < 0 else status - 128 if status > 128 else 0
    with contextlib.suppress(ValueError):
        if number:
            return f"killed by {signal.Signals(number).name}"
    return f"exit status {status}"


async def read_tail(stream: asyncio.StreamReader, tail: bytearray | None = None) -> bytearray:
    """Read to the end and keep the last STDERR_TAIL bytes, so that a process may print as much as it likes.

    `tail`, where given, is filled as it comes.
    """
    tail = bytearray() if tail is None else tail
    while piece := await stream.read(1 << 16):
        tail += piece[-STDERR_TAIL:]
        del tail[:-STDERR_TAIL]
    return tail
