"""`B` in the workbench: a fork of the step that is shown, opened in its place."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.in_memory import IN_MEMORY
from tests.tasks.quick_task import make_quick_task
from tests.tui.sessions import SessionBuilder
from tests.tui.support import screen_text, wait_for
from tests.tui.test_workbench import opened
from workbench.formats.open import open_recording
from workbench.runner.start import start
from workbench.session.log import read_log
from workbench.session.spec import SessionSpec
from workbench.session.state import fold
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens import forking
from workbench.tui.screens.home import HomeScreen
from workbench.tui.source import RecordedSource


@pytest.fixture
async def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A session of two steps that has ended."""
    monkeypatch.setattr(forking, "start", partial(start, grounds=IN_MEMORY))
    task = make_quick_task(tmp_path / "quick-task")
    (tmp_path / "actions.json").write_text('["echo one", "echo two"]')
    spec = SessionSpec(task=str(task.folder), model=f"replay:{tmp_path / 'actions.json'}", unsafe_local=True)
    runner = start(spec, tmp_path / "sessions", grounds=IN_MEMORY)
    await runner.run()
    return runner.live.folder


async def test_b_opens_a_fork_of_the_step_that_is_shown(parent: Path) -> None:
    sessions = parent.parent.with_name("others")
    app = WorkbenchApp(RecordedSource(open_recording(parent)), theme="mlgym-dark", sessions=sessions)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("0", "l", "B")
        await wait_for(pilot, lambda: "Fork at step 1: who goes on?" in screen_text(app), "the question")
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.source.status and app.source.status.phase == "review", "the fork")
        assert app.source.state.last_step == 2 and app.source.state.steps[2].action == "echo two"
        assert (
            app.source.folder
            and app.source.folder.parent == sessions
            and "forked at step 1: s steps on, c goes on" in screen_text(app)
        )
        await pilot.press("s")
        await wait_for(pilot, lambda: app.source.state.steps[2].over, "its next step")


async def test_home_comes_back_from_a_fork_and_a_wrong_model_can_be_mended(parent: Path) -> None:
    app = WorkbenchApp(home=HomeScreen([parent.parent]), theme="mlgym-dark")
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for(pilot, lambda: "1 run" in screen_text(app), "the list")
        await pilot.press("enter")
        await wait_for(pilot, lambda: "REPLAY" in screen_text(app), "the session")
        await pilot.press("0", "l", "B", "end", "x", ":", "ctrl+u", *"nobody:x", "enter")
        await wait_for(pilot, lambda: "unknown model 'nobody:x'" in screen_text(app), "why not")
        await pilot.press("ctrl+u", *"human", "enter")
        await wait_for(pilot, lambda: app.source.status and app.source.status.phase == "human", "the shell")
        await pilot.press("ctrl+right_square_bracket")
        await wait_for(pilot, lambda: not app.workbench.taken_over, "the workbench")
        await pilot.press("q", "y")
        await wait_for(pilot, lambda: app.screen is app.home, "home")


async def test_beside_a_session_that_runs_the_fork_waits(tmp_path: Path) -> None:
    async with opened(tmp_path, ["echo one", "echo two"]) as on:
        await on.review(1)
        await on.press("s")
        await on.review(2)
        await on.press("h", "B")
        await on.shows("Fork at step 1: who goes on?")
        await on.press("ctrl+u", *"human", "enter")
        await on.shows("forked at step 1; go on with: mlgym-tui resume")
        assert on.runner.status.phase == "review"
        folders = [path for path in (tmp_path / "sessions").glob("2*") if path != on.runner.live.folder]
        assert [fold(read_log(folder)[0]).last_step for folder in folders] == [1]


async def test_what_cannot_be_forked_is_said(tmp_path: Path) -> None:
    made = SessionBuilder(tmp_path / "s")
    made.ran("ls", "")
    made.end("submitted")
    recording = made.recording()
    recording.folder, recording.path = None, Path("/else/run.traj")
    app = WorkbenchApp(RecordedSource(recording))
    async with app.run_test(size=(160, 40)) as pilot:
        await pilot.press("B")
        await wait_for(pilot, lambda: "this recording has no files to go on with" in screen_text(app), "why not")
        assert "`mlgym-tui fork /else/run.traj --step 1`" in screen_text(app)
