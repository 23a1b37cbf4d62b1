"""What the training programs of runs printed, as curves side by side."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase

from workbench.analysis.plot import with_names
from workbench.formats.open import open_recording
from workbench.library import curves as printed
from workbench.library.metrics import of_step, patterns_of
from workbench.library.training import split_of
from workbench.session.recording import RecordingError
from workbench.session.run import Run
from workbench.session.state import fold

Curves = dict[str, list[tuple[float, float]]]
"""Name of a metric → (step of the program, value)."""
MOST = len(ascii_uppercase)
"""Runs whose curves are drawn at once."""


def curves_of(run: Run) -> Curves:
    """Of each metric the curve of the last command that printed it more than once; none of what cannot be read."""
    try:
        recording = open_recording(Path(run.path), bare=True)
    except (RecordingError, OSError):
        return {}
    state = fold(recording.events)
    patterns = patterns_of(state)
    curves: Curves = {}
    for step in state.steps[1:]:
        for event in printed.Curves(of_step(None, step, patterns)).events(step.number):
            points = zip(event.steps, event.values, strict=True)
            placed = [(at, math.nan if value is None else value) for at, value in points if at is not None]
            if len(placed) > 1:
                curves[event.name] = placed
    return curves


def names_of(found: Mapping[str, Curves]) -> list[str]:
    """The metrics of several runs: what most printed, of a validation rather than of training, losses first."""
    counts = Counter(name for curves in found.values() for name in curves)
    return sorted(counts, key=lambda name: (-counts[name], split_of(name) != "val", not printed.is_loss(name), name))


def plot_curves(found: Mapping[str, Curves], metric: str, width: int, height: int) -> str:
    """The curves of a metric, each run's in a letter of its own; below them, whose letter it is."""
    having: Sequence[str] = [name for name, curves in found.items() if metric in curves]
    letters = dict(zip(ascii_uppercase, having, strict=False))
    lines = {letter: found[name][metric] for letter, name in letters.items()}
    return with_names(f"{metric}, over the steps of the program", lines, letters, width, height)
