"""What may still be validated, and whether something better is submitted than what is in the workspace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from workbench.isolation.spec import SandboxError
from workbench.sandbox.base import Sandbox
from workbench.session.events import ScoreRecorded
from workbench.session.objects import ObjectStore
from workbench.session.state import SessionState
from workbench.tasks.catalogue import Task
from workbench.text import many, number

MEASURED = "policy:submit-best"
"""Who validates what is submitted without having been validated."""

Ask = Callable[[str], Awaitable[bool]]


def used_up(state: SessionState, running: int) -> str:
    """Why nothing more can be validated while so many evaluations run; empty where it can."""
    limit = state.limits.validates
    if limit is None or state.validations + running < limit:
        return ""
    return f"the budget of {many(limit, 'validation')} is used up; `submit` scores the work for good"


def submittable(best: ScoreRecorded | None) -> bool:
    """Whether an entry of the ledger is a validated artifact that is still there to be submitted."""
    return best is not None and best.score is not None and best.kind == "validate" and best.artifact is not None


async def better_submission(state: SessionState, digest: str, ask: Ask | None) -> ScoreRecorded | None:
    """The entry of the ledger whose artifact takes the place of the one of the workspace, of this digest: it scored
    better, and the session is to submit its best, or the person who is asked says so. None where none does.
    """
    best = state.best_score()
    if not submittable(best) or best is None or best.score is None or best.artifact == digest:
        return None
    known = [entry for entry in state.scores_until() if (entry.artifact, entry.split) == (digest, best.split)]
    score = known[-1].score if known else None
    if score is not None and not state.better(best.score, score):
        return None
    if state.started is not None and state.started.submit_best:
        return best
    if ask is None:
        return None
    worth = "was never validated" if not known else f"scored {number(score)}" if score is not None else "did not score"
    question = (
        f"The work as it is now {worth}; that of step {best.step} scored {number(best.score)}. Submit that of step "
        f"{best.step} instead?"
    )
    return best if await ask(question) else None


async def worth_measuring(state: SessionState, task: Task, sandbox: Sandbox, store: ObjectStore) -> bool:
    """Whether the session is to submit its best, and nobody knows how good the work is as it is now."""
    best = state.best_score()
    if state.started is None or not state.started.submit_best or best is None or best.kind != "validate":
        return False
    from workbench.scoring.artifact import ArtifactError
    from workbench.scoring.submissions import take

    try:
        digest, _ = await take(task, sandbox, store, validation=True)
    except (ArtifactError, SandboxError):
        return False
    return all((entry.artifact, entry.split) != (digest, best.split) for entry in state.scores_until())


async def kept(task: Task, store: ObjectStore, digest: str) -> bytes | Path:
    """An artifact that was scored before, as it was."""
    return store.path(digest) if task.artifact.bundled else await asyncio.to_thread(store.get, digest)
