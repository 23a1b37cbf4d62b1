"""The tab key in real shells, before the completion is installed, with it, and after it was taken away."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.terminal import Tmux

pytestmark = pytest.mark.tmux

SHELLS = {
    "bash": ("bash --noprofile -i", ".bashrc"),
    "zsh": ("zsh -i", ".zshrc"),
    "fish": ("fish -i -C 'function fish_prompt; echo -n \"> \"; end'", ""),
}
"""How each is started, and its own file."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the command on the path."""
    command = tmp_path / "bin" / "mlgym-tui"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m workbench "$@"\n')
    command.chmod(0o755)
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    root = Path(__file__).parents[2]
    return {
        "HOME": str(home),
        "PATH": f"{home / 'bin'}:/usr/bin:/bin",
        "TERM": "screen-256color",
        "PYTHONPATH": str(root),
        "LANG": "C.UTF-8",
    }


def mlgym(home: Path, *arguments: str) -> str:
    done = subprocess.run(
        [home / "bin" / "mlgym-tui", *arguments], env=environment(home), capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, home: Path) -> Iterator[str]:
    name = str(request.param)
    if shutil.which(name) is None:
        pytest.skip(f"no {name} here")
    yield name


def test_a_tab_completes_commands_and_ids(home: Path, shell: str) -> None:
    command, own = SHELLS[shell]
    if own:
        # The prompt that the test waits for; a line without an end, as people leave it.
        (home / own).write_text("PS1='> '\nPROMPT='> '\nalias mine=true")
    before = (home / own).read_bytes() if own else b""
    said = mlgym(home, "completion", "install", shell)
    assert f"undo it with: mlgym-tui completion uninstall {shell}" in said
    once = (home / own).read_bytes() if own else b""
    mlgym(home, "completion", "install", shell)
    assert not own or (home / own).read_bytes() == once, "installed twice is installed once"
    terminal = Tmux("mlgym-tui repl", columns=100, rows=24, env=environment(home), cwd=home, shell=command)
    try:
        terminal.press("Tab")
        terminal.wait_for("mlgym-tui replay")
        terminal.press("C-u")
        terminal.type("mlgym-tui run battleOf")
        terminal.press("Tab")
        terminal.wait_for("mlgym-tui run battleOfSexes")
    finally:
        terminal.close()
    assert mlgym(home, "completion", "uninstall", shell) == f"removed from {shell}\n"
    assert mlgym(home, "completion", "uninstall", shell) == f"nothing is installed for {shell}\n"
    assert not own or (home / own).read_bytes() == before + b"\n"
    assert not [*home.rglob("completion.*"), *home.rglob("mlgym-tui.fish")]
