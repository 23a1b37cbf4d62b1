"""The files that a recorded run began with, from what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.formats.trajectories import WORKSPACE, WRITTEN, step, trajectory, window, write_run
from workbench.formats.actions import read_plan
from workbench.formats.starting import StartingFile


def shown(name: str, *lines: str) -> str:
    return window(f"{WORKSPACE}/{name}", list(lines))


def files(tmp_path: Path, *steps: dict[str, Any]) -> dict[str, StartingFile]:
    return read_plan(write_run(tmp_path, trajectory(list(steps)))).files


def test_what_windows_show_before_the_first_edit(tmp_path: Path) -> None:
    found = files(
        tmp_path,
        step("ls -a", "./\n../\nrun.py*\nmain.py"),
        step("open main.py", shown("main.py", "a = 1", "", "b = 2")),
        step("edit 1:1\na = 9\nend_of_edit", shown("main.py", "a = 9", "", "b = 2") + f"\n{WRITTEN}"),
        step("open main.py", shown("main.py", "a = 9", "", "b = 2")),
        step("open run.py", shown("run.py", "import main")),  # it was never edited
        step("open data/train.csv", shown("data/train.csv", "x,y")),  # the task's
        step("edit 1:1\nx\nend_of_edit", f"Error: You cannot edit read-only file {WORKSPACE}/run.py"),
    )
    assert found == {
        "main.py": StartingFile(b"a = 1\n\nb = 2\n", 0o644),
        "run.py": StartingFile(b"import main\n", 0o555),
    }


def test_a_file_in_pieces_counts_when_all_of_them_were_seen(tmp_path: Path) -> None:
    path = f"{WORKSPACE}/long.py"
    first, last = window(path, ["1", "2"], total=3), window(path, ["2", "3"], first=2, total=3)
    assert files(tmp_path / "a", step("open long.py", first)) == {}
    both = files(tmp_path / "b", step("open long.py", first), step("scroll_down", last))
    assert both["long.py"].data == b"1\n2\n3\n"


def test_after_a_command_that_may_write_only_what_was_listed_counts(tmp_path: Path) -> None:
    found = files(
        tmp_path,
        step("ls", "a.py  b.py  c.py"),
        step("python a.py", ""),
        step("mv a.py b.py", ""),
        step("open result.txt", shown("result.txt", "made")),
        step("open b.py", shown("b.py", "moved")),
        step("open c.py", shown("c.py", "as it was")),
    )
    assert list(found) == ["c.py"]


def test_a_file_that_was_refused_is_read_only_and_any_output_is_looked_through_at_once(tmp_path: Path) -> None:
    found = files(
        tmp_path,
        step("open a.py", shown("a.py", "a")),
        step("open b.py", shown("b.py", "b")),
        step("echo 1 > b.py", f"bash: {WORKSPACE}/b.py: Permission denied\n" + "/" * 1_000_000),
    )
    assert {path: file.mode for path, file in found.items()} == {"a.py": 0o644, "b.py": 0o444}
