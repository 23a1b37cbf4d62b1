"""The local sandbox: the guest under bubblewrap, or (when somebody insists) as a plain process of this user."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from workbench.isolation.bwrap import (
    Confinement,
    bubblewrap_version,
    bwrap_command,
    explain_failure,
    lowered_limits,
    own,
    probe_bubblewrap,
    python_inside,
    sandbox_uid,
)
from workbench.isolation.gpus import device_nodes, visible_devices
from workbench.isolation.processes import all_processes, kill_quietly
from workbench.isolation.spec import PYTHON_FOLDER, RUN_FOLDER, SandboxError, base_environment
from workbench.isolation.temporary import OwnedFolder, short_base
from workbench.isolation.watch import DISK_RESERVE, ResourceWatch, megabytes
from workbench.sandbox.base import UNATTENDED, SandboxSpec
from workbench.sandbox.guest.guest import PYTHON_NAMES
from workbench.sandbox.guest_sandbox import GUEST_FILES, GUEST_FOLDER, GuestSandbox

__all__ = ["LocalSandbox", "probe_bubblewrap"]

_HOST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class LocalSandbox(GuestSandbox):
    """Commands run on this machine, confined to the workspace; with `unsafe`, not confined at all."""

    def __init__(self, spec: SandboxSpec, workspace_folder: Path, unsafe: bool = False) -> None:
        super().__init__(spec, workspace_folder)
        self.workspace_folder = self.workspace_folder.absolute()
        self.protected = not unsafe
        if unsafe:
            self.workspace = str(self.workspace_folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._child: int | None = None
        """The guest as the host sees it: process 1 of the sandbox."""
        self._temporary: OwnedFolder | None = None
        self._socket_path = ""
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the guest. Raises SandboxError, with nothing left behind."""
        if self._process is not None:
            raise SandboxError("the sandbox was started already")
        if self.protected:
            why = await asyncio.to_thread(probe_bubblewrap)
            if why is not None:
                raise SandboxError("commands cannot be confined on this machine", why)
        if not self.workspace_folder.is_dir():
            raise SandboxError(f"the workspace {self.workspace_folder} is not a folder")
        self._check_disk()
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
            watch = ResourceWatch(self._child, self.workspace_folder, self.spec.limits, self.warn, self._give_up)
            self._watching = asyncio.get_running_loop().create_task(watch.run())

    def _check_disk(self) -> None:
        disk = os.statvfs(self.workspace_folder)
        free = disk.f_bavail * disk.f_frsize
        if free < 2 * DISK_RESERVE:
            raise SandboxError(
                f"the disk of {self.workspace_folder} is almost full ({megabytes(free)} left)", "free some space there"
            )

    def _give_up(self, reason: str) -> None:
        if self._child is not None:
            kill_quietly(self._child)
        self.lose(reason)

    async def _launch(self, folder: Path) -> None:
        connection, info = self._spawn(folder)
        try:
            await self.attach(connection)
        except SandboxError as error:
            raise self._explained(error) from None
        finally:
            assert self._process is not None
            told = _read_child(info)
            self._child = told if self.protected else self._process.pid

    def _spawn(self, folder: Path) -> tuple[socket.socket, int]:
        """Start the guest's process; our end of its stream, and where bubblewrap tells the guest's process id."""
        socket_path = folder / "socket"
        self._socket_path = str(socket_path)
        ours, theirs = socket.socketpair()
        info, info_child = os.pipe()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (read after a failure, closed by stop)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            try:
                listener.bind(str(socket_path))
                listener.listen(32)
                socket_path.chmod(0o600)
                if self.protected:
                    own(socket_path)
                    own(self.workspace_folder)
                    command = self._confined_command(folder, socket_path, listener.fileno(), info_child)
                    env = {"PATH": _HOST_PATH}
                else:
                    command, env = self._plain_command(folder, socket_path, listener.fileno())
                self._process = subprocess.Popen(
                    command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    env=env,
                    cwd="/" if self.protected else self.workspace_folder,
                    pass_fds=(listener.fileno(), info_child),
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                os.close(info)
                raise
            finally:
                theirs.close()
                os.close(info_child)
        return ours, info

    def _confined_command(self, folder: Path, socket_path: Path, listener: int, info: int) -> list[str]:
        # Copies: /proc/self/mountinfo tells where what is mounted lies on the host, and that may name a user.
        guest = {Path(shutil.copy(path, folder)): f"{RUN_FOLDER}/{path.name}" for path in GUEST_FILES}
        env = {
            **UNATTENDED,
            "MLGYM_SOCKET": f"{RUN_FOLDER}/socket",
            **self.spec.env,
            **visible_devices(self.spec.gpus, confined=True),
        }
        python = python_inside()[0]
        memory = self.spec.limits.memory_bytes
        confinement = Confinement(
            writable={self.workspace_folder: self.workspace},
            readonly={**guest, socket_path: f"{RUN_FOLDER}/socket", **self.spec.mounts},
            links={f"{PYTHON_FOLDER}/{name}": python for name in PYTHON_NAMES},
            hidden=self.spec.hidden,
            devices=device_nodes(self.spec.gpus),
            env=env,
            cwd=self.workspace,
            network=self.spec.network,
            limits=self.spec.limits,
            scratch_bytes=min(2 << 30, memory // 2) if memory else 2 << 30,
        )
        command = [python, "-I", "-S", f"{RUN_FOLDER}/guest.py", *self._guest_options(listener)]
        return bwrap_command(command, confinement, folder, info)

    def _plain_command(self, folder: Path, socket_path: Path, listener: int) -> tuple[list[str], dict[str, str]]:
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
        return [*command, f"remove={folder}"], env

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

    def _explained(self, error: SandboxError) -> SandboxError:
        said = ""
        if self._errors is not None:
            self._errors.seek(0)
            said = self._errors.read(4096).decode("utf-8", "replace").strip()
        return SandboxError(str(error), explain_failure(said)) if said else error

    def describe(self) -> dict[str, Any]:
        """Backend, isolation, limits and versions."""
        limits = self.spec.limits
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
            "limits": {
                "memory_bytes": limits.memory_bytes,
                "cpus": limits.cpus,
                "processes": limits.processes,
                "file_bytes": limits.file_bytes,
                "workspace_bytes": limits.workspace_bytes,
            }
            if self.protected
            else {},
        }

    async def stop(self) -> None:
        """Kill everything inside and remove what was made for it. Can be called twice."""
        self.detach()
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])
        process = self._process
        if process is not None:
            if self._child is not None:
                # Unprotected, the guest kills what it started; it may have been stopped.
                kill_quietly(self._child, signal.SIGKILL if self.protected else signal.SIGCONT)
            for patience in (10.0, 5.0):
                try:
                    await asyncio.to_thread(process.wait, patience)
                    break
                except subprocess.TimeoutExpired:
                    process.kill()
        if process is not None and not self.protected:
            await asyncio.to_thread(_kill_marked, f"MLGYM_SOCKET={self._socket_path}".encode())
        self._child = None
        if self._errors is not None:
            self._errors.close()
            self._errors = None
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


def _read_child(info: int) -> int | None:
    """What bubblewrap wrote about its child; closes the descriptor."""
    with os.fdopen(info, "rb") as file:
        os.set_blocking(file.fileno(), False)
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return int(json.loads(file.read() or b"")["child-pid"])
    return None
