"""What the reader of every foreign format needs: the events of a recording, in the order in which they happened."""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from workbench.session import events as ev
from workbench.session.events import Event, Metric, Verdict
from workbench.session.state import fold

_MOST_TOKENS = 1 << 53


class TrajectoryBuilder:
    """Events, and what is wrong or assumed. A reader for a format gives it what it finds."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.problems: list[str] = []
        self.metric: Metric | None = None
        """The one that counts, as soon as it is known."""
        self.elapsed = 0.0

    def emit(self, event: Event) -> None:
        """The next event."""
        self.events.append(msgspec.structs.replace(event, seq=len(self.events), elapsed=self.elapsed))

    def step(
        self, number: int, author: str, action: str, observation: str, *, thought: str = "", duration: float = 0.0,
        **outcome: Any,
    ) -> None:  # fmt: skip
        """An action that was proposed, ran, and gave an observation. `outcome`: more fields of `action.finished`."""
        self.emit(ev.ActionProposed(step=number, author=author, action=action, thought=thought))
        self.emit(ev.ActionStarted(step=number, author=author, action=action))
        self.elapsed += duration
        outcome.setdefault("exit_code", None)
        self.emit(ev.ActionFinished(step=number, observation=observation, duration=duration, **outcome))

    def score(
        self, number: int, kind: Literal["validate", "submit", "autosubmit"], verdict: Verdict,
        metrics: dict[str, float], message: str = "", artifact: str = "",
    ) -> None:  # fmt: skip
        """An entry of the ledger."""
        self.emit(
            ev.ScoreRecorded(
                step=number,
                kind=kind,
                verdict=verdict,
                metrics=metrics,
                score=metrics.get(self.metric.name) if self.metric and verdict == "ok" else None,
                artifact_name=artifact.rpartition("/")[2],
                message=message,
                visible_to_agent=kind == "validate",
                isolation="",
            )
        )

    def answer(self, model: str, text: str, sent: float = 0, received: float = 0, cost: float | None = None) -> None:
        """An answer of the model, with its tokens and dollars as far as known; without text, those of a whole run."""
        used = ev.Usage(
            input_tokens=int(min(sent, _MOST_TOKENS)), output_tokens=int(min(received, _MOST_TOKENS)), cost=cost
        )
        self.emit(ev.ModelResponded(text=text, model=model, usage=used if used != ev.Usage() else None))

    def end(self, exit_status: str, reason: str, session: str, steps: int) -> None:
        """The run is over."""
        scores = fold(self.events).final_scores()
        self.emit(ev.SessionEnded(exit_status=exit_status, reason=reason, session=session, steps=steps, scores=scores))


def numbers(entry: Any) -> dict[str, float]:
    """The finite numbers of a JSON object."""
    if not isinstance(entry, dict):
        return {}
    return {
        name: float(value)
        for name, value in entry.items()
        if isinstance(name, str) and isinstance(value, int | float) and abs(value) <= 1e300 and math.isfinite(value)
    }
