"""What sessions are likely to cost: as those did that are over, of the same task, agent and model."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

import msgspec

from workbench.library.index import runs
from workbench.session.run import Run
from workbench.session.store import sessions_root
from workbench.sweep.plan import Job

Range = tuple[float, float, float]
"""Median, least, most."""


class Estimate(msgspec.Struct, frozen=True):
    """Of one session. None: no finished session says."""

    sessions: int
    """On which it stands."""
    cost: Range | None
    seconds: Range | None


def estimates(jobs: Iterable[Job], known: Iterable[Run] | None = None) -> dict[str, Estimate]:
    """Key of a job → its estimate; absent where no such session is over. `known`: else all of the user's sessions."""
    finished: dict[tuple[str, str], list[Run]] = {}
    for run in runs([sessions_root()]) if known is None else known:
        if not run.live and run.steps and run.status not in ("crashed", "damaged", "interrupted"):
            finished.setdefault((run.task, run.model), []).append(run)
    found = {}
    for job in jobs:
        spec = job.spec
        alike = [
            run for run in finished.get((spec.task, spec.model or "scripted:demo"), [])
            if not spec.agent or run.agent == spec.agent
        ]  # fmt: skip
        if alike:
            found[job.key] = Estimate(
                len(alike), _range(run.cost for run in alike), _range(run.working for run in alike)
            )
    return found


def _range(values: Iterable[float | None]) -> Range | None:
    known = [value for value in values if value is not None]
    return (median(known), min(known), max(known)) if known else None
