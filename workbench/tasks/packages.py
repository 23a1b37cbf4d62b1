"""The Python packages of a task: installed once for the Python of its agent and submission, mounted read-only.

They are wheels in a folder (pip's `--target`), not an environment with a Python of its own: nothing in it depends on
where it lies, and it is made for the Python of a container without running anything there. The key is a hash of the
requirements and of that Python.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import asdict

from workbench.isolation.known import known, programs
from workbench.isolation.processes import run_and_tell
from workbench.isolation.spec import SandboxError, base_environment
from workbench.session.secrets import cache_folder
from workbench.tasks.errors import TaskError
from workbench.tasks.making import Progress

if TYPE_CHECKING:
    from workbench.tasks.catalogue import Task

INSIDE = "/opt/mlgym/packages"
"""Where sandboxes find the packages."""
_MANIFEST = ".manifest.json"
_ASK = (
    "import json, platform, sys; print(json.dumps({'version': '%d.%d' % sys.version_info[:2],"
    " 'machine': platform.machine(), 'libc': platform.libc_ver()[1] or '2.17'}))"
)
_OLDEST_LIBC = 17
_MODULES = {"scikit-learn": "sklearn", "pillow": "PIL", "pyyaml": "yaml", "xgboost-cpu": "xgboost"}
_FAILED_IMPORT = re.compile(r"ModuleNotFoundError: No module named '(\w+)")


class PackageError(TaskError):
    """The packages cannot be installed. `str()` says why, and what to do."""


class PythonInside(msgspec.Struct, frozen=True):
    """The Python that the agent's programs run on."""

    version: str
    """Like "3.11"."""
    machine: str
    libc: str
    """Version of glibc, like "2.36"."""

    def platforms(self) -> list[str]:
        """Tags of the wheels that fit, the newest first."""
        newest = int(self.libc.partition(".")[2] or _OLDEST_LIBC)
        tags = [f"manylinux_2_{minor}_{self.machine}" for minor in range(newest, _OLDEST_LIBC - 1, -1)]
        return [*tags, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]


@functools.cache
def local_python() -> PythonInside:
    """The Python of the local sandbox. Raises PackageError."""
    from workbench.isolation.bwrap import python_inside

    python = python_inside()[0]

    def ask() -> str:
        done = subprocess.run([python, "-I", "-S", "-c", _ASK], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise PackageError(f"the Python of the sandbox does not answer: {done.stderr.strip()[-200:]}")
        return done.stdout

    return PythonInside(**json.loads(known("python of the sandbox", [*programs(python)], ask)))


_of_images: dict[str, PythonInside] = {}
"""By the id of the image."""


def image_python(image: str) -> PythonInside:
    """The Python of a container image. Raises PackageError or SandboxError."""
    from workbench.isolation.container import run_in_image
    from workbench.isolation.engine import engine
    from workbench.isolation.image import image_id

    with engine() as api:
        ident = image_id(api, image)
        if ident not in _of_images:
            with run_in_image(api, ident, ["python3", "-I", "-S", "-c", _ASK]) as (_, said):
                try:
                    _of_images[ident] = PythonInside(**json.loads(said))
                except (ValueError, TypeError):
                    raise PackageError(f"the image {image} has no python3 that answers") from None
        return _of_images[ident]


def installed(requirements: Sequence[str], python: PythonInside) -> Path | None:
    """The folder of the packages, if they are installed already."""
    folder = _folder(requirements, python)
    return folder if (folder / _MANIFEST).is_file() else None


def install(requirements: Sequence[str], python: PythonInside, progress: Progress | None = None) -> Path:
    """Install the packages unless they are installed already. Blocks; an exception raised in `progress` stops it and
    leaves nothing behind. Raises PackageError or OSError.
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
    """The command that installs wheels: pip of this Python, else uv."""
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
    command = [uv, "pip", "install", "--target", str(target), "--only-binary=:all:", "--python-version", python.version]
    command += ["--index-strategy", "unsafe-best-match"]  # of several indexes the newest that fits, as pip does
    return [*command, "--python-platform", f"{python.machine}-manylinux_2_{python.libc.partition('.')[2]}"]


def _run(command: Sequence[str], progress: Progress | None) -> None:
    def tell(text: str) -> None:
        if progress is not None and text.startswith(("Collecting", "Downloading", "Installing")):
            progress(0.0, text[:80])

    if progress is not None:
        progress(0.0, "installing packages")
    code, last = run_and_tell(command, tell)
    if code != 0:
        errors = [line for line in last if "error" in line.lower()] or last[-1:]
        raise PackageError(
            f"the packages could not be installed: {errors[0][:300] if errors else f'exit code {code}'}; "
            "look at the network and at pip's settings (pip config list). Tasks run without them, too"
        )


def _mend_scripts(folder: Path) -> None:
    """Make the packages' programs start with the sandbox's Python, not with the one that installed them."""
    for path in filter(Path.is_file, folder.glob("*")):
        data = path.read_bytes()
        first, newline, rest = data.partition(b"\n")
        if first.startswith(b"#!") and b"python" in first:
            path.write_bytes(b"#!/usr/bin/env python3" + newline + rest)


def prepare_command(task: Task, sandbox: str = "local", extra: str = "") -> str:
    """The command that installs a task's packages."""
    where = " --sandbox docker" if sandbox == "docker" else ""
    return f"mlgym-tui tasks prepare {task.id}{f' --with {extra}' if extra else ''}{where}"


def not_installed(task: Task, sandbox: str = "local") -> str:
    """Say that a task's packages are missing, and how to install them."""
    return f"its packages are not installed: {prepare_command(task, sandbox)}"


def python_of(sandbox: str, image: str) -> PythonInside:
    """The Python of a kind of sandbox. Raises PackageError or SandboxError."""
    return image_python(image) if sandbox == "docker" else local_python()


def with_extras(task: Task, extras: Collection[str]) -> list[str]:
    """What pip has to install for a task with some of its extras."""
    return [*task.requirements, *(item for name in sorted(extras) for item in task.spec.extras[name])]


def installed_extras(task: Task, folder: Path | None) -> list[str]:
    """The extras of a task that are in the folder of its packages."""
    there = _requirements_in(folder)
    return [name for name, wanted in task.spec.extras.items() if there.issuperset(wanted)]


def installed_for(task: Task, sandbox: str, image: str) -> Path | None:
    """The installed packages of a task, with as many of its extras as there are, for a kind of sandbox.

    None where nothing is installed, or the sandbox's Python is not known.
    """
    extras = task.spec.extras
    choices = (chosen for count in range(len(extras), -1, -1) for chosen in itertools.combinations(extras, count))
    made = [_requirements_in(path.parent) for path in (cache_folder() / "packages").glob(f"*/{_MANIFEST}")]
    # Those of which there is nothing are left out before any Python is asked: that of an image takes a container.
    wanted = [needed for chosen in choices if (needed := with_extras(task, chosen)) and set(needed) in made]
    try:
        folders = [installed(needed, python_of(sandbox, image)) for needed in wanted]
    except (SandboxError, TaskError, OSError):
        return None
    return next(filter(None, folders), None)


def missing_modules(task: Task, folder: Path | None, sandbox: str = "local") -> dict[str, str]:
    """The modules of a task's optional packages that are not in the folder of its packages, each with the command that
    installs it."""
    there = _requirements_in(folder)
    optional = {"": task.requirements if task.spec.requirements_optional else [], **task.spec.extras}
    return {
        module_of(requirement): prepare_command(task, sandbox, extra)
        for extra, requirements in optional.items()
        for requirement in requirements
        if requirement not in there and not requirement.startswith("-")
    }


def module_of(requirement: str) -> str:
    """What a program imports of a package."""
    name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()
    return _MODULES.get(name, name.replace("-", "_"))


def failed_import(text: str, lacking: Mapping[str, str]) -> str:
    """A hint for a program that printed `text`: that an optional package is missing. Empty for any other text."""
    for module in _FAILED_IMPORT.findall(text):
        if module in lacking:
            return (
                f"{module} is an optional package of this task that is not installed here, and nothing can be "
                f"installed from inside the sandbox; outside of it, `{lacking[module]}` does it"
            )
    return ""


def _requirements_in(folder: Path | None) -> set[str]:
    """The requirements that the folder was made from."""
    if folder is None:
        return set()
    try:
        return set(json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["requirements"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()
