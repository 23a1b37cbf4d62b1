"""House prices: predictions of the held-out sale prices, matched by Id."""

from __future__ import annotations

import csv
from pathlib import Path

from workbench.tasks.csv_artifact import r_squared, read_predictions, root_mean_squared_error
from workbench.tasks.submission import Job, Scores


def evaluate(job: Job) -> Scores:
    """r2 and rmse over the rows of the split. Predictions of the other held-out split may be in the same file.

    Under MLGym's protocol, a file without Ids has the rows of test.csv in their order.
    """
    truth = prices(job.secret / f"{job.split}.csv")
    others = [ident for part in ("validation", "test") for ident in prices(job.secret / f"{part}.csv")]
    predicted = read_predictions(
        job.artifact,
        job.artifact_name,
        key="Id",
        column="SalePrice",
        wanted=list(truth),
        allowed=others,
        in_order=job.protocol == "mlgym",
    )
    return Scores(metrics={"r2": r_squared(predicted, truth), "rmse": root_mean_squared_error(predicted, truth)})


def prices(file: Path) -> dict[str, float]:
    with file.open(newline="", encoding="utf-8") as stream:
        return {row["Id"]: float(row["SalePrice"]) for row in csv.DictReader(stream)}
