"""A socket at which the guest in a container of this machine calls back.

Over the engine's attached stream every byte passes through the engine and arrives in frames. Where the engine runs on
this very kernel there is a shorter way: a unix socket that is mounted into the container. Over it the guest can even
pass the terminal itself, and the engine is out of the path of all data.

The socket takes one connection, made before anything of an agent's runs, and then its folder is deleted.
"""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.isolation.spec import RUN_FOLDER
from workbench.isolation.temporary import OwnedFolder, short_base

INSIDE = f"{RUN_FOLDER}/host"
"""The socket as the guest sees it."""

LAUNCH = """
import os, resource, signal, socket, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.environ.pop("container", None)
link = socket.socket(socket.AF_UNIX)
try:
    link.connect(sys.argv[1])
    os.dup2(link.fileno(), 0)
except OSError:
    pass
link.close()
for limit in sys.argv[2].split(","):
    name, _, value = limit.partition("=")
    kind = getattr(resource, "RLIMIT_" + name.upper())
    hard = resource.getrlimit(kind)[1]
    value = int(value) if hard < 0 else min(int(value), hard)
    resource.setrlimit(kind, (value, value))
path = sys.argv[3]
if not sys.flags.isolated:
    sys.path[0] = os.path.dirname(path)
sys.argv[:] = sys.argv[3:]
with open(path, "rb") as file:
    code = compile(file.read(), path, "exec")
exec(code)
"""
"""Starts a program of Python on the socket if it can be reached, else on the standard streams that it was given, within
limits that it sets first.

What Podman puts among the variables is taken away: a command sees the same in every sandbox.
Without Python's own handler for it, INT does nothing to process 1, like any other signal from inside.
"""


def same_kernel(engine: Mapping[str, Any]) -> bool:
    """Whether the engine (see `describe_engine`) runs on our kernel: not in a virtual machine, nor far away."""
    return sys.platform == "linux" and engine.get("kernel") == platform.release()


class MeetingPoint:
    """The listening socket, and its folder on the host."""

    def __init__(self) -> None:
        self._folder = OwnedFolder("meeting", short_base())
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.listener.bind(str(self.path))
            os.chmod(self.path, 0o666)  # the guest may be another user; the folder keeps everybody else out
            self.listener.listen(1)
            self.listener.setblocking(False)
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> Path:
        """The socket."""
        return self._folder.path / "host"

    async def first_heard(self, stream: socket.socket) -> socket.socket | None:
        """The guest's connection, or None when something (or the end) comes over `stream` first."""
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[bool] = loop.create_future()

        def hear(called: bool) -> None:
            if not heard.done():
                heard.set_result(called)

        loop.add_reader(self.listener.fileno(), hear, True)
        loop.add_reader(stream.fileno(), hear, False)
        try:
            called = await heard
        finally:
            loop.remove_reader(self.listener.fileno())
            loop.remove_reader(stream.fileno())
        return self.listener.accept()[0] if called else None

    def close(self) -> None:
        """Take no more connections, and delete the folder. Can be called twice."""
        self.listener.close()
        self._folder.remove()
