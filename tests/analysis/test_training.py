"""Training curves of runs, side by side."""

from __future__ import annotations

import math
from pathlib import Path

from tests.formats.trajectories import OK, step, trajectory, write_run
from workbench.analysis.training import apart, curves_of, names_of, plot_curves
from workbench.session.run import Run


def _run(folder: Path, *observations: str) -> Run:
    steps = [step("python train.py", text) for text in observations]
    path = write_run(folder, trajectory([*steps, step("validate", OK.format(score=1.3))], scores=[{"Score": 1.3}]))
    return Run(path=str(path), ident=folder.name)


def test_of_several_commands_the_last_one_counts_and_what_is_no_number_is_a_gap(tmp_path: Path) -> None:
    last = "epoch 1: loss=2\nepoch 2: loss=nan\nepoch 3: loss=1\n"
    found = curves_of(_run(tmp_path / "a", "epoch 1: loss=9, acc=0.1\nepoch 2: loss=8, acc=0.2\n", last, "loss=5\n"))
    assert found["acc"] == [(1, 0.1), (2, 0.2)]
    assert [at for at, _ in found["loss"]] == [1, 2, 3] and math.isnan(found["loss"][1][1])
    drawn = plot_curves([("one", found), ("other", {}), ("one", found)], "loss", 60, 12)
    assert "A one   B one" in drawn and "other" not in drawn


def test_a_long_training_is_thinned_and_what_cannot_be_read_has_no_curve(tmp_path: Path) -> None:
    long = "".join(f"epoch {at}: loss={at}, val_loss={at}\n" for at in range(1, 6001))
    found = curves_of(_run(tmp_path / "a", long))
    assert 2 < len(found["loss"]) <= 2001 and found["loss"][-1] == (6000, 6000)
    assert names_of([found]) == ["val_loss", "loss"]
    assert curves_of(Run(path=str(tmp_path / "nowhere.traj"), ident="x")) == {}


def test_ids_are_told_apart_by_what_they_do_not_share() -> None:
    same = "metagen-some-model__battleOfSexes__default__t-0.00__install-0__parallel_agents_run_"
    assert apart([f"{same}0", f"{same}1"]) == ["…run_0", "…run_1"]
    assert apart(["3fa9c1", "77ab02"]) == ["3fa9c1", "77ab02"]
    assert apart([f"{same}0"]) == [f"…{same[-39:]}0"] and apart([]) == []
