"""MS-COCO 2017: pictures in archives, with several captions each; those of the test pictures are held back."""

from __future__ import annotations

import csv
import io
import json
import random
import zipfile
from collections.abc import Iterator
from typing import Any

from workbench.tasks.making import Making, SourceError

ANNOTATIONS = "annotations_trainval2017.zip"
VALIDATION_SHARE = 5
"""One in so many of the test pictures is scored by `validate`, the others by `submit`."""

COLOURS = {"red": (200, 40, 40), "green": (40, 160, 60), "blue": (50, 70, 210), "yellow": (225, 205, 50)}
GROUNDS = {"white": (240, 240, 240), "black": (20, 20, 20), "grey": (128, 128, 128)}
SHAPES = ("circle", "square", "triangle")
PLACES = {"left": (0.3, 0.5), "right": (0.7, 0.5), "top": (0.5, 0.3), "bottom": (0.5, 0.7)}
SENTENCES = (
    "A {colour} {shape} on a {ground} background.",
    "A {colour} {shape} at the {place} of a {ground} picture.",
    "There is a {colour} {shape} on the {ground} background.",
    "A picture of a {colour} {shape} at the {place}.",
    "The {shape} at the {place} is {colour}.",
)
SIDE = 64
"""Pixels of the stand-in's pictures."""


def prepare(making: Making) -> None:
    """Public: both archives of pictures, captions of the training ones. Secret: captions of the test ones."""
    train, test = captions(making, "train2017"), captions(making, "val2017")
    (making.public / "train.json").write_text(json.dumps(train), encoding="utf-8")
    with (making.public / "test.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["image_id", "file"])
        writer.writerows([row["image_id"], row["file"]] for row in test)
    rows = range(len(test))
    validation = set(making.random("validation").sample(rows, len(rows) // VALIDATION_SHARE))
    secret = {
        str(row["image_id"]): {
            "split": "validation" if number in validation else "test",
            "captions": row["captions"],
        }
        for number, row in enumerate(test)
    }
    (making.secret / "captions.json").write_text(json.dumps(secret), encoding="utf-8")
    for part in ("train2017", "val2017"):
        making.copy(making.files[f"{part}.zip"], making.public / f"{part}.zip")


def captions(making: Making, part: str) -> list[dict[str, Any]]:
    """Id, file in the archive, and captions of each picture of a part that has any. Raises SourceError."""
    making.progress(0.0, f"reading the captions of {part}")
    try:
        with zipfile.ZipFile(making.files[ANNOTATIONS]) as archive:
            found = json.loads(archive.read(f"annotations/captions_{part}.json"))
        with zipfile.ZipFile(making.files[f"{part}.zip"]) as archive:
            there = set(archive.namelist())
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise SourceError(f"{ANNOTATIONS} or {part}.zip is not the archive of cocodataset.org: {error}") from error
    texts: dict[int, list[str]] = {}
    for item in found["annotations"]:
        texts.setdefault(int(item["image_id"]), []).append(str(item["caption"]).strip())
    rows = [
        {"image_id": image["id"], "file": f"{part}/{image['file_name']}", "captions": texts[image["id"]]}
        for image in sorted(found["images"], key=lambda image: int(image["id"]))
        if image["id"] in texts
    ]
    lacking = [row["file"] for row in rows if row["file"] not in there]
    if lacking or not rows:
        raise SourceError(f"{part}.zip lacks {len(lacking):,} of the {len(rows):,} pictures: {', '.join(lacking[:3])}")
    return rows


def stand_in(making: Making) -> None:
    """Archives of the same form, with pictures of one coloured shape each."""
    with zipfile.ZipFile(making.source / ANNOTATIONS, "w", zipfile.ZIP_DEFLATED) as annotations:
        for part, name, first in (("train2017", "train", 1), ("val2017", "test", 100_001)):
            dice = making.random(part)
            images, texts = [], []
            with zipfile.ZipFile(making.source / f"{part}.zip", "w") as archive:
                for ident in range(first, first + int(making.options[name])):
                    file = f"{ident:012d}.jpg"
                    picture, sentences = scene(dice)
                    archive.writestr(zipfile.ZipInfo(f"{part}/{file}"), picture)
                    images.append({"id": ident, "file_name": file})
                    texts += [{"image_id": ident, "caption": sentence} for sentence in sentences]
            data = json.dumps({"images": images, "annotations": texts})
            annotations.writestr(zipfile.ZipInfo(f"annotations/captions_{part}.json"), data)


def scene(dice: random.Random) -> tuple[bytes, Iterator[str]]:
    """A picture as JPEG, and sentences about it."""
    from PIL import Image, ImageDraw

    said = {
        "colour": dice.choice(sorted(COLOURS)),
        "shape": dice.choice(SHAPES),
        "ground": dice.choice(sorted(GROUNDS)),
        "place": dice.choice(sorted(PLACES)),
    }
    image = Image.new("RGB", (SIDE, SIDE), GROUNDS[said["ground"]])
    draw = ImageDraw.Draw(image)
    across, down = (SIDE * share + dice.uniform(-3, 3) for share in PLACES[said["place"]])
    half = SIDE * dice.uniform(0.14, 0.24)
    box = (across - half, down - half, across + half, down + half)
    colour = COLOURS[said["colour"]]
    if said["shape"] == "circle":
        draw.ellipse(box, fill=colour)
    elif said["shape"] == "square":
        draw.rectangle(box, fill=colour)
    else:
        corners = [(across, down - half), (across - half, down + half), (across + half, down + half)]
        draw.polygon(corners, fill=colour)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=92)
    return stream.getvalue(), (sentence.format(**said) for sentence in SENTENCES)
