"""The command in a process of its own, without the half second of its imports.

One process imports what the commands need, once, and forks for each. What runs is what `mlgym-tui` runs, as it runs.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from tests.stretching import quick_secrets

_IMPORTED = (
    "rich.table",
    "workbench.agents.catalogue",
    "workbench.cli.headless",
    "workbench.cli.runs",
    "workbench.cli.sessions",
    "workbench.cli.tasks",
    "workbench.cli.time_machine",
    "workbench.formats.reading",
    "workbench.library.index",
    "workbench.runner.start",
    "workbench.runner.trust",
    "workbench.sandbox.local",
    "workbench.scoring.evaluation",
    "workbench.tasks.datasets",
)
_LONGEST = 150 << 10
"""Bytes of the arguments and variables of a command."""


@functools.cache
def _origin() -> socket.socket:
    """The way to the process that forks. It ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        theirs.set_inheritable(True)
        subprocess.Popen([sys.executable, "-m", "tests.cli.forks", str(theirs.fileno())], pass_fds=[theirs.fileno()])
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _LONGEST)
    return ours


class Forked:
    """A command that runs: as `asyncio.subprocess.Process`."""

    def __init__(self, pid: int, answers: socket.socket) -> None:
        self.pid = pid
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._answers = answers
        self._end = asyncio.ensure_future(self._ended())
        self._transports: list[asyncio.ReadTransport] = []

    async def _ended(self) -> int:
        with self._answers:
            return int(await asyncio.get_running_loop().sock_recv(self._answers, 64))

    async def read(self, descriptor: int) -> asyncio.StreamReader:
        """A reader of what comes there; the descriptor is closed with it."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb")
        )
        self._transports.append(transport)
        return reader

    def stop_reading(self) -> None:
        """Close the way of its output."""
        self._transports[0].close()

    @property
    def returncode(self) -> int | None:
        return self._end.result() if self._end.done() else None

    async def wait(self) -> int:
        return await asyncio.shield(self._end)

    async def communicate(self) -> tuple[bytes, bytes]:
        """The rest of what it prints, and of its errors."""
        out = await self.stdout.read() if self.stdout is not None else b""
        err = await self.stderr.read() if self.stderr is not None else b""
        await self.wait()
        return out, err

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


async def fork(
    arguments: Sequence[str],
    env: Mapping[str, str],
    out: int,
    err: int,
    *,
    ignoring: Sequence[int] = (),
    largest_file: int = 0,
) -> Forked:
    """Start a command, in a session of its own. It is told what no command is told by its user: what to ignore."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    asked = json.dumps([list(arguments), dict(env), os.getcwd(), list(ignoring), largest_file]).encode()
    with theirs:
        socket.send_fds(_origin(), [asked], [theirs.fileno(), out, err])
    return Forked(int(await asyncio.get_running_loop().sock_recv(ours, 64)), ours)


async def start_forked(
    arguments: Sequence[str], env: Mapping[str, str], stdout: int | None = None, **options: Any
) -> Forked:
    """Start a command whose output and errors are read here; or the output goes to that descriptor."""
    output, errors = os.pipe() if stdout is None else None, os.pipe()
    try:
        forked = await fork(arguments, env, output[1] if output else stdout or 0, errors[1], **options)
    finally:
        for pipe in filter(None, (output, errors)):
            os.close(pipe[1])
    if output:
        forked.stdout = await forked.read(output[0])
    forked.stderr = await forked.read(errors[0])
    return forked


async def run_forked(arguments: Sequence[str], env: Mapping[str, str], time_limit: float) -> tuple[int, bytes, bytes]:
    """Exit code, output and errors of a command. One that takes longer is killed, and its exit code is -9."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        forked = await fork(arguments, env, out.fileno(), err.fileno())
        try:
            async with asyncio.timeout(time_limit):
                code = await forked.wait()
        except (TimeoutError, asyncio.CancelledError):
            os.killpg(forked.pid, signal.SIGKILL)
            code = -signal.SIGKILL
        out.seek(0)
        err.seek(0)
        return code, out.read(), err.read()


def _fork_for_each(channel: socket.socket) -> list[str]:
    """Serve; returns in the process of a command, with its arguments."""
    while True:
        asked, descriptors, _, _ = socket.recv_fds(channel, _LONGEST, 3)
        if not asked:
            os._exit(0)
        if os.fork():
            for descriptor in descriptors:
                os.close(descriptor)
            continue
        channel.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        pid = os.fork()
        if pid:
            answers = socket.socket(fileno=descriptors[0])
            answers.send(str(pid).encode())
            answers.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
            os._exit(0)
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, descriptor in enumerate((nothing, *descriptors[1:])):
            os.dup2(descriptor, target)
        for descriptor in (nothing, *descriptors):
            os.close(descriptor)
        arguments, env, folder, ignoring, largest_file = json.loads(asked)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        for number in ignoring:
            signal.signal(number, signal.SIG_IGN)
        if largest_file:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        os.environ.clear()
        os.environ.update(env)
        os.chdir(folder)
        return list(arguments)


if __name__ == "__main__":
    from workbench.cli import main

    for name in _IMPORTED:
        importlib.import_module(name)
    quick_secrets()
    gc.collect()
    gc.freeze()  # no child looks through what is here for garbage, and so copies it
    gc.set_threshold(200_000, 10, 10)  # as workbench/__main__.py has it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.argv[1:] = _fork_for_each(socket.socket(fileno=int(sys.argv[1])))
    main(prog_name="mlgym-tui")
