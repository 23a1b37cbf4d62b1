"""The error of the predictions. An agent never sees this file."""

import csv
from pathlib import Path

from workbench.tasks.csv_artifact import read_predictions, root_mean_squared_error
from workbench.tasks.submission import Job, Scores


def evaluate(job: Job) -> Scores:
    truth = answers(job.secret / f"{job.split}.csv")
    # One submission has the rows of all splits: those of the others are allowed, and not looked at.
    others = [ident for split in ("validation", "test") for ident in answers(job.secret / f"{split}.csv")]
    predicted = read_predictions(
        job.artifact, job.artifact_name, key="id", column="y", wanted=list(truth), allowed=others
    )
    return Scores(metrics={"rmse": root_mean_squared_error(predicted, truth)})


def answers(file: Path) -> dict[str, float]:
    with file.open(newline="") as stream:
        return {row["id"]: float(row["y"]) for row in csv.DictReader(stream)}
