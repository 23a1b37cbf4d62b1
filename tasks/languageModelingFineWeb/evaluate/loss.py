"""The loss of a language model on held-out tokens, and whether the model plays fair.

The model runs in two rooms, one after the other. The first is given sequences with the tokens to predict, and reports
a loss for each. Only then are places drawn. The second room is given the same sequences up to these, other tokens
behind them, and reports all probabilities there: it cannot know what it predicts. The score is the mean of what the
first room told, put right by the mean difference of the two: what the first makes up gains nothing on average. What it
makes up about few tokens, so that none is drawn, is bounded by their number: with some 20,000 places a lie about more
than one token in 4,400 is found with a probability of 99 %, which leaves less than 0.005 nats.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from workbench.tasks.submission import Failure, Job, Scores, Submission

HEADER_BYTES = 1024
BATCH = 32
"""Sequences in a question."""
PLACES, PLACES_IN_EACH = 16_384, 2
"""Places whose probabilities are asked for, at least: in all, and in each sequence."""
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
    sequences = tokens[: len(tokens) // (length + 1) * (length + 1)].reshape(-1, length + 1)
    dice = np.random.default_rng(job.random.getrandbits(128))
    first, second = job.submissions
    losses = ask_all_losses(job, first, sequences, dice)
    blind = ask_places(job, second, int(about["vocabulary"]), sequences, losses, dice)
    return Scores(metrics={"val_loss": float(losses.mean(dtype=np.float64)) + blind})


def read_tokens(file: Path) -> Array:
    return np.fromfile(file, dtype="<u2", offset=HEADER_BYTES).astype(np.int32)


def batches(count: int, dice: np.random.Generator) -> Iterator[Array]:
    """All sequences, in an order that tells nothing: what a model learnt from one must not help with the next."""
    order = dice.permutation(count)
    for start in range(0, count, BATCH):
        yield order[start : start + BATCH]


def ask_all_losses(job: Job, room: Submission, sequences: Array, dice: np.random.Generator) -> Array:
    """The loss of each token but the first of each sequence."""
    losses = np.empty(sequences[:, 1:].shape, np.float32)
    done = 0
    for rows in batches(len(sequences), dice):
        job.progress(done / losses.size, f"{done:,} of {losses.size:,} tokens")
        losses[rows] = ask_losses(room, sequences[rows, :-1], sequences[rows, 1:])
        done += losses[rows].size
    return losses


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
    with np.errstate(over="ignore"):
        sums = np.exp(found).sum(axis=1, keepdims=True)
    worst = sums.flat[np.abs(sums - 1).argmax()] if np.isfinite(sums).all() else math.nan
    if not abs(worst - 1) <= SUM_TOLERANCE:
        raise Failure("invalid", f"the probabilities of the next token sum to {worst:.4g}, not to 1")
    return found - np.log(sums)


def ask_places(
    job: Job, room: Submission, vocabulary: int, sequences: Array, losses: Array, dice: np.random.Generator
) -> float:
    """By how much the losses are larger, on average, where the targets are out of sight. Raises Failure."""
    count, length = losses.shape
    each = min(length, max(PLACES_IN_EACH, math.ceil(PLACES / count)))
    # From the front to the back of each sequence: a question shows nothing that an earlier one asked for.
    drawn = np.sort(np.stack([dice.choice(length, each, replace=False) for _ in range(count)]), axis=1)
    blind = np.empty(drawn.shape)
    behind = np.arange(length)
    for turn in range(each):
        for number, rows in enumerate(batches(count, dice)):
            job.progress((turn + number * BATCH / count) / each, "checking probabilities")
            places = drawn[rows, turn]
            others = sequences.flat[dice.integers(sequences.size, size=(len(rows), length))]
            given = np.where(behind > places[:, None], others, sequences[rows, :-1])
            found = ask_probabilities(room, given, places, vocabulary)
            blind[rows, turn] = -found[np.arange(len(rows)), sequences[rows, places + 1]]
    told = np.take_along_axis(losses, drawn, axis=1)
    apart = np.abs(blind - told)
    if not (apart.max() <= APART and apart.mean() <= APART_ON_AVERAGE):
        worst = np.unravel_index(int(apart.argmax()), apart.shape)
        raise Failure(
            "invalid",
            f"the loss of token {drawn[worst]} of a sequence is {told[worst]:.4g}, but {blind[worst]:.4g} where other "
            "tokens come later: a prediction must not depend on what comes later or came in other sequences, nor a "
            "loss on anything but the model's probabilities",
        )
    return float((blind - told).mean())
