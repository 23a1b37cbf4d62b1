"""House prices: scikit-learn's split, the published digits, and what the agent may not see."""

from __future__ import annotations

import csv
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from workbench.resources import data_folder
from workbench.scoring.evaluation import evaluate
from workbench.tasks.author_code import load_function
from workbench.tasks.catalogue import Task, find_task
from workbench.tasks.datasets import find_dataset, missing, prepare_task

HELD_OUT = ("validation", "test")


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    load_function(data_folder("tasks") / "datasets" / "house_prices.py", "prepare", "house_prices")
    return sys.modules["house_prices"]


@pytest.fixture
def tiny() -> Task:
    return find_task("regressionKaggleHousePrice").under(variant="tiny")


@pytest.fixture
def real() -> Task:
    task = find_task("regressionKaggleHousePrice")
    why = missing(find_dataset("house-prices", task), "")
    if why is not None or "MLGYM_DATA" not in os.environ:
        pytest.skip("the real table is not here: set MLGYM_DATA to a folder with house-prices/train.csv")
    return task


def run_program(task: Task, folder: Path, program: str) -> Path:
    """The submission that a program of the task writes, run without a sandbox."""
    shutil.copytree(prepare_task(task)["house-prices"].public(), folder / "data")
    subprocess.run([sys.executable, "-I", str(task.folder / program)], cwd=folder, check=True, capture_output=True)
    return folder / "submission.csv"


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("count", [1, 2, 3, 64, 65, 1168, 1460])
def test_the_permutation_is_numpys(maker: ModuleType, count: int) -> None:
    numpy = pytest.importorskip("numpy")
    assert maker.permutation(count, 42) == numpy.random.RandomState(42).permutation(count).tolist()


def test_the_split_is_scikit_learns(maker: ModuleType) -> None:
    table = [[str(number)] for number in range(1, 1461)]
    test, rest = maker.split(table, maker.TEST_SHARE)
    validation, train = maker.split(rest, maker.VALIDATION_SHARE)
    assert (len(train), len(validation), len(test)) == (1022, 146, 292)
    # train_test_split(..., random_state=42) of scikit-learn 1.9
    assert [row[0] for row in test[:5]] == ["893", "1106", "414", "523", "1037"]
    assert [row[0] for row in validation[:5]] == ["1412", "316", "584", "1343", "892"]
    assert [row[0] for row in train[:5]] == ["1084", "1012", "1115", "514", "643"]


def test_the_agent_sees_no_held_out_price(tiny: Task) -> None:
    prepared = prepare_task(tiny)["house-prices"]
    public = prepared.public()
    assert sorted(path.name for path in public.iterdir()) == ["test.csv", "train.csv", "validation.csv"]
    assert len(rows(public / "train.csv")[0]) == 81
    for name in HELD_OUT:
        assert "SalePrice" not in rows(public / f"{name}.csv")[0]
        assert [row["Id"] for row in rows(public / f"{name}.csv")] == [
            row["Id"] for row in rows(prepared.secret / f"{name}.csv")
        ]
    mlgym = prepared.public("mlgym")
    assert "SalePrice" in rows(mlgym / "validation.csv")[0] and "SalePrice" not in rows(mlgym / "test.csv")[0]


async def test_the_published_digits(real: Task, tmp_path: Path) -> None:
    found = await evaluate(real, run_program(real, tmp_path, "starter/baseline.py"), seed=1)
    assert found.dataset == "" and found.split == "test"
    assert f"{found.metrics['r2']:.10f}" == "0.8799891475"
    assert f"{found.metrics['rmse']:.5f}" == "30340.11185"


async def test_baseline_and_demo_on_the_stand_in(tiny: Task, tmp_path: Path) -> None:
    scores = {}
    for program in ("starter", "demo"):
        (tmp_path / program).mkdir()
        file = run_program(tiny, tmp_path / program, f"{program}/baseline.py")
        for split in HELD_OUT:
            found = await evaluate(tiny, file, seed=1, split=split)
            assert (found.verdict, found.split, found.dataset) == ("ok", split, "stand-in")
            scores[program, split] = found.score or 0.0
    assert scores["starter", "test"] == pytest.approx(tiny.primary_metric.baseline, rel=1e-6)
    assert all(scores["demo", split] > scores["starter", split] + 0.3 for split in HELD_OUT)


async def test_either_split_alone_is_enough_for_its_score(tiny: Task) -> None:
    secret = prepare_task(tiny)["house-prices"].secret
    truth = {name: rows(secret / f"{name}.csv") for name in HELD_OUT}
    lines = [f"{row['Id']},{row['SalePrice']}" for row in truth["test"]]
    random.Random(1).shuffle(lines)
    submission = "\n".join(["Id,SalePrice", *lines]).encode()
    assert (await evaluate(tiny, submission, seed=1)).metrics == {"r2": 1.0, "rmse": 0.0}
    other = await evaluate(tiny, submission, seed=1, split="validation")
    assert other.verdict == "invalid" and f"{len(truth['validation'])} Ids are missing" in other.message


async def test_without_ids_the_rows_count_in_their_order_under_mlgyms_protocol(tiny: Task) -> None:
    truth = rows(prepare_task(tiny)["house-prices"].secret / "test.csv")
    submission = "\n".join(["SalePrice", *(row["SalePrice"] for row in truth)]).encode()
    found = await evaluate(tiny.under("mlgym", "tiny"), submission, seed=1)
    assert (found.verdict, found.metrics) == ("ok", {"r2": 1.0, "rmse": 0.0})
    short = await evaluate(tiny.under("mlgym", "tiny"), submission.rpartition(b"\n")[0], seed=1)
    assert short.verdict == "invalid" and f"{len(truth) - 1} rows without an id" in short.message
    ours = await evaluate(tiny, submission, seed=1)
    assert ours.verdict == "invalid" and "no column Id" in ours.message


def test_protocols(tiny: Task) -> None:
    assert (tiny.split_for("validate"), tiny.split_for("submit")) == ("validation", "test")
    assert tiny.under("mlgym").split_for("validate") == "test"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Id,Price\n1,2\n", "no column SalePrice"),
        ("Id,SalePrice,OverallQual,Neighborhood\n1,2,3\n", "line 2"),
        ("\0\0", "table"),
    ],
)
def test_another_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    (tmp_path / "house-prices").mkdir()
    (tmp_path / "house-prices" / "train.csv").write_text(text)
    monkeypatch.setenv("MLGYM_DATA", str(tmp_path))
    monkeypatch.setenv("MLGYM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(Exception, match=words):
        prepare_task(find_task("regressionKaggleHousePrice"))
