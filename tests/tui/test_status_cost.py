"""What the status line says of money."""

from __future__ import annotations

import pytest

from workbench.session import events as ev
from workbench.session.events import Limits, Usage
from workbench.session.state import Standing, fold
from workbench.session.status import LiveStatus
from workbench.tui.actions import Situation
from workbench.tui.screens.status import status_parts


def shown(limits: Limits, *usages: Usage) -> list[str]:
    """The parts of the line after calls that used so much."""
    started = ev.SessionStarted(format=1, task="t", limits=limits)
    state = fold([started, *(ev.ModelResponded(text="a", usage=usage) for usage in usages)])
    parts = status_parts(
        state,
        Situation(LiveStatus(), "auto", drives=True),
        Standing(),
        cursor=0,
        following=True,
        phase_seconds=0.0,
        message="",
        working=0.0,
    )
    return [part.text for part in parts]


PRICED, UNPRICED = Usage(input_tokens=1000, output_tokens=50, cost=0.25), Usage(input_tokens=1000, output_tokens=50)


@pytest.mark.parametrize(
    ("limits", "usages", "says"),
    [
        (Limits(cost=4.0), [PRICED], ["$0.25/$4.00"]),
        (Limits(), [PRICED, PRICED], ["$0.50"]),
        (Limits(cost=4.0, tokens=20_000), [UNPRICED], ["price unknown: 1,050/20,000 tokens"]),
        (Limits(), [PRICED, UNPRICED], ["$0.25", "price unknown: 1,050 tokens"]),
        (Limits(cost=4.0), [], []),
    ],
)
def test_the_cost_is_shown_or_that_no_price_is_known(limits: Limits, usages: list[Usage], says: list[str]) -> None:
    assert [text for text in shown(limits, *usages) if "$" in text or "price" in text] == says
