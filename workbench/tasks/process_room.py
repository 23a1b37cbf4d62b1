"""Rooms that are processes of this machine: under bubblewrap, or under limits alone (`reduced isolation`)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workbench.sandbox.hidden import hidden_in
from workbench.tasks.processes import kill_group, start_process
from workbench.tasks.room import (
    TEMPORARY_BYTES,
    UNPRIVILEGED,
    Guest,
    Isolation,
    Room,
    RoomError,
    describe_status,
    read_tail,
)


@dataclass(frozen=True)
class Profile:
    """What was found to work on this machine."""

    python: str
    """In the room."""
    bind: Path | None = None
    """Folder of the Python, bound to /opt/python, where it is not in /usr."""
    flags: tuple[str, ...] = ()


_profiles: dict[str, Profile | RoomError] = {}


async def find_profile(kind: Literal["bubblewrap", "reduced"]) -> Profile:
    """The first profile that works, tried once a process. Raises RoomError."""
    if kind not in _profiles:
        _profiles[kind] = await _try_profiles(kind)
    found = _profiles[kind]
    if isinstance(found, RoomError):
        raise found
    return found


async def _try_profiles(kind: Literal["bubblewrap", "reduced"]) -> Profile | RoomError:
    if kind == "bubblewrap" and not shutil.which("bwrap"):
        return RoomError("bubblewrap is not installed", "sudo apt install bubblewrap")
    said = ""
    for profile in _candidates(kind):
        test = [profile.python, "-s", "-c", "import sys, socket, resource, random; sys.exit(sys.version_info < (3, 8))"]
        arguments = [*_bubblewrap_arguments(profile, (), None), "--", *test] if kind == "bubblewrap" else []
        try:
            process = await start_process(
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
        try:
            _, errors = await process.communicate()
        finally:
            kill_group(process)
        if process.returncode == 0:
            return profile
        said = said or errors.decode(errors="replace").strip()[-200:]
    if kind == "bubblewrap":
        return RoomError(f"bubblewrap does not work here: {said}", "`mlgym-tui doctor` says what is missing")
    return RoomError(f"no Python for an unprivileged user: {said}", "install one for all users: apt install python3")


def _candidates(kind: Literal["bubblewrap", "reduced"]) -> list[Profile]:
    """Profiles to try, best first."""
    base = Path(sys.base_prefix)
    own = f"bin/python{sys.version_info.major}.{sys.version_info.minor}"
    system = [Profile(path) for path in ("/usr/bin/python3", "/usr/local/bin/python3") if os.access(path, os.X_OK)]
    if kind == "reduced":
        mine = [Profile(str(base / own))]
        return system + mine if sys.platform == "linux" else mine + system
    found = system if base.is_relative_to("/usr") else [*system, Profile(f"/opt/python/{own}", base)]
    strict = ("--unshare-user", "--disable-userns")
    return [Profile(p.python, p.bind, flags) for p in found for flags in (strict, ("--unshare-user",))]


def _identity() -> dict[str, Any]:
    """Arguments for a process that must not run as root."""
    if os.geteuid() != 0:
        return {}
    return {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []}


def _bubblewrap_arguments(profile: Profile, hide: Sequence[Path], folder: Path | None) -> list[str]:
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
    for hidden in hidden_in(mounted, hide):
        arguments += ["--size", "4096", "--tmpfs", str(hidden), "--remount-ro", str(hidden)]
    arguments += ["--proc", "/proc"]
    for name in ("null", "zero", "full", "random", "urandom"):
        arguments += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    arguments += ["--size", str(TEMPORARY_BYTES), "--perms", "1777", "--tmpfs", "/tmp", "--chdir", "/tmp"]
    if folder is not None:
        arguments += ["--ro-bind", str(folder / "room"), "/room"]
    return [*arguments, "--remount-ro", "/"]


class _ProcessRoom(Room):
    def __init__(self, channel: socket.socket, process: asyncio.subprocess.Process, isolation: Isolation) -> None:
        super().__init__(channel)
        self.isolation = isolation
        self._process = process
        self._tail = bytearray()
        assert process.stderr is not None
        self._reader = asyncio.ensure_future(read_tail(process.stderr, self._tail))

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
        """Kill all of it. The end of standard error says that the last process has gone."""
        kill_group(self._process)
        await self._process.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await self._reader


@contextlib.asynccontextmanager
async def process_room(guest: Guest, folder: Path, kind: Literal["bubblewrap", "reduced"]) -> AsyncIterator[Room]:
    profile = await find_profile(kind)
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
            command = [shutil.which("bwrap") or "bwrap", "--args", str(source), "--", *command]
        else:
            command.append("supervise=1")
        try:
            process = await start_process(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=passed,
                cwd="/" if kind == "bubblewrap" else folder / "work",
                env=guest.environment(),  # also what bubblewrap itself has: it can be read inside
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
