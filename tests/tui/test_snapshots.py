"""Pictures of the workbench, kept as text (three sizes) and as SVG (two).

`UPDATE_SNAPSHOTS=1 pytest tests/tui/test_snapshots.py` writes them anew; look at the difference before committing it.
"""

from __future__ import annotations

import os
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import textual

from tests.tui.sessions import battle
from tests.tui.support import screen_text, wait_for
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens.help import HelpScreen
from workbench.tui.source import RecordedSource

FOLDER = Path(__file__).parent / "snapshots"
DRAWN_BY = FOLDER / "drawn-by.txt"
"""Versions that the SVGs were made with; with others they may differ in ways that mean nothing."""
VERSIONS = f"textual {textual.__version__}, rich {version('rich')}\n"


def check(name: str, actual: str) -> None:
    """Compare with the file, or write it when asked to."""
    file = FOLDER / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        FOLDER.mkdir(exist_ok=True)
        file.write_text(actual, encoding="utf-8")
        DRAWN_BY.write_text(VERSIONS)
    expected = file.read_text(encoding="utf-8")
    if actual != expected:
        wrong = file.with_name(f"{file.stem}.actual{file.suffix}")
        wrong.write_text(actual, encoding="utf-8")
        assert actual == expected, f"not as in {file}: see {wrong.name}, or write it with UPDATE_SNAPSHOTS=1"


def normal_svg(svg: str) -> str:
    """Without the ids that are new for each picture."""
    return re.sub(r"terminal-\d+-", "terminal-", svg) + "\n"


async def picture(tmp_path: Path, size: tuple[int, int], step: int, theme: str, *, svg: bool = False) -> str:
    app = WorkbenchApp(RecordedSource(battle(tmp_path / "session").recording()), theme=theme)
    async with app.run_test(size=size) as pilot:
        screen = app.workbench
        screen.go_to(step)
        screen.show_step()
        screen.say("")
        await wait_for(pilot, lambda: screen.shell_then.idle and screen._shell_step == step, "the shell")
        await pilot.pause(0.1)
        return normal_svg(app.export_screenshot(title="")) if svg else screen_text(app) + "\n"


@pytest.mark.parametrize(("size", "step"), [((80, 24), 3), ((120, 40), 5), ((200, 60), 8)], ids=str)
async def test_the_workbench_as_text(tmp_path: Path, size: tuple[int, int], step: int) -> None:
    check(f"workbench-{size[0]}x{size[1]}.txt", await picture(tmp_path, size, step, "mlgym-dark"))


@pytest.mark.parametrize("theme", ["mlgym-dark", "mlgym-light"])
async def test_the_workbench_in_colour(tmp_path: Path, theme: str) -> None:
    if not os.environ.get("UPDATE_SNAPSHOTS") and DRAWN_BY.read_text() != VERSIONS:
        pytest.skip(f"the pictures were drawn by {DRAWN_BY.read_text().strip()}, here is {VERSIONS.strip()}")
    check(f"workbench-{theme}.svg", await picture(tmp_path, (120, 40), 8, theme, svg=True))


async def test_the_help_as_text(tmp_path: Path) -> None:
    app = WorkbenchApp(RecordedSource(battle(tmp_path / "session").recording()), theme="mlgym-dark")
    async with app.run_test(size=(100, 45)) as pilot:
        await app.push_screen(HelpScreen())
        await wait_for(pilot, lambda: "Give the shell back" in screen_text(app), "the help")
        lines = app.screen.query_one("#text").text  # type: ignore[attr-defined]
    check("help.txt", lines + "\n")
