"""`tasks check` and `baseline` on shipped tasks and programs. Each way to break a task: test_new_tasks.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tasks.quick_task import make_quick_task, with_fewer_games
from workbench.checks.baseline import BaselineError, run_baseline
from workbench.checks.task_check import Finding, check
from workbench.tasks.catalogue import Task, find_task, load_task


async def findings(task: Task) -> dict[str, Finding]:
    return {finding.name: finding async for finding in check(task)}


async def test_on_a_stand_in_the_data_and_the_program_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLGYM_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("MLGYM_CACHE", str(tmp_path / "cache"))
    task = find_task("regressionKaggleHousePrice")
    found = [finding async for finding in check(task)]
    assert (found[1].name, found[1].outcome) == ("data", "skipped") and "Get train.csv" in found[1].detail
    assert "(stand-in)" in found[2].detail and found[2].outcome == "ok"


@pytest.mark.bwrap
async def test_all_checks_of_a_table_task() -> None:
    found = await findings(find_task("regressionKaggleHousePrice").under(variant="tiny"))
    assert {finding.outcome for finding in found.values()} == {"ok"}, found


@pytest.mark.bwrap
async def test_a_program_that_fails_or_writes_nothing(tmp_path: Path) -> None:
    task = make_quick_task(tmp_path / "quick")
    with pytest.raises(BaselineError, match="has no baseline"):
        await run_baseline(task)
    (task.folder / "make.py").write_text("import sys\nsys.exit('no luck')\n")
    yaml = task.folder / "task.yaml"
    yaml.write_text(yaml.read_text() + "baseline: {script: make.py}\n")
    with pytest.raises(BaselineError, match=r"make.py of task quick ended with exit code 1: no luck"):
        await run_baseline(load_task(task.folder))
    (task.folder / "make.py").write_text("import os\nos.remove('strategy.py')\n")
    with pytest.raises(BaselineError, match=r"left no strategy\.py"):
        await run_baseline(load_task(task.folder))


async def test_a_stochastic_baseline_agrees_within_noise(tmp_path: Path) -> None:
    run = await run_baseline(load_task(with_fewer_games("battleOfSexes", tmp_path / "few")), seed=3)
    (metric,) = run.comparisons
    assert run.agrees and metric.published == pytest.approx(1.02267, abs=1e-6) and 0.015 < metric.tolerance < 0.06


async def test_what_takes_a_gpu_is_checked_on_the_stand_in_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.tasks.needs.list_gpus", lambda: [])
    found = check(find_task("rlMetaMazeMisc"))
    said = [await anext(found) for _ in range(3)]
    skipped = "the real ones (it needs 1 GPU; this machine has none); the stand-in is used"
    assert said[1] == Finding("data", "skipped", skipped)
    assert said[2] == Finding("data", "ok", "rl-budget (stand-in): prepared, checksums as they were")
