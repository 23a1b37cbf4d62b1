"""Secrets and seeds that take no time. The workbench stretches both on purpose: who guesses them is to pay for it."""

from __future__ import annotations

import sys

_ROUNDS = {
    ("workbench.environment.assembly", "SECRET_ROUNDS"): 500,
    ("workbench.scoring.seeds", "STRETCH_ROUNDS"): 100,
}


def quick_secrets() -> None:
    """From now on, in this process: half a second less for each session that is scored, a tenth for each seed."""
    for (module, name), rounds in _ROUNDS.items():
        if module in sys.modules:
            assert getattr(sys.modules[module], name) >= rounds
            setattr(sys.modules[module], name, rounds)
