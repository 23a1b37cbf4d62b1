"""The local sandbox: the guest under bubblewrap, else Landlock, or (when somebody insists) as a plain process."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import asdict, replace

from workbench.isolation.bwrap import (
    WORKS,
    bubblewrap_version,
    explain_failure,
    lowered_limits,
    python_inside,
)
from workbench.isolation.gpus import visible_devices
from workbench.isolation.known import forget, programs
from workbench.isolation.local import LocalProcess, LocalWay, start_confined, start_in_domain, start_plain, why_not
from workbench.isolation.processes import all_processes, kill_quietly, used_by
from workbench.isolation.spec import COMMANDS_FOLDER, PYTHON_FOLDER, RUN_FOLDER, SandboxError, base_environment
from workbench.isolation.temporary import OwnedFolder, short_base
from workbench.isolation.users import fresh_user, own, sandbox_uid
from workbench.sandbox.base import UNATTENDED, SandboxSpec
from workbench.sandbox.guest.guest import PYTHON_NAMES
from workbench.sandbox.guest_sandbox import GUEST_FILES, GUEST_FOLDER, GuestSandbox
from workbench.session.files import read_file, write_whole
from workbench.session.secrets import cache_folder

GUEST = GUEST_FOLDER / "guest.py"
_COMPILE = (
    "import sys, py_compile as p; "
    "p.compile(*sys.argv[1:], doraise=True, invalidation_mode=p.PycInvalidationMode.UNCHECKED_HASH)"
)
_LARGEST = 4 << 20
"""Bytes of a compiled guest that are read."""


def _compiled() -> Path:
    return cache_folder() / "guest"


def compiled_guest(python: str, folder: Path) -> Path | None:
    """The guest's program, put into `folder` as this Python compiles it: kept, as that takes a tenth of a start. None
    where it cannot be compiled.
    """
    which = hashlib.sha256("\n".join(programs(python, str(GUEST))).encode()).hexdigest()
    kept, program = _compiled() / f"{which[:16]}.pyc", folder / "guest.pyc"
    data = _read_kept(kept)
    try:
        if data is not None:
            program.write_bytes(data)
        else:
            # Inside it must not be seen where the program lies on the host.
            command = [python, "-I", "-S", "-c", _COMPILE, str(GUEST), str(program), f"{RUN_FOLDER}/{GUEST.name}"]
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=True)
            data = program.read_bytes()
            with contextlib.suppress(OSError):
                write_whole(kept, hashlib.sha256(data).digest() + data)
        program.chmod(0o644)  # the sandbox may be another user's
    except (OSError, subprocess.SubprocessError):
        return None
    return program


def _read_kept(kept: Path) -> bytes | None:
    """None where there is none, or it is no longer what was written: a machine that lost its power leaves such files,
    and what does not run as Python ends the sandbox.
    """
    with contextlib.suppress(OSError):
        whole = read_file(kept, _LARGEST)
        if hashlib.sha256(whole[32:]).digest() == whole[:32]:
            return whole[32:]
    return None


class LocalSandbox(GuestSandbox):
    """Commands run on this machine, confined to the workspace; with `none`, not confined at all.

    A file system of its own, in which the workspace is where it is in every sandbox, comes with bubblewrap alone.
    """

    def __init__(self, spec: SandboxSpec, workspace_folder: Path, way: LocalWay = "bubblewrap") -> None:
        super().__init__(spec, workspace_folder)
        self.way = way
        self.workspace_folder = self.workspace_folder.absolute()
        self.protected = way != "none"
        self.user = sandbox_uid() if self.protected else os.geteuid()
        if way != "bubblewrap":
            self.workspace = str(self.workspace_folder)
        self._process: LocalProcess | None = None
        self._child: int | None = None
        """The guest as the host sees it: process 1 of the sandbox."""
        self._temporary: OwnedFolder | None = None
        self._socket_path = ""

    @property
    def _landlock(self) -> int:
        """The kernel's version of it."""
        from workbench.isolation.keeper import landlock_version

        return landlock_version()

    async def _start(self) -> None:
        if (why := await asyncio.to_thread(why_not, self.way)) is not None:
            raise SandboxError("commands cannot be confined on this machine", why)
        self.check_workspace()
        self._temporary = OwnedFolder("guest", short_base())
        await self._launch(self._temporary.path)
        for lacking in self._lacking():
            self.warn(lacking)
        if self.way == "bubblewrap":
            self._remove_temporary()  # the sandbox has what it needs mounted
        if self._child is None:
            return
        if self.protected:
            self.watch(self._child, self.spec.limits, self._give_up)
        else:
            self.meter(partial(used_by, self._child))

    def _lacking(self) -> list[str]:
        """In sentences: what is less here than a sandbox is to have."""
        if self.way != "landlock":
            return lowered_limits(self.spec.limits) if self.protected else []
        from workbench.isolation.landlock import differences  # when first needed: it slows the start

        return lowered_limits(self.spec.limits) + differences(self._landlock)

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
            start = {"bubblewrap": self._start_confined, "landlock": self._start_in_domain, "none": self._start_plain}
            self._process = await start[self.way](folder, socket_path, listener.fileno())
        try:
            await self.attach(self._process.channel)
        except SandboxError as error:
            said = (await self._process.standard_error()).strip()
            forget(WORKS)
            shutil.rmtree(_compiled(), ignore_errors=True)
            if said and self.way == "bubblewrap":
                said = explain_failure(said)
            raise SandboxError(str(error), said or error.hint) from None
        finally:
            self._child = self._process.child if self.protected else self._process.process.pid

    async def _start_confined(self, folder: Path, socket_path: Path, listener: int) -> LocalProcess:
        own(socket_path)
        own(self.workspace_folder)
        # Copies: /proc/self/mountinfo tells where what is mounted lies on the host, and that may name a user.
        python = python_inside()[0]
        program = await asyncio.to_thread(compiled_guest, python, folder) or GUEST
        files = [*(Path(shutil.copy(path, folder)) for path in GUEST_FILES), *([] if program == GUEST else [program])]
        guest = {path: f"{RUN_FOLDER}/{path.name}" for path in files}
        inside = f"{RUN_FOLDER}/socket"
        confinement = replace(
            self.confinement({**guest, socket_path: inside}, {"MLGYM_SOCKET": inside}),
            links={f"{PYTHON_FOLDER}/{name}": python for name in PYTHON_NAMES},
        )
        options = [*self._guest_options(listener), f"commands={COMMANDS_FOLDER}"]
        command = [python, "-I", "-S", f"{RUN_FOLDER}/{program.name}", *options]
        return await start_confined(command, confinement, folder, [listener])

    async def _start_in_domain(self, folder: Path, socket_path: Path, listener: int) -> LocalProcess:
        run = folder / "run"
        run.mkdir()
        for path in GUEST_FILES:
            shutil.copy(path, run)
        self.run_folder, self.scratch = str(run), (folder / "tmp", folder / "home", folder / "shared")
        python, variables = python_inside()[0], self.spec.env
        named = self._name_python(folder, python)
        commands = f"{folder}/home/.mlgym/bin"
        env = {
            "MLGYM_SOCKET": str(socket_path),
            "PATH": f"{named}:{commands}:{variables.get('PATH') or base_environment()['PATH']}",
        }
        self.user = fresh_user()
        for given in (folder, self.workspace_folder):
            own(given, (self.user, self.user))
        confinement = self.confinement(dict.fromkeys((run, named, socket_path), ""), {})
        from workbench.isolation.landlock import Domain

        domain = Domain(
            [python, "-I", "-S", f"{run}/guest.py", *self._guest_options(listener), f"commands={commands}"],
            replace(confinement, env={**confinement.env, **env}),
            folder,
            self.user,
            sockets=[socket_path],
            serves=True,
            descriptors=[listener],
            remove=True,
        )
        return await start_in_domain(domain)

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
        env["PATH"] = f"{self._name_python(folder, self._python_named())}:{env['PATH']}"
        options = [*self._guest_options(listener), f"commands={folder / 'bin'}", f"remove={folder}"]
        command = [sys.executable, "-I", "-S", str(GUEST), *options]
        return await start_plain(command, env, self.workspace_folder, [listener])

    async def relay(self, path: str) -> int:
        """As in every sandbox; but Landlock gives none of its own."""
        if self.way == "landlock":
            raise SandboxError(
                "under Landlock a sandbox has no network of its own, so no agent program can reach its model",
                "install bubblewrap, or use --sandbox docker; `mlgym-tui doctor` says what works here",
            )
        return await super().relay(path)

    def _python_named(self) -> str:
        """The Python of the task's packages. A task without gets the user's own, named where it lacks one of its names.

        A folder that has both names is left to PATH: a virtual environment is only found there.
        """
        if "PYTHONPATH" in self.spec.env:
            return python_inside()[0]
        found = [shutil.which(name) for name in PYTHON_NAMES]
        if all(found) and len({os.path.dirname(path) for path in found if path}) == 1:
            return ""
        return next((path for path in found if path), sys.executable)

    def _name_python(self, folder: Path, target: str) -> Path:
        """Make a folder for PATH in which `python` and `python3` are that one; an empty one where there is none."""
        named = folder / "bin"
        named.mkdir()
        for name in PYTHON_NAMES if target else ():
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
            "isolation": self.way,
            "protected": self.protected,
            "network": self.spec.network if self.protected else True,
            "bubblewrap": bubblewrap_version() if self.way == "bubblewrap" else "",
            "landlock": self._landlock if self.way == "landlock" else 0,
            "python": str(self.guest_facts.get("python", "")),
            "kernel": platform.release(),
            "user": self.user,
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
