"""The local sandbox: the guest under bubblewrap, or (when somebody insists) as a plain process of this user."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import platform
import shutil
import signal
import socket
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from workbench.isolation.bwrap import (
    bubblewrap_version,
    explain_failure,
    lowered_limits,
    own,
    probe_bubblewrap,
    python_inside,
    sandbox_uid,
)
from workbench.isolation.gpus import visible_devices
from workbench.isolation.local import LocalProcess, start_confined, start_plain
from workbench.isolation.processes import all_processes, kill_quietly
from workbench.isolation.spec import PYTHON_FOLDER, RUN_FOLDER, SandboxError, base_environment
from workbench.isolation.temporary import OwnedFolder, short_base
from workbench.sandbox.base import UNATTENDED, SandboxSpec
from workbench.sandbox.guest.guest import PYTHON_NAMES
from workbench.sandbox.guest_sandbox import GUEST_FILES, GUEST_FOLDER, GuestSandbox


class LocalSandbox(GuestSandbox):
    """Commands run on this machine, confined to the workspace; with `unsafe`, not confined at all."""

    def __init__(self, spec: SandboxSpec, workspace_folder: Path, unsafe: bool = False) -> None:
        super().__init__(spec, workspace_folder)
        self.workspace_folder = self.workspace_folder.absolute()
        self.protected = not unsafe
        if unsafe:
            self.workspace = str(self.workspace_folder)
        self._process: LocalProcess | None = None
        self._child: int | None = None
        """The guest as the host sees it: process 1 of the sandbox."""
        self._temporary: OwnedFolder | None = None
        self._socket_path = ""

    async def start(self) -> None:
        """Start the guest. Raises SandboxError, with nothing left behind."""
        if self._process is not None:
            raise SandboxError("the sandbox was started already")
        if self.protected:
            why = await asyncio.to_thread(probe_bubblewrap)
            if why is not None:
                raise SandboxError("commands cannot be confined on this machine", why)
        self.check_workspace()
        try:
            self._temporary = OwnedFolder("guest", short_base())
            await self._launch(self._temporary.path)
            for lowered in lowered_limits(self.spec.limits) if self.protected else ():
                self.warn(lowered)
        except SandboxError:
            raise
        except OSError as error:
            raise SandboxError(
                f"the sandbox could not be started: {error.strerror} ({error.filename or 'no file named'})",
                "this machine's limit on the size of a file is in the way: raise it with ulimit -f"
                if error.errno == errno.EFBIG
                else "check the free space and the permissions of the temporary folder",
            ) from error
        finally:
            if not self.alive:
                await self.stop()
            elif self.protected:
                self._remove_temporary()  # the sandbox has what it needs mounted
        if self.protected and self._child is not None:
            self.watch(self._child, self.spec.limits, self._give_up)

    def _give_up(self, reason: str) -> None:
        if self._child is not None:
            kill_quietly(self._child)
        self.lose(reason)

    async def _launch(self, folder: Path) -> None:
        socket_path = folder / "socket"
        self._socket_path = str(socket_path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(socket_path))
            listener.listen(32)
            socket_path.chmod(0o600)
            start = self._start_confined if self.protected else self._start_plain
            self._process = await start(folder, socket_path, listener.fileno())
        try:
            await self.attach(self._process.channel)
        except SandboxError as error:
            said = (await self._process.standard_error()).strip()
            raise SandboxError(str(error), explain_failure(said) if said else error.hint) from None
        finally:
            self._child = self._process.child if self.protected else self._process.process.pid

    async def _start_confined(self, folder: Path, socket_path: Path, listener: int) -> LocalProcess:
        own(socket_path)
        own(self.workspace_folder)
        # Copies: /proc/self/mountinfo tells where what is mounted lies on the host, and that may name a user.
        guest = {Path(shutil.copy(path, folder)): f"{RUN_FOLDER}/{path.name}" for path in GUEST_FILES}
        inside = f"{RUN_FOLDER}/socket"
        python = python_inside()[0]
        confinement = replace(
            self.confinement({**guest, socket_path: inside}, {"MLGYM_SOCKET": inside}),
            links={f"{PYTHON_FOLDER}/{name}": python for name in PYTHON_NAMES},
        )
        command = [python, "-I", "-S", f"{RUN_FOLDER}/guest.py", *self._guest_options(listener)]
        return await start_confined(command, confinement, folder, [listener])

    async def _start_plain(self, folder: Path, socket_path: Path, listener: int) -> LocalProcess:
        home = folder / "home"
        home.mkdir()
        self.run_folder = str(GUEST_FOLDER)
        env = {
            **base_environment(),
            **UNATTENDED,
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "MLGYM_SOCKET": str(socket_path),
            **self.spec.env,
            **visible_devices(self.spec.gpus, confined=False),
        }
        env["PATH"] = f"{self._name_python(folder)}:{env['PATH']}"
        command = [sys.executable, "-I", "-S", str(GUEST_FOLDER / "guest.py"), *self._guest_options(listener)]
        return await start_plain([*command, f"remove={folder}"], env, self.workspace_folder, [listener])

    def _name_python(self, folder: Path) -> Path:
        """A folder for PATH in which `python` and `python3` are what the task's packages are for.

        Where it has none, they are what the user has; only a `python` that is missing is added.
        """
        named = folder / "bin"
        named.mkdir()
        python = shutil.which("python3") or sys.executable
        if "PYTHONPATH" in self.spec.env:
            targets = dict.fromkeys(PYTHON_NAMES, python_inside()[0])
        else:
            targets = {} if shutil.which("python") else {"python": python}
        for name, target in targets.items():
            (named / name).symlink_to(target)
        return named

    def _guest_options(self, listener: int) -> list[str]:
        options = [f"workspace={self.workspace}", f"listener={listener}"]
        if self.spec.limits.cpus is not None:
            options.append(f"cpus={max(1, round(self.spec.limits.cpus))}")
        return options

    def describe(self) -> dict[str, Any]:
        """Backend, isolation, limits and versions."""
        return {
            "backend": "local",
            "isolation": "bubblewrap" if self.protected else "none",
            "protected": self.protected,
            "network": self.spec.network if self.protected else True,
            "bubblewrap": bubblewrap_version() if self.protected else "",
            "python": str(self.guest_facts.get("python", "")),
            "kernel": platform.release(),
            "user": sandbox_uid() if self.protected else os.geteuid(),
            "gpus": list(self.spec.gpus),
            "limits": asdict(self.spec.limits) if self.protected else {},
        }

    async def stop(self) -> None:
        """Kill everything inside and remove what was made for it. Can be called twice."""
        self.detach()
        await self.stop_watching()
        process = self._process
        if process is not None:
            if not self.protected:  # the guest kills what it started; it may have been stopped
                kill_quietly(process.process.pid, signal.SIGCONT)
                await process.ended(10.0)
            await process.end()
            if not self.protected:
                await asyncio.to_thread(_kill_marked, f"MLGYM_SOCKET={self._socket_path}".encode())
        self._child = None
        self._remove_temporary()

    def _remove_temporary(self) -> None:
        if self._temporary is not None:
            self._temporary.remove()
            self._temporary = None


def _kill_marked(mark: bytes) -> None:
    """Kill what an unprotected guest could not, having been killed itself: whatever has that variable. Linux only."""
    for _ in range(20):
        found = False
        for pid in (process.pid for process in all_processes()):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
                if mark in file.read().split(b"\0"):
                    found = True
                    kill_quietly(pid)
        if not found:
            return
        time.sleep(0.01)
