"""Rooms that a submission runs in, each a fresh one: bubblewrap, a container, or a process under limits alone.

In a room are a Python, `player.py` and the submission; nothing of the judge, its task or this package. What connects
the room with the judge is one socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workbench.sandbox.base import SandboxError

RoomKind = Literal["bubblewrap", "docker", "reduced"]
RoomChoice = Literal["auto", "bubblewrap", "docker", "reduced"]
Isolation = Literal["sandbox", "reduced isolation"]

UNPRIVILEGED = 65532
"""User and group that a submission runs as when we are root: process limits do not bind root."""
TEMPORARY_BYTES = 16 << 20
"""Size of the private /tmp."""
STDERR_TAIL = 2048

_PLAYER = Path(__file__).with_name("player.py")
_PACKAGE = Path(__file__).resolve().parents[1]


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
    folder = await asyncio.to_thread(_furnish, guest)
    try:
        if kind == "docker":
            from workbench.tasks.container_room import container_room

            room = container_room(guest, folder)
        else:
            room = _process_room(guest, folder, kind)
        async with room as opened:
            yield opened
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def choose(choice: RoomChoice) -> RoomKind:
    """The kind of room that `choice` comes down to on this machine. Raises RoomError."""
    if choice != "auto":
        return choice
    with contextlib.suppress(RoomError):
        await _profile("bubblewrap")
        return "bubblewrap"
    from workbench.tasks.container_room import container_available

    return "docker" if await container_available() else "reduced"


def _furnish(guest: Guest) -> Path:
    """A new folder that only the room's user can enter, with the player and the submission in `room`."""
    folder = Path(tempfile.mkdtemp(prefix="mlgym-room-"))
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


# -- bubblewrap and plain processes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Profile:
    """What was found to work on this machine."""

    python: str
    """In the room."""
    bind: Path | None = None
    """Folder of the Python, bound to /opt/python, where it is not in /usr."""
    flags: tuple[str, ...] = ()


_profiles: dict[str, _Profile | RoomError] = {}


async def _profile(kind: Literal["bubblewrap", "reduced"]) -> _Profile:
    """The first profile that works, tried once a process. Raises RoomError."""
    if kind not in _profiles:
        _profiles[kind] = await _try_profiles(kind)
    found = _profiles[kind]
    if isinstance(found, RoomError):
        raise found
    return found


async def _try_profiles(kind: Literal["bubblewrap", "reduced"]) -> _Profile | RoomError:
    if kind == "bubblewrap" and not shutil.which("bwrap"):
        return RoomError("bubblewrap is not installed", "sudo apt install bubblewrap")
    said = ""
    for profile in _candidates(kind):
        test = [profile.python, "-s", "-c", "import sys, socket, resource, random; sys.exit(sys.version_info < (3, 8))"]
        arguments = [*_bubblewrap_arguments(profile, (), None), "--", *test] if kind == "bubblewrap" else []
        try:
            process = await asyncio.create_subprocess_exec(
                *(["bwrap", *arguments] if arguments else test),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                cwd="/",
                **_identity(),
            )
        except OSError as error:
            said = said or str(error.strerror)
            continue
        _, errors = await process.communicate()
        if process.returncode == 0:
            return profile
        said = said or errors.decode(errors="replace").strip()[-200:]
    if kind == "bubblewrap":
        return RoomError(f"bubblewrap does not work here: {said}", "`mlgym-tui doctor` says what is missing")
    return RoomError(f"no Python for an unprivileged user: {said}", "install one for all users: apt install python3")


def _candidates(kind: Literal["bubblewrap", "reduced"]) -> list[_Profile]:
    """Profiles to try, best first."""
    base = Path(sys.base_prefix)
    own = f"bin/python{sys.version_info.major}.{sys.version_info.minor}"
    system = [_Profile(path) for path in ("/usr/bin/python3", "/usr/local/bin/python3") if os.access(path, os.X_OK)]
    if kind == "reduced":
        mine = [_Profile(str(base / own))]
        return system + mine if sys.platform == "linux" else mine + system
    found = system if base.is_relative_to("/usr") else [*system, _Profile(f"/opt/python/{own}", base)]
    strict = ("--unshare-user", "--disable-userns")
    return [_Profile(p.python, p.bind, flags) for p in found for flags in (strict, ("--unshare-user",))]


def _identity() -> dict[str, object]:
    """Arguments for a process that must not run as root."""
    if os.geteuid() != 0:
        return {}
    return {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []}


def _bubblewrap_arguments(profile: _Profile, hide: Sequence[Path], folder: Path | None) -> list[str]:
    """The room: /usr and one folder to read, a small /tmp to write, no network, no capabilities, nobody else."""
    arguments = ["--unshare-all", *profile.flags, "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    arguments += ["--hostname", "room", "--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = f"/{name}"
        if os.path.islink(path):
            arguments += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            arguments += ["--ro-bind", path, path]
    arguments += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    arguments += ["--ro-bind-try", "/etc/alternatives", "/etc/alternatives"]
    mounted = {Path("/usr"): Path("/usr")}
    if profile.bind is not None:
        arguments += ["--ro-bind", str(profile.bind), "/opt/python"]
        mounted[profile.bind.resolve()] = Path("/opt/python")
    for path in hidden_in(mounted, hide):
        arguments += ["--size", "4096", "--tmpfs", str(path), "--remount-ro", str(path)]
    arguments += ["--proc", "/proc"]
    for name in ("null", "zero", "full", "random", "urandom"):
        arguments += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    arguments += ["--size", str(TEMPORARY_BYTES), "--perms", "1777", "--tmpfs", "/tmp", "--chdir", "/tmp"]
    if folder is not None:
        arguments += ["--ro-bind", str(folder / "room"), "/room"]
    return [*arguments, "--remount-ro", "/"]


def hidden_in(mounted: dict[Path, Path], hide: Sequence[Path]) -> list[Path]:
    """Where in a room the folders to hide would be seen. `mounted`: folder of the host → place in the room.

    To those named come this package, and whatever copy of it is installed beside a mounted Python.
    """
    wanted = {path.resolve() for path in (_PACKAGE, *hide)}
    for root in mounted:
        for pattern in ("lib/python3*", "local/lib/python3*"):
            for packages in root.glob(f"{pattern}/*-packages"):
                wanted.update(path.resolve() for path in packages.glob("workbench") if path.is_dir())
    found: list[Path] = []
    for path in sorted(wanted):
        for root, place in mounted.items():
            if path.is_dir() and path.is_relative_to(root) and path != root:
                seen = place / path.relative_to(root)
                if not any(seen.is_relative_to(other) for other in found):
                    found.append(seen)
    return found


class _ProcessRoom(Room):
    def __init__(self, channel: socket.socket, process: asyncio.subprocess.Process, isolation: Isolation) -> None:
        super().__init__(channel)
        self.isolation = isolation
        self._process = process
        self._tail = b""
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        """Keep the end of standard error; the rest is read and dropped, so that a submission may print at will."""
        assert self._process.stderr is not None
        while piece := await self._process.stderr.read(1 << 16):
            self._tail = (self._tail + piece)[-STDERR_TAIL:]

    async def how_it_ended(self) -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                return describe_status(await self._process.wait())
        return ""

    async def standard_error(self) -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await asyncio.shield(self._reader)
        return self._tail.decode("utf-8", "replace")

    async def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._reader.cancel()


@contextlib.asynccontextmanager
async def _process_room(guest: Guest, folder: Path, kind: Literal["bubblewrap", "reduced"]) -> AsyncIterator[Room]:
    profile = await _profile(kind)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    room: _ProcessRoom | None = None
    with ours, contextlib.ExitStack() as kept:
        kept.enter_context(theirs)
        inside = "/room" if kind == "bubblewrap" else str(folder / "room")
        command = [profile.python, "-s", "-B", f"{inside}/player.py"]
        command += guest.options(f"fd:{theirs.fileno()}", inside)
        passed = [theirs.fileno()]
        if kind == "bubblewrap":
            # Through a pipe, not on the command line, which can be read inside.
            arguments = _bubblewrap_arguments(profile, guest.hide, folder)
            for name, value in guest.environment().items():
                arguments += ["--setenv", name, value]
            source = _pipe_with("\0".join([*arguments, ""]).encode())
            kept.callback(os.close, source)
            passed.append(source)
            command = ["bwrap", "--args", str(source), "--", *command]
        else:
            command.append("supervise=1")
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=passed,
                start_new_session=True,
                cwd="/" if kind == "bubblewrap" else folder / "work",
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin")} if kind == "bubblewrap" else guest.environment(),
                **_identity(),
            )
        except OSError as error:
            raise RoomError(f"the submission's process cannot be started: {error.strerror}") from error
        kept.close()  # the room holds the only other end: its death is seen
        room = _ProcessRoom(ours, process, "sandbox" if kind == "bubblewrap" else "reduced isolation")
        try:
            yield room
        finally:
            await asyncio.shield(room.close())


def _pipe_with(data: bytes) -> int:
    """A descriptor to read `data` from (less than a pipe holds)."""
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
    finally:
        os.close(writing)
    return reading


def describe_status(status: int) -> str:
    """An exit status in words; 128 + n, and -n, mean signal n."""
    number = -status if status < 0 else status - 128 if status > 128 else 0
    with contextlib.suppress(ValueError):
        if number:
            return f"killed by {signal.Signals(number).name}"
    return f"exit status {status}"
