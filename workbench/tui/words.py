"""How numbers, authors and outcomes are written: one glyph and one word for each thing, the same on every pane.

Glyphs are single-width, from the Basic Multilingual Plane, and never emoji.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from workbench.session.events import Mode
from workbench.session.state import SessionState, Step

EDITED = "✎"
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
ENDED = Sign("■", "ended", "accent")

AUTHORS = {
    "model": Sign("◆", "model", "primary"),
    "policy": Sign("◇", "policy", "primary"),
    "human": Sign("●", "human", "warning"),
}
_NOBODY = Sign("·", "", "secondary")


def author_sign(author: str) -> Sign:
    """The sign of an author such as `model:gpt` by its kind."""
    return AUTHORS.get(author.partition(":")[0], _NOBODY)


def author_name(author: str) -> str:
    """`human:ann` as `ann`; others as they are."""
    kind, _, name = author.partition(":")
    return name if kind == "human" and name else author


def outcome(step: Step) -> Sign:
    """What became of a step."""
    if step.number == 0:
        return Sign("", "start", "secondary")
    if step.status == "proposed":
        return Sign("?", "proposed", "warning")
    if step.status == "running":
        return Sign("…", "running", "primary")
    if step.status == "rejected":
        return Sign("⊘", "rejected", "secondary")
    if step.status == "refused":
        return Sign("!", "refused", "error")
    if step.timed_out:
        return Sign("◷", "timed out", "error")
    if step.interrupted:
        return Sign("■", "interrupted", "warning")
    if step.exit_code is None:
        return Sign("·", "done", "secondary")
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


def clock(value: float) -> str:
    """A time of the session: `0:07`, `12:40`, `1:02:03`."""
    whole = int(value)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


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


def asked_now(state: SessionState) -> str:
    """The model that is asked, and its temperature where that was changed."""
    change = state.agent_change
    if change is None or change.temperature is None:
        return state.model
    return f"{state.model} t={change.temperature:g}"


def score_change(state: SessionState, value: float, before: float | None) -> Sign:
    """Whether a score is better than the one before it (or than the baseline). What is worse than the baseline never
    has the colour of a success.
    """
    if before is None or value == before:
        return Sign("=" if value == before else "▪", "same" if value == before else "score", "secondary")
    if state.better(value, before):
        return Sign("▲", "better", "warning" if state.worse_than_baseline(value) else "success")
    return Sign("▼", "worse", "warning")


def sandbox_badge(sandbox: Mapping[str, object], declared: str = "") -> tuple[str, bool]:
    """What isolates the agent, and whether that is a warning."""
    if sandbox.get("protected") is False:
        return "UNPROTECTED", True
    backend = str(sandbox.get("backend") or declared)
    name = "bubblewrap" if sandbox.get("isolation") == "bubblewrap" else backend
    return (f"{name} + network" if sandbox.get("network") and name else name), False
