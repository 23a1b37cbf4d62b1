"""What an agent did, counted."""

from __future__ import annotations

from pathlib import Path

from tests.formats.counting import behaviour
from tests.formats.trajectories import healthy, write_run
from workbench.formats.mlgym import read_mlgym


def test_behaviour_counts(tmp_path: Path) -> None:
    counts = behaviour(read_mlgym(write_run(tmp_path, healthy())).events)
    assert (counts.steps, counts.edits, counts.lint_failures) == (8, 2, 1)
    assert (counts.validates, counts.validates_ok, counts.timeouts) == (2, 1, 1)
    assert counts.categories == {"Bash": 1, "View": 1, "Edit": 2, "Validate": 2, "Python": 1, "Submit": 1}
