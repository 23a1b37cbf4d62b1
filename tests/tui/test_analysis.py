"""The analysis screen: from home to a table, from a number to its runs, from a run to its step."""

from __future__ import annotations

from pathlib import Path

from tests.formats.trajectories import OK, step, trajectory, write_run
from tests.library.runs import mlgym
from tests.tui.support import screen_text, wait_for
from tests.tui.test_home import browser, ready, shows
from workbench.tui.screens.analysis import AnalysisScreen


async def test_from_a_number_to_the_step_behind_it(tmp_path: Path) -> None:
    mlgym(tmp_path)
    app, home = browser(tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot, home)
        await pilot.press("A")
        await shows(pilot, app, "1 run", "battleOfSexes", "some-model", "baseline", "AUP")
        screen = app.screen
        assert isinstance(screen, AnalysisScreen) and screen.which == "best"
        await pilot.press("b")
        await shows(pilot, app, "task (last)")
        await wait_for(pilot, lambda: screen.table.row_count == 2, "the table")
        screen.table.move_cursor(row=1, column=1)
        await pilot.press("enter")
        await wait_for(pilot, lambda: screen.has_class("-runs"), "the runs behind the number")
        await pilot.press("escape")
        assert not screen.has_class("-runs") and app.screen is screen
        await pilot.press("enter")
        await wait_for(pilot, lambda: screen.has_class("-runs"), "the runs again")
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.screen is not screen and "REPLAY" in screen_text(app), "the replay")


async def test_only_the_runs_that_home_shows_are_compared(tmp_path: Path) -> None:
    mlgym(tmp_path)
    mlgym(tmp_path, task="blotto")
    app, home = browser(tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot, home)
        await pilot.press("slash", *"task:blotto", "enter")
        await shows(pilot, app, "1 of 2 runs")
        await pilot.press("A")
        await shows(pilot, app, "1 run", "blotto", "AUP")
        assert "battleOfSexes" not in screen_text(app)


async def test_without_runs_it_says_what_to_do(tmp_path: Path) -> None:
    app, home = browser(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot, home)
        await pilot.press("A")
        await shows(pilot, app, "nothing can be compared")
        await pilot.press("q")
        await wait_for(pilot, lambda: app.screen is home, "home")


async def test_training_curves_of_the_runs_behind_a_number(tmp_path: Path) -> None:
    training = "".join(f"epoch {at}: loss={1 / at:.3f}, val_loss={2 / at:.3f}\n" for at in range(1, 9))
    steps = [step("python train.py", training), step("validate", OK.format(score=1.3))]
    for number in range(2):
        path = write_run(tmp_path, trajectory(steps, scores=[{"Score": 1.3}]), task="battleOfSexes")
        path.parent.rename(path.parent.with_name(f"{path.parent.name[:-1]}{2 + number}"))
    app, home = browser(tmp_path)
    async with app.run_test(size=(100, 40)) as pilot:
        await ready(pilot, home)
        await pilot.press("A")
        await shows(pilot, app, "2 runs", "some-model", "AUP")
        await pilot.press("c")
        await shows(pilot, app, "some-model: metric 1 of 2", "val_loss, over the steps of the program")
        await shows(pilot, app, "A some-model …run_", "B some-model …run_")
        await pilot.press("m")
        await shows(pilot, app, "metric 2 of 2", " loss, over the steps")
        await pilot.press("right")
        await shows(pilot, app, "no program of these runs printed a metric")
        await pilot.press("c")
        await shows(pilot, app, "share of tasks within a ratio")
