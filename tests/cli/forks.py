"""The command in a process of its own, without the half second of its imports.

One process imports what the commands need, once, and forks for each. What runs is what `mlgym-tui` runs, as it runs.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

_IMPORTED = ("workbench.cli.headless", "workbench.runner.start", "workbench.agents.catalogue", "rich.table")
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


async def run_forked(arguments: Sequence[str], env: Mapping[str, str], time_limit: float) -> tuple[int, bytes, bytes]:
    """Exit code, output and errors of a command. One that takes longer is killed, and its exit code is -9."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        asked = json.dumps([list(arguments), dict(env), os.getcwd()]).encode()
        with theirs:
            socket.send_fds(_origin(), [asked], [theirs.fileno(), out.fileno(), err.fileno()])
        pid = int(await loop.sock_recv(ours, 64))
        try:
            async with asyncio.timeout(time_limit):
                code = int(await loop.sock_recv(ours, 64))
        except (TimeoutError, asyncio.CancelledError):
            os.killpg(pid, signal.SIGKILL)
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
        arguments, env, folder = json.loads(asked)
        os.environ.clear()
        os.environ.update(env)
        os.chdir(folder)
        return list(arguments)


if __name__ == "__main__":
    from workbench.cli import main

    for name in _IMPORTED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.argv[1:] = _fork_for_each(socket.socket(fileno=int(sys.argv[1])))
    main(prog_name="mlgym-tui")
