"""Everything that a person can do to a running session, without a screen."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.in_memory import IN_MEMORY
from tests.runner.rig import GOOD, ListAgent, driven
from workbench.agents.agent import ModelError
from workbench.sandbox.shell import ShellBusy
from workbench.scoring.evaluation import Evaluation
from workbench.session import events as ev
from workbench.session.events import Limits
from workbench.session.snapshot import restore


async def test_in_auto_mode_everything_runs_to_the_end(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["x=1", "echo $x", GOOD, "submit"])) as session:
        ended = await session.ended()
    assert (ended.exit_status, ended.steps) == ("submitted", 4)
    assert ended.session == str(session.folder.absolute())
    assert ended.scores.best is not None and ended.scores.best == ended.scores.last
    assert ended.scores.best > 1.3
    step = session.state.steps[2]
    assert (step.observation, step.author, step.thought) == ("1\n", "model:test", "a thought")
    kinds = [event.name for event in session.seen]
    assert kinds[-1] == "session.ended" and kinds.count("session.ended") == 1
    assert session.state.file_at("strategy.py", 2) != session.state.file_at("strategy.py", 3)


async def test_step_by_step_each_proposal_waits(tmp_path: Path) -> None:
    agent = ListAgent(["echo 1", "echo 2", "echo 3"])
    async with driven(tmp_path, agent, mode="step") as session:
        await session.review(1)
        assert session.state.current.status == "proposed"
        session.runner.controls.step()
        assert (await session.over(1)).observation == "1\n"
        await session.review(2)
        assert agent.asked == 2
        session.runner.controls.run_proposal()
        await session.review(3)
        assert session.state.mode == "step"
        session.runner.controls.continue_()
        assert (await session.ended()).exit_status == "actions_exhausted"
    assert [step.observation for step in session.state.steps[1:]] == ["1\n", "2\n", "3\n"]
    assert [event.mode for event in session.events(ev.ControlChanged)] == ["step", "auto"]
    assert session.events(ev.ControlChanged)[1].author.startswith("human:")


async def test_pause_lets_the_command_finish_and_holds_the_next(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    async with driven(tmp_path, ListAgent([f"mkfifo {fifo}; cat {fifo}", "echo 2"])) as session:
        await session.until(fifo.exists, "the command runs")
        session.runner.controls.pause("let me see")
        fifo.write_text("done\n")
        assert (await session.over(1)).observation == "done\n"
        await session.review(2)
        assert session.state.mode == "paused"
        assert session.events(ev.ControlChanged)[-1].reason == "let me see"
        session.runner.controls.step()
        await session.over(2)
        assert (await session.ended()).exit_status == "actions_exhausted"


async def test_pause_while_the_model_thinks(tmp_path: Path) -> None:
    agent = ListAgent(["echo 1"])
    agent.gate.clear()
    async with driven(tmp_path, agent) as session:
        await session.phase("proposing")
        session.runner.controls.pause()
        agent.gate.set()
        await session.review(1)
        assert session.state.current.status == "proposed"


async def test_what_is_asked_while_the_sandbox_starts_is_not_forgotten(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo 1"])) as session:
        await session.until(lambda: session.state.mode == "auto", "started")
        assert session.runner.status.phase == "starting"
        session.runner.controls.pause()
        await session.review(1)
        assert session.state.mode == "paused"


async def test_an_edited_action_runs_instead_and_the_original_stays(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo original"]), mode="step") as session:
        await session.review(1)
        assert session.runner.controls.edit("echo changed")
        assert session.runner.controls.edit("echo changed twice")
        await session.review(1)
        session.runner.controls.run_proposal()
        step = await session.over(1)
        assert not session.runner.controls.edit("too late")
    assert (step.proposed, step.action, step.observation) == ("echo original", "echo changed twice", "changed twice\n")
    assert (step.author, step.edited_by) == ("model:test", session.runner.controls.user)
    [first, second] = session.events(ev.ActionEdited)
    assert (first.before, second.before) == ("echo original", "echo changed")
    assert session.events(ev.ActionStarted)[0].author == session.runner.controls.user


async def test_an_edit_to_the_same_text_is_no_edit(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo 1"]), mode="step") as session:
        await session.review(1)
        assert session.runner.controls.edit("echo 1")
        session.runner.controls.run_proposal()
        await session.over(1)
    assert session.events(ev.ActionEdited) == []


async def test_a_rejection_ends_the_step_and_the_agent_reads_the_comment(tmp_path: Path) -> None:
    agent = ListAgent(["rm -r .", "echo 2"])
    async with driven(tmp_path, agent, mode="step") as session:
        await session.review(1)
        assert session.runner.controls.reject("not that")
        await session.review(2)
    step = session.state.steps[1]
    assert (step.status, step.comment, step.rejected_by) == ("rejected", "not that", session.runner.controls.user)
    assert agent.seen[1].comment == "not that"
    assert [event.step for event in session.events(ev.ActionStarted)] == []
    assert session.state.file_at("strategy.py") is not None


async def test_a_message_is_there_at_the_next_proposal(tmp_path: Path) -> None:
    agent = ListAgent(["echo 1", "echo 2"])
    async with driven(tmp_path, agent, mode="step") as session:
        await session.review(1)
        session.runner.controls.tell("try 0 always")
        session.runner.controls.step()
        await session.review(2)
        assert agent.messages == ["try 0 always"]
    assert session.events(ev.MessageInjected)[0].author == session.runner.controls.user


async def test_an_interrupt_ends_the_command_and_not_the_session(tmp_path: Path) -> None:
    agent = ListAgent(["x=kept; echo before; touch started; sleep 60", "echo $x"])
    async with driven(tmp_path, agent) as session:
        await session.phase("executing")
        workspace = session.runner.episode.sandbox.workspace_folder
        await session.until((workspace / "started").exists, "the command runs")
        assert session.runner.controls.interrupt()
        step = await session.over(1)
        ended = await session.ended()
        assert not session.runner.controls.interrupt()
    assert step.interrupted and not step.timed_out and step.signal in ("INT", "TERM")
    assert "before" in step.observation
    assert session.state.steps[2].observation == "kept\n"
    assert ended.exit_status == "actions_exhausted"


@pytest.mark.parametrize("where", ["proposing", "review", "executing", "human", "waiting", "starting"])
async def test_stop_ends_the_session_from_everywhere(tmp_path: Path, where: str) -> None:
    agent = ListAgent([ModelError("network", "no route")] if where == "waiting" else ["sleep 60"])
    if where == "proposing":
        agent.gate.clear()
    mode = "step" if where == "review" else "auto"
    async with driven(tmp_path, agent, mode=mode, interactive=True) as session:
        if where == "human":
            session.runner.controls.take_over(80, 24)
        await session.phase(where)  # type: ignore[arg-type]
        session.runner.controls.stop("stopped", "enough")
        ended = await session.ended()
        session.runner.controls.stop("interrupted", "twice")
    assert (ended.exit_status, ended.reason) == ("stopped", "enough")
    assert all(step.over for step in session.state.steps)
    assert session.runner.status.phase == "ended"
    assert not session.runner.episode.sandbox.workspace_folder.exists()


async def test_cancelling_the_run_is_an_interruption(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["sleep 60"])) as session:
        await session.phase("executing")
        session.running.cancel()
        ended = await session.ended()
    assert ended.exit_status == "interrupted"


async def test_a_proposal_under_review_is_there_again_after_a_take_over(tmp_path: Path) -> None:
    agent = ListAgent(["echo $person"])
    async with driven(tmp_path, agent, mode="step") as session:
        await session.review(1)
        session.runner.controls.take_over(100, 30)
        await session.phase("human")
        assert session.state.steps[1].status == "rejected"
        session.enter("person=was_here\n")
        await session.over(2)
        session.enter("echo new > file.txt; false\n")
        step = await session.over(3)
        await session.runner.controls.hand_back()
        await session.review(4)
        assert session.state.mode == "step" and agent.asked == 1
        session.runner.controls.step()
        assert (await session.over(4)).observation == "was_here\n"
    assert (step.author, step.action, step.exit_code) == (session.runner.controls.user, "echo new > file.txt; false", 1)
    # On a busy machine the snapshot after the second step may be taken when the third has run already.
    assert [change.path for each in session.state.steps[2:4] for change in each.changes] == ["file.txt"]
    assert session.state.mode == "step"
    modes = [event.mode for event in session.events(ev.ControlChanged)]
    assert modes == ["step", "human", "step"]


async def test_an_edited_proposal_is_there_again_as_it_was_edited(tmp_path: Path) -> None:
    agent = ListAgent(["echo agent", "echo next"])
    async with driven(tmp_path, agent, mode="step") as session:
        controls = session.runner.controls
        await session.review(1)
        controls.edit("echo edited", thought="another thought", told=True)
        for step in (2, 3):  # a second take-over changes nothing
            controls.take_over(80, 24)
            await session.phase("human")
            await controls.hand_back()
            await session.review(step)
        again = session.state.steps[3]
        assert (again.author, again.proposed, again.proposed_thought) == (agent.author, "echo agent", "a thought")
        assert (again.action, again.thought, again.edited_by) == ("echo edited", "another thought", controls.user)
        assert again.edit_told
        controls.step()
        assert (await session.over(3)).observation == "edited\n"
        await session.review(4)
    assert [step.status for step in session.state.steps[1:4]] == ["rejected", "rejected", "ran"]
    assert (session.state.steps[4].action, agent.asked) == ("echo next", 2)


async def test_a_take_over_waits_for_the_running_command(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    async with driven(tmp_path, ListAgent([f"mkfifo {fifo}; cat {fifo}", "echo 2"])) as session:
        await session.until(fifo.exists, "the command runs")
        session.runner.controls.take_over(80, 24)
        assert session.runner.status.phase == "executing"
        fifo.write_text("done\n")
        await session.phase("human")
        assert session.state.steps[1].observation == "done\n"
        await session.runner.controls.hand_back()
        assert (await session.over(2)).observation == "2\n"


async def test_a_shell_is_never_smaller_than_it_is_of_use(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo 1"]), mode="step", interactive=True) as session:
        await session.review(1)
        controls = session.runner.controls
        controls.take_over(0, 0)
        await session.phase("human")
        assert controls.take_over_size == (20, 5)
        controls.resize(10, 40)
        assert controls.take_over_size == (20, 40)
        await controls.hand_back()
        await session.review(2)


async def test_a_take_over_cancels_the_model_call(tmp_path: Path) -> None:
    agent = ListAgent(["echo 1"])
    agent.gate.clear()
    async with driven(tmp_path, agent) as session:
        await session.phase("proposing")
        session.runner.controls.take_over(80, 24)
        await session.phase("human")
        assert session.state.last_step == 0
        agent.gate.set()
        await session.runner.controls.hand_back()
        assert (await session.over(1)).observation == "1\n"


async def test_a_take_over_that_is_given_back_at_once_harms_nothing(tmp_path: Path) -> None:
    agent = ListAgent(["echo 1"])
    agent.gate.clear()
    async with driven(tmp_path, agent) as session:
        await session.phase("proposing")
        session.runner.controls.take_over(80, 24)
        await session.runner.controls.hand_back()
        agent.gate.set()
        assert (await session.ended()).exit_status == "actions_exhausted"
        assert session.state.steps[1].observation == "1\n"


async def test_a_take_over_that_is_given_back_while_it_begins_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with driven(tmp_path, ListAgent(["echo 1", "echo 2"]), mode="step") as session:
        await session.review(1)
        shell, controls = session.runner.episode.shell, session.runner.controls
        take_over = shell.take_over

        async def given_back_too_early(*args: Any, **kwargs: Any) -> None:
            await take_over(*args, **kwargs)
            assert session.runner.status.phase != "human"
            await controls.hand_back()

        monkeypatch.setattr(shell, "take_over", given_back_too_early)
        controls.take_over(80, 24)
        await session.review(2)
        controls.step()
        assert (await session.over(2)).observation == "1\n"


async def test_a_program_of_the_person_keeps_the_shell_until_forced(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo $x"])) as session:
        session.runner.controls.take_over(80, 24)
        await session.phase("human")
        session.enter("x=kept\n")
        await session.until(lambda: session.state.current.over and session.state.last_step, "the first line")
        first = session.state.last_step
        session.enter("sleep 60\n")
        await session.until(lambda: session.state.current.action == "sleep 60", "sleep runs")
        with pytest.raises(ShellBusy, match="sleep 60"):
            await session.runner.controls.hand_back()
        assert session.state.mode == "human"
        await session.runner.controls.hand_back(force=True)
        step = await session.over(first + 2)
    assert step.observation == "kept\n"
    assert session.state.steps[first + 1].exit_code == 130


async def test_an_interrupt_reaches_the_persons_program(tmp_path: Path) -> None:
    async with driven(tmp_path, None, mode="human") as session:
        await session.phase("human")
        session.enter("sleep 60\n")
        await session.until(lambda: session.state.current.status == "running", "sleep runs")
        assert session.runner.controls.interrupt()
        # An INT that arrives while bash starts the program is lost, as a typed ^C would be; TERM follows.
        assert (await session.over(1)).exit_code in (130, 143)


async def test_a_person_who_submits_ends_the_session(tmp_path: Path) -> None:
    async with driven(tmp_path, None, mode="human") as session:
        await session.phase("human")
        session.enter(f"{GOOD}\nsubmit\n")
        ended = await session.ended()
    assert ended.exit_status == "submitted"
    assert ended.scores.last is not None and ended.scores.last > 1.3
    assert [step.author for step in session.state.steps[1:]] == [session.runner.controls.user] * 2


async def test_the_clock_of_a_person_stands_while_they_are_paused(tmp_path: Path) -> None:
    async with driven(tmp_path, None, mode="human") as session:
        await session.phase("human")
        assert not session.runner.live.clock.paused
        await session.runner.controls.hand_back()
        await session.phase("waiting")
        assert session.state.mode == "paused" and session.runner.live.clock.paused
        assert session.runner.controls.act("echo 1")
        await session.over(1)
    assert session.events(ev.ClockPaused)[0].reason == "waiting"


async def test_without_an_agent_a_person_acts_line_by_line(tmp_path: Path) -> None:
    async with driven(tmp_path, None, mode="paused") as session:
        await session.phase("waiting")
        assert session.runner.controls.act("echo by hand")
        step = await session.over(1)
        await session.phase("waiting")
        session.runner.controls.take_over(80, 24)
        await session.phase("human")
        assert not session.runner.controls.act("echo not now")
        await session.runner.controls.hand_back()
        await session.phase("waiting")
        assert session.runner.controls.act("submit")
        assert (await session.ended()).exit_status == "submitted"
    assert (step.author, step.observation) == (session.runner.controls.user, "by hand\n")


async def test_a_score_for_the_person_alone(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["true"]), mode="step") as session:
        await session.review(1)
        assert session.runner.controls.validate()
        await session.until(lambda: session.events(ev.ScoreRecorded), "scored")
        [score] = session.events(ev.ScoreRecorded)
        assert not score.visible_to_agent and score.verdict == "ok" and score.step == 1
        assert "unprotected" in score.isolation
        await session.review(1)


async def test_stop_while_a_score_is_computed(tmp_path: Path) -> None:
    begun = asyncio.Event()
    broken_off: list[bool] = []

    async def evaluate(*_: object, **__: object) -> Evaluation:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            broken_off.append(session.state.ended is None)
        raise AssertionError("it was let finish")

    grounds = replace(IN_MEMORY, evaluate=evaluate)
    async with driven(tmp_path, ListAgent(["true"]), mode="step", grounds=grounds) as session:
        await session.review(1)
        assert session.runner.controls.validate()
        await begun.wait()
        session.runner.controls.stop()
        assert (await session.ended()).exit_status == "stopped"
    assert broken_off == [True], "before the session ended"
    assert session.events(ev.ScoreRecorded) == []


async def test_a_proposal_is_shown_for_the_delay_and_can_be_paused_meanwhile(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo 1"]), delay=3600.0) as session:
        await session.review(1)
        session.runner.controls.pause()
        assert session.runner.controls.edit("echo 2")
        session.runner.controls.continue_()
        assert (await session.over(1)).observation == "2\n"


async def test_waiting_for_a_person_does_not_count_as_working_time(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo 1"]), mode="step") as session:
        await session.review(1)
        await session.until(lambda: session.runner.live.clock.paused, "the clock stands")
        working = session.runner.live.clock.working
        elapsed = session.runner.live.clock.elapsed
        await session.until(lambda: session.runner.live.clock.elapsed > elapsed + 0.05, "time passes")
        assert session.runner.live.clock.working == working
        session.runner.controls.step()
        await session.over(1)
    assert session.state.working < session.state.elapsed - 0.05


async def test_a_submission_that_fails_does_not_end_the_session(tmp_path: Path) -> None:
    agent = ListAgent(["echo 'def nothing(): pass' > strategy.py", "submit", GOOD, "submit"])
    async with driven(tmp_path, agent) as session:
        ended = await session.ended()
    assert ended.exit_status == "submitted" and ended.steps == 4
    failed = session.state.steps[2]
    assert failed.exit_code == 1 and "Nothing was submitted" in failed.observation
    assert failed.scores[0].verdict == "invalid"


async def test_refused_actions_are_steps_that_ran_nothing(tmp_path: Path) -> None:
    agent = ListAgent(["echo 'unbalanced", "edit 1:1\nno end", "echo fine"])
    async with driven(tmp_path, agent) as session:
        await session.ended()
    assert [step.status for step in session.state.steps[1:]] == ["refused", "refused", "ran"]
    assert [step.exit_code for step in session.state.steps[1:]] == [2, 2, 0]


async def test_the_shell_that_died_comes_back(tmp_path: Path) -> None:
    agent = ListAgent(["mkdir sub; cd sub", "exit 3", "pwd"])
    async with driven(tmp_path, agent) as session:
        await session.ended()
    died, after = session.state.steps[2:]
    assert (died.exit_code, died.shell_restarted) == (3, True)
    assert after.observation.endswith("/sub\n")
    assert [event.restarted for event in session.events(ev.SandboxReady)] == [False, True]


async def test_the_files_of_every_step_can_be_had_again(tmp_path: Path) -> None:
    agent = ListAgent(["echo 1 > a", "echo 2 > a; mkdir -p d; echo x > d/b; chmod 600 d/b", "rm a; ln -s d/b link"])
    async with driven(tmp_path, agent) as session:
        await session.ended()
    found = []
    for step in (1, 2, 3):
        folder = tmp_path / f"restored-{step}"
        folder.mkdir()
        assert restore(session.state.files_at(step), session.runner.live.objects, folder) == []
        found.append({p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()})
    for files in found:
        files.pop("strategy.py")
    assert found == [{"a": "1\n"}, {"a": "2\n", "d/b": "x\n"}, {"d/b": "x\n", "link": "x\n"}]


async def test_the_window_is_reported_with_its_step(tmp_path: Path) -> None:
    async with driven(
        tmp_path, ListAgent(["open strategy.py", "true", "edit 2:2\n    return 0\nend_of_edit"])
    ) as session:
        await session.ended()
    windows = session.events(ev.WindowChanged)
    assert [(w.step, w.first_line, w.last_line, w.total_lines) for w in windows] == [(1, 1, 2, 2), (3, 1, 2, 2)]
    assert session.state.relative_path(windows[0].path) == "strategy.py"
    assert session.state.steps[2].window == windows[0]


async def test_the_window_has_the_size_asked_for(tmp_path: Path) -> None:
    agent = ListAgent(["seq 50 > long", "open long"])
    async with driven(tmp_path, agent, window=7, limits=Limits()) as session:
        await session.ended()
    assert session.events(ev.WindowChanged)[0].last_line == 7
