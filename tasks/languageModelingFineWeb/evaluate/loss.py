"""The loss of a language model on held-out tokens, and whether the model plays fair.

The model runs in two rooms. The first is given sequences with the tokens to predict, and reports a loss for each. The
second never sees those tokens: it is given the same sequences up to places that nobody knew before, other tokens
behind them, and reports all probabilities there. Both must tell the same, whatever the submission's code would like.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np

from workbench.tasks.submission import Failure, Job, Scores, Submission

HEADER_BYTES = 1024
BATCH = 32
"""Sequences in a question."""
PROBES = 64
"""Places whose probabilities are asked for."""
MOST_VOCABULARY = 1 << 18
SUM_TOLERANCE = 1e-3
APART, APART_ON_AVERAGE = 0.5, 0.02
"""How far, in nats, the two rooms may differ at one place, and on average: numbers of 16 bits differ by their order."""

Array = np.ndarray


def evaluate(job: Job) -> Scores:
    """`val_loss`, nats for each token."""
    folder = job.secret
    about = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    length = int(about["sequence"])
    tokens = read_tokens(folder / f"{job.split}.bin")
    count = (len(tokens) - 1) // length
    inputs = tokens[: count * length].reshape(count, length)
    targets = tokens[1 : count * length + 1].reshape(count, length)
    losses = np.empty((count, length), np.float32)
    first, second = job.submissions
    for start in range(0, count, BATCH):
        job.progress(start / count, f"{start * length:,} of {count * length:,} tokens")
        part = slice(start, min(start + BATCH, count))
        losses[part] = ask_losses(first, inputs[part], targets[part])
    check(job, second, int(about["vocabulary"]), inputs, targets, losses)
    return Scores(metrics={"val_loss": float(losses.astype(np.float64).mean())})


def read_tokens(file: Path) -> Array:
    return np.fromfile(file, dtype="<u2", offset=HEADER_BYTES).astype(np.int32)


def ask_losses(room: Submission, inputs: Array, targets: Array) -> Array:
    """The loss of each target, nats."""
    question = struct.pack("<cII", b"L", *inputs.shape) + inputs.tobytes() + targets.tobytes()
    answer = room.send(question, 4 * inputs.size)
    if len(answer) != 4 * inputs.size:
        raise Failure("invalid", f"{len(answer)} bytes of losses for {inputs.size} tokens")
    losses = np.frombuffer(answer, "<f4").reshape(inputs.shape)
    if not np.isfinite(losses).all() or losses.min() < -1e-3:
        raise Failure("invalid", "a loss is negative, or no finite number")
    return losses


def ask_probabilities(room: Submission, inputs: Array, places: Array, vocabulary: int) -> Array:
    """The logarithms of all probabilities at one place of each sequence."""
    question = struct.pack("<cII", b"P", *inputs.shape) + inputs.tobytes() + places.astype("<i4").tobytes()
    answer = room.send(question, 4 * len(inputs) * MOST_VOCABULARY)
    size, rest = divmod(len(answer), 4 * len(inputs))
    if rest or size < vocabulary:
        raise Failure("invalid", f"probabilities of {size:,} tokens; there are {vocabulary:,}")
    found = np.frombuffer(answer, "<f4").reshape(len(inputs), size).astype(np.float64)
    sums = np.exp(found).sum(axis=1) if not np.isnan(found).any() else np.array([math.nan])
    worst = sums[np.abs(sums - 1).argmax()] if np.isfinite(sums).all() else math.nan
    if not abs(worst - 1) <= SUM_TOLERANCE:
        raise Failure("invalid", f"the probabilities of the next token sum to {worst:.4g}, not to 1")
    return found


def check(job: Job, room: Submission, vocabulary: int, inputs: Array, targets: Array, losses: Array) -> None:
    """Compare the losses with probabilities that were found without a sight of the targets. Raises Failure."""
    count, length = inputs.shape
    rows = np.array([job.random.randrange(count) for _ in range(PROBES)])
    places = np.array([job.random.randrange(length) for _ in range(PROBES)])
    told = losses[rows, places]
    blind = np.empty(PROBES)
    for start in range(0, PROBES, 8):
        job.progress(start / PROBES, "checking probabilities")
        part = slice(start, start + 8)
        given = inputs[rows[part]].copy()
        for sequence, place in zip(given, places[part], strict=True):
            sequence[place + 1 :] = [job.random.randrange(1, vocabulary - 1) for _ in range(length - place - 1)]
        found = ask_probabilities(room, given, places[part], vocabulary)
        blind[part] = -found[np.arange(len(given)), targets[rows, places][part]]
    apart = np.abs(blind - told)
    if apart.max() > APART or apart.mean() > APART_ON_AVERAGE:
        worst = int(apart.argmax())
        raise Failure(
            "invalid",
            f"the loss of token {places[worst]} of a sequence is {told[worst]:.4g}, but {blind[worst]:.4g} where other "
            "tokens come later: a prediction must not depend on what comes later, nor a loss on anything but the "
            "model's probabilities",
        )
