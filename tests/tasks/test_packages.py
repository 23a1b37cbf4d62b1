"""A task's packages: installed once for another Python than ours, from a wheel that is made here (no network)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.tasks.quick_task import make_quick_task
from workbench.sandbox.base import SandboxSpec
from workbench.sandbox.local import LocalSandbox
from workbench.scoring.evaluation import evaluate
from workbench.tasks import packages
from workbench.tasks.catalogue import Task
from workbench.tasks.needs import examine
from workbench.tasks.packages import (
    INSIDE,
    PackageError,
    PythonInside,
    install,
    installed,
    installed_extras,
    installed_for,
    local_python,
    missing_modules,
    module_of,
    variables,
    with_extras,
)

pytestmark = pytest.mark.skipif(find_spec("pip") is None, reason="no pip in this environment")

PYTHON = PythonInside("3.11", "x86_64", "2.36")
GREETING = "def main():\n    print('hello')\n"


def make_wheel(folder: Path, module: str, body: str) -> str:
    """The package `module`, where pip finds it."""
    file = folder / f"{module}-1.0-py3-none-any.whl"
    info = f"{module}-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{module}.py", body)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", "[console_scripts]\ngreet = greeting:main\n")
        archive.writestr(f"{info}/RECORD", "")
    return str(file)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLGYM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return make_wheel(tmp_path, "greeting", GREETING)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`greeting`, installed for this machine's Python once; it is only used."""
    folder = tmp_path_factory.mktemp("kept")
    wheel = make_wheel(folder, "greeting", GREETING)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MLGYM_CACHE", str(folder / "cache"))
        patched.setenv("PIP_NO_INDEX", "1")
        return install([wheel], local_python())


@pytest.fixture
def task(wheel: str, tmp_path: Path) -> Task:
    """A task of code that can do without `greeting`, and has `farewell` on request."""
    make_wheel(tmp_path, "farewell", "MOVE = 0\n")
    task = make_quick_task(tmp_path / "quick")
    extras = {"more": ["--no-cache-dir", "farewell==1.0"]}
    spec = replace(task.spec, requirements=["greeting==1.0"], requirements_optional=True, extras=extras)
    return replace(task, spec=spec)


def test_installed_once(wheel: str) -> None:
    assert installed([wheel], PYTHON) is None
    said: list[str] = []
    folder = install([wheel], PYTHON, lambda _, text: said.append(text))
    assert said and (folder / "greeting.py").is_file() and installed([wheel], PYTHON) == folder
    assert (folder / "bin" / "greet").read_text().startswith("#!/usr/bin/env python3\n")
    assert install([wheel], PYTHON, lambda *_: pytest.fail("installed again")) == folder
    assert installed([wheel], PythonInside("3.12", "x86_64", "2.36")) is None
    assert [path for path in folder.parent.iterdir() if path != folder] == []
    run = [sys.executable, "-c", "import greeting; greeting.main()"]
    done = subprocess.run(run, env=variables(str(folder)), capture_output=True, text=True, check=True)
    assert done.stdout == "hello\n"


def test_what_cannot_be_had_is_said_and_leaves_nothing(wheel: str, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"could not be installed: ERROR: .*no-such-package.*pip config list"):
        install(["no-such-package-of-ours==1"], PYTHON)
    assert list((tmp_path / "cache" / "packages").iterdir()) == []


def test_it_can_be_stopped(wheel: str, tmp_path: Path) -> None:
    def stop(_: float, text: str) -> None:
        if text != "installing packages":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install([wheel], PYTHON, stop)
    assert list((tmp_path / "cache" / "packages").iterdir()) == []


def test_wheels_for_older_systems_are_taken_too() -> None:
    assert PythonInside("3.11", "aarch64", "2.19").platforms() == [
        "manylinux_2_19_aarch64",
        "manylinux_2_18_aarch64",
        "manylinux_2_17_aarch64",
        "manylinux2014_aarch64",
        "linux_aarch64",
    ]


@pytest.mark.bwrap
async def test_the_agent_has_them(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    sandbox = LocalSandbox(
        SandboxSpec(session="test", env=variables(INSIDE), readonly={kept: INSIDE}), tmp_path / "workspace"
    )
    await sandbox.start()
    try:
        done = await sandbox.exec(["bash", "-c", "greet; python3 -c 'import greeting; print(greeting.__file__)'"])
    finally:
        await sandbox.stop()
    assert done.stdout.decode() == f"hello\n{INSIDE}/greeting.py\n", done.stderr


BASIC, MORE = "mlgym-tui tasks prepare quick", "mlgym-tui tasks prepare quick --with more"


def test_what_is_there_of_the_optional_ones(task: Task) -> None:
    assert installed_for(task, "local", "") is None
    assert examine(task).verdict == "yes" and examine(task).optional == {"greeting": BASIC, "farewell": MORE}

    install(with_extras(task, ()), local_python())
    folder = installed_for(task, "local", "")
    assert folder is not None and installed_extras(task, folder) == []
    assert missing_modules(task, folder) == {"farewell": MORE}

    install(with_extras(task, ["more"]), local_python())
    folder = installed_for(task, "local", "")
    assert folder is not None and (folder / "farewell.py").is_file() and installed_extras(task, folder) == ["more"]
    assert missing_modules(task, folder) == {}


def test_no_python_is_asked_where_nothing_of_the_task_was_installed(
    task: Task, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLGYM_CACHE", str(kept.parent.parent))  # there is another task's
    monkeypatch.setattr(packages, "python_of", lambda *_: pytest.fail("asked"))
    assert installed_for(task, "docker", "any") is None


@pytest.mark.parametrize(
    ("requirement", "module"),
    [("numpy==2.4.6", "numpy"), ("scikit-learn>=1", "sklearn"), ("torch", "torch"), ("xgboost-cpu==3", "xgboost")],
)
def test_modules_of_packages(requirement: str, module: str) -> None:
    assert module_of(requirement) == module


@pytest.mark.bwrap
async def test_submitted_code_may_import_them(task: Task) -> None:
    strategy = b"import farewell\ndef row_strategy(history):\n    return farewell.MOVE\n"
    without = await evaluate(task, strategy, seed=1, room="bubblewrap")
    assert without.verdict == "crashed" and f"outside of it, `{MORE}` does it" in without.message
    await asyncio.to_thread(install, with_extras(task, ["more"]), local_python())
    found = await evaluate(task, strategy, seed=1, room="bubblewrap")
    assert found.verdict == "ok" and found.score is not None and found.score > 1
