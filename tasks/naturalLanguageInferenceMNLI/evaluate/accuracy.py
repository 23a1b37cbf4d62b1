"""How often a classifier is right on held-out pairs. It is asked for labels, and never sees the true ones."""

from __future__ import annotations

import json
import math
from pathlib import Path

from workbench.tasks.submission import Failure, Job, Scores

BATCH = 64
"""Pairs in a question."""
LABELS = 3


def evaluate(job: Job) -> Scores:
    """`validation_accuracy`, in percent."""
    file: Path = job.data["mnli"].secret / f"{job.split}.jsonl"
    pairs = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    order = list(range(len(pairs)))
    job.random.shuffle(order)
    right = 0
    for start in range(0, len(order), BATCH):
        job.progress(start / len(order), f"{start:,} of {len(order):,} pairs")
        part = [pairs[index] for index in order[start : start + BATCH]]
        question = json.dumps([[pair["premise"], pair["hypothesis"]] for pair in part]).encode()
        labels = job.submission.send(question, len(part))
        if len(labels) != len(part):
            raise Failure("invalid", f"{len(labels)} labels for {len(part)} pairs")
        if max(labels) >= LABELS:
            raise Failure("invalid", f"a label is {max(labels)}; there are 0, 1 and 2")
        right += sum(label == pair["label"] for label, pair in zip(labels, part, strict=True))
    share = right / len(pairs)
    error = math.sqrt(share * (1 - share) / len(pairs))
    return Scores(metrics={"validation_accuracy": 100 * share}, standard_error=100 * error)
