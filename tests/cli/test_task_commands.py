"""tasks show, new, check, prepare, and baseline, as their users see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.tasks.quick_task import make_quick_task
from tests.tasks.small_data import make_data_task
from workbench.cli import main


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLGYM_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("MLGYM_CACHE", str(tmp_path / "cache"))


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def as_json(*arguments: str) -> Any:
    return json.loads(invoke(*arguments, "--json").stdout)


def test_the_list_says_what_is_needed_and_what_is_in_the_way() -> None:
    listed = {row["id"]: row for row in as_json("tasks")}
    house = listed["regressionKaggleHousePrice"]
    assert house["needs"] == ["data house-prices (0.5 MB)"] and house["runs_here"] == "stand-in only"
    assert "kaggle.com" in house["obstacles"][0] and listed["3SATTime"]["runs_here"] == "yes"
    table = invoke("tasks", "--wide")
    assert "stand-in only" in table.stdout and "kaggle.com" in table.stderr


def test_show() -> None:
    shown = invoke("tasks", "show", "3SATTime").output
    for words in (
        "def heuristic_fn(clauses",
        "Decisions ▼ lower is better, baseline 86097.00 (2122.00 on the stand-in); counts",
        "counts under --protocol mlgym",
        "the agent's sandbox: 8 GB of memory, all CPUs, no GPU",
        "validate → validation data, submit → test data",
        "runs here: yes",
    ):
        assert words in shown
    assert as_json("tasks", "show", "3SATTime")["limits"]["evaluation_seconds"] == 300
    assert "did you mean '3SATTime'" in invoke("tasks", "show", "3SATime").output


def test_new_and_check(tmp_path: Path) -> None:
    made = invoke("tasks", "new", "mine", "--in", str(tmp_path))
    assert made.exit_code == 0 and f"mlgym-tui tasks check {tmp_path / 'mine'}" in made.output
    checked = invoke("tasks", "check", str(tmp_path / "mine"))
    assert checked.exit_code == 0 and "mine: all holds" in checked.output
    (tmp_path / "mine" / "demo" / "total.py").write_text("total = 1\n")
    checked = invoke("tasks", "check", str(tmp_path / "mine"))
    assert checked.exit_code == 1 and "failed   demo: invalid: total in total.py is a int" in checked.output
    assert "1 of 11 checks failed" in checked.output
    (tmp_path / "mine" / "task.yaml").write_text("id: mine\nname: x\nmetrics: []\n")
    checked = invoke("tasks", "check", str(tmp_path / "mine"))
    assert checked.exit_code == 1 and "task.yaml, line 3: metrics: " in checked.output
    assert invoke("tasks", "new", "mine", "--in", str(tmp_path)).exit_code == 1


def test_new_tasks_of_other_kinds(tmp_path: Path) -> None:
    made = invoke("tasks", "new", "mine", "--kind", "csv", "--in", str(tmp_path))
    assert made.exit_code == 0 and "\n  datasets/measurements.yaml\n" in made.output
    assert as_json("tasks", "show", str(tmp_path / "mine"))["artifact"]["kind"] == "csv"
    made = invoke("tasks", "new", "other", "--kind", "table", "--in", str(tmp_path))
    assert made.exit_code == 2 and "checkpoint" in made.output and not (tmp_path / "other").exists()


def test_prepare(tmp_path: Path) -> None:
    done = invoke("tasks", "prepare", str(make_data_task(tmp_path / "task").folder), "--dataset", "tiny")
    assert done.exit_code == 0 and "data numbers (stand-in): " in done.output
    refused = invoke("tasks", "prepare", "regressionKaggleHousePrice")
    assert refused.exit_code == 1 and "train.csv not in" in refused.output


def test_packages_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(requirements: list[str], *_: object) -> Path:
        asked.append(requirements)
        return tmp_path

    asked: list[list[str]] = []
    monkeypatch.setattr("workbench.tasks.packages.install", install)
    assert invoke("tasks", "prepare", "blotto").exit_code == 0
    done = invoke("tasks", "prepare", "blotto", "--with", "torch")
    assert done.exit_code == 0 and "--extra" not in done.output and "torch==" in done.output
    assert asked[1] == [*asked[0], *asked[1][-2:]] and asked[1][-1].startswith("torch==")
    wrong = invoke("tasks", "prepare", "blotto", "--with", "nothing")
    assert wrong.exit_code == 2 and "--with nothing: there is torch" in wrong.output

    shown = invoke("tasks", "show", "blotto").output
    assert "(optional; `tasks prepare` installs them)" in shown
    assert "on request: torch==2.13.0 (`tasks prepare blotto --with torch` installs them, too)" in shown
    assert "runs here: yes\n  runs without numpy, pandas, scipy, sklearn; to install: mlgym-tui" in shown
    listed = invoke("tasks").output
    assert "optional, not installed: numpy, pandas, scipy, sklearn\n  mlgym-tui tasks prepare 3SATTime\n" in listed
    assert "on request: torch, xgboost, lightgbm, catboost" in listed
    assert as_json("tasks", "show", "blotto")["optional"]["torch"] == "mlgym-tui tasks prepare blotto --with torch"


def test_resources_are_shown(tmp_path: Path) -> None:
    folder = make_quick_task(tmp_path / "quick").folder
    file = folder / "task.yaml"
    file.write_text(file.read_text() + "resources: {memory_bytes: 536870912, cpus: 2.5, gpus: 2}\n")
    shown = invoke("tasks", "show", str(folder)).output
    assert "the agent's sandbox: 0.5 GB of memory, 2.5 CPUs, 2 GPUs" in shown
    assert "needs: 2 GPUs, 0.5 GB of memory, 2.5 CPUs" in shown
    wrong = invoke("baseline", str(folder), "--gpus", "all")
    assert wrong.exit_code == 1 and "neither a number of GPUs nor a list" in wrong.output


def test_what_was_fetched_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_arguments: object) -> None:
        raise KeyboardInterrupt

    source = "{kind: huggingface, repo: some/rows, revision: abc, splits: {train: train}}"
    folder = make_data_task(tmp_path / "hub", source=source).folder
    monkeypatch.setattr("workbench.tasks.datasets.prepare_task", stopped)
    done = invoke("tasks", "prepare", str(folder))
    assert done.exit_code == 130
    assert "stopped: what was fetched is kept, and the same command goes on with it" in done.output
    tiny = invoke("tasks", "prepare", str(folder), "--dataset", "tiny")
    assert tiny.exit_code == 130 and "is left, and the same command begins it anew" in tiny.output


def test_baseline() -> None:
    done = as_json("baseline", "3SATTime", "--dataset", "tiny")
    assert done["agrees"] and done["dataset"] == "stand-in" and done["split"] == "test"
    assert {item["metric"]: item["got"] for item in done["metrics"]}["Decisions"] == 2122
    table = invoke("baseline", "3SATTime", "--dataset", "tiny")
    assert table.exit_code == 0 and "agrees" in table.output and "(test data, stand-in, " in table.output


@pytest.mark.bwrap
def test_baseline_falls_back_to_the_stand_in() -> None:
    done = invoke("baseline", "regressionKaggleHousePrice")
    assert done.exit_code == 0 and "on the stand-in: dataset house-prices: train.csv not in" in done.stderr
    assert "0.2872183" in done.stdout


def test_evaluate_says_the_split_and_the_data(tmp_path: Path) -> None:
    (tmp_path / "heuristic.py").write_text("def heuristic_fn(*arguments):\n    return None\n")
    found = invoke("evaluate", "3SATTime", str(tmp_path / "heuristic.py"), "--dataset", "tiny", "--split", "validation")
    assert found.exit_code == 0 and "validation data, data: stand-in" in found.output
    unknown = invoke("evaluate", "3SATTime", str(tmp_path / "heuristic.py"), "--dataset", "tiny", "--split", "train")
    assert unknown.exit_code == 1 and "it has validation, test" in unknown.output
