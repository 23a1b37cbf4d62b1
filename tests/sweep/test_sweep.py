"""Driving the jobs of a plan: budget, retries, stopping, going on."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analysis.rows import row
from tests.cli.command import action_list, finish, mlgym, start
from tests.runner.rig import wait_for
from tests.tasks.quick_task import make_quick_task
from workbench.cli.sweep import _table
from workbench.sweep.plan import Budget, JobLimits, Plan, jobs
from workbench.sweep.sweep import Sweep, Worker
from workbench.sweep.worker import Order, Report, may_go_on

TASKS = ["battleOfSexes", "blotto", "prisonersDilemma"]


class Played(Worker):
    """A worker that says what it is told to."""

    def __init__(self, play: Callable[[Order], Report | None], orders: list[Order]) -> None:
        self._play, self._orders = play, orders

    async def do(self, order: Order, on_begin: Callable[[Report], None]) -> Report | None:
        self._orders.append(order)
        on_begin(Report(order.key, f"/s/{order.key}"))
        await asyncio.sleep(0)
        return self._play(order)


def sweep(folder: Path, play: Callable[[Order], Report | None], **plan: Any) -> tuple[Sweep, list[Order]]:
    orders: list[Order] = []

    async def start_worker() -> Worker:
        return Played(play, orders)

    read = Plan(tasks=TASKS, **{"parallel": 2, **plan})
    return Sweep(read, jobs(read), folder, start_worker=start_worker), orders


def submitted(order: Order, cost: float = 0.0) -> Report:
    return Report(order.key, f"/s/{order.key}", "submitted", cost=cost)


async def test_all_jobs_run_once(tmp_path: Path) -> None:
    it, orders = sweep(tmp_path, submitted, seeds=4)
    assert await it.run() == {"done": 12}
    assert len({order.key for order in orders}) == len(orders) == 12


@pytest.mark.parametrize(("columns", "left_out"), [(60, {"cost", "time", "step"}), (80, set()), (200, set())])
def test_the_table_of_its_sessions_fits_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int, left_out: set[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    it, _ = sweep(tmp_path, submitted, seeds=2, models=["openai:gpt-5.4-mini", "anthropic:claude-sonnet-4-5"])
    for progress in it.progress.values():
        progress.state, progress.status, progress.problem = "interrupted", "interrupted", "the server is overloaded"
        progress.steps, progress.best, progress.cost, progress.seconds = 120, 1234.5678, 12.34, 723
    lines = _table(it.progress.values())
    assert len(lines) == 13 and max(map(len, lines)) <= columns
    assert {"task", "by", "seed", "state", "step", "score", "cost", "time", "ended"} - set(lines[0].split()) == left_out


async def test_what_may_pass_is_tried_again_in_the_same_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.sweep.sweep._FIRST_WAIT", 0.01)
    tries: dict[str, int] = {}

    def play(order: Order) -> Report | None:
        tries[order.key] = tries.get(order.key, 0) + 1
        if order.spec.task == "blotto":  # its process dies each time
            return None
        if tries[order.key] == 1:
            return Report(order.key, f"/s/{order.key}", "autosubmission (exit_api)", "no network")
        assert order.resume == f"/s/{order.key}"
        return submitted(order)

    it, _ = sweep(tmp_path, play, retries=2)
    assert await it.run() == {"done": 2, "failed": 1}
    assert sorted(tries.values()) == [2, 2, 3]
    [failed] = [each for each in it.progress.values() if each.state == "failed"]
    assert (failed.status, failed.session) == ("worker died", f"/s/{failed.job.key}")


@pytest.mark.parametrize(("plan", "state"), [({}, "done"), ({"budget": Budget(cost=9.0)}, "waiting")])
def test_a_session_that_met_its_own_limit_is_over_and_one_that_met_its_share_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: dict[str, Any], state: str
) -> None:
    first = jobs(Plan(tasks=TASKS))[0]
    ended = row(first.spec.task, "m", cost=1.0, sweep=first.key, status="autosubmission (exit_cost)")
    monkeypatch.setattr("workbench.sweep.sweep.runs", lambda _: [ended])
    it, _ = sweep(tmp_path, submitted, **plan)
    assert it.progress[first.key].state == state


@pytest.mark.parametrize(
    ("status", "again"),
    [
        ("autosubmission (exit_api)", True), ("submission_not_found (exit_api)", True), ("error", True),
        ("crashed", True), ("evaluation_format_error (max_steps)", False), ("autosubmission (exit_format)", False),
        ("submitted", False), ("actions_exhausted", False),
    ],
)  # fmt: skip
def test_only_causes_that_may_pass_are_tried_again(status: str, again: bool) -> None:
    assert may_go_on(status) is again


async def test_what_cannot_begin_is_said_and_the_others_go_on(tmp_path: Path) -> None:
    def play(order: Order) -> Report:
        if order.spec.task == "blotto":
            return Report(order.key, "", "failed", "the image is not built")
        return submitted(order)

    it, _ = sweep(tmp_path, play)
    assert await it.run() == {"done": 2, "failed": 1}


@given(
    st.floats(0.5, 20), st.none() | st.floats(0.1, 5), st.integers(1, 5),
    st.lists(st.floats(0, 1), min_size=9, max_size=9),
)  # fmt: skip
def test_a_budget_is_never_overspent(budget: float, limit: float | None, parallel: int, shares: list[float]) -> None:
    """Each session spends some of what it may."""
    spent: dict[str, float] = {}

    def play(order: Order) -> Report:
        most = order.spec.limits.cost
        assert most is not None
        spent[order.key] = max(spent.get(order.key, 0.0), most * shares[len(spent) % len(shares)])
        if spent[order.key] >= most:
            return Report(order.key, f"/s/{order.key}", "autosubmission (exit_cost)", cost=spent[order.key])
        return submitted(order, spent[order.key])

    plan = {"budget": Budget(cost=budget), "limits": JobLimits(cost=limit), "parallel": parallel, "seeds": 3}
    it, _ = sweep(Path("/nonexistent-folder"), play, **plan)
    it.folder = Path(tempfile.gettempdir())
    counts = asyncio.run(it.run())
    assert sum(spent.values()) <= budget + 1e-6 and sum(counts.values()) == 9
    assert not counts["waiting"] and not counts["running"]


@pytest.mark.bwrap
async def test_a_sweep_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    quick = make_quick_task(tmp_path / "quick").folder
    model = action_list(tmp_path / "actions.json", ["echo begun", "sleep 2", "submit"])
    plan = tmp_path / "plan.yaml"
    plan.write_text(f"tasks: [{quick}]\nmodels: ['{model}']\nseeds: 2\nparallel: 1\nlimits: {{steps: 9}}\n")
    sessions = tmp_path / "sessions"
    process = await start("sweep", str(plan), "--sessions", str(sessions))
    await wait_for(
        lambda: any(b"sleep 2" in log.read_bytes() for log in sessions.glob("*/events.jsonl")), "the first at work"
    )
    process.send_signal(signal.SIGINT)
    outcome = await finish(process)
    assert outcome.code == 130 and "2 sessions: 1 interrupted, 1 waiting" in outcome.out, outcome
    assert "the same command goes on with those that are not over" in outcome.out
    [first] = sessions.glob("*/events.jsonl")
    again = await mlgym("sweep", str(plan), "--sessions", str(sessions), "--json")
    assert again.json["counts"] == {"done": 2}, again
    logs = sorted(sessions.glob("*/events.jsonl"))
    assert len(logs) == 2 and b"session.resumed" in first.read_bytes()
    once_more = await mlgym("sweep", str(plan), "--sessions", str(sessions), "--json")
    assert once_more.code == 0 and sorted(sessions.glob("*/events.jsonl")) == logs


@pytest.mark.bwrap
async def test_two_sweeps_at_once_share_the_jobs(tmp_path: Path) -> None:
    quick = make_quick_task(tmp_path / "quick").folder
    model = action_list(tmp_path / "actions.json", ["echo begun", "submit"])
    plan = tmp_path / "plan.yaml"
    plan.write_text(f"tasks: [{quick}]\nmodels: ['{model}']\nseeds: 3\nparallel: 1\n")
    outcomes = await asyncio.gather(*(mlgym("sweep", str(plan), "--json") for _ in range(2)))
    ends = [{row["state"] for row in outcome.json["sessions"]} for outcome in outcomes]
    assert all(end <= {"done", "running"} for end in ends), outcomes
    assert len(list((tmp_path / "plan").glob("*/events.jsonl"))) == 3


async def test_a_job_that_another_process_runs_is_left_to_it(tmp_path: Path) -> None:
    def play(order: Order) -> Report:
        return Report(order.key, status="busy", problem="another process runs it")

    it, orders = sweep(tmp_path, play)
    assert await it.run() == {"running": 3} and len(orders) == 3


async def test_a_dry_run_runs_nothing(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("tasks: [blotto]\nseeds: 3\n")
    outcome = await mlgym("sweep", str(plan), "--dry-run", "--json", sessions=tmp_path / "none")
    assert outcome.json["counts"] == {"waiting": 3} and outcome.json["total"] == {"cost": None, "seconds": None}
    assert not (tmp_path / "plan").exists()
