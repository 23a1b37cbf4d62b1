"""Faults of a task file are named by file, line and field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tasks.quick_task import make_quick_task
from workbench.tasks.catalogue import find_task, list_tasks, load_task
from workbench.tasks.errors import Problem, TaskFileError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_quick_task(tmp_path / "quick").folder


def problems_after(folder: Path, old: str, new: str) -> list[Problem]:
    file = folder / "task.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(TaskFileError) as caught:
        load_task(folder)
    for problem in caught.value.problems:
        assert str(problem) in str(caught.value) and str(file) in str(problem)
    return caught.value.problems


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"),
    [
        ("name: Quick\n", "", 1, "name", "is required"),
        ("name: Quick", "nmae: Quick", 2, "nmae", "did you mean 'name'"),
        ("direction: maximize", "direction: up", 7, "metrics.0.direction", "'maximize' or 'minimize'"),
        ("direction: maximize", "richtung: maximize", 7, "metrics.0.richtung", "not a known field"),
        ("primary: true", "primary: false", 6, "metrics", "exactly one"),
        ("primary: true", "primary: 'yes'", 7, "metrics.0.primary", "boolean"),
        ("evaluation_seconds: 5.0", "evaluation_seconds: -1", 9, "limits.evaluation_seconds", "greater than 0"),
        ("evaluation_seconds: 5.0", "evaluation_seconds: .nan", 9, "limits.evaluation_seconds", "finite"),
        ("id: quick", "id: a/b", 1, "id", "pattern"),
        ("evaluate/game.py", "evaluate/none.py", 10, "evaluate.file", "is not there"),
        ("evaluate/game.py", "../game.py", 10, "evaluate.file", "without '..'"),
        ("evaluate/game.py", "starter/strategy.py", 10, "evaluate.file", "starter folder"),
        ("path: strategy.py", "path: /etc/passwd", 8, "artifact.path", "relative"),
        ("function: row_strategy, ", "", 8, "artifact.function", "required"),
        ("Write $artifact.", "Write $artefact.", 5, "description", "$artefact is not a known name"),
        ("Write $artifact.", "Costs $ 5.", 5, "description", "'$'"),
        ("domain: tests", "domain: tests\nid: again", 4, "id", "given twice"),
        ("domain: tests", "domain: [tests", 4, "", "not valid YAML"),
        ("domain: tests", "domain: \t- x\n  y: 1", 3, "", "not valid YAML"),
        ("domain: tests", "domain: tests\nbaseline: {scores: {R2: 1.0}}", 4, "baseline.scores.R2", "there are Score"),
        ("domain: tests", "domain: tests\nstarter: nothing", 4, "starter", "not there"),
        ("domain: tests", "domain: !!python/object/apply:os.getpid []", None, "", "not valid YAML"),
    ],
)
def test_faults(folder: Path, old: str, new: str, line: int | None, field: str, words: str) -> None:
    problems = problems_after(folder, old, new)
    matching = [problem for problem in problems if problem.field == field]
    assert matching, problems
    assert words in matching[0].message, matching[0]
    if line is not None:
        assert matching[0].line == line, matching[0]


def test_all_faults_at_once(folder: Path) -> None:
    problems = problems_after(folder, "name: Quick\ndomain: tests", "domain: 3\nlimts: {}")
    assert {problem.field for problem in problems} >= {"name", "domain", "limts"}


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text", "\x00", "a: &x [*x]\n"])
def test_files_that_are_no_task(folder: Path, text: str) -> None:
    (folder / "task.yaml").write_text(text)
    with pytest.raises(TaskFileError):
        load_task(folder)


def test_a_missing_file_and_a_huge_one(folder: Path) -> None:
    (folder / "task.yaml").write_text("# " + "x" * (2 << 20))
    with pytest.raises(TaskFileError, match="larger"):
        load_task(folder)
    (folder / "task.yaml").unlink()
    with pytest.raises(TaskFileError, match="cannot be read"):
        load_task(folder)


def test_what_mlgyms_tasks_start_with() -> None:
    shown = {
        name: find_task(name).starter_files()["sample_submission.csv"].decode().partition("\n")[0]
        for name in ("imageClassificationCifar10", "imageClassificationFMnist", "imageCaptioningCOCO")
    }
    assert list(shown.values()) == ["label", "label", "image_id,caption"]
    configs = {
        name: find_task(name).starter_files()["src/config.yaml"].decode()
        for name in ("rlBreakoutMinAtar", "rlMetaMazeMisc", "rlMountainCarContinuous")
    }
    warmups = [re.search(r"lr_warmup: (\S+)", text) for text in configs.values()]
    assert [match and match[1] for match in warmups] == ["0.05", "0.05", "0.03"]


def test_shipped_tasks_are_complete() -> None:
    problems: list[Exception] = []
    tasks = {task.id: task for task in list_tasks(problems=problems)}  # type: ignore[arg-type]
    assert not problems
    for name, baseline in {"battleOfSexes": 1.0226699, "prisonersDilemma": 2.3716302, "blotto": -0.2479700}.items():
        task = tasks[name]
        assert task.folder.name == name
        assert (
            task.primary_metric.baseline == pytest.approx(baseline, abs=1e-7)
            and task.primary_metric.direction == "maximize"
        )
        assert task.artifact.path == "strategy.py" and task.artifact.function == "row_strategy"
        assert task.limits.training_seconds == 1800 and task.limits.evaluation_seconds == 120
        assert list(task.starter_files()) == ["strategy.py"]
        assert task.baseline_submission() == task.starter_files()["strategy.py"]
        demo = task.demo()
        assert demo is not None and "def row_strategy(history)" in demo
        description = task.description()
        assert "/home/agent/workspace" in description and "10,000 games" in description and "$" not in description


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("dice (", "is no regular expression"),
        ("dice [0-9]+", "names no metric"),
        ("(?P<step>[0-9]+)", "names no metric"),
        ("(?P<name>[a-z]+)", "has one of the groups name and value without the other"),
    ],
)
def test_a_pattern_that_finds_no_metric_is_a_fault(folder: Path, pattern: str, said: str) -> None:
    [problem] = problems_after(folder, "name:", f"printed_metrics: ['(?P<dice>[0-9.]+)', '{pattern}']\nname:")
    assert said in str(problem) and "printed_metrics.1" in str(problem)
