"""One suite for every backend: the fixture `sandbox` is a started sandbox of each kind in turn."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from workbench.isolation.local import LocalWay
from workbench.sandbox.base import SandboxSpec
from workbench.sandbox.guest_sandbox import GuestSandbox
from workbench.sandbox.local import LocalSandbox
from workbench.sandbox.pty import DirectPty, RelayedPty

PATIENCE = 45.0
CHECKOUT = Path(__file__).resolve().parents[2]
"""Seconds that anything may take, however busy the machine is."""


class Terminal:
    """Somebody who types into a shell and waits for what it prints."""

    def __init__(self, pty: DirectPty | RelayedPty) -> None:
        self.pty = pty
        self.printed = bytearray()
        self.exit_status: int | None = None
        self._news = asyncio.Event()
        pty.listen(self._on_output, self._on_exit)

    def _on_output(self, data: bytes) -> None:
        assert self.exit_status is None, "output after the exit status"
        self.printed += data
        self._news.set()

    def _on_exit(self, status: int) -> None:
        assert self.exit_status is None, "told twice"
        self.exit_status = status
        self._news.set()

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait for a condition that output or the exit makes true."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not done():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"waited in vain; the end of the output: {bytes(self.printed[-2000:])!r}") from None

    async def expect(self, text: str) -> str:
        """Wait for that text; what was printed before it since the last `type`."""
        await self.until(lambda: text.encode() in self.printed)
        return bytes(self.printed).partition(text.encode())[0].decode("utf-8", "replace").replace("\r\n", "\n")

    async def exited(self) -> int:
        """Wait for the end of the shell."""
        await self.until(lambda: self.exit_status is not None)
        assert self.exit_status is not None
        return self.exit_status

    def type(self, text: str) -> None:
        """Type, and forget what was printed before."""
        self.printed.clear()
        self.pty.write(text.encode())

    async def run(self, command: str) -> str:
        """A command's output. Its echo is switched off by `quiet`."""
        self.type(f"{command}\necho E''ND$?E''ND\n")
        await self.until(lambda: re.search(rb"END\d+END\r?\n", self.printed) is not None)
        return (await self.expect("END")).strip()


@pytest.fixture
def ordinary() -> Iterator[tuple[list[str], Path]]:
    """What runs a Python with this package as an ordinary user, and a folder of theirs with a workspace in it."""
    with tempfile.TemporaryDirectory(prefix="ordinary-") as folder:
        code, workspace = Path(folder, "code"), Path(folder, "workspace")
        workspace.mkdir()
        if os.geteuid():
            code.mkdir()
            yield [sys.executable], Path(folder)
            return
        become = ["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", "--"]
        become += ["env", "HOME=/tmp", f"PATH={os.defpath}"]
        python = _python_for_others(become)
        os.chmod(folder, 0o711)
        os.chown(workspace, 65533, 65533)
        shutil.copytree(CHECKOUT / "workbench", code / "workbench", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(Path(msgspec.__file__).parent, code / "msgspec")
        yield [*become, f"PYTHONPATH={code}", python], Path(folder)


def _python_for_others(become: list[str]) -> str:
    """A Python of this version that somebody else can run too."""
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        command = [*become, python, "-c", "import sys; print(*sys.version_info[:2])"]
        if subprocess.run(command, capture_output=True, text=True, cwd="/").stdout.split() == [
            str(number) for number in sys.version_info[:2]
        ]:
            return python
    pytest.skip("no Python of this version that an ordinary user can run")


async def open_terminal(sandbox: GuestSandbox, cwd: str | None = None) -> Terminal:
    """A shell without prompt and echo, so that output is all there is to see."""
    terminal = Terminal(await sandbox.open_shell(cwd or sandbox.workspace))
    terminal.type("PS1= PS2= PROMPT_COMMAND=; bind 'set enable-bracketed-paste off'; stty -echo; echo REA''DY\n")
    await terminal.expect("READY\r\n")
    return terminal


BACKENDS = [
    pytest.param("local", marks=pytest.mark.bwrap),
    pytest.param("landlock", marks=pytest.mark.landlock),
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("unsafe"),
]


WAYS: dict[str, LocalWay] = {"local": "bubblewrap", "landlock": "landlock", "unsafe": "none"}


def make_sandbox(backend: str, workspace: Path, spec: SandboxSpec | None = None) -> GuestSandbox:
    """A sandbox of that kind, not started."""
    spec = spec or SandboxSpec(session="test-session", env={"WINDOW": "100"})
    if backend == "docker":
        from workbench.sandbox.docker import DockerSandbox

        return DockerSandbox(spec, workspace)
    return LocalSandbox(spec, workspace, WAYS[backend])


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace folder with one file."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "hello.txt").write_text("hello\n")
    return folder


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Name of a backend."""
    return str(request.param)


@pytest.fixture
async def sandbox(backend: str, workspace: Path) -> AsyncIterator[GuestSandbox]:
    """A started sandbox of each backend."""
    made = make_sandbox(backend, workspace)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def protected(sandbox: GuestSandbox) -> GuestSandbox:
    """A started sandbox that confines: of every backend but the one that does not (see below)."""
    assert sandbox.protected
    return sandbox


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is asked of a sandbox that confines is not asked of the unprotected one; that is no skipped test."""
    items[:] = [item for item in items if not _asks_too_much(item)]


def _asks_too_much(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function) or "protected" not in item.fixturenames:
        return False
    return bool(getattr(item, "callspec", None)) and item.callspec.params.get("backend") == "unsafe"
