"""The status line says how far an evaluation is."""

from __future__ import annotations

from workbench.session import events as ev
from workbench.session.state import fold
from workbench.tui.actions import Situation
from workbench.tui.scores import Standing
from workbench.tui.screens.status import status_parts


def test_an_evaluation_is_followed() -> None:
    now = Situation(live=True, phase="executing", mode="auto", progress="playing 10,000 games 40%")
    state = fold([ev.SessionStarted(format=1, task="t")])
    parts = status_parts(state, now, Standing(), cursor=0, following=True, phase_seconds=2.0, message="", working=2.0)
    assert any(part.text.startswith("playing 10,000 games 40%") for part in parts)
