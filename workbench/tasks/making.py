"""The argument of a dataset's Python function: where the source is, and where the prepared parts go."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

Rows = Mapping[str, Iterable[Mapping[str, Any]]]
"""Rows by split, as the Hugging Face library has them."""
Progress = Callable[[float, str], None]
"""Called with how far the work is, as a fraction, and what it is doing."""
_PIECE = 64 << 20


class SourceError(Exception):
    """The source of a dataset is not as expected. `str()` is for the user: what, where, what to do."""


class Making(msgspec.Struct):
    """The argument of the function that prepares a dataset."""

    source: Path
    """Files that the user brought, or that a stand-in's generator wrote."""
    public: Path
    """What the agent sees, read-only."""
    secret: Path
    """What only an evaluator sees: held-out labels, instances."""
    mlgym: Path
    """What the agent sees under MLGym's protocol, where that differs; else left empty."""
    seed: int
    options: Mapping[str, Any]
    progress: Progress
    rows: Rows = msgspec.field(default_factory=dict)
    """Of a Hugging Face source."""
    files: Mapping[str, Path] = msgspec.field(default_factory=dict)
    """Files of a Hub source, by their path in the repository; of a stand-in, all that its generator wrote."""

    def random(self, purpose: str = "") -> random.Random:
        """Random numbers that depend on the seed and the purpose alone."""
        return random.Random(f"{self.seed} {purpose}")

    def copy(self, file: Path, target: Path) -> None:
        """Copy a large file, showing how far it is; on file systems that can, its blocks are shared. Raises OSError."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as source, target.open("wb") as stream:
            inside, outside = source.fileno(), stream.fileno()
            total, done = os.fstat(inside).st_size, 0
            while done < total:
                self.progress(done / total, f"copying {file.name}")
                try:
                    count = os.copy_file_range(inside, outside, _PIECE, done, done)
                except OSError:  # between some file systems it cannot
                    count = os.pwrite(outside, os.pread(inside, _PIECE, done), done)
                if not count:
                    raise OSError(0, "it became shorter while it was copied", str(file))
                done += count
