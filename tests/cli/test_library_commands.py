"""sessions, grep and notes over folders of runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.library.runs import mlgym, own
from workbench.cli import main


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    own(tmp_path, "20260101-101500-blotto-3fa9c1")
    own(tmp_path, "20260102-101500-blotto-0c77d2", score=0.1, model="human", end="stopped")
    mlgym(tmp_path, status="autosubmission (exit_format)")
    return tmp_path


def test_a_folder_of_runs_is_listed_and_filtered(folder: Path) -> None:
    rows = json.loads(invoke("sessions", str(folder), "--json").output)
    assert [(row["task"], row["format"], row["category"]) for row in rows] == [
        ("blotto", "mlgym-tui", "Stopped"),
        ("blotto", "mlgym-tui", "Success"),
        ("battleOfSexes", "mlgym", "Format"),
    ]
    for condition, task in [("by:human", "blotto"), ("status:format", "battleOfSexes"), ("gain>0 blotto", "blotto")]:
        asked = ["--json", "--filter", condition]
        for arguments in (["sessions", *asked, str(folder)], ["sessions", str(folder), *asked]):
            assert [row["task"] for row in json.loads(invoke(*arguments).output)] == [task]
    assert "no run in" in invoke("sessions", str(folder), "--filter", "chess").output


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_table_fits_the_width(folder: Path, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = invoke("sessions", str(folder)).stdout.splitlines()
    assert len(lines) == 4 and max(map(len, lines)) <= columns
    assert ("baseline" in lines[0]) == (columns == 200)


def test_what_is_wrong_is_said(folder: Path) -> None:
    for arguments, said in [
        (("sessions", str(folder), "--filter", "taks:x"), "did you mean 'task'"),
        (("sessions", "shwo"), "no file or folder 'shwo', and no such command"),
        (("grep", "(", str(folder)), "no regular expression"),
        (("notes", str(folder / "20260101-101500-blotto-3fa9c1"), "--step", "9", "--tag", "x"), "has no step 9"),
        (("notes", str(folder / "20260101-101500-blotto-3fa9c1"), "--failure", "sintax"), "did you mean 'syntax'"),
    ]:
        result = invoke(*arguments)
        assert result.exit_code and said in result.output, result.output


def test_without_a_terminal_the_help_is_printed() -> None:
    assert "Examples:" in invoke().output and invoke().exit_code == 0
    assert "home needs a terminal" in invoke("home").output and invoke("home").exit_code == 2


def test_grep_prints_where(folder: Path) -> None:
    plain = invoke("grep", "out of memory", str(folder), "--filter", "status:success")
    name = folder / "20260101-101500-blotto-3fa9c1"
    assert plain.stdout.splitlines() == [f"{name}:1:output:{line}: CUDA out of memory" for line in (2, 3)]
    hits = [json.loads(line) for line in invoke("grep", "-i", "EARLY", str(folder), "--json").stdout.splitlines()]
    assert [(hit["task"], hit["step"], hit["where"]) for hit in hits] == [("battleOfSexes", 1, "thought")]
    assert invoke("grep", "nowhere to be found", str(folder)).exit_code == 1


def test_a_folder_whose_name_is_no_text_is_in_the_output(tmp_path: Path) -> None:
    own(tmp_path / "\udcff")
    [hit] = invoke("grep", "CUDA", str(tmp_path), "--json", "--in", "output").stdout.splitlines()[:1]
    assert json.loads(hit)["line"] == 2
    assert "3fa9c1" in invoke("sessions", str(tmp_path)).stdout


def test_notes_are_made_listed_shown_and_taken_back(folder: Path) -> None:
    session = str(folder / "20260101-101500-blotto-3fa9c1")
    assert "nothing is noted" in invoke("notes", session).output
    invoke("notes", session, "--tag", "ablation", "--rating", "4", "--star")
    made = json.loads(invoke("notes", session, "--step", "1", "--failure", "syntax", "--json").output)
    assert [(note["kind"], note["value"], note["step"]) for note in made] == [
        ("tag", "ablation", None), ("star", 1, None), ("rating", 4, None), ("failure", "syntax", 1)
    ]  # fmt: skip
    [row] = json.loads(invoke("sessions", str(folder), "--json", "--filter", "tag:ablation rating>3").output)
    assert (row["tags"], row["star"], row["rating"], row["failures"]) == (["ablation"], True, 4.0, ["syntax"])
    assert "★ 4/5 #ablation syntax" in invoke("sessions", str(folder), "--wide").output
    invoke("notes", session, "--tag", "ablation", "--remove")
    assert json.loads(invoke("sessions", str(folder), "--json", "--filter", "tag:ablation").output) == []
    assert "misread-task" in invoke("notes", session, "--kinds").output
