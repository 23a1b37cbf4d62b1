"""A straight line."""

import csv
import statistics


def table(part):
    with open(f"data/{part}.csv", newline="") as stream:
        return list(csv.DictReader(stream))


train = table("train")
line = statistics.linear_regression([float(row["x"]) for row in train], [float(row["y"]) for row in train])
with open("submission.csv", "w", newline="") as stream:
    out = csv.writer(stream)
    out.writerow(["id", "y"])
    for row in table("validation") + table("test"):
        out.writerow([row["id"], line.slope * float(row["x"]) + line.intercept])
