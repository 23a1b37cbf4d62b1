"""A session whose actions come from outside, one call each: what the Gymnasium environment drives."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from workbench.environment.assembly import WINDOW, Assembled, SandboxName, Setting, assemble, user_name, versions
from workbench.environment.limits import autosubmission, exceeded
from workbench.environment.live import LiveSession
from workbench.environment.steps import carry_out
from workbench.sandbox.base import SandboxError
from workbench.session import events as ev
from workbench.session.events import Limits
from workbench.session.state import SessionState, Step
from workbench.session.store import new_session_folder
from workbench.tasks.catalogue import Task
from workbench.tasks.datasets import prepare_task


@dataclass(frozen=True)
class Plan:
    """What each session of an environment is begun with."""

    task: Task
    root: Path
    """Where session folders are made."""
    task_folder: str
    """The task's folder, for the log, where it was named by its path; else empty."""
    policy: str
    """Who acts: steps are signed `policy:<name>`."""
    sandbox: SandboxName = "local"
    unsafe_local: bool = False
    image: str | None = None
    window: int = WINDOW
    command_seconds: float | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def author(self) -> str:
        """How steps are signed."""
        return f"policy:{self.policy}"


class DrivenSession:
    """One session, from `begin` to its end. Calls do not overlap."""

    def __init__(self, live: LiveSession, plan: Plan, made: Assembled) -> None:
        self.live = live
        self.ended: ev.SessionEnded | None = None
        self._plan = plan
        self._made = made
        self._closed = False

    @classmethod
    async def begin(cls, plan: Plan, seed: int, limits: Limits) -> DrivenSession:
        """A new session, its shell at the first prompt.

        Raises SandboxError, TaskError, LogError or OSError, with nothing left behind.
        """
        prepared = await asyncio.to_thread(prepare_task, plan.task)
        folder = new_session_folder(plan.root, plan.task.id)
        live: LiveSession | None = None
        session: DrivenSession | None = None
        try:
            live = LiveSession(folder)
            setting = Setting(
                plan.sandbox, plan.unsafe_local, plan.image, plan.window, plan.command_seconds, untrusted=plan.author
            )
            made = assemble(
                live, plan.task, setting, _first_event(plan, folder, seed, limits), seed=seed, prepared=prepared
            )
            session = cls(live, plan, made)
            live.emit(ev.ControlChanged(mode="auto", reason="start"))
            made.episode.shell.on_display = live.show
            await made.episode.start(made.cwd)
        except BaseException:
            if session is not None:
                await session._close()
            elif live is not None:
                live.close()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return session

    @property
    def state(self) -> SessionState:
        """The fold over the session's log."""
        return self.live.state

    async def step(self, action: str) -> Step:
        """Run one action. Afterwards `ended` says whether, and how, the session is over.

        A sandbox that is lost ends the session as `error`. Raises LogError or OSError when the session can no longer be
        written; it is closed then.
        """
        number = self.state.last_step + 1
        try:
            self.live.emit(ev.ActionProposed(step=number, author=self._plan.author, action=action))
            try:
                await carry_out(self.live, self._made.episode, number)
                await self.live.sync()
                outcome = await self._outcome(number)
            except SandboxError as error:
                outcome = "error", f"{error} ({error.hint})" if error.hint else str(error)
            if outcome is not None:
                await self.end(*outcome)
        except BaseException as error:
            with contextlib.suppress(Exception):
                stopped = isinstance(error, asyncio.CancelledError)
                await self.end("interrupted" if stopped else "error", "cancelled" if stopped else str(error))
            raise
        return self.state.steps[number]

    async def _outcome(self, number: int) -> tuple[str, str] | None:
        """Exit status and reason, where the session is over with this step."""
        episode = self._made.episode
        if episode.submitted:
            return "submitted", ""
        over = exceeded(self.state, self.live.clock.working, human=False)
        if over is None:
            return None
        await episode.settle()
        if episode.submitted:
            return "submitted", ""
        cause, reason = over
        return autosubmission(cause, await episode.score("autosubmit", number)), reason

    async def end(self, status: str, reason: str) -> None:
        """Log the end and stop everything. Nothing happens when it has ended before."""
        if self._closed:
            return
        try:
            ended = self.live.emit(
                ev.SessionEnded(
                    exit_status=status,
                    reason=reason,
                    session=str(self.live.folder.absolute()),
                    steps=self.state.last_step,
                    scores=self.state.final_scores(),
                )
            )
            assert isinstance(ended, ev.SessionEnded)
            self.ended = ended
        finally:
            await self._close()

    async def _close(self) -> None:
        self._closed = True
        try:
            with contextlib.suppress(SandboxError):
                await self._made.episode.stop()
            with contextlib.suppress(OSError):
                await self.live.sync()
        finally:
            self.live.close()
            await asyncio.to_thread(self._made.release)


def _first_event(plan: Plan, folder: Path, seed: int, limits: Limits) -> ev.SessionStarted:
    task = plan.task
    return ev.SessionStarted(
        format=ev.FORMAT,
        session=folder.name,
        task=task.id,
        task_folder=plan.task_folder,
        task_name=task.name,
        agent=plan.policy,
        model=plan.author,
        sandbox=plan.sandbox,
        limits=limits,
        seed=seed,
        metric=task.primary_metric,
        dataset=task.variant,
        protocol=task.protocol,
        window=plan.window,
        user=user_name(),
        versions=versions(),
    )
