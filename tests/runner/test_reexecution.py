"""Published runs run again: with the files that they had, to the end that they had, and where they part is said."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.formats.trajectories import FILE, OK, WORKSPACE, WRITTEN, step, trajectory, window, write_run
from tests.runner.rig import GOOD, ListAgent, driven
from tests.tasks.quick_task import make_quick_task
from workbench.runner.agents import StartError
from workbench.runner.runner import Runner
from workbench.runner.start import start
from workbench.session.log import read_log
from workbench.session.spec import SessionSpec
from workbench.session.state import SessionState, fold

LINES = ["import random", "", "def row_strategy(history):", "    return 1"]
EDITED = [*LINES[:3], "    return 0"]


def replay(tmp_path: Path, content: dict[str, Any], **options: Any) -> Runner:
    task = make_quick_task(tmp_path / "quick")
    path = write_run(tmp_path / "runs", content)
    plan = SessionSpec(task=str(task.folder), model=f"replay:{path}", unsafe_local=True, **options)
    return start(plan, tmp_path / "sessions")


async def over(runner: Runner) -> SessionState:
    await runner.run()
    return fold(read_log(runner.live.folder)[0])


def recorded(*steps: dict[str, Any], exit_status: str = "submitted") -> dict[str, Any]:
    opened = step("open strategy.py", window(FILE, LINES))
    edit = step("edit 4:4\n    return 0\nend_of_edit", window(FILE, EDITED) + f"\n{WRITTEN}", open_file=FILE)
    return trajectory([opened, edit, *steps], exit_status=exit_status, scores=[{"Score": 1.44}])


def paths(text: str, state: SessionState) -> str:
    return text.replace(state.workspace, WORKSPACE)


async def test_a_run_begins_with_the_files_that_it_shows(tmp_path: Path) -> None:
    state = await over(replay(tmp_path, recorded(step("validate", OK.format(score=1.44)), step("submit", ""))))
    assert state.started is not None and state.started.starter.startswith("replay:")
    assert [file.path for file in state.started.starting_files] == ["strategy.py"]
    assert state.started.window == 1000  # as recorded
    assert window(FILE, LINES) in paths(state.steps[1].observation, state)
    assert window(FILE, EDITED) in paths(state.steps[2].observation, state)
    assert any("as the recording shows them: strategy.py" in note.text for note in state.notes)
    assert state.ended is not None and state.ended.exit_status == "submitted"


@pytest.mark.parametrize(
    ("status", "ends"),
    [
        ("autosubmission (exit_context)", "autosubmission (exit_context)"),
        ("evaluation_format_error (exit_format)", "autosubmission (exit_format)"),
        ("submission_not_found (exit_cost)", "autosubmission (exit_cost)"),
        ("autosubmission (max_steps)", "autosubmission (max_steps)"),
        ("submitted", "actions_exhausted"),
    ],
)
async def test_a_run_that_ended_for_a_cause_of_its_own_is_scored(tmp_path: Path, status: str, ends: str) -> None:
    steps = [step("exit_context", "Exited", thought="Exit due to context length")] if "context" in status else []
    state = await over(replay(tmp_path, recorded(*steps, exit_status=status)))
    assert state.ended is not None and state.ended.exit_status == ends
    assert len(state.steps) == 3
    kinds = [score.kind for score in state.steps[-1].scores]
    assert kinds == (["autosubmit"] if ends != "actions_exhausted" else [])


async def test_the_step_that_leaves_the_recording_is_said_once(tmp_path: Path) -> None:
    more = [step("cat strategy.py", "something else"), step("cat strategy.py", "and again")]
    state = await over(replay(tmp_path, recorded(*more)))
    [note] = [note for note in state.notes if "recording at step" in note.text]
    assert note.step == 3
    assert note.text.endswith("recording at step 3: 'import random', recorded was 'something else'")


async def test_a_replay_that_never_leaves_the_recording_says_so(tmp_path: Path) -> None:
    content = recorded(step("cat strategy.py", "\n".join(EDITED)), exit_status="autosubmission (max_steps)")
    state = await over(replay(tmp_path, content))
    assert state.notes[-1].text == "all 3 steps came out as they were recorded"


async def test_actions_mean_what_they_meant_in_mlgym(tmp_path: Path) -> None:
    content = recorded(
        step("create other.py\nx = (1)\n(y)\n", "/bin/bash: syntax error near unexpected token"),
        step("edit 4:4 other.py\n    return 1\nend_of_edit", window(FILE, LINES)),
        step("edit 4:4\n    return x\nend_of_edit", "Your proposed edit has introduced new syntax error(s)."),
    )
    state = await over(replay(tmp_path, content))
    created, edited, undefined = state.steps[3:]
    assert created.exit_code != 0 and not created.changes
    assert [change.path for change in edited.changes] == ["strategy.py"]
    assert undefined.exit_code == 1 and "undefined name 'x'" in undefined.observation


async def test_a_folder_of_starting_files_takes_the_place_of_the_tasks(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "run.sh").write_text("echo hello\n")
    (folder / "src" / "run.sh").chmod(0o755)
    async with driven(tmp_path, ListAgent(["src/run.sh; ls", GOOD]), starter=str(folder)) as session:
        await session.ended()
    assert session.state.steps[1].observation.split() == ["hello", "src"]
    assert session.state.started is not None and session.state.started.starter == str(folder)
    [file] = session.state.started.starting_files
    assert (file.path, file.mode) == ("src/run.sh", 0o755)


async def test_a_session_killed_before_its_first_snapshot_still_starts_with_them(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "note.txt").write_text("kept\n")
    async with driven(tmp_path, ListAgent([]), starter=str(folder)) as session:
        await session.ended()
    log = session.folder / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0])
    shutil.rmtree(folder)
    async with driven(tmp_path, ListAgent(["cat note.txt; ls"]), resume=session.folder) as again:
        await again.ended()
    assert again.state.steps[1].observation.split() == ["kept", "note.txt"]


def test_a_starter_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    task = make_quick_task(tmp_path / "quick")
    plan = SessionSpec(task=str(task.folder), unsafe_local=True, model="human", starter=str(tmp_path / "none"))
    with pytest.raises(StartError, match="is no folder"):
        start(plan, tmp_path / "sessions")
    assert not list((tmp_path / "sessions").glob("*"))
