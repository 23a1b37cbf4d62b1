"""How numbers, authors and outcomes are written: one glyph and one word for each thing, the same on every pane.

Glyphs are single-width, from the Basic Multilingual Plane, and never emoji.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from workbench.session.events import Mode, ScoreRecorded
from workbench.session.outcome import Failure, Kind
from workbench.session.state import SessionState, Step
from workbench.session.status import Resources
from workbench.text import clock as clock
from workbench.text import megabytes

EDITED = "✎"
ASKED_AGAIN = "↻"
CHANGED_AGENT = "⇄"


class Sign(NamedTuple):
    """A glyph, the word for it, and the theme colour of both (a CSS variable without `$`)."""

    glyph: str
    word: str
    colour: str


MODES: dict[Mode, Sign] = {
    "auto": Sign("▶", "auto", "primary"),
    "step": Sign("▷", "step", "primary"),
    "paused": Sign("‖", "paused", "warning"),
    "human": Sign("●", "you drive", "warning"),
}
REPLAY = Sign("◂▸", "replay", "accent")
FOLLOWED = Sign("◉", "looking on", "warning")
ENDED = Sign("■", "ended", "accent")

AUTHORS = {
    "model": Sign("◆", "model", "primary"),
    "policy": Sign("◇", "policy", "primary"),
    "human": Sign("●", "human", "warning"),
}
FAILED: dict[Kind, Sign] = {
    "format": Sign("≠", "no action", "error"),
    "timeout": Sign("◷", "timed out", "error"),
    "refused": Sign("!", "refused", "error"),
    "traceback": Sign("✗", "traceback", "error"),
    "exit": Sign("✗", "failed", "error"),
    "empty": Sign("∅", "nothing", "error"),
    "score": Sign("✗", "no score", "error"),
    "repeat": Sign("↺", "repeated", "warning"),
}
"""What became of a step, where the log has no exit code; and its mark in the bar of steps."""
_NOBODY = Sign("·", "", "secondary")


def author_sign(author: str) -> Sign:
    """The sign of an author such as `model:gpt` by its kind."""
    return AUTHORS.get(author.partition(":")[0], _NOBODY)


def author_name(author: str) -> str:
    """`human:ann` as `ann`; others as they are."""
    kind, _, name = author.partition(":")
    return name if kind == "human" and name else author


def outcome(step: Step, failures: Sequence[Failure] = ()) -> Sign:
    """What became of a step."""
    if step.number == 0:
        return Sign("", "start", "secondary")
    if step.status == "proposed":
        return Sign("?", "proposed", "warning")
    if step.status == "running":
        return Sign("…", "running", "primary")
    if step.status == "rejected":
        return Sign("⊘", "rejected", "secondary")
    kinds = {failure.kind for failure in failures}
    if not step.executed and "format" in kinds:
        return FAILED["format"]
    if not step.executed and step.author.startswith("policy:") and step.action.startswith("exit_"):
        return ENDED  # what another program writes in the place of an action
    if step.status == "refused" or "refused" in kinds:
        return FAILED["refused"]
    if step.timed_out:
        return FAILED["timeout"]
    if step.interrupted:
        return Sign("■", "interrupted", "warning")
    if step.exit_code is None:
        kind = next((each.kind for each in failures if each.kind in ("format", "timeout", "traceback", "exit")), None)
        return FAILED[kind] if kind and not (kind == "format" and step.observation) else Sign("·", "done", "secondary")
    if step.exit_code == 0:
        return Sign("✓", "ok", "success")
    return Sign("✗", f"exit {step.exit_code}", "error")


def seconds(value: float) -> str:
    """A duration in at most five characters: `0.12s`, `4.2s`, `37s`, `12m`, `3h05`."""
    if value < 0.995:
        return f"{value:.2f}s"
    if value < 9.95:
        return f"{value:.1f}s"
    if value < 99.5:
        return f"{value:.0f}s"
    minutes = round(value / 60)
    return f"{minutes}m" if minutes < 100 else f"{minutes // 60}h{minutes % 60:02d}"


def number(value: float) -> str:
    """A score: four significant digits, without needless zeros beyond three decimals."""
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if value == 0 or 0.001 <= abs(value) < 10_000:
        digits = 3 if abs(value) < 100 else 1
        return f"{value:.{digits}f}"
    return f"{value:.2e}"


def money(value: float) -> str:
    """US dollars."""
    return f"${value:.2f}" if value >= 0.1 or value == 0 else f"${value:.3f}"


def resources(used: Resources, *, whole: bool = False) -> str:
    """What a command uses, in a few words; `whole`: with what is left."""

    def of(name: str, taken: int | None, free: int | None) -> list[str]:
        said = [megabytes(taken)] if taken is not None else []
        said += [f"{megabytes(free)} free"] if whole and free is not None else []
        return [f"{name} {', '.join(said)}"] if said else []

    parts = [f"{used.cpus:.1f} CPU"] if used.cpus is not None else []
    parts += of("memory", used.memory, used.memory_free)
    parts += of("workspace", used.workspace, used.disk_free) if whole else []
    for gpu in used.gpus:
        parts += [f"GPU {gpu.index} {gpu.busy:.0%}", *of("memory", gpu.memory, gpu.memory_total - gpu.memory)]
    return " · ".join(parts)


def asked_now(state: SessionState) -> str:
    """The model that is asked, and its temperature where that was changed."""
    change = state.agent_change
    if change is None or change.temperature is None:
        return state.model
    return f"{state.model} t={change.temperature:g}"


def score_change(state: SessionState, entry: ScoreRecorded, before: float | None) -> Sign:
    """Whether a score is better than the one before it: an arrow never means anything else. What is worse than the
    baseline never has the colour of a success.
    """
    value, colour = entry.score or 0.0, "warning" if state.against_baseline(entry) == "worse" else "success"
    if before is None:
        return Sign("▪", "score", colour)
    if value == before:
        return Sign("=", "same", "secondary")
    if state.better(value, before):
        return Sign("▲", "better", colour)
    return Sign("▼", "worse", "warning")


def sandbox_badge(sandbox: Mapping[str, object], declared: str = "") -> tuple[str, bool]:
    """What isolates the agent, and whether that is a warning."""
    if sandbox.get("protected") is False:
        return "UNPROTECTED", True
    backend = str(sandbox.get("backend") or declared)
    isolation = str(sandbox.get("isolation"))
    name = isolation if isolation in ("bubblewrap", "landlock") else backend
    return (f"{name} + network" if sandbox.get("network") and name else name), False
