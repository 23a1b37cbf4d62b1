"""Fresh rooms for submissions to run in: bubblewrap, a container, Landlock, or limits alone. A room holds a
Python, `submission_server.py` with `seccomp.py`, and the submission; nothing of the evaluator, its task or this
package. What connects the room with the evaluator is one socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from workbench.isolation import seccomp
from workbench.isolation.batch import processors
from workbench.isolation.bwrap import python_inside
from workbench.isolation.gpus import visible_devices
from workbench.isolation.image import image_state
from workbench.isolation.landlock import Domain
from workbench.isolation.local import (
    UNPRIVILEGED,
    LocalProcess,
    python_for_others,
    start_confined,
    start_in_domain,
    start_plain,
    why_not,
)
from workbench.isolation.spec import DEFAULT_IMAGE, Confinement, IsolatedProcess, ResourceLimits, SandboxError
from workbench.isolation.temporary import OwnedFolder
from workbench.isolation.users import fresh_user, processes_of
from workbench.scoring.bundle import unpack
from workbench.scoring.copying import Check, copy_in_thread

RoomKind = Literal["bubblewrap", "docker", "landlock", "reduced"]
RoomChoice = Literal["auto", "bubblewrap", "docker", "landlock", "reduced"]
Isolation = Literal["sandbox", "reduced isolation: landlock", "reduced isolation"]

TEMPORARY_BYTES = 16 << 20
"""Size of the private /tmp."""
PROCESSES = 16
"""Processes in a container besides those of the submission."""
MEMORY_BESIDE = 64 << 20
"""Bytes for a container beyond what the submission's process may take."""
DATA, PACKAGES = "/data", "/opt/mlgym/packages"
"""Where a room has the data and the packages."""
MOST_THREADS = 8
_FLAGS = ("-s", "-B")
"""Options of the Python in a room."""

_PROGRAM = (Path(__file__).with_name("submission_server.py"), Path(seccomp.__file__))


class RoomError(SandboxError):
    """No room could be made. The machine is at fault, not the submission."""


class Guest(msgspec.Struct, frozen=True):
    """The submission and what it needs in its room."""

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
    """Folders of the evaluator's side, wherever they are."""
    archive: Path | None = None
    """Of a checkpoint or model (see `bundle`): it is unpacked into the room."""
    archive_bytes: int = 0
    """The most that its files may take."""
    packages: Path | None = None
    """Folder with Python packages."""
    data: Mapping[Path, str] = msgspec.field(default_factory=dict)
    """Public data: folder of this machine → path below DATA, or "" for all of it."""
    processes: int = 0
    """How many threads and further processes it may start."""
    gpus: Sequence[int] = ()

    @property
    def threads(self) -> int:
        """The number of threads that it should compute with."""
        return min(processors(), MOST_THREADS) if self.processes else 1

    def options(self, folder: str) -> list[str]:
        """Arguments of `submission_server.py`, where the room's own files are in `folder`."""
        return [
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


@contextlib.asynccontextmanager
async def open_room(choice: RoomChoice, guest: Guest) -> AsyncIterator[IsolatedProcess]:
    """A fresh room with the submission running in it; on leaving, everything in it is killed and removed.

    `auto` takes bubblewrap, else a container, else Landlock, else reduced isolation. `channel` is the evaluator's end
    of the socket to it. Raises RoomError, ArtifactError, or SandboxError where the disk is full.
    """
    kind = await choose(choice)
    if kind in ("bubblewrap", "landlock") and (why := await asyncio.to_thread(why_not, kind)) is not None:
        raise RoomError(f"no room can be made with {kind} here: {why}", "`mlgym-tui doctor` says what works")
    owned = OwnedFolder("room")
    room: IsolatedProcess | None = None
    watching: asyncio.Future[None] | None = None
    try:
        user = UNPRIVILEGED if kind in ("bubblewrap", "docker") else fresh_user()
        folder = await copy_in_thread(owned.path, lambda check: _furnish(owned.path, guest, user, check))
        try:
            room = await _OPEN[kind](guest, folder)
        except SandboxError as error:
            raise RoomError(str(error), error.hint) from error
        except OSError as error:
            raise RoomError(f"the submission's process cannot be started: {error.strerror}") from error
        if isinstance(room, LocalProcess) and (guest.processes or kind in ("landlock", "reduced")):
            watched = None if kind == "bubblewrap" else folder
            watching = asyncio.ensure_future(room.watch(guest.memory_bytes, watched))
        yield room
    finally:
        if watching is not None:
            watching.cancel()
        if room is not None:
            await asyncio.shield(room.end())
        await asyncio.shield(asyncio.to_thread(owned.remove))


async def choose(choice: RoomChoice) -> RoomKind:
    """The kind of room that `choice` means on this machine."""
    if choice != "auto":
        return choice
    if await asyncio.to_thread(why_not, "bubblewrap") is None:
        return "bubblewrap"
    if await asyncio.to_thread(_image_is_there):
        return "docker"
    return "landlock" if await asyncio.to_thread(why_not, "landlock") is None else "reduced"


def isolation_in(kind: RoomKind, room: IsolatedProcess) -> Isolation:
    """What is said beside a score from that room."""
    if kind == "landlock":
        return "reduced isolation: landlock"
    return "sandbox" if room.confined else "reduced isolation"


def _image_is_there() -> bool:
    """Whether an engine answers and has the image."""
    try:
        return image_state() != "missing"
    except SandboxError:
        return False


def _furnish(folder: Path, guest: Guest, user: int, check: Check) -> Path:
    """The folder that only the room's user can enter; below it, `room` holds the submission and its server."""
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
            os.chown(made, user, user)
    return folder


async def _in_bubblewrap(guest: Guest, folder: Path) -> IsolatedProcess:
    """A room that can read /usr and a few folders, with a small /tmp, no network, no capabilities and no other
    processes.
    """
    (folder / "mounts").mkdir()
    command = [python_inside()[0], *_FLAGS, "/room/submission_server.py", *guest.options("/room")]
    return await start_confined(command, _confinement(guest, folder), folder / "mounts")


async def _in_domain(guest: Guest, folder: Path) -> IsolatedProcess:
    """A room that can read the system's folders, its own and those that it is given, with sockets, signals and other
    processes out of reach; but with the host's process list, and no limit on its temporary files but each one's size.
    """
    user = os.stat(folder).st_uid
    if guest.processes:  # they are counted together with all of the user's
        guest = replace(guest, processes=guest.processes + processes_of(user))
    own, env = _beside(guest, folder)
    work = str(folder / "work")
    env |= {"HOME": work, "TMPDIR": work}
    confinement = replace(_confinement(guest, folder), writable={folder / "work": ""}, env=env, cwd=work)
    command = [python_inside()[0], *_FLAGS, f"{own}/submission_server.py", *guest.options(own)]
    return await start_in_domain(Domain(command, confinement, folder, user))


def _beside(guest: Guest, folder: Path) -> tuple[str, dict[str, str]]:
    """Where there is no file system of its own: the room's own folder, with links to the data, and all variables."""
    data = folder / "room" / "data"
    for source, name in guest.data.items():
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).symlink_to(source)
    own = str(folder / "room")
    env = guest.environment(own, str(data), str(guest.packages))
    return own, env | visible_devices(guest.gpus, confined=False)


async def _in_container(guest: Guest, folder: Path) -> IsolatedProcess:
    from workbench.isolation.container import ContainerPlan, ContainerProcess, in_thread
    from workbench.isolation.engine import connect

    limits = ResourceLimits(
        memory_bytes=guest.memory_bytes + MEMORY_BESIDE, processes=PROCESSES + guest.processes, file_bytes=None
    )
    plan = ContainerPlan(
        confinement=replace(_confinement(guest, folder), limits=limits),
        program=["/room/submission_server.py", *guest.options("/room")],
        flags=_FLAGS,
        image=DEFAULT_IMAGE,
        user=(UNPRIVILEGED, UNPRIVILEGED),
        session=guest.session or "evaluation",
        kept=True,
    )
    container = ContainerProcess(await in_thread(connect), plan)
    await container.start()
    return container


def _confinement(guest: Guest, folder: Path) -> Confinement:
    return Confinement(
        readonly={folder / "room": "/room", **guest.mounts()},
        hidden=guest.hide,
        gpus=guest.gpus,
        env=guest.environment("/room"),
        cwd="/tmp",
        limits=ResourceLimits(processes=None, file_bytes=None),  # the program in it sets its own
        scratch_bytes=TEMPORARY_BYTES,
    )


async def _reduced(guest: Guest, folder: Path) -> IsolatedProcess:
    """A process with limits alone; if we are root, it runs as another user."""
    python = await python_for_others()

    def closed(path: Path) -> bool:
        return os.geteuid() == 0 and not all(os.stat(part).st_mode & 0o1 for part in (path, *path.parents))

    if closed(folder.parent):
        raise RoomError(
            f"without a sandbox the submission runs as another user, who may not enter {folder.parent}",
            "set TMPDIR to a folder that all may enter, such as /tmp, or install bubblewrap",
        )
    for source in guest.mounts():
        if closed(source):
            if guest.archive is None:  # code, which may do without packages
                guest = replace(guest, packages=None)
                continue
            raise RoomError(
                f"without a sandbox a model is loaded as another user, who may not enter {source}",
                "install bubblewrap, or set MLGYM_CACHE to a folder that all may enter",
            )
    own, env = _beside(guest, folder)
    command = [python, *_FLAGS, f"{own}/submission_server.py", *guest.options(own), "supervise=1"]
    return await start_plain(command, env, folder / "work", user=os.stat(folder).st_uid)


_OPEN = {"bubblewrap": _in_bubblewrap, "docker": _in_container, "landlock": _in_domain, "reduced": _reduced}
