"""A first attempt: the mean, whatever x is."""

import csv
import json
import os
import statistics

with open("data/train.csv", newline="") as stream:
    rows = [(float(row["x"]), float(row["y"])) for row in csv.DictReader(stream)]
weights = [statistics.fmean(y for _, y in rows)]
os.makedirs("model", exist_ok=True)
with open("model/weights.json", "w") as stream:
    json.dump(weights, stream)
