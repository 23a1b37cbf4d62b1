"""The three vision tasks: what their evaluators make of tables, the stand-ins, and the whole way with real packages."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import random
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest

from workbench.checks.baseline import compare
from workbench.environment.assembly import find_packages
from workbench.isolation.spec import SandboxError
from workbench.resources import data_folder
from workbench.scoring.evaluation import Evaluation, evaluate
from workbench.session.spec import SessionSpec
from workbench.tasks.author_code import load_function
from workbench.tasks.catalogue import find_task
from workbench.tasks.csv_artifact import read_labels
from workbench.tasks.datasets import find_dataset, prepare
from workbench.tasks.making import Making, SourceError
from workbench.tasks.needs import examine
from workbench.tasks.submission import DataFolders, Failure, Job, Scores

TASKS = ("imageClassificationCifar10", "imageClassificationFMnist", "imageCaptioningCOCO")


def evaluator(ident: str) -> ModuleType:
    """The file of a task's evaluator."""
    spec = importlib.util.spec_from_file_location("vision_evaluator", find_task(ident).evaluator)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def score(ident: str, folder: Path, table: str, split: str = "all") -> dict[str, float]:
    """What the evaluator makes of a table, with `folder` as the secret part of all data."""
    job = Job(
        submissions=(),
        random=random.Random(0),
        split=split,
        folder=find_task(ident).folder,
        progress=lambda *_: None,
        artifact=table.encode(),
        artifact_name="submission.csv",
        data={name: DataFolders(folder, folder) for name in find_task(ident).spec.datasets},
    )
    return cast(Scores, evaluator(ident).evaluate(job)).metrics


# --- labels


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Ten test images of classes 0 to 9; the first four are for validation."""
    rows = [f"{label},{'validation' if label < 4 else 'test'}" for label in range(10)]
    (tmp_path / "test.csv").write_text("\n".join(["label,split", *rows]))
    return tmp_path


@pytest.mark.parametrize("ident", TASKS[:2])
def test_accuracy_by_split(ident: str, labels: Path) -> None:
    table = "label\n" + "\n".join(["0", "1", "2.0", "9", "4", "0", "0", "0", "0", "0"])
    found = {split: score(ident, labels, table, split)["accuracy"] for split in ("validation", "test", "all")}
    assert found == {"validation": 0.75, "test": pytest.approx(1 / 6), "all": 0.4}
    assert score(ident, labels, "id,label\n" + "\n".join(f"{n},{n}" for n in range(10)))["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["0"] * 9, "9 rows, where the data have 10: row 9 (counted from 0) missing"),
        (["0"] * 3, "3 rows, where the data have 10: rows 3 to 9 (counted from 0) missing"),
        (["0"] * 12, "12 rows, where the data have 10: rows 10 to 11 (counted from 0) too many"),
        (["0"] * 9 + ["cat"], "1 label is no whole number: row 9 ('cat', line 11)"),
        (["0.5", "1e0", *["0"] * 8], "2 labels are no whole numbers: rows 0 ('0.5', line 2), 1 ('1e0', line 3)"),
        (["nan", '""', *["0"] * 8], "2 labels are missing: rows 0 (nan), 1 (empty)"),
        (["inf", *["0"] * 9], "1 label is missing: row 0 (inf)"),
        (["10", "-1", *["0"] * 8], "2 labels are not 0 to 9: rows 0 (10), 1 (-1)"),
        (["9" * 400, *["0"] * 9], "1 label is no whole number: row 0"),
        (["٣", *["0"] * 9], "1 label is no whole number: row 0 ('٣', line 2)"),
    ],
)
def test_rows_that_are_wrong_are_named(labels: Path, values: list[str], words: str) -> None:
    with pytest.raises(Failure) as caught:
        score(TASKS[0], labels, "\n".join(["label", *values]))
    assert caught.value.verdict == "invalid" and words in caught.value.message


def test_other_tables_of_labels() -> None:
    assert read_labels(b"\xef\xbb\xbflabel\r\n3\r\n\r\n+4.\r\n", "x.csv", column="label", rows=2, classes=5) == [3, 4]
    for table, words in ((b"class\n1\n", "has no column label"), (b"label,label\n1,1\n", "more than one column label")):
        with pytest.raises(Failure, match=words):
            read_labels(table, "x.csv", column="label", rows=1, classes=2)


# --- captions


bleu_file = evaluator("imageCaptioningCOCO")


def bleu(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    split = [[sentence.split() for sentence in several] for several in references]
    return float(bleu_file.bleu([sentence.split() for sentence in candidates], split))


def test_bleu_by_hand() -> None:
    assert bleu(["a b c d e"], [["a b c d e"]]) == 1.0
    assert bleu(["a b c d e"], [["x", "a b c d e"]]) == 1.0
    # runs of 1: 4 of 5, of 2: 3 of 4, of 3: 2 of 3, of 4: 1 of 2; as long as the reference
    assert bleu(["a b c d x"], [["a b c d e"]]) == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    # all runs are right, but 4 words stand for 8: exp(1 - 8 / 4)
    assert bleu(["a b c d"], [["a b c d e f g h"]]) == pytest.approx(np.exp(-1.0))
    # of references of 4 and 6 words, the shorter is as near to 5
    assert bleu(["a b c d e"], [["a b c d", "a b c d e f"]]) == 1.0
    # a word counts no more often than in the reference that has it most often: 2 of 7
    assert bleu_file.LONGEST == 4 and bleu(["the the the the the the the"], [["the cat", "the the"]]) == 0.0
    # counts of all sentences are added up before the shares are taken
    assert bleu(["a b c d", "x"], [["a b c d"], ["y"]]) == pytest.approx((4 / 5) ** 0.25)
    assert bleu(["", "a b c d"], [["a"], ["a b c d"]]) == pytest.approx(np.exp(1 - 5 / 4))
    assert bleu(["a b c"], [["a b c"]]) == 0.0  # no run of four, and no smoothing
    assert bleu([""], [["a"]]) == 0.0


def corpus(seed: int) -> tuple[list[str], list[list[str]]]:
    dice = random.Random(seed)

    def sentence() -> str:
        return " ".join(dice.choice("abcde") for _ in range(dice.randint(3, 12)))

    return [sentence() for _ in range(40)], [[sentence() for _ in range(dice.randint(1, 5))] for _ in range(40)]


@pytest.mark.parametrize("seed", range(5))
def test_bleu_as_sacrebleu_has_it(seed: int) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    candidates, references = corpus(seed)
    columns = [[some[n] if n < len(some) else None for some in references] for n in range(5)]
    theirs = sacrebleu.corpus_bleu(candidates, columns, smooth_method="none", tokenize="none").score / 100
    assert bleu(candidates, references) == pytest.approx(theirs, rel=1e-9)


def test_words() -> None:
    assert bleu_file.words("A man's dog, 2 CATS—and a half-eaten pie.") == (
        ["a", "man's", "dog", "2", "cats", "and", "a", "half", "eaten", "pie"]
    )


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    """Three test pictures; the second is for validation."""
    held = {
        "7": {"split": "test", "captions": ["A red ball lies here.", "One ball"]},
        "8": {"split": "validation", "captions": ["Two dogs run about."]},
        "9": {"split": "test", "captions": ["nothing to be seen"]},
    }
    (tmp_path / "captions.json").write_text(json.dumps(held))
    return tmp_path


def table(rows: dict[str, str], header: Sequence[str] = ("image_id", "caption")) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerows([header, *rows.items()])
    return stream.getvalue()


def test_captions_by_split(sentences: Path) -> None:
    said = {"9": "seen", "8": "two dogs, run ABOUT", "7": "a red ball lies here"}
    assert score("imageCaptioningCOCO", sentences, table(said), "validation")["BLEU Score"] == 1.0
    # of 6 words 6 are right, and all runs; the references are 5 and 4 words long
    expected = np.exp(1 - 9 / 6)
    assert score("imageCaptioningCOCO", sentences, table(said), "test")["BLEU Score"] == pytest.approx(expected)
    assert 0 < score("imageCaptioningCOCO", sentences, table(said))["BLEU Score"] < 1
    assert score("imageCaptioningCOCO", sentences, table(dict.fromkeys("789", "")))["BLEU Score"] == 0.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bleu_score\n0.99\n", "the column bleu_score: a score that a submission gives itself is not taken"),
        ("image_id,bleu_score\n7,1\n8,1\n9,1\n", "one row for each picture of test.csv; BLEU is computed from them"),
        (table({"7": "a", "8": "b"}), "1 image_id is missing: 9"),
        (table({"7": "a", "8": "b", "9": "c", "10": "d"}), "1 image_id is unknown: 10"),
        (table({"7": "a", "8": "b", "9": "c", "9.0": "d"}), "1 image_id is there more than once: 9"),
        ("caption\na\n", "has no column image_id"),
        (table({"7": "a" * 20_000, "8": "b", "9": "c"}), "field larger than field limit"),
    ],
)
def test_tables_of_captions_that_are_wrong(sentences: Path, text: str, words: str) -> None:
    with pytest.raises(Failure) as caught:
        score("imageCaptioningCOCO", sentences, text)
    assert caught.value.verdict == "invalid" and words in caught.value.message


# --- data


@pytest.mark.parametrize(("ident", "shape"), [("cifar10", (32, 32, 3)), ("fashion-mnist", (28, 28))])
def test_stand_ins_of_images(ident: str, shape: tuple[int, ...]) -> None:
    task = find_task(TASKS[0] if ident == "cifar10" else TASKS[1])
    found = prepare(find_dataset(ident, task), "tiny")
    arrays = {path.name: np.load(path) for path in sorted(found.public().iterdir())}
    assert {name: array.shape for name, array in arrays.items()} == {
        "test_images.npy": (200, *shape),
        "train_images.npy": (600, *shape),
        "train_labels.npy": (600,),
    }
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.uint8)}
    assert set(arrays["train_labels.npy"].tolist()) == set(range(10))
    rows = list(csv.DictReader((found.secret / "test.csv").open()))
    assert len(rows) == 200 and [row["split"] for row in rows].count("validation") == 40
    assert [path.name for path in found.secret.iterdir()] == ["test.csv"]


def test_rows_that_are_not_the_dataset_are_refused(tmp_path: Path) -> None:
    prepare_cifar10 = load_function(find_dataset("cifar10", find_task(TASKS[0])).maker, "prepare_cifar10")
    good = {"img": np.zeros((32, 32, 3), np.uint8), "label": 3}

    def making(rows: list[dict[str, Any]]) -> Making:
        for part in ("public", "secret", "mlgym"):
            (tmp_path / part).mkdir(exist_ok=True)
        return Making(
            source=tmp_path,
            public=tmp_path / "public",
            secret=tmp_path / "secret",
            mlgym=tmp_path / "mlgym",
            seed=0,
            options={},
            progress=lambda *_: None,
            rows={"train": rows, "test": rows},
        )

    with pytest.raises(SourceError, match="has 1 images, not 50,000"):
        prepare_cifar10(making([good]))
    for wrong in ({**good, "label": 10}, {**good, "img": np.zeros((28, 28), np.uint8)}):
        with pytest.raises(SourceError, match="row 1 of train is no image"):
            prepare_cifar10(making([good, wrong]))


def test_stand_in_of_captions() -> None:
    task = find_task("imageCaptioningCOCO")
    found = prepare(find_dataset("ms-coco", task), "tiny")
    assert sorted(path.name for path in found.public().iterdir()) == (
        ["test.csv", "train.json", "train2017.zip", "val2017.zip"]
    )
    train = json.loads((found.public() / "train.json").read_text())
    with zipfile.ZipFile(found.public() / "train2017.zip") as archive:
        assert archive.read(train[0]["file"])[:3] == b"\xff\xd8\xff" and len(train) == len(archive.namelist()) == 300
    held = json.loads((found.secret / "captions.json").read_text())
    with (found.public() / "test.csv").open() as stream:
        assert [row["image_id"] for row in csv.DictReader(stream)] == list(held) and len(held) == 100
    assert [item["split"] for item in held.values()].count("validation") == 20
    assert all(len(item["captions"]) == 5 for item in held.values())
    assert not {text for row in train for text in row["captions"]} >= set(held)


def test_stand_in_of_weights() -> None:
    found = prepare(find_dataset("resnet-50", find_task("imageCaptioningCOCO")), "tiny")
    data = (found.public() / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert header["resnet.embedder.embedder.convolution.weight"]["shape"] == [32, 3, 7, 7]
    assert max(item["data_offsets"][1] for name, item in header.items() if name != "__metadata__") + 8 + length == (
        len(data)
    )


# --- the whole way


async def test_the_protocol_of_mlgym_scores_all_rows() -> None:
    task = find_task(TASKS[0]).under(variant="tiny")
    assert (task.split_for("validate"), task.split_for("submit")) == ("validation", "test")
    mlgym = task.under("mlgym", "tiny")
    assert (mlgym.split_for("validate"), mlgym.split_for("submit")) == ("all", "all")
    constant = ("label\n" + "3\n" * 200).encode()
    found = [await evaluate(task, constant, seed=1, split=split) for split in ("validation", "test", "all")]
    assert [item.verdict for item in found] == ["ok"] * 3 and found[0].dataset == "stand-in"
    shares = [item.score or 0.0 for item in found]
    assert shares[2] == pytest.approx((40 * shares[0] + 160 * shares[1]) / 200) and shares[0] != shares[1]


def test_images_of_mnists_format(tmp_path: Path) -> None:
    reader = load_function(data_folder("tasks") / "datasets" / "labelled_images.py", "read_fashion_mnist")
    images, labels = np.arange(2 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28), np.array([9, 0])
    for part in ("train", "t10k"):
        for name, values in ((f"{part}-images-idx3", images), (f"{part}-labels-idx1", labels.astype(np.uint8))):
            head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
            (tmp_path / f"{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    making = Making(tmp_path, tmp_path, tmp_path, tmp_path, 0, {}, lambda *_: None)
    rows = {split: [*found] for split, found in reader(making).items()}
    assert [row["label"] for row in rows["test"]] == [9, 0]
    assert all((row["image"] == image).all() for row, image in zip(rows["train"], images, strict=True))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\x09short"))
    with pytest.raises(SourceError, match=r"train-images-idx3-ubyte\.gz is no file of small numbers"):
        next(iter(reader(making)["train"]))


@pytest.mark.parametrize(("accuracy", "agrees"), [(0.8498, True), (0.7835, False)])
def test_a_baseline_is_expected_where_it_really_comes_to(accuracy: float, agrees: bool) -> None:
    task = find_task("imageClassificationFMnist")
    (found,) = compare(task, Evaluation(verdict="ok", metrics={"accuracy": accuracy}, score=accuracy))
    assert found.agrees is agrees and found.told == "published 0.7835; known to reach 0.8484"
    (on_stand_in,) = compare(task.under(variant="tiny"), Evaluation(verdict="ok", metrics={"accuracy": 0.6}))
    assert on_stand_in.agrees and on_stand_in.told == "published 0.6"


def test_without_its_packages_a_task_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLGYM_CACHE", str(tmp_path))
    task = find_task(TASKS[0]).under(variant="tiny")
    remedy = "mlgym-tui tasks prepare imageClassificationCifar10"
    needs = examine(task)
    assert needs.verdict == "no" and f"its packages are not installed: {remedy}" in needs.obstacles
    with pytest.raises(SandboxError, match="its packages are not installed") as caught:
        find_packages(task, SessionSpec(), [])
    assert caught.value.hint.startswith(remedy)
    notes: list[str] = []
    assert (
        find_packages(task, SessionSpec(sandbox="docker", image="one-with-torch"), notes) is None and remedy in notes[0]
    )
    house = find_task("regressionKaggleHousePrice").under(variant="tiny")  # its baseline needs nothing but Python
    assert examine(house).verdict == "yes" and find_packages(house, SessionSpec(), notes) is None
