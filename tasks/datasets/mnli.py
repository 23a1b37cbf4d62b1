"""MultiNLI: does the first of two sentences entail or contradict the second? The matched pairs are held back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.tasks.making import Making, Rows, SourceError

ENTAILMENT, NEUTRAL, CONTRADICTION = range(3)
VALIDATION_SHARE = 5
"""One in so many of the held-out pairs is for `validate`, the others for `submit`."""

SIZES = ("small", "large", "tall", "short")
COLOURS = ("red", "green", "blue", "black", "white", "yellow")
THINGS = ("box", "ball", "book", "cup", "chair", "lamp", "table", "coat", "car", "door")
PLACES = ("kitchen", "garden", "street", "office", "school", "station", "shop", "museum")
OWNERS = ("woman", "man", "child", "teacher", "doctor", "neighbour")


def prepare(making: Making) -> None:
    """Public: training pairs and the mismatched ones, with labels. Secret: the matched ones, in two parts."""
    write(making.public / "train.jsonl", labelled(making.rows["train"]))
    write(making.public / "dev.jsonl", labelled(making.rows["mismatched"]))
    matched = list(labelled(making.rows["matched"]))
    if len(matched) < 2 * VALIDATION_SHARE:
        raise SourceError(f"only {len(matched)} labelled pairs in the matched split: it is not MultiNLI")
    order = list(range(len(matched)))
    making.random("split").shuffle(order)
    chosen = set(order[: len(order) // VALIDATION_SHARE])
    parts = {
        "validation": [pair for index, pair in enumerate(matched) if index in chosen],
        "test": [pair for index, pair in enumerate(matched) if index not in chosen],
        "all": matched,
    }
    for name, pairs in parts.items():
        write(making.secret / f"{name}.jsonl", pairs)


def labelled(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those with a label: some pairs have none, because the annotators did not agree."""
    for row in rows:
        if row["label"] in (ENTAILMENT, NEUTRAL, CONTRADICTION):
            yield {name: row[name] for name in ("premise", "hypothesis", "label")}


def write(file: Path, pairs: Iterable[Mapping[str, Any]]) -> None:
    with file.open("w", encoding="utf-8") as stream:
        for pair in pairs:
            stream.write(json.dumps(pair, ensure_ascii=False) + "\n")


def stand_in(making: Making) -> Rows:
    """Sentences about things, their colours and places; what the second one says follows, is denied, or is new."""
    dice = making.random("sentences")

    def pair() -> dict[str, Any]:
        size, colour, thing = dice.choice(SIZES), dice.choice(COLOURS), dice.choice(THINGS)
        place, owner = dice.choice(PLACES), dice.choice(OWNERS)
        label = dice.randrange(3)
        others = dice.sample([other for other in COLOURS if other != colour], 1)
        said = {
            ENTAILMENT: f"the {thing} is {dice.choice((colour, size))} .",
            NEUTRAL: f"the {thing} belongs to the {owner} .",
            CONTRADICTION: f"the {thing} is {dice.choice((f'not {colour}', *others))} .",
        }[label]
        premise = f"there is a {size} {colour} {thing} in the {place} ."
        return {"premise": premise, "hypothesis": said, "label": label}

    held_out = int(making.options["held_out"])
    counts = {"train": int(making.options["train"]), "matched": held_out, "mismatched": held_out}
    return {name: [pair() for _ in range(count)] for name, count in counts.items()}
