"""`compare`: runs side by side, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from tests.tui.sessions import SessionBuilder
from workbench.cli import main


def session(folder: Path, *actions: str, score: float) -> str:
    made = SessionBuilder(folder)
    for action in actions:
        made.ran(action, "")
    made.ran("validate", "scored")
    made.score(score)
    made.end()
    made.recording()
    return str(folder)


def test_two_runs_are_aligned_and_part_where_they_part(tmp_path: Path) -> None:
    paths = [session(tmp_path / "a", "ls", "cat x", score=0.5), session(tmp_path / "b", "ls", "pwd", score=0.7)]
    shown = CliRunner().invoke(main, ["compare", *paths, "--json"])
    found = json.loads(shown.stdout)
    assert found["aligned"] == [[1, 1], [2, None], [None, 2], [3, 3]]
    assert found["first_divergence"] == {"row": 1, "steps": [2, None], "what": "action"}
    assert [run["best"] for run in found["sessions"]] == [0.5, 0.7]
    text = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["compare", *paths]).stdout
    assert "> first difference, in steps 2 and –: they do something else" in text
    assert "=   3 validate [0.5]" in text and "  3 validate [0.7]" in text
    assert "score" in text and max(map(len, text.splitlines())) <= 80


def test_runs_that_are_the_same_say_so(tmp_path: Path) -> None:
    paths = [session(tmp_path / name, "ls", score=0.5) for name in "ab"]
    shown = CliRunner().invoke(main, ["compare", *paths])
    assert "the same to their ends" in shown.stdout
    assert json.loads(CliRunner().invoke(main, ["compare", *paths, "--json"]).stdout)["first_divergence"] is None


def test_one_run_cannot_be_compared(tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["compare", session(tmp_path / "a", score=0.5)])
    assert shown.exit_code != 0


def test_what_failed_and_why_is_shown_of_a_session(tmp_path: Path) -> None:
    made = SessionBuilder(tmp_path / "s")
    made.ran("false", "it broke", exit_code=1)
    made.end("autosubmission (max_steps)")
    made.recording()
    found = json.loads(CliRunner().invoke(main, ["sessions", "show", str(tmp_path / "s"), "--json"]).stdout)
    assert found["verdict"]["step"] == 1
    assert found["steps"][0]["failures"] == [{"kind": "exit", "text": "exit 1: it broke"}]
    text = CliRunner().invoke(main, ["sessions", "show", str(tmp_path / "s")]).stdout
    assert "verdict: The run ended because it had used all of its 50 steps." in text
