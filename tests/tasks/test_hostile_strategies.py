"""No strategy gets more than its moves are worth, and each that misbehaves gets a clear verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tasks.hostile import CASES, Hostile
from tests.tasks.quick_task import make_quick_task
from workbench.tasks.catalogue import Task
from workbench.tasks.evaluation import Evaluation, evaluate
from workbench.tasks.room import RoomKind

IN_CONTAINER = ("calls os._exit", "forks", "writes a result everywhere", "takes all memory", "kills everybody")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return make_quick_task(tmp_path_factory.mktemp("hostile") / "quick")


async def score(task: Task, source: str | bytes, room: RoomKind) -> Evaluation:
    data = source.encode() if isinstance(source, str) else source
    return await evaluate(task, data, seed=3, secret=b"the same for all", room=room)


async def check(task: Task, case: Hostile, room: RoomKind) -> None:
    found = await score(task, case.source, room)
    assert found.verdict == case.verdict, found
    for word in case.words:
        assert word in found.message, found.message
    assert found.isolation == ("reduced isolation" if room == "reduced" else "sandbox")
    if found.verdict == "ok":
        # The opponent's dice hang on the artifact, so the scores differ, but each is a mean of 2s and 0s from 360 tosses.
        assert found.score is not None and found.standard_error is not None
        assert 1.2 < found.score < 1.65 and found.message == ""
    else:
        assert found.score is None and found.metrics == {} and found.standard_error is None
        assert found.message and found.message.isprintable() and len(found.message) <= 1000
        assert "mlgym-room" not in found.message and str(Path(__file__).parents[2]) not in found.message


@pytest.mark.bwrap
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_in_bubblewrap(task: Task, case: Hostile) -> None:
    await check(task, case, "bubblewrap")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_under_reduced_isolation(task: Task, case: Hostile) -> None:
    await check(task, case, "reduced")


@pytest.mark.docker
@pytest.mark.parametrize("case", [case for case in CASES if case.name in IN_CONTAINER], ids=lambda case: case.name)
async def test_in_a_container(task: Task, case: Hostile) -> None:
    await check(task, case, "docker")
