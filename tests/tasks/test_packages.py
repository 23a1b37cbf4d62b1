"""A task's packages: installed once for another Python than ours, from a wheel that is made here (no network)."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from workbench.sandbox.base import SandboxSpec
from workbench.sandbox.local import LocalSandbox
from workbench.tasks.packages import (
    INSIDE,
    PackageError,
    PythonInside,
    install,
    installed,
    installed_for,
    local_python,
    variables,
)

pytestmark = pytest.mark.skipif(find_spec("pip") is None, reason="no pip in this environment")

PYTHON = PythonInside("3.11", "x86_64", "2.36")


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLGYM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    file = tmp_path / "greeting-1.0-py3-none-any.whl"
    info = "greeting-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("greeting.py", "def main():\n    print('hello')\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", "[console_scripts]\ngreet = greeting:main\n")
        archive.writestr(f"{info}/RECORD", "")
    return str(file)


def test_installed_once(wheel: str) -> None:
    assert installed([wheel], PYTHON) is None and installed_for([wheel], "local", "") is None
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
async def test_the_agent_has_them(wheel: str, tmp_path: Path) -> None:
    folder = install([wheel], local_python())
    (tmp_path / "workspace").mkdir()
    sandbox = LocalSandbox(SandboxSpec("test", env=variables(INSIDE), mounts={folder: INSIDE}), tmp_path / "workspace")
    await sandbox.start()
    try:
        done = await sandbox.exec(["bash", "-c", "greet; python3 -c 'import greeting; print(greeting.__file__)'"])
    finally:
        await sandbox.stop()
    assert done.stdout.decode() == f"hello\n{INSIDE}/greeting.py\n", done.stderr
