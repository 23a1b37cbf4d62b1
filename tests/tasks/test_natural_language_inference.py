"""The evaluator of the classifiers of sentence pairs, and their datasets."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workbench.scoring.evaluator import load_evaluator
from workbench.tasks.author_code import load_function
from workbench.tasks.catalogue import find_task
from workbench.tasks.making import Making, SourceError
from workbench.tasks.submission import DataFolders, Failure, Job, Scores

PAIRS: list[dict[str, Any]] = [
    {"premise": f"p{number}", "hypothesis": f"h{number}", "label": number % 3} for number in range(150)
]


class Room:
    """A classifier, as a room answers for it."""

    def __init__(self, classify: Callable[[str, str], int], cut: int = 0) -> None:
        self.classify, self.cut = classify, cut

    def send(self, question: bytes, most: int) -> bytes:
        answer = bytes(self.classify(premise, hypothesis) for premise, hypothesis in json.loads(question))
        assert len(answer) <= most
        return answer[self.cut :]


@pytest.fixture
def judge(tmp_path: Path) -> Callable[[Room], Scores]:
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    task = find_task("naturalLanguageInferenceMNLI")
    evaluator = load_evaluator(task.folder, task.spec.evaluate.file, task.spec.evaluate.function)

    def run(room: Room) -> Scores:
        rooms: Any = [room]
        data = {"mnli": DataFolders(tmp_path, tmp_path)}
        return evaluator(Job(rooms, random.Random(3), "test", task.folder, lambda fraction, text: None, data=data))

    return run


def test_the_share_of_right_labels(judge: Callable[[Room], Scores]) -> None:
    assert judge(Room(lambda premise, _: int(premise[1:]) % 3)).metrics == {"validation_accuracy": 100.0}
    third = judge(Room(lambda premise, _: 1))
    assert third.metrics["validation_accuracy"] == pytest.approx(100 / 3)
    assert third.standard_error == pytest.approx(100 * (2 / 9 / 150) ** 0.5)


def test_the_order_tells_nothing(judge: Callable[[Room], Scores]) -> None:
    seen: list[str] = []

    def remember(premise: str, hypothesis: str) -> int:
        seen.append(premise)
        return 0

    judge(Room(remember))
    assert sorted(seen) == sorted(pair["premise"] for pair in PAIRS) and seen != [pair["premise"] for pair in PAIRS]


@pytest.mark.parametrize(
    ("room", "said"), [(Room(lambda *_: 3), "a label is 3"), (Room(lambda *_: 0, 1), "labels for")]
)
def test_answers_that_are_no_labels(judge: Callable[[Room], Scores], room: Room, said: str) -> None:
    with pytest.raises(Failure, match=said):
        judge(room)


def prepared(tmp_path: Path, dataset: str, options: dict[str, Any]) -> Making:
    """A stand-in, prepared."""
    source, public, secret, mlgym = (tmp_path / name for name in ("source", "public", "secret", "mlgym"))
    for folder in (source, public, secret, mlgym):
        folder.mkdir()
    work = Making(source, public, secret, mlgym, 1, options, lambda fraction, text: None)
    file = find_task("battleOfSexes").folder.parent / "datasets" / f"{dataset}.py"
    work.rows = load_function(file, "stand_in")(work) or {}
    work.files = {path.name: path for path in source.iterdir()}
    load_function(file, "prepare")(work)
    return work


def test_the_matched_pairs_are_held_back(tmp_path: Path) -> None:
    work = prepared(tmp_path, "mnli", {"train": 60, "held_out": 40})
    files = {path.name: len(path.read_text().splitlines()) for path in (*work.public.iterdir(), *work.secret.iterdir())}
    assert files == {"train.jsonl": 60, "dev.jsonl": 40, "validation.jsonl": 8, "test.jsonl": 32, "all.jsonl": 40}
    parts = [(work.secret / f"{name}.jsonl").read_text().splitlines() for name in ("validation", "test", "all")]
    assert sorted(parts[0] + parts[1]) == sorted(parts[2])


def test_a_split_that_is_not_the_known_one(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not MultiNLI"):
        prepared(tmp_path, "mnli", {"train": 5, "held_out": 5})


def test_the_stand_in_of_bert(tmp_path: Path) -> None:
    work = prepared(tmp_path, "bert", {})
    words = (work.public / "vocab.txt").read_text().split()
    config = json.loads((work.public / "config.json").read_text())
    tokenizer = json.loads((work.public / "tokenizer.json").read_text())
    assert config["vocab_size"] == len(words) == len(tokenizer["model"]["vocab"]) == len(set(words))
    data = (work.public / "model.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header["bert.embeddings.word_embeddings.weight"]["shape"] == [len(words), config["hidden_size"]]
