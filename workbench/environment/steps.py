"""One step of a session: the action that was proposed runs, and the log says what came of it."""

from __future__ import annotations

import asyncio

from workbench.environment.episode import Episode
from workbench.environment.live import LiveSession
from workbench.sandbox.shell import CommandResult
from workbench.session import events as ev


async def carry_out(live: LiveSession, episode: Episode, number: int) -> None:
    """Run the action of step `number` as it stands in the state, for no longer than the session has left.

    Raises SandboxError, LogError or OSError.
    """
    step = live.state.steps[number]
    episode.begin_step(number)
    live.emit(ev.ActionStarted(step=number, author=step.edited_by or step.author, action=step.action))
    began = live.clock.elapsed
    seconds = live.state.limits.seconds
    left = None if seconds is None else seconds - live.clock.working
    result = await episode.run(step.action, at_most=left)
    ended = live.clock.elapsed
    raw = None
    try:
        if result.raw:  # up to 8 MB: not on the event loop
            raw = await asyncio.to_thread(episode.objects.put, result.raw)
        # First, so that a step that the log says is over has its files, whenever this process is killed.
        if not result.refused:
            await episode.snapshot(number)
    finally:
        finish(live, episode, number, result, began, ended, raw)


def finish(
    live: LiveSession,
    episode: Episode,
    number: int,
    result: CommandResult,
    began: float,
    ended: float,
    raw: str | None = None,
) -> None:
    """Log the outcome of step `number`, whose command ran from `began` to `ended` on the session's clock. `raw` is the
    object with what it printed, where that is stored already.
    """
    live.cast.flush(end_of_command=True)
    episode.record(number, result, (round(began, 6), round(ended, 6)), raw)
