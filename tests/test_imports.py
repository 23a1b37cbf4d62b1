"""What importing a room, or starting the command, may load: starting is instant, and the core knows no screen."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("textual", "docker", "openai", "anthropic", "google.generativeai", "matplotlib")


def loaded_by(code: str) -> set[str]:
    """Modules that a fresh Python has loaded after running `code`, with the packages they are in."""
    probe = f"{code}\nimport sys\nprint('modules:', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("modules:")[2].split())


def test_what_drives_a_session_loads_no_screen_and_no_sdk() -> None:
    rooms = {
        "workbench.session.log",
        "workbench.session.state",
        "workbench.session.store",
        "workbench.formats.open",
        "workbench.tasks.catalogue",
        "workbench.scoring.evaluation",
        "workbench.environment.episode",
        "workbench.runner.runner",
        "workbench.runner.start",
        "workbench.checks.rescore",
    }
    modules = loaded_by(f"import {', '.join(rooms)}")
    assert rooms <= modules
    assert modules.isdisjoint(HEAVY)


def loaded_by_command(*arguments: str) -> set[str]:
    """Modules loaded by `mlgym-tui` with these arguments, which must succeed."""
    return loaded_by(
        "from workbench.cli import main\n"
        f"try: main({list(arguments)})\n"
        "except SystemExit as done: assert not done.code, done.code"
    )


def test_help_loads_next_to_nothing() -> None:
    modules = loaded_by_command("--help")
    assert "workbench.cli" in modules
    assert modules.isdisjoint({*HEAVY, "pydantic", "yaml", "bittty", "pygments", "numpy", "asyncio"})


@pytest.mark.parametrize("command", ["tasks", "sessions"])
def test_listing_loads_no_screen(command: str) -> None:
    assert loaded_by_command(command).isdisjoint(HEAVY)


@pytest.mark.parametrize(
    ("entrance", "later"),
    [
        ("workbench.runner.start", ("library.training", "library.moments", "isolation.landlock", "formats.open")),
        ("workbench.tui.app", ("library.training", "library.filter", "tui.screens.dialogs", "tui.widgets.prompt_view")),
    ],
)
def test_what_a_start_does_not_need_is_imported_later(entrance: str, later: tuple[str, ...]) -> None:
    modules = loaded_by(f"import {entrance}")
    assert entrance in modules and modules.isdisjoint(f"workbench.{name}" for name in later)
