"""No strategy gets more than its moves are worth, and each that misbehaves gets a clear verdict."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.scoring.hostile import CASES, Hostile
from tests.tasks.quick_task import make_quick_task
from workbench.scoring import evaluation
from workbench.scoring.evaluation import Evaluation, evaluate
from workbench.scoring.room import RoomKind
from workbench.tasks.catalogue import Task

Found = dict[str, Evaluation]
IN_CONTAINER = (
    "is fair",
    "calls os._exit",
    "forks",
    "writes a result everywhere",
    "takes all memory",
    "kills everybody",
)


def score_all(folder: Path, cases: Sequence[Hostile], room: RoomKind) -> Found:
    """All cases, a few at a time: most of the time they are waiting."""
    quick = make_quick_task(folder / "quick")

    def task(case: Hostile) -> Task:
        limits = replace(
            quick.spec.limits,
            answer_seconds=case.answer,
            loading_seconds=case.loading,
            evaluation_seconds=case.seconds,
        )
        return replace(quick, spec=replace(quick.spec, limits=limits))

    async def score() -> Found:
        gate = asyncio.Semaphore(4)

        async def one(case: Hostile) -> Evaluation:
            data = case.source.encode() if isinstance(case.source, str) else case.source
            async with gate:
                return await evaluate(task(case), data, seed=3, secret=b"the same for all", room=room)

        results = await asyncio.gather(*(one(case) for case in cases))
        return {case.name: result for case, result in zip(cases, results, strict=True)}

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(evaluation, "BY_THE_CLOCK", 1)
        return asyncio.run(score())


def check(found: Evaluation, case: Hostile, room: RoomKind) -> None:
    assert found.verdict == case.verdict, found
    for word in case.words:
        assert word in found.message, found.message
    assert found.isolation == {"reduced": "reduced isolation", "landlock": "reduced isolation: landlock"}.get(
        room, "sandbox"
    )
    if found.verdict == "ok":
        # The opponent's dice hang on the artifact, so the scores differ; each is a mean of 360 tosses of 2 or 0.
        assert found.score is not None and found.standard_error is not None
        assert 1.2 < found.score < 1.65 and found.message == ""
    else:
        assert found.score is None and found.metrics == {} and found.standard_error is None
        assert found.message and found.message.isprintable() and len(found.message) <= 1000
        assert "mlgym-room" not in found.message and str(Path(__file__).parents[2]) not in found.message


@pytest.fixture(scope="module")
def in_bubblewrap(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return score_all(tmp_path_factory.mktemp("bubblewrap"), CASES, "bubblewrap")


HAS_FILTER = sys.platform == "linux" and os.uname().machine in ("x86_64", "aarch64")
REDUCED = [case for case in CASES if HAS_FILTER or case.name != "kills everybody"]
"""Without the filter that forbids signals, that one would end this very process."""


@pytest.fixture(scope="module")
def reduced(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return score_all(tmp_path_factory.mktemp("reduced"), REDUCED, "reduced")


@pytest.fixture(scope="module")
def in_landlock(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return score_all(tmp_path_factory.mktemp("landlock"), CASES, "landlock")


@pytest.fixture(scope="module")
def in_container(tmp_path_factory: pytest.TempPathFactory) -> Found:
    chosen = [case for case in CASES if case.name in IN_CONTAINER]
    return score_all(tmp_path_factory.mktemp("container"), chosen, "docker")


@pytest.mark.bwrap
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_in_bubblewrap(in_bubblewrap: Found, case: Hostile) -> None:
    check(in_bubblewrap[case.name], case, "bubblewrap")


@pytest.mark.parametrize("case", REDUCED, ids=lambda case: case.name)
def test_under_reduced_isolation(reduced: Found, case: Hostile) -> None:
    check(reduced[case.name], case, "reduced")


@pytest.mark.landlock
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_under_landlock(in_landlock: Found, case: Hostile) -> None:
    check(in_landlock[case.name], case, "landlock")


@pytest.mark.docker
@pytest.mark.parametrize("case", [case for case in CASES if case.name in IN_CONTAINER], ids=lambda case: case.name)
def test_in_a_container(in_container: Found, case: Hostile) -> None:
    check(in_container[case.name], case, "docker")
