"""A straight line."""

import csv
import json
import os
import statistics

with open("data/train.csv", newline="") as stream:
    rows = [(float(row["x"]), float(row["y"])) for row in csv.DictReader(stream)]
line = statistics.linear_regression([x for x, _ in rows], [y for _, y in rows])
weights = [line.intercept, line.slope]
os.makedirs("model", exist_ok=True)
with open("model/weights.json", "w") as stream:
    json.dump(weights, stream)
