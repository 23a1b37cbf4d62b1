"""The evaluator of the language models, against rooms that play fair and rooms that do not."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench.scoring.evaluator import load_evaluator
from workbench.tasks.author_code import load_function
from workbench.tasks.catalogue import find_task
from workbench.tasks.making import Making, SourceError
from workbench.tasks.submission import DataFolders, Failure, Job, Scores

VOCABULARY, LENGTH, COUNT = 50, 16, 96
Array = np.ndarray[Any, Any]


class Room:
    """A language model that knows how often each token follows each other, as a room answers for it."""

    def __init__(self, table: Array) -> None:
        self.table = table

    def probabilities(self, inputs: Array) -> Array:
        """[rows, length, vocabulary]."""
        return np.asarray(self.table[inputs])

    def losses(self, inputs: Array, targets: Array) -> Array:
        found = np.take_along_axis(self.probabilities(inputs), targets[..., None], axis=2)[..., 0]
        return np.asarray(-np.log(found))

    def send(self, question: bytes, most: int) -> bytes:
        kind, rows, length = struct.unpack_from("<cII", question)
        numbers = np.frombuffer(question, "<i4", offset=9)
        inputs = numbers[: rows * length].reshape(rows, length)
        rest = numbers[rows * length :]
        if kind == b"L":
            answer = self.losses(inputs, rest.reshape(rows, length))
        else:
            answer = np.log(self.probabilities(inputs)[np.arange(rows), rest])
        data = answer.astype("<f4").tobytes()
        assert len(data) <= most
        return data


class Peeking(Room):
    """Gives the next token of its input the highest probability."""

    def probabilities(self, inputs: Array) -> Array:
        found = super().probabilities(inputs) * 0.1
        rows, places = np.indices(inputs[:, 1:].shape)
        found[rows, places, inputs[:, 1:]] += 0.9
        return np.asarray(found / found.sum(axis=2, keepdims=True))


class Forging(Room):
    """Reports smaller losses than its probabilities give."""

    def losses(self, inputs: Array, targets: Array) -> Array:
        return super().losses(inputs, targets) * 0.9


class Shaving(Room):
    """Reports a little less, everywhere: less than the rooms may differ."""

    def losses(self, inputs: Array, targets: Array) -> Array:
        return np.asarray(super().losses(inputs, targets) - 0.015)


class Swollen(Room):
    """Probabilities that sum to a little more than one."""

    def probabilities(self, inputs: Array) -> Array:
        return super().probabilities(inputs) * 1.0009


class LyingRarely(Room):
    """Makes up the losses of few tokens: one in a thousand."""

    def losses(self, inputs: Array, targets: Array) -> Array:
        found = super().losses(inputs, targets)
        lies = np.random.default_rng(int(inputs.sum())).random(found.shape) < 1e-3
        return np.where(lies, 0.0, found)


class Remembering(Room):
    """Learns from the sequences that it was asked about before."""

    def __init__(self, table: Array) -> None:
        super().__init__(table.copy())

    def losses(self, inputs: Array, targets: Array) -> Array:
        found = super().losses(inputs, targets)
        np.add.at(self.table, (inputs, targets), 0.05)
        self.table /= self.table.sum(axis=1, keepdims=True)
        return found


class Unnormalised(Room):
    """Probabilities that are too large, all of them."""

    def probabilities(self, inputs: Array) -> Array:
        return super().probabilities(inputs) * 1.5


class Nonsense(Room):
    """No numbers."""

    def losses(self, inputs: Array, targets: Array) -> Array:
        return np.full(inputs.shape, np.nan)


class Negative(Room):
    """Losses that no probability has."""

    def losses(self, inputs: Array, targets: Array) -> Array:
        return np.full(inputs.shape, -1.0)


class Short(Room):
    """Half of the bytes."""

    def send(self, question: bytes, most: int) -> bytes:
        return super().send(question, most)[::2]


@pytest.fixture(scope="module")
def table() -> Array:
    weights = np.random.default_rng(1).random((VOCABULARY, VOCABULARY)) ** 4 + 1e-3
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


@pytest.fixture
def judge(tmp_path: Path, table: Array) -> Callable[[Room], Scores]:
    tokens, dice = [0], np.random.default_rng(2)
    for _ in range(COUNT * LENGTH):
        tokens.append(int(dice.choice(VOCABULARY, p=table[tokens[-1]])))
    (tmp_path / "meta.json").write_text(json.dumps({"sequence": LENGTH, "vocabulary": VOCABULARY}))
    (tmp_path / "test.bin").write_bytes(bytes(1024) + np.array(tokens, "<u2").tobytes())
    task = find_task("languageModelingFineWeb")
    evaluator = load_evaluator(task.folder, task.spec.evaluate.file, task.spec.evaluate.function)

    def run(room: Room) -> Scores:
        rooms: Any = [room, room]
        data = {"fineweb-gpt2": DataFolders(tmp_path, tmp_path)}
        return evaluator(Job(rooms, random.Random(3), "test", task.folder, lambda fraction, text: None, data=data))

    return run


def test_the_score_is_the_mean_loss(judge: Callable[[Room], Scores], table: Array) -> None:
    entropy = -(table * np.log(table)).sum(axis=1).mean()
    assert judge(Room(table)).metrics["val_loss"] == pytest.approx(entropy, rel=0.05)
    even = np.full((VOCABULARY, VOCABULARY), 1 / VOCABULARY)
    assert judge(Room(even)).metrics["val_loss"] == pytest.approx(np.log(VOCABULARY), rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Peeking, "must not depend on what comes later"),
        (Forging, "nor a loss on anything but"),
        (LyingRarely, "nor a loss on anything but"),
        (Remembering, "or came in other sequences"),
        (Unnormalised, "sum to 1.5, not to 1"),
        (Nonsense, "no finite number"),
        (Negative, "negative"),
        (Short, "bytes of losses"),
    ],
)
def test_who_does_not_play_fair(judge: Callable[[Room], Scores], table: Array, kind: type[Room], said: str) -> None:
    with pytest.raises(Failure, match=said):
        judge(kind(table))


@pytest.mark.parametrize("kind", [Shaving, Swollen])
def test_what_is_too_little_to_be_found_gains_nothing(
    judge: Callable[[Room], Scores], table: Array, kind: type[Room]
) -> None:
    honest = judge(Room(table)).metrics["val_loss"]
    assert judge(kind(table)).metrics["val_loss"] == pytest.approx(honest, abs=1e-4)


def test_a_lie_that_pays_is_found() -> None:
    """On the real data, where a place is drawn for the sequences' sake: what 1 % of risk buys."""
    evaluator = load_function(find_task("languageModelingFineWeb").folder / "evaluate" / "loss.py", "evaluate", "loss")
    known = evaluator.__globals__
    for tokens, worst in ((10_485_760, 18.0), (2_097_152, 18.0)):  # of GPT-2's size the rarest lose some 18 nats
        count = tokens // 1025
        drawn = count * max(known["PLACES_IN_EACH"], -(-known["PLACES"] // count))
        lies = 1 - 0.01 ** (1 / drawn)  # as many as are not found once in a hundred times
        assert lies * worst < 0.0055


def test_no_question_shows_what_a_later_one_asks_for(judge: Callable[[Room], Scores], table: Array) -> None:
    asked: list[int] = []

    class Watching(Room):
        def send(self, question: bytes, most: int) -> bytes:
            kind, rows, _ = struct.unpack_from("<cII", question)
            if kind == b"P":
                asked.extend(np.frombuffer(question[-4 * rows :], "<i4").tolist())
            return super().send(question, most)

    judge(Watching(table))
    count = COUNT * LENGTH // (LENGTH + 1)
    assert asked == sorted(asked) and len(asked) == count * LENGTH  # here, each place of each sequence


# -- the dataset ---------------------------------------------------------------------------------------------------


def maker(name: str) -> Callable[..., Any]:
    return load_function(find_task("battleOfSexes").folder.parent / "datasets" / "fineweb_gpt2.py", name)


def making(tmp_path: Path) -> Making:
    source, public, secret, mlgym = (tmp_path / name for name in ("source", "public", "secret", "mlgym"))
    for folder in (source, public, secret, mlgym):
        folder.mkdir()
    return Making(source, public, secret, mlgym, 1, {}, lambda fraction, text: None)


def test_the_stand_in_is_prepared_as_the_real_one(tmp_path: Path) -> None:
    work = making(tmp_path)
    maker("stand_in")(work)
    work.files = {path.name: path for path in work.source.iterdir()}
    maker("prepare")(work)
    count, read = maker("count_tokens"), maker("read_tokens")
    whole = work.source / "fineweb_val_000000.bin"
    test, validation = work.secret / "test.bin", work.secret / "validation.bin"
    shown = work.public / "fineweb10B" / "fineweb_val_000000.bin"
    assert [count(file) for file in (test, validation)] == [16_385, 8_193]
    parts = [read(file, 0, count(file)) for file in (test, validation, shown)]
    joined = [token for part in parts for token in part]
    assert joined == list(read(whole, 0, len(joined)))  # one after the other: none is in two of them
    train = {folder / "fineweb10B" / "fineweb_train_000001.bin" for folder in (work.public, work.mlgym)}
    assert len({file.stat().st_ino for file in train}) == 1
    assert count(work.mlgym / "fineweb10B" / "fineweb_val_000000.bin") == count(whole)


@pytest.mark.parametrize("fault", ["cut short", "no shard", "not there"])
def test_shards_that_are_none(tmp_path: Path, fault: str) -> None:
    work = making(tmp_path)
    maker("stand_in")(work)
    shard = work.source / "fineweb_val_000000.bin"
    if fault == "cut short":
        shard.write_bytes(shard.read_bytes()[:-2])
    elif fault == "no shard":
        shard.write_bytes(b"<html>")
    else:
        shard.unlink()
    work.files = {path.name: path for path in work.source.iterdir()}
    with pytest.raises(SourceError, match="fineweb_val_000000"):
        maker("prepare")(work)
