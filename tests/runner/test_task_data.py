"""What a session sees of its task's data: the public part, read-only, and nothing of what is held back."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.tasks.small_data import bring, make_data_task
from workbench.checks.baseline import run_program
from workbench.runner.start import start
from workbench.session import events as ev
from workbench.session.log import read_log
from workbench.session.spec import SessionSpec
from workbench.session.state import fold
from workbench.tasks.catalogue import Task, find_task

BOTH = [pytest.param("local", marks=pytest.mark.bwrap), pytest.param("docker", marks=pytest.mark.docker)]

SPY = """
import os
found = [open("data/train.txt").read()]
for path in ("data/train.txt", "data/new.txt", "data"):
    try:
        os.remove(path) if path.endswith(".txt") and os.path.exists(path) else open(path, "w")
        found.append("changed " + path)
    except OSError:
        found.append("refused")
try:
    os.rename("data", "elsewhere")
except OSError:
    found.append("refused")
for root, folders, files in os.walk("/"):
    if root in ("/proc", "/sys"):
        folders.clear()
    if root.endswith("secret") and "test.txt" in files or "numbers.yaml" in files or "predictions.py" in files:
        found.append("there: " + root)
open("submission.csv", "w").write("|".join(found))
"""


@pytest.fixture(scope="module", autouse=True)
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the user's data; what is prepared is prepared once."""
    root = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLGYM_DATA", str(root / "brought"))
        patch.setenv("MLGYM_CACHE", str(root / "cache"))
        bring(root / "brought")
        yield


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return make_data_task(tmp_path / "task")


@pytest.mark.parametrize("sandbox", BOTH)
async def test_data_are_read_only_and_the_rest_is_not_there(
    task: Task, tmp_path: Path, sandbox: Literal["local", "docker"]
) -> None:
    spy = tmp_path / "spy.py"
    spy.write_text(SPY)
    async with run_program(task, spy, sandbox=sandbox) as made:
        assert isinstance(made, bytes)
        found = made.decode().split("|")
    assert found == ["0 1 2 3 4 5 6", "refused", "refused", "refused", "refused"]


Run = tuple[ev.SessionEnded, list[ev.ScoreRecorded], Path]


async def run(options: SessionSpec, sessions: Path) -> Run:
    runner = start(options, sessions)
    ended = await runner.run()
    folder = Path(ended.session)
    return ended, fold(read_log(folder)[0]).scores_until(), folder


def options(task: str, **more: Any) -> SessionSpec:
    return SessionSpec(task=task, dataset="tiny", seed=1, **more)


@pytest.fixture(scope="module")
def demo(folders: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Any], Run]:
    """The session of a task's demo in a kind of sandbox: it is run once."""

    @functools.cache
    def of(task_id: str, sandbox: Any) -> Run:
        return asyncio.run(run(options(task_id, sandbox=sandbox), tmp_path_factory.mktemp("sessions")))

    return of


@pytest.mark.parametrize("task_id", ["regressionKaggleHousePrice", "3SATTime"])
@pytest.mark.parametrize("sandbox", BOTH)
def test_the_demo_submits_something_valid_and_labelled(
    demo: Callable[[str, Any], Run], task_id: str, sandbox: Any
) -> None:
    ended, scores, _ = demo(task_id, sandbox)
    assert ended.exit_status == "submitted"
    assert [(score.kind, score.split, score.verdict) for score in scores] == [
        ("validate", "validation", "ok"),
        ("validate", "validation", "ok"),
        ("submit", "test", "ok"),
    ]
    assert all(score.dataset == "stand-in" and "data: stand-in" in score.caveats for score in scores)
    baseline = find_task(task_id).under(variant="tiny").primary_metric.baseline
    assert ended.scores.baseline == baseline


@pytest.mark.bwrap
def test_the_reply_to_the_agent_says_what_was_scored(demo: Callable[[str, Any], Run]) -> None:
    _, _, folder = demo("regressionKaggleHousePrice", "local")
    steps = fold(read_log(folder)[0]).steps
    validated = next(step for step in steps if step.action == "validate")
    assert "scored on the validation data" in validated.observation and "(data: stand-in)" in validated.observation
    assert not any(change.path.startswith("data") for step in steps for change in step.changes)


async def test_unprotected_the_data_are_linked_and_mlgyms_protocol_validates_on_test(tmp_path: Path) -> None:
    made = options("regressionKaggleHousePrice", protocol="mlgym", unsafe_local=True)
    ended, scores, _ = await run(made, tmp_path / "sessions")
    assert ended.exit_status == "submitted"
    assert [score.split for score in scores] == ["test", "test", "test"]


@pytest.mark.bwrap
async def test_a_resumed_session_keeps_its_data_and_protocol(tmp_path: Path) -> None:
    from workbench.session.events import Limits

    made = options("3SATTime", protocol="mlgym", limits=Limits(steps=1))
    _, _, folder = await run(made, tmp_path / "sessions")
    ended = await start(SessionSpec(task="3SATTime", limits=Limits(steps=20)), resume=folder).run()
    scores = fold(read_log(folder)[0]).scores_until()
    assert ended.exit_status == "submitted" and ended.scores.metric == "Time"
    assert {(score.split, score.dataset) for score in scores} == {("test", "stand-in")}
