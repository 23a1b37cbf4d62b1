"""What the Python file of a dataset works with: where its source is, where the prepared parts go."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Rows = Mapping[str, Iterable[Mapping[str, Any]]]
"""Rows by split, as the Hugging Face library has them."""


class SourceError(Exception):
    """The source is not what it should be. `str()` is for the user: what, where, what to do."""


@dataclass
class Making:
    """Given to the function that prepares a dataset."""

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
    progress: Callable[[float, str], None]
    rows: Rows = field(default_factory=dict)
    """Of a Hugging Face source."""

    def random(self, purpose: str = "") -> random.Random:
        """Random numbers that depend on the seed and the purpose alone."""
        return random.Random(f"{self.seed} {purpose}")
