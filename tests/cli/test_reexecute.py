"""scripts/reexecute.py: published runs are run again, and what came of them is counted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.formats.trajectories import FILE, OK, WRITTEN, step, trajectory, window, write_run
from tests.tasks.quick_task import with_fewer_games

SCRIPT = Path(__file__).parents[2] / "scripts" / "reexecute.py"
LINES = ["def row_strategy(history):", "    return 1"]
EDITED = [LINES[0], "    return 0"]


@pytest.mark.bwrap
def test_the_table_of_a_run(tmp_path: Path) -> None:
    rejected = "Your proposed edit has introduced new syntax error(s). Please read this error message."
    steps = [
        step("ls", "strategy.py\ntarget.py"),
        step("open strategy.py", window(FILE, LINES)),
        step("edit 2:2\n    return x\nend_of_edit", rejected),
        step("edit 2:2\n    return 0\nend_of_edit", window(FILE, EDITED) + f"\n{WRITTEN}"),
        step("validate", OK.format(score=1.44)),
    ]
    content = trajectory(steps, scores=[{"Score": 1.44}, {"Score": 9.9}], exit_status="autosubmission (max_steps)")
    write_run(tmp_path / "corpus", content)
    command = [sys.executable, str(SCRIPT), str(tmp_path / "corpus"), "--sessions", str(tmp_path / "kept")]
    task = with_fewer_games("battleOfSexes", tmp_path / "battleOfSexes")
    for _ in range(2):  # the second time from the sessions that were kept
        done = subprocess.run([*command, "--tasks", str(task)], capture_output=True, text=True, check=True)
        assert "| battleOfSexes | 1 | 5 | 0 | 3 | 2 | 1 | 2 |" in done.stdout
        assert "first difference of a run: opponent 1" in done.stdout
        assert "different steps by cause: opponent 1, refusal 1" in done.stdout
        assert "last score: 1.4" in done.stdout and "exit statuses: 1 of 1 as recorded" in done.stdout
    assert len(list((tmp_path / "kept").glob("*/*/events.jsonl"))) == 1
