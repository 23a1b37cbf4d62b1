"""The whole analysis of a few rows."""

from __future__ import annotations

import random
import subprocess
import sys

import msgspec
import pytest

from tests.analysis.rows import row
from workbench.analysis.behaviour import habits
from workbench.analysis.bootstrap import inflation
from workbench.analysis.plot import plot_profiles
from workbench.analysis.summary import Question, analyze, held, tables
from workbench.session.run import Run


def _runs() -> list[Run]:
    more = {"baseline": 1.0, "cost": 0.5}
    return [
        *(row("game", "a", n, attempts=[1.0 + n, 2.0 + n], **more) for n in range(4)),
        *(row("game", "b", n, attempts=[1.5], **more) for n in range(4)),
        row("maze", "a", attempts=[2.0], direction="minimize", baseline=4.0),
        row("maze", "b", status="exit_format", category="Format", failures=((2, "format"),), baseline=4.0),
    ]


def test_tables_hold_what_the_runs_say() -> None:
    found = {table.name: table for table in tables(analyze(_runs()))}
    assert found["best_scores"].rows == [
        ["game", "Score", "max", 1.0, 5.0, 1.5],
        ["maze", "Score", "min", 4.0, 2.0, None],
    ]
    assert [row[0] for row in found["aup_scores"].rows] == ["a", "b", "baseline"]
    assert found["exits"].rows[1] == ["b", 5, 1, 0, 4, 1]


def test_tables_that_nobody_asks_for_are_not_made() -> None:
    command = (
        "import sys; from tests.analysis.test_summary import _runs; from workbench.analysis.summary import *;"
        "found = tables(analyze(_runs()), ['exits', 'best_scores']); assert 'choix' not in sys.modules;"
        "print(*(table.name for table in found))"
    )
    said = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["best_scores", "exits"]


def test_the_order_of_runs_changes_nothing() -> None:
    runs = _runs()
    first = [msgspec.json.encode(table) for table in tables(analyze(runs))]
    random.Random(1).shuffle(runs)
    assert [msgspec.json.encode(table) for table in tables(analyze(runs))] == first


def test_intervals_hold_the_scores_that_other_runs_would_give() -> None:
    side = analyze(_runs()).sides["best"]
    assert side.intervals is not None
    low, high = side.intervals.scores["game", "a"]
    assert 2.0 <= low < high == 5.0
    assert ("maze", "a") not in side.intervals.scores  # one run tells nothing about others
    assert side.intervals.differences["a", "b"][0] > 0


def test_every_run_that_is_left_out_is_counted() -> None:
    twin = row("game", "a", 0, attempts=[1.0, 2.0], path="/copy/a-game-0")
    odd = [
        twin,
        row("game", "a", 7, attempts=[9.0], tampered="target.py", baseline=1.0),
        row("x", "a", 8, metric=""),
        row("game", "a", 9, status="damaged"),
        row("game", "a", 10, live=True),
    ]
    analysis = analyze([*_runs(), *odd], Question(without_tampered=True))
    assert analysis.left_out == {
        "cannot be read": 1, "changed a protected file": 1, "found twice": 1, "of x, whose metric is unknown": 1,
        "still running": 1,
    }  # fmt: skip
    assert held(analysis).startswith("10 runs; 1 run left out (cannot be read); ")


def test_a_tampered_best_is_said() -> None:
    analysis = analyze([*_runs(), row("game", "a", 7, attempts=[9.0], tampered="target.py")])
    assert analysis.warnings == [
        "a-game-7 changed target.py, a file of the task that nobody should change; its score is in the tables as the"
        " best of all its runs"
    ]


def test_a_best_that_luck_explains_is_said() -> None:
    lucky = row("game", "c", attempts=[1.0, 1.02, 1.01], standard_errors=(0.02, 0.02, 0.02))
    assert len(analyze([lucky]).warnings) == 1
    sure = row("game", "c", attempts=[1.0, 1.5, 1.01], standard_errors=(0.02, 0.02, 0.02))
    assert not analyze([sure]).warnings
    assert inflation(1.0, 1) == 0.0 and inflation(1.0, 50) == pytest.approx(2.25, abs=0.01)


def test_failures_that_people_noted_are_counted_by_model() -> None:
    runs = _runs()
    noted = {runs[0].path: ["misread_task"], runs[1].path: ["misread_task", "gave_up"], "/elsewhere": ["gave_up"]}
    found = {table.name: table for table in tables(analyze(runs, noted=noted))}["noted_failures"]
    assert found.columns == ["model", "gave_up", "misread_task"] and found.rows == [["a", 1, 2], ["b", 0, 0]]


def test_habits() -> None:
    run = row(
        "game", "a", attempts=[1.0, 3.0, 2.0], kinds="VEEASB", seconds=(1.0, 2.0, 4.0, 0.0, 0.0, 0.0),
        failures=((2, "refused"), (3, "repeat")),
    )  # fmt: skip
    found = habits([run])
    assert (found.first_validate, found.validates_per_improvement, found.submitted_below_best) == (4, 1.5, 1)
    assert (found.edits, found.edits_refused, found.repeats, found.recovered) == (2, 1, 1, 0.5)
    assert found.seconds_by_kind["Edit"] == 3.0


def test_a_plot_of_profiles_fits_and_names_its_lines() -> None:
    drawn = plot_profiles(analyze(_runs()), "best", 60, 12)
    assert drawn.endswith("A a   B b   C baseline") and max(map(len, drawn.splitlines())) <= 60


def test_a_best_that_is_about_the_baseline_is_said() -> None:
    sure = row("game", "a", attempts=[2.0], baseline=1.0, best_error=0.1)
    luck = row("game", "b", attempts=[1.1], baseline=1.0, best_error=0.1)
    found = analyze([sure, luck])
    assert [said for said in found.warnings if "b on game" in said] == [
        "best is no further from the baseline than its own error explains: b on game"
    ]
    runs = tables(found, ["runs"])[0]
    assert [line[runs.columns.index("against_baseline")] for line in runs.rows] == ["better", "about"]
