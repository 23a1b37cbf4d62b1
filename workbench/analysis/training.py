"""What the training programs of runs printed, as curves side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
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
_LONGEST, _CONTEXT = 40, 4
"""Characters of an id that are shown, and of what it has in common with the others."""


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
            placed = [(at, value) for at, value in printed.points_of(event) if at is not None]
            if len(placed) > 1:
                curves[event.name] = placed
    return curves


def names_of(found: Iterable[Curves]) -> list[str]:
    """The metrics of several runs: what most printed, of a validation rather than of training, losses first."""
    counts = Counter(name for curves in found for name in curves)
    return sorted(counts, key=lambda name: (-counts[name], split_of(name) != "val", not printed.is_loss(name), name))


def apart(idents: Sequence[str]) -> list[str]:
    """Ids of runs without their common beginning, cut at their beginning where they are long."""
    common = 0
    if len(idents) > 1:
        pairs = enumerate(zip(min(idents), max(idents), strict=False))  # those between begin as these both do
        common = next((at for at, (one, other) in pairs if one != other), len(min(idents)))
    ends = (max(common - _CONTEXT, len(ident) - _LONGEST, 0) for ident in idents)
    return [f"{'…' if start else ''}{ident[start:]}" for ident, start in zip(idents, ends, strict=True)]


def plot_curves(found: Sequence[tuple[str, Curves]], metric: str, width: int, height: int) -> str:
    """The curves of a metric, each run's in a letter of its own; below them, whose letter it is. Names may repeat."""
    having = [(name, curves[metric]) for name, curves in found if metric in curves]
    lettered = list(zip(ascii_uppercase, having, strict=False))
    lines = {letter: points for letter, (_, points) in lettered}
    names = {letter: name for letter, (name, _) in lettered}
    return with_names(f"{metric}, over the steps of the program", lines, names, width, height)
