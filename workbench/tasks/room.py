"""Rooms that a submission runs in, each a fresh one: bubblewrap, a container, or a process under limits alone.

In a room are a Python, `player.py` and the submission; nothing of the judge, its task or this package. What connects
the room with the judge is one socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workbench.sandbox.base import SandboxError
from workbench.sandbox.temporary import OwnedFolder

RoomKind = Literal["bubblewrap", "docker", "reduced"]
RoomChoice = Literal["auto", "bubblewrap", "docker", "reduced"]
Isolation = Literal["sandbox", "reduced isolation"]

UNPRIVILEGED = 65532
"""User and group that a submission runs as when we are root: process limits do not bind root."""
TEMPORARY_BYTES = 16 << 20
"""Size of the private /tmp."""
STDERR_TAIL = 2048

_PLAYER = Path(__file__).with_name("player.py")


class RoomError(SandboxError):
    """No room could be had: the machine's fault, not the submission's."""


@dataclass(frozen=True)
class Guest:
    """What runs in the room."""

    data: bytes
    """The submission."""
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
        ]

    def environment(self) -> dict[str, str]:
        """All variables in the room. Hashes repeat, and numerical libraries start no threads."""
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": "/tmp",
            "LANG": "C.UTF-8",
            "PYTHONHASHSEED": str(int.from_bytes(self.seed[16:20], "big")),
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }


class Room:
    """A room with a running submission. `channel` is the judge's end of the socket."""

    isolation: Isolation = "sandbox"

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel

    async def how_it_ended(self) -> str:
        """How the process ended ("exit status 3"), waiting a moment for that; empty when it is not known."""
        raise NotImplementedError

    async def standard_error(self) -> str:
        """The last that the room wrote to its standard error."""
        raise NotImplementedError


@contextlib.asynccontextmanager
async def open_room(choice: RoomChoice, guest: Guest) -> AsyncIterator[Room]:
    """A fresh room with the submission running in it; on leaving, everything in it is killed and removed.

    `auto` takes bubblewrap, else a container, else reduced isolation. Raises RoomError.
    """
    kind = await choose(choice)
    owned = OwnedFolder("room")
    try:
        folder = _furnish(owned.path, guest)
        if kind == "docker":
            from workbench.tasks.container_room import container_room

            room = container_room(guest, folder)
        else:
            from workbench.tasks.process_room import process_room

            room = process_room(guest, folder, kind)
        async with room as opened:
            yield opened
    finally:
        await asyncio.shield(asyncio.to_thread(owned.remove))


async def choose(choice: RoomChoice) -> RoomKind:
    """The kind of room that `choice` comes down to on this machine. Raises RoomError."""
    if choice != "auto":
        return choice
    from workbench.tasks.container_room import container_available
    from workbench.tasks.process_room import find_profile

    with contextlib.suppress(RoomError):
        await find_profile("bubblewrap")
        return "bubblewrap"

    return "docker" if await container_available() else "reduced"


def _furnish(folder: Path, guest: Guest) -> Path:
    """The folder that only the room's user can enter, with the player and the submission in `room`."""
    inner = folder / "room"
    for made in (inner, folder / "work"):
        made.mkdir()
        made.chmod(0o755)
    for name, data in (("player.py", _PLAYER.read_bytes()), (guest.name, guest.data)):
        (inner / name).write_bytes(data)
        (inner / name).chmod(0o444)
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
