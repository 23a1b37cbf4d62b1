"""A person as the agent: their name, their time, what is hidden from them, and what they are asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runner.rig import GOOD, ListAgent, driven
from tests.tasks.quick_task import make_quick_task
from workbench.environment.live import LiveSession
from workbench.session import commands as do
from workbench.session import events as ev
from workbench.session.cast import CastWriter
from workbench.session.events import Limits
from workbench.session.log import read_log
from workbench.session.state import fold

BAD = "printf 'def row_strategy(history):\\n    return 1\\n' > strategy.py"


def budgeted(folder: Path, validates: int) -> str:
    """A task in which only so much may be validated."""
    task = make_quick_task(folder).folder
    file = task / "task.yaml"
    file.write_text(file.read_text().replace("limits: {", f"limits: {{validates: {validates}, "))
    return str(task)


async def test_a_person_has_a_name_and_their_time_ends_the_session(tmp_path: Path) -> None:
    async with driven(
        tmp_path, None, mode="human", interactive=True, person="ann", limits=Limits(seconds=240)
    ) as session:
        await session.phase("human")
        assert session.runner.status.problem == "your time is over in 4 minutes"
        session.enter("true\n")
        await session.over(1)
        session.runner.controls.change_limits(seconds=0.001)
        ended = await session.ended()
    assert ended.exit_status == "autosubmission (max_time)"
    assert session.state.steps[1].author == "human:ann"


async def test_a_person_has_the_budget_of_the_task_too(tmp_path: Path) -> None:
    async with driven(tmp_path, None, mode="paused", interactive=True, limits=Limits(validates=1)) as session:
        await session.phase("waiting")
        assert session.runner.controls.do_now(do.Validate()).done
        await session.until(lambda: session.state.validations, "a score")
        refused = session.runner.controls.do_now(do.Validate())
    assert "budget of 1 validation is used up" in refused.problem
    assert session.events(ev.ScoreRecorded)[0].author.startswith("human:")


async def test_a_blind_session_shows_its_scores_at_the_end(tmp_path: Path) -> None:
    async with driven(tmp_path, None, mode="human", interactive=True, blind=True) as session:
        await session.phase("human")
        session.enter("validate\n")
        step = await session.over(1)
        assert "hidden until the end" in step.observation and "Score" not in step.observation
        assert session.state.scores_until() == [] and len(session.state.sealed) == 1
        session.enter("submit\n")
        ended = await session.ended()
    assert [entry.kind for entry in session.state.scores_until()] == ["validate", "submit"]
    assert ended.scores.best is not None


async def test_a_blind_session_that_was_stopped_keeps_them(tmp_path: Path) -> None:
    async with driven(tmp_path, None, mode="human", interactive=True, blind=True) as session:
        await session.phase("human")
        session.enter("validate\n")
        await session.over(1)
        session.runner.controls.stop()
        ended = await session.ended()
    assert ended.scores.best is None and len(session.state.sealed) == 1


async def test_a_session_that_goes_on_is_the_same_persons_and_as_blind(tmp_path: Path) -> None:
    async with driven(tmp_path, None, mode="human", interactive=True, person="ann", blind=True) as session:
        await session.phase("human")
        session.enter("validate\n")
        await session.over(1)
        session.runner.controls.stop()
        await session.ended()
        worked = session.state.working
    async with driven(tmp_path, None, resume=session.folder, interactive=True) as again:
        await again.phase("human")
        assert again.runner.live.clock.working >= worked
        again.enter("submit\n")
        await again.ended()
    assert again.state.steps[2].author == "human:ann"
    assert [entry.kind for entry in again.state.scores_until()] == ["validate", "submit"]


async def test_a_person_who_was_away_is_asked_and_the_time_is_taken_off(tmp_path: Path) -> None:
    async with driven(tmp_path, None, mode="human", interactive=True) as session:
        controls = session.runner.controls
        controls.idle_seconds = 0.2
        await session.phase("human")
        await session.until(lambda: "Were you away" in session.runner.status.question, "the question")
        assert session.runner.live.clock.paused and not session.runner.status.clock_runs
        before = session.runner.live.clock.working
        controls.idle_seconds = 600.0
        assert controls.do_now(do.Answer(yes=False)).done
        await session.until(lambda: session.events(ev.ClockCorrected), "the correction")
        [correction] = session.events(ev.ClockCorrected)
        assert (correction.reason, correction.seconds <= -0.2) == ("was away", True)
        assert session.runner.live.clock.working < before
        assert session.runner.status.question == ""


async def test_a_person_who_was_at_work_has_the_time_counted(tmp_path: Path) -> None:
    async with driven(tmp_path, None, mode="human", interactive=True) as session:
        controls = session.runner.controls
        controls.idle_seconds = 0.2
        await session.phase("human")
        await session.until(lambda: session.runner.status.question, "the question")
        controls.idle_seconds = 600.0
        controls.do_now(do.Answer(yes=True))
        await session.until(lambda: session.events(ev.ClockCorrected), "the correction")
        [correction] = session.events(ev.ClockCorrected)
        assert correction.reason == "was at work" and correction.seconds >= 0


async def test_a_pause_has_the_reason_that_was_typed(tmp_path: Path) -> None:
    async with driven(tmp_path, None, mode="human", interactive=True) as session:
        await session.phase("human")
        await session.runner.controls.hand_back()
        await session.phase("waiting")
        session.runner.controls.do_now(do.Pause("lunch"))
        await session.until(lambda: session.state.clock.reason == "lunch", "the reason")
        await session.phase("waiting")
        session.runner.controls.take_over(80, 24)
        await session.phase("human")
        assert session.state.clock.pauses[-1][2] == "lunch"


async def test_a_person_is_asked_before_they_submit_something_worse(tmp_path: Path) -> None:
    async with driven(tmp_path, None, mode="human", interactive=True) as session:
        await session.phase("human")
        session.enter(f"{GOOD}; validate\n")
        await session.over(1)
        session.enter(f"{BAD}; validate; submit\n")
        await session.until(lambda: "Submit that of step 1" in session.runner.status.question, "the question")
        session.runner.controls.do_now(do.Answer(yes=True))
        await session.ended()
    first, _, last = session.events(ev.ScoreRecorded)
    assert (last.kind, last.instead, last.artifact) == ("submit", 1, first.artifact)
    assert last.score == first.score


async def test_an_agent_may_be_set_to_submit_its_best(tmp_path: Path) -> None:
    agent = ListAgent([f"{GOOD}; validate", f"{BAD}; validate", "submit"])
    async with driven(tmp_path, agent, submit_best=True) as session:
        ended = await session.ended()
    assert (ended.exit_status, session.events(ev.ScoreRecorded)[-1].instead) == ("submitted", 1)
    assert "step 1 was submitted instead" in session.state.steps[3].observation


async def test_what_was_never_validated_is_measured_first(tmp_path: Path) -> None:
    agent = ListAgent([f"{GOOD}; validate", f"{BAD}; submit"])
    async with driven(tmp_path, agent, submit_best=True, limits=Limits(validates=1)) as session:
        await session.ended()
    _, measured, last = session.events(ev.ScoreRecorded)
    assert (measured.author, measured.visible_to_agent) == ("policy:submit-best", False)
    assert last.instead == 1 and session.state.validations == 1


async def test_a_limit_submits_the_best_too(tmp_path: Path) -> None:
    agent = ListAgent([f"{GOOD}; validate", BAD])
    async with driven(tmp_path, agent, submit_best=True, limits=Limits(steps=2)) as session:
        ended = await session.ended()
    assert (ended.exit_status, session.events(ev.ScoreRecorded)[-1].instead) == ("autosubmission (max_steps)", 1)


async def test_a_budget_of_validations_is_enforced(tmp_path: Path) -> None:
    agent = ListAgent(["validate", "validate; validate", "submit"])
    async with driven(tmp_path, agent, task=budgeted(tmp_path / "budget", 2)) as session:
        ended = await session.ended()
    assert ended.exit_status == "submitted"
    assert session.state.limits.validates == 2 and session.state.validations == 2
    assert "(1 of 2)" in session.state.steps[1].observation
    assert "budget of 2 validations is used up" in session.state.steps[2].observation


@pytest.mark.parametrize("paused", [False, True])
def test_the_clock_of_a_killed_session_goes_on_from_the_last_sign_of_life(tmp_path: Path, paused: bool) -> None:
    live = LiveSession(tmp_path / "session")
    live.emit(ev.SessionStarted(format=1, task="quick"))
    if paused:
        live.emit(ev.ClockPaused(reason="lunch"))
    live.log.close()  # what follows is an hour in an editor, in which nothing was an event; then it was killed
    cast = CastWriter(live.folder, lambda: 3600.0, columns=80, rows=24, timestamp=0)
    cast.feed(b"a character\r\n")
    cast.close()
    again = LiveSession(live.folder, state=fold(read_log(live.folder)[0]))
    again.emit(ev.SessionResumed(user="ann"))
    assert again.clock.elapsed >= 3600.0
    assert (again.clock.working >= 3600.0, again.state.working >= 3600.0) == (not paused, not paused)
    again.close()
    live.close()
