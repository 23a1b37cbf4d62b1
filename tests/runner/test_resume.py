"""Going on with a saved session: after a stop, and in whatever state a killed process left it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.runner.rig import GOOD, ListAgent, driven
from tests.tasks.quick_task import make_quick_task
from workbench.agents.models.replay import ReplayAgent
from workbench.cli import main
from workbench.formats.actions import Plan, PlannedAction
from workbench.library.moments import fields_of
from workbench.runner.agents import StartError, make_agent
from workbench.runner.start import start
from workbench.session import events as ev
from workbench.session.events import Limits, Mode
from workbench.session.log import LogError, read_log, repair_log
from workbench.session.outcome import Failures
from workbench.session.spec import SessionSpec
from workbench.session.state import fold
from workbench.tui.widgets.observation import ObservationView


async def stopped_session(root: Path, actions: list[str]) -> Path:
    """A session that was stopped after these actions."""
    async with driven(root, ListAgent(actions)) as session:
        await session.ended()
    return session.folder


async def test_files_and_folder_are_as_they_were(tmp_path: Path) -> None:
    folder = await stopped_session(
        tmp_path, ["mkdir -p sub; echo 1 > sub/a; chmod 750 sub/a; ln -s a sub/link; cd sub"]
    )
    async with driven(tmp_path, ListAgent(["pwd; cat link; stat -c %a a; ls -1 ..", "submit"]), resume=folder) as again:
        ended = await again.ended()
    step = again.state.steps[2]
    assert step.observation.splitlines() == [f"{again.state.workspace}/sub", "1", "750", "strategy.py", "sub"]
    assert (ended.exit_status, ended.steps) == ("submitted", 3)
    assert again.folder == folder
    assert [event.name for event in read_log(folder)[0]].count("session.resumed") == 1


async def test_a_resume_changes_no_file(tmp_path: Path) -> None:
    folder = await stopped_session(tmp_path, ["echo 1 > a; ln -s a link", "rm strategy.py"])
    async with driven(tmp_path, ListAgent(["true"]), resume=folder) as again:
        await again.ended()
    assert again.events(ev.WorkspaceSnapshot) == []
    assert {file.path for file in again.state.files_at()} == {"a", "link"}


async def test_the_window_is_where_it_was(tmp_path: Path) -> None:
    folder = await stopped_session(tmp_path, ["seq 300 > long; open long 150"])
    async with driven(tmp_path, ListAgent(["scroll_down"]), resume=folder) as again:
        await again.ended()
    before, after = again.state.steps[1].window, again.state.steps[2].window
    assert before is not None and after is not None
    assert after.first_line > before.first_line
    assert again.state.relative_path(before.path) == again.state.relative_path(after.path) == "long"


async def test_time_goes_on_where_it_ended(tmp_path: Path) -> None:
    folder = await stopped_session(tmp_path, ["true"])
    before = read_log(folder)[0][-1]
    async with driven(tmp_path, ListAgent(["true"]), resume=folder) as again:
        await again.ended()
    resumed = again.events(ev.SessionResumed)[0]
    assert before.elapsed <= resumed.elapsed < before.elapsed + 50
    assert resumed.seq == before.seq + 1


async def test_new_limits_hold(tmp_path: Path) -> None:
    folder = await stopped_session(tmp_path, ["true", "true"])
    async with driven(tmp_path, ListAgent([], then="true"), resume=folder, limits=Limits(steps=3)) as again:
        ended = await again.ended()
    assert (ended.exit_status, ended.steps) == ("autosubmission (max_steps)", 3)


async def test_a_submitted_session_is_over(tmp_path: Path) -> None:
    folder = await stopped_session(tmp_path, ["submit"])
    before = (folder / "events.jsonl").read_bytes()
    with pytest.raises(StartError, match="was submitted"):
        start(SessionSpec(task="quick"), resume=folder)
    assert (folder / "events.jsonl").read_bytes() == before


async def test_two_processes_never_drive_one_session(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["true"]), mode="step") as session:
        await session.review(1)
        before = (session.folder / "events.jsonl").read_bytes()
        with pytest.raises(LogError, match="another process"):
            start(SessionSpec(task="quick"), resume=session.folder)
        with pytest.raises(LogError, match="another process"):
            repair_log(session.folder)
        assert (session.folder / "events.jsonl").read_bytes() == before
        session.runner.controls.step()
        await session.over(1)


@pytest.mark.parametrize("last", ["action.proposed", "action.started", "action.finished", "sandbox.ready"])
async def test_a_log_that_ends_anywhere_can_be_gone_on_with(tmp_path: Path, last: str) -> None:
    """As kill -9 leaves it, with a line that was being written when it came."""
    folder = await stopped_session(tmp_path, ["echo 1 > a", "echo 2 > b"])
    file = folder / "events.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    end = max(number for number, line in enumerate(lines) if line.startswith(b'{"event":"%s"' % last.encode()))
    file.write_bytes(b"".join(lines[: end + 1]) + b'{"event":"action.fin')
    actions = [PlannedAction("", action) for action in ("echo 1 > a", "echo 2 > b", "ls", "submit")]
    agent = ReplayAgent(Plan(actions), "test")
    agent.author = "model:test"
    async with driven(tmp_path, agent, resume=folder) as again:
        ended = await again.ended()
    assert ended.exit_status == "submitted"
    assert all(step.over for step in again.state.steps)
    listed = next(step for step in again.state.steps if step.action == "ls")
    assert listed.observation.split() == ["a", "b", "strategy.py"]
    [note] = [note.text for note in again.state.notes if "damaged" in note.text]
    assert "events.damaged" in note
    assert (folder / "events.damaged").read_bytes() == b'{"event":"action.fin'


async def test_how_long_a_command_took_that_was_killed_is_not_known(tmp_path: Path) -> None:
    folder = await stopped_session(tmp_path, ["echo 1 > a"])
    file = folder / "events.jsonl"
    before, _, _ = file.read_bytes().partition(b'{"event":"action.finished"')
    file.write_bytes(before)
    async with driven(tmp_path, ListAgent(["true"]), resume=folder) as again:
        await again.ended()
    state = again.state
    killed, ran = state.steps[1:]
    assert killed.interrupted and not killed.duration and ran.duration
    assert fields_of(state, killed)("took") is None and fields_of(state, ran)("took") == ran.duration
    assert ObservationView(state, Failures(state)).title(killed) == "Observation · ■ interrupted"
    shown = CliRunner().invoke(main, ["sessions", "show", str(folder)]).output
    assert [line.split()[-2:] for line in shown.splitlines() if "echo 1" in line] == [["–", "–"]]
    steps = json.loads(CliRunner().invoke(main, ["sessions", "show", str(folder), "--json"]).output)["steps"]
    assert [step["duration"] for step in steps] == [None, ran.duration]


async def test_a_lost_object_is_named_and_the_rest_is_there(tmp_path: Path) -> None:
    folder = await stopped_session(tmp_path, ["echo lost > a; echo kept > b"])
    events, _ = read_log(folder)
    changes = {c.path: c for e in events if isinstance(e, ev.WorkspaceSnapshot) for c in e.changes}
    digest = changes["a"].object
    assert digest is not None
    (folder / "objects" / digest[:2] / digest[2:]).unlink()
    async with driven(tmp_path, ListAgent(["ls"]), resume=folder) as again:
        await again.ended()
    assert again.state.current.observation.split() == ["b", "strategy.py"]
    assert any("not restored" in note.text and "a" in note.text for note in again.state.notes)


async def test_scores_and_best_live_on(tmp_path: Path) -> None:
    folder = await stopped_session(tmp_path, [GOOD, "validate"])
    agent = ListAgent(["echo 'def row_strategy(h): return 1' > strategy.py", "submit"])
    async with driven(tmp_path, agent, resume=folder) as again:
        ended = await again.ended()
    assert ended.scores.best is not None and ended.scores.last is not None
    assert ended.scores.best > 1.3 > ended.scores.last


async def test_a_session_without_its_beginning_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "20260101-000000-quick-abcdef"
    folder.mkdir()
    (folder / "events.jsonl").write_text("")
    with pytest.raises(StartError, match="no beginning"):
        start(SessionSpec(task="quick"), resume=folder)


@pytest.mark.parametrize("mode", ["auto", "step", "paused", "human"])
async def test_it_comes_back_in_the_mode_it_was_left_in(tmp_path: Path, mode: Mode) -> None:
    async with driven(tmp_path, ListAgent(["true"]), mode="step") as session:
        await session.review(1)
        if mode == "human":
            session.runner.controls.take_over(80, 24)
        else:
            session.runner.controls.set_mode(mode)
    async with driven(tmp_path, ListAgent(["true", "true"]), resume=session.folder, interactive=True) as again:
        assert again.state.mode == mode
        if mode == "human":
            await again.phase("human")
            await again.runner.controls.hand_back()
            assert again.state.mode == "step"
        again.runner.controls.set_mode(mode)
    async with driven(tmp_path, ListAgent(["true"]), resume=session.folder) as alone:
        assert (await alone.ended()).exit_status == "actions_exhausted"
    said = [note.text for note in alone.state.notes if "it goes on in auto mode" in note.text]
    assert len(said) == (mode != "auto") and alone.state.mode == "auto"
    async with driven(tmp_path, ListAgent(["true"]), resume=session.folder, interactive=True, mode="step") as stepping:
        assert stepping.state.mode == "step"


async def test_where_a_person_works_alone_nothing_goes_on_without_them(tmp_path: Path) -> None:
    async with driven(tmp_path, None, mode="human") as session:
        await session.phase("human")
    with pytest.raises(StartError, match="needs a terminal"):
        start(SessionSpec(), resume=session.folder)
    async with driven(tmp_path, None, resume=session.folder, interactive=True) as again:
        await again.phase("human")


async def test_time_counts_again_after_a_kill_while_somebody_decided(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["true"]), mode="step") as session:
        await session.review(1)
        await session.until(lambda: session.events(ev.ClockPaused), "the clock stands")
    file = session.folder / "events.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    paused = next(number for number, line in enumerate(lines) if line.startswith(b'{"event":"clock.paused"'))
    file.write_bytes(b"".join(lines[: paused + 1]))
    before = fold(read_log(file)[0])
    async with driven(tmp_path, ListAgent(["sleep 0.2"]), resume=session.folder) as again:
        await again.ended()
    assert again.state.clock.paused_at is None
    worked = again.state.steps[2].finished - again.state.steps[2].started
    assert again.state.working >= worked
    [resumed] = again.events(ev.SessionResumed)
    assert again.state.working == pytest.approx(before.working + again.state.elapsed - resumed.elapsed, abs=1e-5)


@pytest.mark.bwrap
async def test_the_same_in_a_protected_sandbox(tmp_path: Path) -> None:
    """Take-over, hand-back and resume, where nothing but the workspace lives on."""
    agent = ListAgent(["mkdir sub; cd sub; echo 1 > a", "echo $person; pwd"])
    async with driven(tmp_path, agent, unsafe_local=False, mode="step") as session:
        await session.review(1)
        session.runner.controls.step()
        await session.review(2)
        session.runner.controls.take_over(90, 20)
        await session.phase("human")
        session.enter("person=here; echo 2 > b\n")
        step = await session.over(3)
        await session.runner.controls.hand_back()
        await session.until(lambda: session.state.mode == "step", "handed back")
    assert step.author == session.runner.controls.user and [change.path for change in step.changes] == ["sub/b"]
    async with driven(
        tmp_path, ListAgent(["pwd; cat a b", "submit"]), resume=session.folder, unsafe_local=False
    ) as again:
        assert (await again.ended()).exit_status == "submitted"
    found = next(step for step in again.state.steps if step.action == "pwd; cat a b")
    assert found.observation == "/home/agent/workspace/sub\n1\n2\n"


def test_a_list_of_actions_is_found_again_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_quick_task(tmp_path / "quick")
    (tmp_path / "a.yaml").write_text("- submit\n")
    monkeypatch.chdir(tmp_path)
    agent = make_agent("replay:a.yaml", task)
    monkeypatch.chdir("/")
    assert agent is not None and make_agent(agent.model, task) is not None
