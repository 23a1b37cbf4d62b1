"""What ends a session by itself: limits, models that fail, lists that end, sandboxes that die."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.agents.models.dialects import OPENAI
from tests.agents.models.server import Reply, serving
from tests.runner.chat import make_agent
from tests.runner.rig import GOOD, Driven, ListAgent, driven
from workbench.agents.agent import ModelError, Proposal
from workbench.environment.assembly import OURS
from workbench.isolation.spec import SandboxError
from workbench.session import events as ev
from workbench.session.events import Limits
from workbench.session.log import LogError
from workbench.session.state import SessionState


async def test_the_step_limit_ends_with_a_score_of_what_is_there(tmp_path: Path) -> None:
    agent = ListAgent([GOOD, "echo 2"], then="echo more")
    async with driven(tmp_path, agent, limits=Limits(steps=2)) as session:
        ended = await session.ended()
    assert (ended.exit_status, ended.steps, agent.asked) == ("autosubmission (max_steps)", 2, 2)
    [score] = session.events(ev.ScoreRecorded)
    assert (score.kind, score.step, score.verdict) == ("autosubmit", 2, "ok")
    assert ended.scores.last == score.score and score.score is not None and score.score > 1.3
    assert session.state.steps[2].scores == [score]


async def test_an_artifact_that_is_missing_at_the_limit_is_said(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["rm strategy.py"]), limits=Limits(steps=1)) as session:
        ended = await session.ended()
    [score] = session.events(ev.ScoreRecorded)
    assert (score.verdict, score.score, score.artifact) == ("missing", None, None)
    assert "strategy.py is missing" in score.message
    assert ended.scores.last is None


async def test_what_a_person_types_does_not_count_against_the_agent(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo 1"], then="echo more"), limits=Limits(steps=2)) as session:
        session.runner.controls.take_over(80, 24)
        await session.phase("human")
        for number in (1, 2, 3):
            session.enter("true\n")
            await session.over(number)
        await session.runner.controls.hand_back()
        ended = await session.ended()
    assert (ended.exit_status, ended.steps) == ("autosubmission (max_steps)", 5)


async def test_a_proposal_that_a_take_over_dropped_does_not_count(tmp_path: Path) -> None:
    agent = ListAgent([], then="echo more")
    async with driven(tmp_path, agent, mode="step", limits=Limits(steps=1)) as session:
        await session.review(1)
        session.runner.controls.take_over(80, 24)
        await session.phase("human")
        session.enter("echo mine\n")
        await session.over(2)
        await session.runner.controls.hand_back()
        await session.review(3)
        assert session.state.agent_steps == 1
        session.runner.controls.continue_()
        ended = await session.ended()
    assert [step.status for step in session.state.steps[1:]] == ["rejected", "ran", "ran"]
    assert (ended.exit_status, ended.steps) == ("autosubmission (max_steps)", 3)


async def test_where_a_person_is_the_agent_their_steps_count(tmp_path: Path) -> None:
    async with driven(tmp_path, None, mode="paused", limits=Limits(steps=1)) as session:
        await session.phase("waiting")
        session.runner.controls.act("true")
        assert (await session.ended()).exit_status == "autosubmission (max_steps)"


async def test_the_last_step_paid_for_is_executed(tmp_path: Path) -> None:
    agent = ListAgent([], then="echo paid", cost=0.4)
    async with driven(tmp_path, agent, limits=Limits(cost=1.0)) as session:
        ended = await session.ended()
    assert ended.exit_status == "autosubmission (exit_cost)"
    assert agent.asked == 3 == ended.steps
    assert session.state.current.observation == "paid\n"
    assert session.state.cost == pytest.approx(1.2)
    assert [event.usage.cost for event in session.events(ev.ModelResponded) if event.usage] == [0.4] * 3
    assert all(session.runner.live.objects.get(h) for event in session.events(ev.PromptSent) for h in event.messages)


async def test_an_unknown_price_is_no_cost(tmp_path: Path) -> None:
    agent = ListAgent(["true"] * 3)
    agent.cost = None
    async with driven(tmp_path, agent, limits=Limits(cost=0.01)) as session:
        assert (await session.ended()).exit_status == "actions_exhausted"


async def test_the_time_limit_cuts_a_command_short_and_keeps_what_it_printed(tmp_path: Path) -> None:
    class InTheLastMoment(ListAgent):
        async def propose(self, state: SessionState) -> Proposal:
            session.runner.controls.change_limits(seconds=session.runner.live.clock.working + 0.01)
            return await super().propose(state)

    async with driven(tmp_path, InTheLastMoment(["echo before; sleep 60"])) as session:
        ended = await session.ended()
    assert ended.exit_status == "autosubmission (max_time)"
    step = session.state.steps[1]
    assert step.timed_out and step.observation.startswith("before\n")
    assert session.events(ev.ScoreRecorded)[0].kind == "autosubmit"


async def test_stop_while_the_last_score_is_computed(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["true"]), limits=Limits(steps=1)) as session:
        await session.phase("scoring")
        session.runner.controls.stop("interrupted", "SIGTERM")
        ended = await session.ended()
    assert (ended.exit_status, ended.reason) == ("interrupted", "SIGTERM")
    assert session.events(ev.ScoreRecorded) == []


async def test_the_command_limit_ends_the_command_only(tmp_path: Path) -> None:
    agent = ListAgent(["x=kept; echo before; sleep 60", "echo $x"])
    async with driven(tmp_path, agent, command_seconds=0.8) as session:
        ended = await session.ended()
    first, second = session.state.steps[1:]
    assert first.timed_out and first.signal == "INT" and first.observation.startswith("before\n")
    assert second.observation == "kept\n"
    assert ended.exit_status == "actions_exhausted"


async def test_a_failing_model_ends_a_headless_session_and_says_why(tmp_path: Path) -> None:
    agent = ListAgent(["echo 1", ModelError("auth", "the key is not valid")])
    async with driven(tmp_path, agent) as session:
        ended = await session.ended()
    assert (ended.exit_status, ended.reason) == ("autosubmission (exit_api)", "auth: the key is not valid")
    [failed] = session.events(ev.ModelFailed)
    assert (failed.cause, failed.message) == ("auth", "the key is not valid")
    async with driven(tmp_path, ListAgent(["echo 2"]), resume=session.folder) as again:
        assert (await again.ended()).exit_status == "actions_exhausted"
    assert again.state.current.observation == "2\n"


async def test_a_failing_model_holds_a_session_that_somebody_watches(tmp_path: Path) -> None:
    agent = ListAgent([ModelError("rate_limit", "wait a minute"), "echo 1"])
    async with driven(tmp_path, agent, interactive=True) as session:
        await session.phase("waiting")
        assert session.state.mode == "paused" and "wait a minute" in session.runner.status.problem
        assert agent.asked == 1
        session.runner.controls.continue_()
        ended = await session.ended()
        assert session.runner.status.problem == ""
    assert ended.exit_status == "actions_exhausted"
    assert session.state.steps[1].observation == "1\n"


async def test_a_list_that_ends_without_submit_scores_nothing(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["true"])) as session:
        ended = await session.ended()
    assert (ended.exit_status, ended.reason) == ("actions_exhausted", "the list is at its end")
    assert session.events(ev.ScoreRecorded) == [] and ended.scores.best is None


async def test_a_sandbox_that_dies_ends_the_session_resumable(tmp_path: Path) -> None:
    async with driven(tmp_path, ListAgent(["echo 1", "touch here; sleep 60", "echo 3"]), grounds=OURS) as session:
        await session.until(lambda: session.state.last_step == 2 and _file(session, "here").exists(), "it runs")
        os.kill(_guest(session), signal.SIGKILL)
        ended = await session.ended(30)
    assert ended.exit_status == "error"
    async with driven(tmp_path, ListAgent(["echo again"]), resume=session.folder) as again:
        assert (await again.ended()).exit_status == "actions_exhausted"
    assert again.state.current.observation == "again\n"


async def test_a_sandbox_that_does_not_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with driven(tmp_path, ListAgent(["echo 1"])) as session:

        async def refuse() -> None:
            raise SandboxError("no room on this machine", "make some")

        monkeypatch.setattr(session.runner.episode.sandbox, "start", refuse)
        ended = await session.ended()
    assert ended.exit_status == "error"
    assert ended.reason == "no room on this machine; make some"
    assert ended.steps == 0


@pytest.mark.parametrize("mode", ["auto", "human"])
async def test_a_log_that_cannot_be_written_ends_the_run_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Also where it fails in a callback of the shell, as in a take-over."""
    async with driven(tmp_path, ListAgent([], then="echo more"), mode=mode) as session:
        if mode == "human":
            await session.phase("human")
            session.enter("true\n")
        await session.over(1)
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, session.runner.live.log._fd)
        os.close(full)
        if mode == "human":
            session.enter("echo lost\n")
        with pytest.raises(LogError, match="full"):
            await session.ended()
        assert session.state.steps[1].over
        monkeypatch.setattr(session, "running", asyncio.ensure_future(asyncio.sleep(0)))
    assert not session.runner.episode.sandbox.workspace_folder.exists()


async def test_files_that_cannot_be_stored_end_the_run_as_an_error(tmp_path: Path) -> None:
    """The disk has room for the last lines of the log, but not for a snapshot."""
    async with driven(tmp_path, ListAgent(["echo one > a"]), mode="step") as session:
        await session.review(1)
        objects = session.runner.episode.objects
        objects.folder = tmp_path / "in the way"
        objects.folder.write_text("")
        session.runner.controls.step()
        ended = await session.ended()
    assert ended.exit_status == "error" and str(session.folder) in ended.reason
    assert session.state.steps[1].over and session.state.steps[1].exit_code == 0


def _file(session: Driven, name: str) -> Path:
    return session.runner.episode.sandbox.workspace_folder / name


def _guest(session: Driven) -> int:
    child = getattr(session.runner.episode.sandbox, "_child", None)
    assert isinstance(child, int)
    return child


async def test_limits_are_raised_while_it_runs(tmp_path: Path) -> None:
    agent = ListAgent(["echo 1", "echo 2", "echo 3"], then="echo more")
    async with driven(tmp_path, agent, mode="step", limits=Limits(steps=2, seconds=600.0)) as session:
        await session.review(1)
        session.runner.controls.change_limits(steps=3)
        session.runner.controls.change_limits(steps=3)
        session.runner.controls.continue_()
        ended = await session.ended()
    assert (ended.exit_status, ended.steps) == ("autosubmission (max_steps)", 3)
    [changed] = session.events(ev.LimitsChanged)
    assert changed.limits == Limits(steps=3, seconds=600.0) == session.state.limits
    assert changed.author == session.runner.controls.user
    async with driven(tmp_path, ListAgent(["echo 4"]), resume=session.folder, limits=Limits(steps=4)) as again:
        assert (await again.ended()).steps == 4


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
async def test_a_limit_that_is_none_is_refused(tmp_path: Path, value: float) -> None:
    async with driven(tmp_path, ListAgent(["true"]), mode="step") as session:
        await session.review(1)
        with pytest.raises(ValueError, match="a limit on cost must be a number over 0"):
            session.runner.controls.change_limits(cost=value)
        assert session.events(ev.LimitsChanged) == []


@pytest.mark.parametrize("what", ["words", "comments", "head"])
async def test_the_time_limit_ends_a_model_call_and_keeps_what_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    said = OPENAI.pieces("so ", "far", stop=False, usage=False)
    trickle = {"words": said[2], "comments": OPENAI.keep_alive, "head": b""}[what]
    async with serving() as server:
        server.answers(Reply(said, trickle=trickle, slow_head=what == "head"))
        async with driven(tmp_path, make_agent(OPENAI, server)) as session:
            begun = (lambda: server.calls) if what == "head" else (lambda: "so far" in session.runner.status.draft)
            await session.until(begun, "the model is asked")
            session.runner.controls.change_limits(seconds=0.001)
            ended = await session.ended()
    assert (ended.exit_status, ended.steps, len(server.calls)) == ("autosubmission (max_time)", 0, 1)
    assert ended.scores.last is not None, "what was there is scored"
    kept = [answer.text for answer in session.events(ev.ModelResponded)]
    assert kept[0].startswith("so far") if what != "head" else kept == [""]
