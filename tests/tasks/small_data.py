"""A dataset and a task on it, for tests: ten numbers, of which the last three are held back."""

from __future__ import annotations

import textwrap
from pathlib import Path

from workbench.tasks.catalogue import Task, load_task
from workbench.tasks.datasets import Dataset, find_dataset

MAKER = """
from workbench.tasks.making import SourceError

def prepare(making):
    making.progress(0.5, "half way")
    numbers = (making.source / "numbers.txt").read_text().split()
    if "bad" in numbers:
        raise SourceError("numbers.txt has a bad number: write a good one")
    (making.public / "train.txt").write_text(" ".join(numbers[:-3]))
    (making.secret / "test.txt").write_text(" ".join(numbers[-3:]))

def stand_in(making):
    (making.source / "numbers.txt").write_text(" ".join(str(making.seed + n) for n in range(making.options["count"])))

def endless(making):
    import time
    making.progress(0.1, "for ever")
    (making.public / "half.txt").write_text("half")
    while True:
        time.sleep(60)
"""


def make_data_task(folder: Path, *, prepare: str = "prepare", tiny: bool = True, source: str = "") -> Task:
    """A task folder with its own dataset `numbers`, which the user brings as `some/numbers.txt`."""
    for part in ("starter", "evaluate", "datasets"):
        (folder / part).mkdir(parents=True)
    (folder / "datasets" / "numbers.py").write_text(MAKER)
    stand_in = "tiny: {function: stand_in, seed: 5, options: {count: 8}}" if tiny else ""
    source = source or "{kind: local, folder: some, files: {numbers.txt: null}, how: Write ten numbers.}"
    (folder / "datasets" / "numbers.yaml").write_text(
        f"id: numbers\nname: Numbers\nsource: {source}\n"
        f"prepare: {{file: numbers.py, function: {prepare}}}\n{stand_in}\n"
    )
    (folder / "starter" / "readme.txt").write_text("predict")
    (folder / "evaluate" / "predictions.py").write_text(
        textwrap.dedent(
            """\
            from workbench.tasks.csv_artifact import read_predictions, root_mean_squared_error
            from workbench.tasks.submission import Job, Scores

            def evaluate(job: Job) -> Scores:
                truth = {str(n): float(x) for n, x in enumerate((job.secret / "test.txt").read_text().split())}
                found = read_predictions(job.artifact, job.artifact_name, key="Id", column="x", wanted=list(truth))
                return Scores(metrics={"rmse": root_mean_squared_error(found, truth)})
            """
        )
    )
    (folder / "task.yaml").write_text(
        textwrap.dedent(
            """\
            id: predict
            name: Predict
            domain: tests
            level: beginner
            description: Write $artifact.
            datasets: [numbers]
            metrics: [{key: rmse, direction: minimize, primary: true}]
            artifact: {kind: csv, path: submission.csv, max_bytes: 100000}
            evaluate: {file: evaluate/predictions.py}
            """
        )
    )
    return load_task(folder)


def bring(folder: Path, numbers: str = "0 1 2 3 4 5 6 7 8 9") -> None:
    """Put the user's file where `MLGYM_DATA=folder` finds it."""
    (folder / "some").mkdir(parents=True, exist_ok=True)
    (folder / "some" / "numbers.txt").write_text(numbers)


def numbers_of(task: Task) -> Dataset:
    """The task's dataset."""
    return find_dataset("numbers", task)
