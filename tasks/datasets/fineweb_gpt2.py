"""FineWeb as GPT-2 tokens: training shards for the agent; of the validation shard, the parts that are scored are kept.

A shard is a header of 256 little-endian 32-bit integers (20240520, 1, the number of tokens), and 16-bit tokens.
"""

from __future__ import annotations

import json
import os
import struct
from array import array
from pathlib import Path

from workbench.tasks.making import Making, SourceError

MAGIC, VERSION, HEADER_BYTES = 20240520, 1, 1024
FOLDER, SHARD = "fineweb10B", "fineweb_val_000000.bin"
SEQUENCE, TEST_TOKENS, VALIDATION_TOKENS, VOCABULARY = 1024, 10_485_760, 2_097_152, 50_304
TINY_SEQUENCE, TINY_TEST, TINY_VALIDATION, TINY_VOCABULARY = 64, 16_384, 8_192, 320
TINY_SHARD = 400_000


def prepare(making: Making) -> None:
    """Public: training shards, and a part of the validation shard. Secret: the first tokens of it, and the next ones.

    MLGym's protocol gives the whole validation shard to the agent.
    """
    shards = dict(making.files)
    whole = next((path for name, path in shards.items() if Path(name).name == SHARD), None)
    if whole is None:
        raise SourceError(f"there is no {SHARD} among {', '.join(sorted(shards))}")
    size = count_tokens(whole)
    tiny = size < TEST_TOKENS
    sequence, test, validation, vocabulary = (
        (TINY_SEQUENCE, TINY_TEST, TINY_VALIDATION, TINY_VOCABULARY)
        if tiny
        else (SEQUENCE, TEST_TOKENS, VALIDATION_TOKENS, VOCABULARY)
    )
    if size < 2 * (test + validation):
        raise SourceError(f"{whole} has {size:,} tokens, too few: it is not the validation shard")
    about = json.dumps({"sequence": sequence, "vocabulary": vocabulary})
    for folder in (making.public, making.mlgym, making.secret):
        (folder / "meta.json").write_text(about, encoding="utf-8")
    for name, path in sorted(shards.items()):
        if path != whole:
            count_tokens(path)
            making.copy(path, making.public / FOLDER / Path(name).name)
            (making.mlgym / FOLDER).mkdir(exist_ok=True)
            os.link(making.public / FOLDER / Path(name).name, making.mlgym / FOLDER / Path(name).name)
    making.copy(whole, making.mlgym / FOLDER / SHARD)
    # One token more than is scored: each is predicted from those before it.
    write_shard(making.secret / "test.bin", read_tokens(whole, 0, test + 1))
    write_shard(making.secret / "validation.bin", read_tokens(whole, test + 1, validation + 1))
    shown = test + validation + 2
    write_shard(making.public / FOLDER / SHARD, read_tokens(whole, shown, min(size - shown, test)))


def stand_in(making: Making) -> None:
    """Shards of an invented language: words of a few tokens, each word followed by some and not by others."""
    dice = making.random("language")
    words = [[dice.randrange(1, TINY_VOCABULARY) for _ in range(dice.randint(1, 4))] for _ in range(400)]
    followers = [[dice.randrange(len(words)) for _ in range(12)] for _ in words]
    for name, tokens in (("fineweb_train_000001.bin", TINY_SHARD), (SHARD, 4 * (TINY_TEST + TINY_VALIDATION))):
        text, word = array("H"), 0
        while len(text) < tokens:
            text.extend(words[word])
            nearer = int(12 * dice.random() ** 2)  # the first followers are the most frequent
            word = followers[word][nearer] if dice.random() < 0.95 else dice.randrange(len(words))
        write_shard(making.source / name, text[:tokens])


def count_tokens(file: Path) -> int:
    """How many a shard has. Raises SourceError for a file that is none."""
    with file.open("rb") as stream:
        header = stream.read(HEADER_BYTES)
    if len(header) == HEADER_BYTES:
        magic, version, count = struct.unpack("<3i", header[:12])
        if (magic, version) == (MAGIC, VERSION) and file.stat().st_size == HEADER_BYTES + 2 * count:
            return int(count)
    raise SourceError(f"{file} is no shard of tokens, or cut short: delete it, and fetch it again")


def read_tokens(file: Path, first: int, count: int) -> array[int]:
    """Part of a shard."""
    tokens = array("H")
    with file.open("rb") as stream:
        stream.seek(HEADER_BYTES + 2 * first)
        tokens.frombytes(stream.read(2 * count))
    return tokens


def write_shard(file: Path, tokens: array[int]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        stream.write(struct.pack("<3i", MAGIC, VERSION, len(tokens)).ljust(HEADER_BYTES, b"\0"))
        stream.write(tokens.tobytes())
