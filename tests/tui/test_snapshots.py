"""Pictures of the workbench, kept as text (three sizes) and as SVG (two).

`UPDATE_SNAPSHOTS=1 pytest tests/tui/test_snapshots.py` writes them anew; look at the difference before committing it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import textual
from textual.pilot import Pilot

from tests.tui.sessions import battle
from tests.tui.support import screen_text, wait_for
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens.help import HelpScreen
from workbench.tui.source import RecordedSource

FOLDER = Path(__file__).parent / "snapshots"
DRAWN_BY = FOLDER / "drawn-by.txt"
"""Versions that the SVGs were made with; with others they may differ in ways that mean nothing."""
VERSIONS = f"textual {textual.__version__}, rich {version('rich')}\n"


async def check(pilot: Pilot[Any], name: str, draw: Callable[[], str]) -> None:
    """Compare what is drawn with the file, as soon as it is drawn to its end; or write it when asked to."""
    file = FOLDER / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        await pilot.pause(1.0)
        file.write_text(draw(), encoding="utf-8")
        DRAWN_BY.write_text(VERSIONS)
    expected = file.read_text(encoding="utf-8")
    with contextlib.suppress(AssertionError):  # the difference says more
        await wait_for(pilot, lambda: draw() == expected, name, seconds=10.0)
    if (actual := draw()) != expected:
        wrong = file.with_name(f"{file.stem}.actual{file.suffix}")
        wrong.write_text(actual, encoding="utf-8")
        assert actual == expected, f"not as in {file}: see {wrong.name}, or write it with UPDATE_SNAPSHOTS=1"


def normal_svg(svg: str) -> str:
    """Without the ids that are new for each picture."""
    return re.sub(r"terminal-\d+-", "terminal-", svg) + "\n"


async def compare(tmp_path: Path, name: str, size: tuple[int, int], step: int, theme: str = "mlgym-dark") -> None:
    app = WorkbenchApp(RecordedSource(battle(tmp_path / "session").recording()), theme=theme)
    async with app.run_test(size=size) as pilot:
        screen = app.workbench
        screen.go_to(step)
        screen.show_step()
        screen.say("")
        await wait_for(pilot, lambda: screen.shell_then.idle and screen._shell_step == step, "the shell")
        svg = name.endswith(".svg")
        await check(
            pilot,
            name,
            lambda: normal_svg(app.export_screenshot(title="")) if svg else screen_text(app) + "\n",
        )


@pytest.mark.parametrize(("size", "step"), [((80, 24), 3), ((120, 40), 5), ((200, 60), 8)], ids=str)
async def test_the_workbench_as_text(tmp_path: Path, size: tuple[int, int], step: int) -> None:
    await compare(tmp_path, f"workbench-{size[0]}x{size[1]}.txt", size, step)


@pytest.mark.parametrize("theme", ["mlgym-dark", "mlgym-light"])
async def test_the_workbench_in_colour(tmp_path: Path, theme: str) -> None:
    if not os.environ.get("UPDATE_SNAPSHOTS") and DRAWN_BY.read_text() != VERSIONS:
        pytest.skip(f"the pictures were drawn by {DRAWN_BY.read_text().strip()}, here is {VERSIONS.strip()}")
    await compare(tmp_path, f"workbench-{theme}.svg", (120, 40), 8, theme)


async def test_the_help_as_text(tmp_path: Path) -> None:
    app = WorkbenchApp(RecordedSource(battle(tmp_path / "session").recording()), theme="mlgym-dark")
    async with app.run_test(size=(100, 45)) as pilot:
        await app.push_screen(HelpScreen())
        await wait_for(pilot, lambda: "Give the shell back" in screen_text(app), "the help")
        await check(pilot, "help.txt", lambda: app.screen.query_one("#text").text + "\n")  # type: ignore[attr-defined]
