"""All published MLGym runs that the corpus holds, against what is known of them.

Runs only where `MLGYM_CORPUS` names a folder with `expected/` (`runs.csv`, `fixtures.json`, `behaviour.json`,
`best_scores.csv`, `last_scores.csv`) and the runs: the folders `mlgym_bench_v0/` and `fixtures/`, or
`mlgym-dev.tar.xz` with both. The corpus has a licence of its own and is no part of this project.
"""

from __future__ import annotations

import csv
import json
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.formats.counting import Behaviour, behaviour
from workbench.formats.actions import plan_of
from workbench.formats.open import open_recording
from workbench.session.events import ScoreRecorded, SessionEnded, WindowChanged
from workbench.session.recording import Recording
from workbench.session.state import fold

CORPUS = os.environ.get("MLGYM_CORPUS", "")
pytestmark = pytest.mark.skipif(not CORPUS, reason="MLGYM_CORPUS is not set: no published MLGym runs to check against")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(CORPUS).expanduser()
    if (folder / "mlgym_bench_v0").is_dir():
        return folder
    archive = folder / "mlgym-dev.tar.xz"
    assert archive.is_file(), f"{folder} holds neither mlgym_bench_v0/ nor mlgym-dev.tar.xz"
    target = tmp_path_factory.mktemp("corpus")
    with tarfile.open(archive) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # not in Python 3.11.2
        tar.extractall(target)
    return target


@pytest.fixture(scope="session")
def expected() -> Callable[[str], str]:
    return lambda name: (Path(CORPUS).expanduser() / "expected" / name).read_text(encoding="utf-8")


class Opened:
    """What is kept of an opened run (the events of all of them at once would be large)."""

    def __init__(self, path: Path, recording: Recording) -> None:
        state = fold(recording.events)
        assert state.started is not None and state.ended is not None
        info = json.loads(path.read_bytes())
        self.path, self.problems = path, recording.problems
        self.key = (state.started.model, state.started.task, path.parent.name.rpartition("_")[2])
        self.metric = state.started.metric
        self.ended: SessionEnded = state.ended
        self.counts: Behaviour = behaviour(recording.events)
        self.ledger = [
            event.metrics for event in recording.events if isinstance(event, ScoreRecorded) and event.verdict == "ok"
        ]
        self.recorded_scores = info["info"]["score"]
        self.observations = [step.observation for step in state.steps[1:]]
        self.recorded_observations = [step["observation"] or "" for step in info["trajectory"]]
        self.windows = sum(isinstance(event, WindowChanged) for event in recording.events)
        self.unseen = [
            event.path
            for event in recording.events
            if isinstance(event, WindowChanged) and event.path and event.text is None
        ]
        plan = plan_of(recording)
        self.actions = len(plan.actions)
        self.files = {path: file.data for path, file in plan.files.items()}
        self.cause = plan.cause
        self.same_text = self.observations == self.recorded_observations
        self.largest = max((len(text) for text in self.observations), default=0)
        del self.observations, self.recorded_observations


@pytest.fixture(scope="session")
def runs(corpus: Path) -> Iterator[dict[str, Opened]]:
    paths = sorted(corpus.glob("*/*/*.traj"))
    yield {str(path.relative_to(corpus)): Opened(path, open_recording(path)) for path in paths}


def benchmark(runs: dict[str, Opened]) -> list[Opened]:
    return [run for name, run in runs.items() if name.startswith("mlgym_bench_v0/")]


def test_all_of_them_open_with_their_scores_and_observations(runs: dict[str, Opened]) -> None:
    assert len(runs) == 366
    assert sum(run.counts.steps for run in runs.values()) == 9446
    for name, run in runs.items():
        assert run.ledger == run.recorded_scores, name
        assert run.same_text, name
        assert run.ended.steps == run.counts.steps, name
        assert run.counts.steps - 1 <= run.actions <= run.counts.steps, name
    assert [name for name, run in runs.items() if run.problems] == [
        name for name in runs if "gemini-25-pro__languageModelingFineWeb" in name
    ], "only the run whose last answer was never run has anything to say"


def test_steps_and_exit_statuses_of_every_run(runs: dict[str, Opened], expected: Callable[[str], str]) -> None:
    table = {
        (row["model"], row["task"], row["run"]): (row["steps"], row["exit_status_effective"], row["n_scores"])
        for row in csv.DictReader(expected("runs.csv").splitlines())
        if row["steps"] not in ("", "0")
    }
    found = {run.key: (str(run.counts.steps), run.ended.exit_status, str(len(run.ledger))) for run in benchmark(runs)}
    assert found == table


def test_odd_runs_in_detail(runs: dict[str, Opened], expected: Callable[[str], str]) -> None:
    fixtures: list[dict[str, Any]] = json.loads(expected("fixtures.json"))["fixtures"]
    for fixture in fixtures:
        run = runs[fixture["path"]]
        counts = run.counts
        assert {
            "steps": counts.steps,
            "edits": counts.edits,
            "lint_failures": counts.lint_failures,
            "validates": counts.validates,
            "validates_ok": counts.validates_ok,
            "timeouts": counts.timeouts,
            "n_scores": len(run.ledger),
            "exit_status_effective": run.ended.exit_status,
            "max_obs_chars": run.largest,
            "first": run.ledger[:1],
            "last": run.ledger[-1:],
        }.items() <= fixture.items(), fixture["path"]
    assert len(fixtures) == 12


def test_action_categories(runs: dict[str, Opened], expected: Callable[[str], str]) -> None:
    table = json.loads(expected("behaviour.json"))
    total: Counter[str] = Counter()
    per_model: dict[str, Counter[str]] = {}
    per_task: dict[str, Counter[str]] = {}
    for run in benchmark(runs):
        model, task, _ = run.key
        for counter in (total, per_model.setdefault(model, Counter()), per_task.setdefault(task, Counter())):
            counter.update(run.counts.categories)
    assert total == table["actions_total"]
    assert per_model == table["actions_per_model"]
    assert per_task == table["actions_per_task"]
    assert sum(run.counts.timeouts for run in runs.values()) == 189


@pytest.mark.parametrize("which", ["best", "last"])
def test_best_and_last_scores(runs: dict[str, Opened], expected: Callable[[str], str], which: str) -> None:
    models = {run.key[0] for run in benchmark(runs)}
    for row in csv.DictReader(expected(f"{which}_scores.csv").splitlines()):
        pick = max if row["direction"] == "max" else min
        for model in models:
            tried = [run for run in benchmark(runs) if run.key[:2] == (model, row["task_id"])]
            assert all(run.metric is not None and run.metric.name == row["metric"] for run in tried)
            values = [getattr(run.ended.scores, which) for run in tried]
            scored = [value for value in values if value is not None]
            if row[model] == "":
                assert not scored, (model, row["task_id"])
            else:
                assert abs(pick(scored) - float(row[model])) < 0.0006, (model, row["task_id"])


def test_the_file_window_is_rebuilt(runs: dict[str, Opened]) -> None:
    assert sum(run.windows for run in runs.values()) > 3000
    # Once in all these runs a file was opened without a line of it being shown: the command failed half-way.
    assert sum(len(run.unseen) for run in runs.values()) == 1


GAMES = ("battleOfSexes", "prisonersDilemma", "blotto")


def test_all_runs_of_a_task_began_with_the_same_files(runs: dict[str, Opened]) -> None:
    seen: dict[tuple[str, str], Counter[bytes]] = {}
    for run in benchmark(runs):
        if run.key[1] in (*GAMES, "3SATTime", "regressionKaggleHousePrice"):
            for path, data in run.files.items():
                seen.setdefault((run.key[1], path), Counter()).update([data])
    assert all(sum(seen[task, "strategy.py"].values()) >= 24 for task in GAMES)
    # There were two editions of the benchmark.
    assert {key for key, contents in seen.items() if len(contents) > 2} == set()


def test_runs_that_were_scored_when_they_were_over_say_why(runs: dict[str, Opened]) -> None:
    causes = Counter(run.cause for run in benchmark(runs) if run.cause)
    assert set(causes) == {"max_steps", "exit_context", "exit_format", "exit_cost"}


def test_a_run_without_its_trajectory_is_explained(corpus: Path, expected: Callable[[str], str]) -> None:
    from workbench.session.recording import RecordingError

    folder = json.loads(expected("fixtures.json"))["folder_without_traj"]
    with pytest.raises(RecordingError, match="only the scores"):
        open_recording(corpus / "mlgym_bench_v0" / folder)
