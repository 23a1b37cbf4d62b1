"""The Python packages of a task, for its agent: installed once for the sandbox's Python, mounted read-only.

They are wheels in a folder (pip's `--target`), not an environment with a Python of its own: nothing in it depends on
where it lies, and it is made for the Python of a container without running anything there. The key is a hash of the
requirements and of that Python.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.sandbox.base import SandboxError
from workbench.sandbox.confine import base_environment
from workbench.tasks.datasets import cache_folder
from workbench.tasks.errors import TaskError

if TYPE_CHECKING:
    from workbench.tasks.catalogue import Task

INSIDE = "/opt/mlgym/packages"
"""Where sandboxes have them."""
_MANIFEST = ".manifest.json"
_ASK = (
    "import json, platform, sys; print(json.dumps({'version': '%d.%d' % sys.version_info[:2],"
    " 'machine': platform.machine(), 'libc': platform.libc_ver()[1] or '2.17'}))"
)
_OLDEST_LIBC = 17

Progress = Callable[[float, str], None]


class PackageError(TaskError):
    """The packages cannot be installed. `str()` says why, and what to do."""


@dataclass(frozen=True)
class PythonInside:
    """The Python that the agent's programs run on."""

    version: str
    """Like "3.11"."""
    machine: str
    libc: str
    """Version of glibc, like "2.36"."""

    def platforms(self) -> list[str]:
        """Tags of the wheels that it takes, the newest first."""
        newest = int(self.libc.partition(".")[2] or _OLDEST_LIBC)
        tags = [f"manylinux_2_{minor}_{self.machine}" for minor in range(newest, _OLDEST_LIBC - 1, -1)]
        return [*tags, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]


@functools.cache
def local_python() -> PythonInside:
    """Of the local sandbox. Raises PackageError."""
    from workbench.sandbox.confine import python_inside

    done = subprocess.run([python_inside()[0], "-I", "-S", "-c", _ASK], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PackageError(f"the Python of the sandbox does not answer: {done.stderr.strip()[-200:]}")
    return PythonInside(**json.loads(done.stdout))


def image_python(image: str) -> PythonInside:
    """Of a container image. Raises PackageError or SandboxError."""
    from docker.errors import DockerException

    from workbench.sandbox.engine import connect, explain
    from workbench.sandbox.orphans import owner_labels, remove_container

    api = connect()
    try:
        made = api.create_container(
            image,
            entrypoint=["python3", "-I", "-S", "-c", _ASK],
            network_disabled=True,
            labels=owner_labels("packages"),
        )
        try:
            api.start(made["Id"])
            api.wait(made["Id"], timeout=30)
            said = bytes(api.logs(made["Id"], stdout=True, stderr=False)).decode()
        finally:
            remove_container(api, made["Id"])
        return PythonInside(**json.loads(said))
    except DockerException as error:
        raise explain(error) from error
    except ValueError:
        raise PackageError(f"the image {image} has no python3 that answers") from None
    finally:
        api.close()


def installed(requirements: Sequence[str], python: PythonInside) -> Path | None:
    """The folder with them, where they were installed before."""
    folder = _folder(requirements, python)
    return folder if (folder / _MANIFEST).is_file() else None


def install(requirements: Sequence[str], python: PythonInside, progress: Progress | None = None) -> Path:
    """Install them, where they are not yet. Blocks; an exception raised in `progress` stops it, with nothing left.

    Raises PackageError or OSError.
    """
    found = installed(requirements, python)
    if found is not None:
        return found
    folder = _folder(requirements, python)
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        _run([*_installer(python, making / "made"), *requirements], progress)
        _mend_scripts(making / "made" / "bin")
        manifest = {"requirements": list(requirements), **asdict(python)}
        (making / "made" / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        try:
            (making / "made").rename(folder)
        except OSError:
            if installed(requirements, python) is None:  # else another process was quicker
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def variables(folder: str, path: str = "") -> dict[str, str]:
    """Variables that make the packages in `folder` (as the sandbox has it) known. `path`: PATH without them."""
    path = path or base_environment()["PATH"]
    return {
        "PYTHONPATH": folder,
        "PATH": f"{folder}/bin:{path}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_WAIT_POLICY": "passive",  # threads of numpy and torch that wait would spin, and starve those of others
    }


def _folder(requirements: Sequence[str], python: PythonInside) -> Path:
    text = json.dumps([sorted(requirements), asdict(python)])
    return cache_folder() / "packages" / hashlib.sha256(text.encode()).hexdigest()[:16]


def _installer(python: PythonInside, target: Path) -> list[str]:
    """pip of this Python, else uv."""
    from importlib.util import find_spec

    if find_spec("pip") is not None:
        command = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--retries=1"]
        command += ["--target", str(target), "--only-binary=:all:", "--implementation=cp"]
        command += ["--python-version", python.version, "--abi", f"cp{python.version.replace('.', '')}"]
        command += ["--abi=abi3", "--abi=none"]
        return [*command, *(part for tag in python.platforms() for part in ("--platform", tag))]
    uv = shutil.which("uv")
    if uv is None:
        raise PackageError("neither pip nor uv is here: python3 -m ensurepip, or install uv")
    return [uv, "pip", "install", "--target", str(target), "--only-binary=:all:", "--python-version", python.version,
            "--python-platform", f"{python.machine}-manylinux_2_{python.libc.partition('.')[2]}"]  # fmt: skip


def _run(command: Sequence[str], progress: Progress | None) -> None:
    if progress is not None:
        progress(0.0, "installing packages")
    last: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                text = line.decode(errors="replace").strip()
                if text:
                    last = [*last[-19:], text]
                if progress is not None and text.startswith(("Collecting", "Downloading", "Installing")):
                    progress(0.0, text[:80])
            code = process.wait()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if code != 0:
        errors = [line for line in last if "error" in line.lower()] or last[-1:]
        raise PackageError(
            f"the packages could not be installed: {errors[0][:300] if errors else f'exit code {code}'}; "
            "look at the network and at pip's settings (pip config list). Tasks run without them, too"
        )


def _mend_scripts(folder: Path) -> None:
    """Programs of packages begin with the Python that installed them: they must take the sandbox's."""
    for path in folder.glob("*") if folder.is_dir() else ():
        data = path.read_bytes()
        first, newline, rest = data.partition(b"\n")
        if first.startswith(b"#!") and b"python" in first:
            path.write_bytes(b"#!/usr/bin/env python3" + newline + rest)


def not_installed(task: Task, sandbox: str = "local") -> str:
    """That a task's packages are not there, and what to do."""
    where = " --sandbox docker" if sandbox == "docker" else ""
    return f"its packages are not installed: mlgym-tui tasks prepare {task.id}{where}"


def python_of(sandbox: str, image: str) -> PythonInside:
    """The Python of a kind of sandbox. Raises PackageError or SandboxError."""
    return image_python(image) if sandbox == "docker" else local_python()


def installed_for(requirements: Sequence[str], sandbox: str, image: str) -> Path | None:
    """The packages for a kind of sandbox, where they were installed before; None where that cannot be told, too."""
    if not requirements or not (cache_folder() / "packages").is_dir():
        return None
    try:
        return installed(requirements, python_of(sandbox, image))
    except (SandboxError, TaskError, OSError):
        return None
