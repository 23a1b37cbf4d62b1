"""Images with a label: arrays of pixels; the labels of the test images are held back."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from typing import Any

import numpy as np

from workbench.tasks.making import Making, SourceError

CLASSES = 10
VALIDATION_SHARE = 5
"""One in so many of the test images is scored by `validate`, the others by `submit`."""
NOISE = 230.0
"""Of the stand-in, in grey levels: so that a good model and a bad one differ."""

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def prepare_cifar10(making: Making) -> None:
    """CIFAR-10: 32 × 32 pixels, three colours."""
    write(making, "img", (32, 32, 3), {"train": 50_000, "test": 10_000})


def prepare_fashion_mnist(making: Making) -> None:
    """Fashion-MNIST: 28 × 28 pixels, grey."""
    write(making, "image", (28, 28), {"train": 60_000, "test": 10_000})


def read_fashion_mnist(making: Making) -> dict[str, Any]:
    """Rows by split, from files in the format of MNIST (IDX): four bytes, the sizes, the values."""

    def values(name: str) -> Pixels:
        data = gzip.decompress((making.source / name).read_bytes())
        sizes = np.frombuffer(data, ">u4", count=data[3], offset=4)
        if data[:3] != b"\0\0\x08" or len(data) != 4 + sizes.nbytes + sizes.prod(dtype=np.int64):
            raise SourceError(f"{making.source / name} is no file of small numbers in the format of MNIST")
        return np.frombuffer(data, np.uint8, offset=4 + sizes.nbytes).reshape(sizes)

    def rows(name: str) -> Iterator[dict[str, Any]]:
        images, labels = values(f"{name}-images-idx3-ubyte.gz"), values(f"{name}-labels-idx1-ubyte.gz")
        return ({"image": image, "label": int(label)} for image, label in zip(images, labels, strict=True))

    return {"train": rows("train"), "test": rows("t10k")}


def stand_in_cifar10(making: Making) -> dict[str, Any]:
    """Ten coloured patterns, shifted, in noise."""
    return patterns(making, "img", (32, 32, 3))


def stand_in_fashion_mnist(making: Making) -> dict[str, Any]:
    """Ten grey patterns, shifted, in noise."""
    return patterns(making, "image", (28, 28))


def write(making: Making, field: str, shape: tuple[int, ...], sizes: dict[str, int]) -> None:
    """Public: images of both splits, labels of the training split. Secret: test labels, and which of the two scores."""
    labels: dict[str, Any] = {}
    for split, size in sizes.items():
        images, labels[split] = arrays(making, split, field, shape)
        if not making.options and len(images) != size:  # a stand-in has options
            raise SourceError(f"the split {split} has {len(images):,} images, not {size:,}: it is not this dataset")
        np.save(making.public / f"{split}_images.npy", images)
    np.save(making.public / "train_labels.npy", labels["train"])
    rows = range(len(labels["test"]))
    validation = set(making.random("validation").sample(rows, len(rows) // VALIDATION_SHARE))
    with (making.secret / "test.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["label", "split"])
        writer.writerows([labels["test"][row], "validation" if row in validation else "test"] for row in rows)


def arrays(making: Making, split: str, field: str, shape: tuple[int, ...]) -> tuple[Pixels, Pixels]:
    """The pixels and the labels of a split. Raises SourceError."""
    images: list[Pixels] = []
    labels: list[int] = []
    for number, row in enumerate(making.rows[split]):
        pixels = np.asarray(row[field])
        if pixels.shape != shape or pixels.dtype != np.uint8 or not 0 <= row["label"] < CLASSES:
            raise SourceError(f"row {number} of {split} is no image of {shape} with a label from 0 to {CLASSES - 1}")
        images.append(pixels)
        labels.append(row["label"])
        if number % 1000 == 0:
            making.progress(0.0, f"decoding {split}: {number:,} images")
    return np.stack(images), np.array(labels, dtype=np.uint8)


def patterns(making: Making, field: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Rows by split. The dice are of the frozen kind: the same images with any version of numpy."""
    dice = np.random.RandomState(making.seed)
    size, colours = shape[0], shape[2:]
    coarse = dice.random_sample((CLASSES, 4, 4, *colours))
    contrast = 90.0 if colours else 150.0
    prototypes = coarse.repeat(size // 4, axis=1).repeat(size // 4, axis=2) * contrast + 128.0 - contrast / 2

    def rows(count: int) -> Iterator[dict[str, Any]]:
        for number in range(count):
            label = number % CLASSES if number < CLASSES else int(dice.randint(CLASSES))
            down, right = (int(step) for step in dice.randint(-6, 7, size=2))
            shifted = np.roll(prototypes[label], (down, right), axis=(0, 1))
            noisy = shifted + (dice.random_sample(shape) - 0.5) * 2 * NOISE
            yield {field: noisy.clip(0, 255).astype(np.uint8), "label": label}

    return {split: list(rows(int(making.options[split]))) for split in ("train", "test")}
