"""MLGym's published numbers, from its published runs; only where `MLGYM_CORPUS` names them (see tests/formats)."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from workbench.analysis import mlgym
from workbench.analysis.output import csv_text
from workbench.analysis.summary import Question, Table, analyze
from workbench.library.index import runs
from workbench.session.run import Run

CORPUS = os.environ.get("MLGYM_CORPUS", "")
pytestmark = pytest.mark.skipif(not CORPUS, reason="MLGYM_CORPUS is not set")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = Path(CORPUS) / "mlgym_bench_v0"
    if not folder.is_dir():
        unpacked = tmp_path_factory.mktemp("corpus")
        with tarfile.open(Path(CORPUS) / "mlgym-dev.tar.xz") as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # not in Python 3.11.2
            archive.extractall(unpacked)
        [folder] = unpacked.rglob("mlgym_bench_v0")
    return list(runs([folder], whole=True))


@pytest.fixture(scope="module")
def tables(published: list[Run]) -> tuple[Any, dict[str, Table]]:
    analysis, made = mlgym.published(published)
    return analysis, {table.name: table for table in made}


@pytest.mark.parametrize("name", ["best_scores", "last_scores", "aup_scores", "runs"])
def test_tables_are_the_published_ones(tables: tuple[Any, dict[str, Table]], name: str) -> None:
    expected = (Path(CORPUS) / "expected" / f"{name}.csv").read_text()
    assert list(csv.reader(io.StringIO(csv_text(tables[1][name])))) == list(csv.reader(io.StringIO(expected)))


def test_behaviour_is_counted_alike(tables: tuple[Any, dict[str, Table]]) -> None:
    expected = json.loads((Path(CORPUS) / "expected" / "behaviour.json").read_text())
    found = mlgym.behaviour(tables[0])
    assert found.keys() == expected.keys()
    for name in expected.keys() - {"scope"}:
        assert found[name] == (pytest.approx(expected[name]) if name.startswith("avg_") else expected[name]), name


def test_the_tampered_best_score_is_found(published: list[Run]) -> None:
    warnings = analyze(published, Question(samples=0)).warnings
    [said] = [said for said in warnings if "claude-35-sonnet-new__blotto" in said]
    assert "changed target.py" in said and "best of all its runs" in said
    honest = analyze(published, Question(samples=0, without_tampered=True))
    assert honest.sides["best"].scores.value("blotto", "claude-35-sonnet-new") == pytest.approx(0.2280, abs=1e-3)
