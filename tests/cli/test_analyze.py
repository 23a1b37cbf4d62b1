"""`mlgym-tui analyze`: what scripts and people get."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from tests.cli.command import mlgym
from tests.formats.trajectories import healthy, write_run


def _runs(folder: Path) -> Path:
    for model in ("one", "two"):
        for number in range(2):
            made = write_run(folder / "made", healthy()).parent
            name = made.name.replace("some-model", model)[:-1] + str(number)
            made.rename(folder / name)
    return folder


async def test_tables_as_json_and_as_files(tmp_path: Path) -> None:
    runs = _runs(tmp_path / "runs")
    outcome = await mlgym("analyze", str(runs), "--json", env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert outcome.json["held"] == 4 and {row["model"] for row in outcome.json["runs"]} == {"one", "two"}
    out = tmp_path / "out"
    outcome = await mlgym("analyze", str(runs), "--out", str(out), "--format", "md", "--report")
    assert outcome.code == 0 and "4 runs" in outcome.err
    assert (out / "best_scores.md").read_text().startswith("### Best attempt")
    assert "battleOfSexes" in (out / "report.html").read_text()


async def test_what_is_printed_fits_the_terminal(tmp_path: Path) -> None:
    printed = (await mlgym("analyze", str(_runs(tmp_path / "runs")), env={"COLUMNS": "80"})).out
    habits = printed.partition("Habits\n")[2].partition("recovered:")[0]
    assert "validates_per_improvement" in habits and "tampered" in habits
    assert max(map(len, habits.splitlines())) <= 80 and habits.count("model") == 2


async def test_mlgym_names_and_columns(tmp_path: Path) -> None:
    out = tmp_path / "out"
    await mlgym("analyze", str(_runs(tmp_path / "runs")), "--compat", "mlgym", "--format", "csv", "--out", str(out))
    names = {"best_scores.csv", "last_scores.csv", "aup_scores.csv", "runs.csv", "behaviour.json"}
    assert {path.name for path in out.iterdir()} == names
    assert next(csv.reader((out / "aup_scores.csv").open())) == ["model", "best_aup", "last_aup"]
    assert json.loads((out / "behaviour.json").read_text())["exit_category_total"]


async def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    empty = await mlgym("analyze", str(tmp_path / "empty"))
    assert empty.code == 1 and "there are no runs in" in empty.err
    missing = await mlgym("analyze", str(tmp_path / "nowhere"))
    assert missing.code == 2 and "does not exist" in missing.err
    nowhere = await mlgym("analyze", str(tmp_path / "empty"), "--report")
    assert nowhere.code == 2 and "--out DIR" in nowhere.err
    others = await mlgym("analyze", str(_runs(tmp_path / "runs")), "--models", "nobody")
    assert others.code == 1 and "of other models" in others.err
