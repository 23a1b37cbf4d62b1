"""Finding tasks by id, by path and in folders of one's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tasks.quick_task import make_quick_task
from workbench.tasks.catalogue import find_task, list_tasks, load_task
from workbench.tasks.errors import TaskError, TaskFileError, UnknownTask


def test_by_id() -> None:
    assert find_task("blotto").spec.name == "Colonel Blotto"


@pytest.mark.parametrize(
    ("ref", "near"),
    [("Blotto", "blotto"), ("battleofsexes", "battleOfSexes"), ("prisonerDilema", "prisonersDilemma")],
)
def test_unknown_names_suggest_the_nearest(ref: str, near: str) -> None:
    with pytest.raises(UnknownTask, match=f"did you mean '{near}'"):
        find_task(ref)


@pytest.mark.parametrize("ref", ["", "xyzzyplugh", "\0", "no/such/folder", ".", "/"])
def test_unknown_names_far_from_any(ref: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownTask):
        find_task(ref)


def test_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick_task(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    for ref in ("./mine", "mine", "mine/task.yaml", str(tmp_path / "mine")):
        found = find_task(ref)
        assert found.id == "quick" and found.folder == tmp_path / "mine"


def test_in_folders_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick_task(tmp_path / "a" / "some-folder")
    monkeypatch.setenv("MLGYM_TASKS", os.pathsep.join([str(tmp_path / "nowhere"), str(tmp_path / "a")]))
    assert find_task("quick").folder == tmp_path / "a" / "some-folder"
    assert {"battleOfSexes", "blotto", "quick"} <= {task.id for task in list_tasks()}
    monkeypatch.setenv("MLGYM_TASKS", str(tmp_path / "a" / "some-folder"))
    assert find_task("quick").id == "quick"
    monkeypatch.delenv("MLGYM_TASKS")
    assert find_task("quick", [tmp_path / "a"]).id == "quick"


def test_an_id_given_twice_is_not_guessed(tmp_path: Path) -> None:
    make_quick_task(tmp_path / "one")
    make_quick_task(tmp_path / "two")
    with pytest.raises(TaskError, match="more than one"):
        find_task("quick", [tmp_path])


def test_a_broken_task_does_not_hide_the_others(tmp_path: Path) -> None:
    make_quick_task(tmp_path / "quick")
    (tmp_path / "quick" / "task.yaml").write_text("id: quick\n")
    problems: list[TaskError] = []
    assert "blotto" in [task.id for task in list_tasks([tmp_path], problems)]
    assert len(problems) == 1
    with pytest.raises(TaskFileError, match="is required"):
        find_task("quick", [tmp_path])


def test_starter_files_are_plain_files(tmp_path: Path) -> None:
    task = make_quick_task(tmp_path / "quick")
    starter = task.folder / "starter"
    (starter / "link").symlink_to("/etc/passwd")
    (starter / "sub").mkdir()
    (starter / "sub" / "data.txt").write_text("1")
    (starter / "__pycache__").mkdir()
    (starter / "__pycache__" / "x.pyc").touch()
    assert list(load_task(task.folder).starter_files()) == ["strategy.py", "sub/data.txt"]


def test_the_catalogue_is_cheap_to_import() -> None:
    code = (
        "import sys, workbench.tasks.catalogue, workbench.scoring.evaluation;"
        "print([m for m in ('pydantic', 'yaml', 'docker', 'textual') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_what_a_task_shares_with_others(tmp_path: Path) -> None:
    make_quick_task(tmp_path / "one")
    (tmp_path / "all" / "starter").mkdir(parents=True)
    (tmp_path / "all" / "evaluate").mkdir()
    (tmp_path / "one" / "evaluate" / "game.py").rename(tmp_path / "all" / "evaluate" / "game.py")
    for name in ("strategy.py", "more.py"):
        (tmp_path / "all" / "starter" / name).write_text("shared")
    file = tmp_path / "one" / "task.yaml"
    with pytest.raises(TaskError, match=r"evaluate/game\.py' is not there"):
        load_task(tmp_path / "one")
    file.write_text(file.read_text() + "shares: all\n")
    task = load_task(tmp_path / "one")
    assert task.evaluator == tmp_path / "all" / "evaluate" / "game.py"
    files = task.starter_files()
    assert files["more.py"] == b"shared" and files["strategy.py"] != b"shared"
    file.write_text(file.read_text().replace("shares: all", "shares: none"))
    with pytest.raises(TaskError, match="no folder 'none' beside one"):
        load_task(tmp_path / "one")
