"""Processes of this machine kept apart: under bubblewrap, Landlock, or limits alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.isolation import seccomp
from workbench.isolation.bwrap import bwrap_command, installing, probe_bubblewrap
from workbench.isolation.processes import (
    kill_group,
    kill_quietly,
    memory_of,
    processes_below,
    start_process,
    used_by,
    within,
)
from workbench.isolation.spec import STDERR_TAIL, Confinement, IsolatedProcess, SandboxError, describe_status
from workbench.isolation.watch import DISK_RESERVE, free_space
from workbench.text import megabytes

if TYPE_CHECKING:
    from workbench.isolation.landlock import Domain

UNPRIVILEGED = 65532
"""User and group of what is not trusted when we are root: process limits do not bind root."""

LocalWay = Literal["bubblewrap", "landlock", "none"]
"""How processes of this machine are kept apart."""

_python_for_others: list[str] = []
"""The Python for an unprivileged user, once it was found."""


def best_way() -> tuple[LocalWay, str]:
    """The best way to confine that works here, and why no better one does."""
    if (bubblewrap := why_not("bubblewrap")) is None:
        return "bubblewrap", ""
    landlock = why_not("landlock")
    return ("landlock", bubblewrap) if landlock is None else ("none", f"{bubblewrap}; {landlock}")


def why_not(way: LocalWay) -> str | None:
    """Why processes cannot be kept apart in that way here; None where they can."""
    if way == "landlock":
        from workbench.isolation.landlock import probe_landlock  # when first needed: it slows the start

        return probe_landlock()
    return probe_bubblewrap() if way == "bubblewrap" else None


class LocalProcess(IsolatedProcess):
    """A process of this machine."""

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket, *, walled: bool) -> None:
        """`walled`: the process is bubblewrap's, or Landlock's keeper: what it confines is its only child."""
        self.process = process
        self.channel = channel
        self.confined = walled and not seccomp.unsupported()
        self._walled = walled
        self._tail = bytearray()
        self._over = False
        self._killed = ""
        """Why we killed it."""
        assert process.stderr is not None
        self._reader = asyncio.ensure_future(read_tail(process.stderr, self._tail))

    @property
    def child(self) -> int | None:
        """What is confined, as the host sees it; None when it is gone."""
        below = processes_below(self.process.pid)
        return below[0].pid if below else None

    async def watch(self, memory_bytes: int, folder: Path | None = None) -> None:
        """Kill it when its processes take more memory together, or fill the disk of `folder`.

        Each process may have limits of its own; this is for what many do together.
        """
        while True:
            used = memory_of(self.process.pid, memory_bytes)
            if used > memory_bytes:
                self._killed = f"killed: its processes took {megabytes(used)} of memory, of {megabytes(memory_bytes)}"
            elif folder is not None and free_space(folder) < DISK_RESERVE / 2:
                self._killed = "killed: it filled the disk"
            if self._killed:
                kill_group(self.process)
                return
            await asyncio.sleep(1.0 if used < memory_bytes / 4 else 0.05)

    async def processor_seconds(self) -> float:
        if self.process.returncode is not None:
            return 0.0
        with contextlib.suppress(ProcessLookupError):
            return (await asyncio.to_thread(used_by, self.process.pid))[0]
        return 0.0

    async def ended(self, patience: float) -> int | None:
        """The exit status, once it has ended; None where that takes longer."""
        return await within(patience, self.process.wait())

    async def how_it_ended(self) -> str:
        if self._killed:
            return self._killed
        status = await self.ended(2.0)
        return "" if status is None else describe_status(status)

    async def standard_error(self) -> str:
        await within(1.0, asyncio.shield(self._reader))
        return self._tail.decode("utf-8", "replace")

    async def end(self) -> None:
        """What has walls ends after the last process within them; else the end of standard error says that."""
        self.channel.close()
        if self._over:  # its number may be another process's by now
            return
        self._over = True
        if self._walled and (child := self.child) is not None:
            kill_quietly(child)
            await self.ended(10.0)
        if not self._walled or self.process.returncode is None:
            kill_group(self.process)
        await self.process.wait()
        await within(5.0, self._reader)


async def start_confined(
    argv: Sequence[str], confinement: Confinement, folder: Path, descriptors: Sequence[int] = ()
) -> LocalProcess:
    """Under bubblewrap; `folder` is as `bwrap_command` says. Raises SandboxError or OSError."""
    command = await asyncio.to_thread(bwrap_command, argv, confinement, folder)
    env = {"PATH": os.environ.get("PATH", os.defpath)}
    return await start_plain(command, env, Path("/"), descriptors, walled=True)


async def start_in_domain(domain: Domain) -> LocalProcess:
    """Under Landlock. Raises SandboxError or OSError."""
    from workbench.isolation.landlock import landlock_command

    command = await asyncio.to_thread(landlock_command, domain)
    env = {"PATH": os.environ.get("PATH", os.defpath)}
    return await start_plain(command, env, Path("/"), domain.descriptors, walled=True)


async def start_plain(
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    descriptors: Sequence[int] = (),
    *,
    user: int | None = None,
    walled: bool = False,
) -> LocalProcess:
    """With no walls around it, but for those that the command itself puts up (`walled`).

    `user`: who it runs as, where we are root. Raises SandboxError or OSError.
    """
    identity: dict[str, Any] = {}
    if user is not None and os.geteuid() == 0:
        identity = {"user": user, "group": user, "extra_groups": []}
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with theirs:  # the process holds the only other end: its death is seen
            process = await start_process(
                *command,
                stdin=theirs.fileno(),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=env,
                cwd=cwd,
                pass_fds=descriptors,
                **identity,
            )
    except BaseException:
        ours.close()
        raise
    return LocalProcess(process, ours, walled=walled)


async def read_tail(stream: asyncio.StreamReader, tail: bytearray | None = None) -> bytearray:
    """Read to the end and keep the last STDERR_TAIL bytes, so that a process may print as much as it likes.

    `tail`, where given, is filled as it comes.
    """
    tail = bytearray() if tail is None else tail
    while piece := await stream.read(1 << 16):
        tail += piece[-STDERR_TAIL:]
        del tail[:-STDERR_TAIL]
    return tail


async def python_for_others() -> str:
    """A Python that runs as an unprivileged user, tried once a process. Raises SandboxError."""
    if not _python_for_others:
        _python_for_others.append(await _try_pythons())
    return _python_for_others[0]


async def _try_pythons() -> str:
    said = ""
    for python in _candidates():
        test = [python, "-s", "-c", "import sys, socket, resource, random; sys.exit(sys.version_info < (3, 8))"]
        try:
            process = await start_plain(test, os.environ, Path("/"), user=UNPRIVILEGED)
        except OSError as error:
            said = said or str(error.strerror)
            continue
        try:
            status, errors = await process.process.wait(), await process.standard_error()
        finally:
            await asyncio.shield(process.end())
        if status == 0:
            return python
        said = said or errors.strip()[-200:]
    raise SandboxError(
        f"no Python for an unprivileged user: {said}", f"install one for all users: {installing('python3')}"
    )


def _candidates() -> list[str]:
    system = [path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if os.access(path, os.X_OK)]
    mine = str(Path(sys.base_prefix) / f"bin/python{sys.version_info.major}.{sys.version_info.minor}")
    return [*system, mine] if sys.platform == "linux" else [mine, *system]
