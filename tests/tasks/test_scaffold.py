"""`tasks new`: what is made, of each kind, and what is refused. That each holds: tests/runner/test_new_tasks.py."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from workbench.resources import data_folder
from workbench.tasks.catalogue import find_task, list_tasks, load_task
from workbench.tasks.errors import TaskError
from workbench.tasks.scaffold import Kind, scaffold

KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_template(tmp_path: Path, kind: Kind) -> None:
    task = load_task(scaffold(tmp_path / "mine", "mine", kind))
    assert task.id == task.spec.name == "mine" and task.artifact.kind == kind and task.demo()
    assert not [file for file in task.folder.rglob("*") if file.is_file() and "TASK_ID" in file.read_text()]
    assert str(task.folder) == str(tmp_path / "mine")


def test_every_template_is_a_kind_and_no_task() -> None:
    templates = data_folder("tasks") / "templates"
    assert {folder.name for folder in templates.iterdir()} == set(KINDS)
    problems: list[TaskError] = []
    assert not [task for task in list_tasks(problems=problems) if templates in task.folder.parents] and not problems


def test_a_new_task_is_found_among_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scaffold(tmp_path / "anywhere", "mine", "csv")
    monkeypatch.setenv("MLGYM_TASKS", str(tmp_path))
    assert find_task("mine").folder == tmp_path / "anywhere"


@pytest.mark.parametrize("ident", ["", "a b", "../x", "-x", "x" * 65])
def test_ids_that_are_none(tmp_path: Path, ident: str) -> None:
    with pytest.raises(TaskError, match="is no id"):
        scaffold(tmp_path / "made", ident)
    assert not (tmp_path / "made").exists()


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    made = scaffold(tmp_path / "mine", "mine")
    with pytest.raises(TaskError, match="there already"):
        scaffold(made, "mine", "csv")
