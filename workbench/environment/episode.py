"""An episode: one task in one sandbox with one shell. It runs commands, scores submissions, and logs events for all of
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any, Literal

import msgspec

from workbench.environment.assembly import World, session_secret
from workbench.environment.best import MEASURED, better_submission, kept, used_up, worth_measuring
from workbench.environment.command_time import CommandTime
from workbench.environment.live import LiveSession
from workbench.environment.replies import reply
from workbench.environment.services.desk import Service, ServiceDesk, refusal
from workbench.isolation.spec import SandboxError
from workbench.sandbox.commands import OPTIONAL_COMMANDS
from workbench.sandbox.multiline import MalformedEdit, rewrite_multiline
from workbench.sandbox.shell import CommandResult, Shell
from workbench.session import events as ev
from workbench.session.events import Evaluation
from workbench.session.objects import ObjectStore, pool_of
from workbench.session.shell_state import ShellState, decode_state, encode_state
from workbench.session.snapshot import Snapshotter
from workbench.tasks.errors import TaskError
from workbench.tasks.packages import failed_import, missing_modules

ScoreKind = Literal["validate", "submit", "autosubmit"]

MOST_EVALUATIONS = 20
"""The most evaluations that an agent may ask for in one step: a loop in the background must not fill the ledger."""
_SUBMITTED = "there is a submission already; the session is over"


class AlreadySubmitted(Exception):
    """A submission was scored, so nothing more is evaluated in this session."""


class Episode:
    """The environment of one session.

    `services` are the memory and literature commands that are switched on, by name. The seed of the evaluations is made
    into a secret in a thread, at the first of them: that takes time on purpose.
    """

    has_shell = True
    """False where there is none that a person could take over."""

    def __init__(
        self, live: LiveSession, world: World, seed: int, services: Mapping[str, Service] | None = None
    ) -> None:
        self.task, self.sandbox = world.task, world.sandbox
        self.submitted = False
        self.objects = live.objects
        self.artifacts = ObjectStore(live.folder / "artifacts", live.redactor, pool_of(live.folder))
        self.shell = Shell(self.sandbox)
        self.time = CommandTime(self.task.limits, world.spec.command_seconds, self.shell, live.state, live.clock)
        self.on_progress: Callable[[str], None] | None = None
        """Called with what the running evaluation is doing, and with an empty text when it is over."""
        self.on_question: Callable[[str], Awaitable[bool]] | None = None
        """Asks the person who is about to submit something."""
        self._live, self._state, self._emit = live, live.state, live.emit
        self._world = world
        self._seed = seed
        self._secret = functools.cache(functools.partial(session_secret, seed))
        self._lacking = missing_modules(self.task, world.packages, world.spec.sandbox or "local")
        self._told: set[str] = set()
        self._left_out: set[str] = set()
        self._step = 0
        self._window: dict[str, Any] | None = None
        self._snapshotter = Snapshotter(self.sandbox.workspace_folder, self.objects)
        self._snapshotter.assume(live.state.files_at(), live.state.folders_at())
        self._evaluating = asyncio.Lock()
        self._evaluations: dict[asyncio.Task[ev.ScoreRecorded], Literal["validate", "submit"]] = {}
        """Evaluations that the agent asked for and that still run."""
        self._asked_for = 0
        """The number of evaluations that the agent asked for in this step."""
        self._desk = ServiceDesk(services or {}, live)

    # -- life --------------------------------------------------------------------------------------------------------

    async def start(self, cwd: str | None = None) -> None:
        """Start the sandbox and its shell. The first snapshot is the workspace as the agent finds it."""
        self.sandbox.on_request = self._answer
        self.sandbox.on_warning = self._warned
        await self.sandbox.start()
        self.shell.on_restart = self._shell_restarted
        await self.shell.start(cwd)
        given, gone = await self._give_shell()
        self._emit(
            ev.SandboxReady(sandbox=self.sandbox.describe(), cwd=self.shell.cwd, shell_given=given, shell_gone=gone)
        )
        self._step = self._state.last_step
        await self.snapshot()

    async def stop(self) -> None:
        """End the shell and the sandbox. Can be called twice."""
        self._desk.close()
        for evaluation in tuple(self._evaluations):
            evaluation.cancel()
        with contextlib.suppress(SandboxError):
            await self.shell.close()
        await self.sandbox.stop()

    def _warned(self, message: str) -> None:
        if self._state.ended is None:  # that the sandbox is gone, too, is no news then
            self._emit(ev.NoteAdded(text=message))

    def _shell_restarted(self, reason: str, cwd: str) -> None:
        self._emit(ev.SandboxReady(sandbox={}, cwd=cwd, restarted=True, reason=reason))

    # -- commands ----------------------------------------------------------------------------------------------------

    def begin_step(self, step: int) -> None:
        """Requests and windows from now on belong to this step."""
        self._step = step
        self._window = None
        self._asked_for = 0
        self._desk.begin_step()

    async def run(self, action: str) -> CommandResult:
        """Run an action of an agent in the shell, for the task's limit, or as long as the session has left.

        A malformed edit comes back as refused, with exit code 2, as a syntax error does.
        """
        try:
            command = rewrite_multiline(action, as_mlgym=self._world.actor.as_mlgym)
        except MalformedEdit as error:
            return CommandResult(2, str(error), self.shell.cwd, refused=True)
        result = await self.shell.run(command, time_limit=self.time.begin(action), shown=action)
        if result.interrupted or result.timed_out:
            self._desk.cancel()
            for evaluation in tuple(self._evaluations):
                evaluation.cancel()
        return result

    async def carry_out(self, number: int) -> None:
        """Run the action of step `number` as it stands in the state, and log what came of it.

        Raises SandboxError, LogError or OSError.
        """
        step, clock = self._state.steps[number], self._live.clock
        self.begin_step(number)
        self._emit(ev.ActionStarted(step=number, author=step.edited_by or step.author, action=step.action))
        began = clock.elapsed
        result = await self.run(step.action)
        ended = clock.elapsed
        raw = None
        try:
            if result.raw:  # up to 8 MB: not on the event loop
                raw = await asyncio.to_thread(self.objects.put, result.raw)
            # First, so that a step that the log says is over has its files, whenever this process is killed.
            if not result.refused:
                await self.snapshot(number)
        finally:
            self.finish(number, result, began, ended, raw)

    def finish(self, step: int, result: CommandResult, began: float, ended: float, raw: str | None = None) -> None:
        """Log the outcome of a step, whose command ran from `began` to `ended` on the session's clock: what came back,
        and where the window is. `raw` is the object with what it printed, where that is stored already.
        """
        self._live.cast.flush(end_of_command=True)
        if raw is None and result.raw:
            raw = self.objects.put(result.raw)
        observation, wanting = result.observation, self._wanting(result.observation)
        if wanting not in observation:
            observation = f"{observation.rstrip()}\n({wanting})\n"
        said = {"observation": observation, "duration": round(result.duration, 6), "raw": raw}
        cast = (round(began, 6), round(ended, 6))
        self._emit(ev.ActionFinished(step=step, cast=cast, **{**msgspec.structs.asdict(result), **said}))
        window, self._window = self._window, None
        if window is not None:
            self._emit(_window_event(step, window))

    def _wanting(self, text: str) -> str:
        """A hint for the agent if its program printed `text` because an optional package is missing; the user gets a
        note.
        """
        said = failed_import(text, self._lacking)
        if said and said not in self._told:
            self._told.add(said)
            self._emit(ev.NoteAdded(text=said))
        return said

    async def snapshot(self, step: int | None = None) -> None:
        """Store what changed in the workspace. Logged when something did."""
        found = await asyncio.to_thread(self._snapshotter.scan)
        shell = await self._shell_changes()
        number = self._step if step is None else step
        if found.changes or found.folders or shell or not self._state.steps[0].tree:
            self._emit(
                ev.WorkspaceSnapshot(
                    step=number,
                    tree=found.tree,
                    changes=found.changes,
                    skipped=found.skipped,
                    folders=found.folders,
                    shell=shell,
                )
            )
        if new := [path for path in found.skipped if path not in self._left_out]:
            self._left_out.update(new)
            said = ", ".join(f"{path[:80]} ({found.reasons[path]})" for path in new[:5])
            more = f" and {len(new) - 5:,} more" if len(new) > 5 else ""
            self._emit(ev.NoteAdded(text=f"not kept with the session's files: {said}{more}", step=number))

    async def _shell_changes(self) -> str:
        """The object with what the shell holds, where that may have changed; else empty."""
        if self.shell.running or self.shell.driven_by_person or not self.shell.alive:
            return ""
        state = await self.shell.keeper.changes()
        if state is None:
            return ""
        before = self._state.shell
        if not before and state == ShellState():
            return ""
        digest = await asyncio.to_thread(self.objects.put, encode_state(state))
        return "" if digest == before else digest

    async def _give_shell(self) -> tuple[list[str], list[str]]:
        """Have the shell of a session that goes on hold what the one before did: what it holds, and what is gone."""
        digest = self._state.shell
        if not digest:
            return [], []
        try:
            saved = decode_state(self.objects.get(digest))
        except (OSError, ValueError):
            return [], ["what the shell held"]
        lost = await self.shell.keeper.give(saved)
        return [name for name in saved.names if name not in lost], lost

    async def reopen_window(self, path: str, line: int) -> None:
        """Put the agent's file window back where it was (after a resume)."""
        command = '. "$1/functions.sh" && open "$2" "$3"'
        with contextlib.suppress(SandboxError):
            await self.sandbox.exec(["bash", "-c", command, "bash", self.sandbox.run_folder, path, str(line)])

    # -- requests of the agent commands ------------------------------------------------------------------------------

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        kind = request.get("request")
        if kind == "window":
            self._window = request
            return {"ok": True}
        if kind in ("validate", "submit"):
            return self._refusal(kind) or await self._evaluation(kind)
        if kind in OPTIONAL_COMMANDS:
            release = self.shell.hold_time_limit()  # a rate limit is no fault of the command that waits
            try:
                return await self._desk.answer(kind, request, self._step)
            finally:
                release()
        return refusal(f"unknown request {str(kind)[:40]!r}", 2)

    def used_up(self) -> str:
        """Why nothing more can be validated; empty where it can."""
        return used_up(self._state, sum(kind == "validate" for kind in self._evaluations.values()))

    def _refusal(self, kind: str) -> dict[str, Any] | None:
        """Why the agent can have no evaluation now; else None."""
        if self.submitted:
            return refusal(_SUBMITTED)
        if kind == "validate" and (problem := self.used_up()):
            return refusal(problem)
        if self._asked_for >= MOST_EVALUATIONS:
            return refusal(f"there were {MOST_EVALUATIONS} evaluations in this step already; go on in the next one")
        return None

    async def _evaluation(self, kind: Literal["validate", "submit"]) -> dict[str, Any]:
        """Evaluate for the agent. The time does not count against the command that waits for it."""
        self._asked_for += 1
        release = self.shell.hold_time_limit()
        task = asyncio.ensure_future(self.score(kind, self._step))
        self._evaluations[task] = kind
        try:
            entry = await task
        except asyncio.CancelledError:
            if not task.cancelled():
                task.cancel()
                raise
            return refusal("the evaluation was stopped", 130)
        except AlreadySubmitted:
            return refusal(_SUBMITTED)
        except SandboxError as error:
            self._emit(ev.NoteAdded(text=f"the evaluation failed, through no fault of the submission: {error}"))
            return refusal(f"the evaluation itself failed: {error}")
        finally:
            self._evaluations.pop(task, None)
            release()
        return reply(entry, self._state, self.task)

    async def settle(self) -> None:
        """Called after the last command: submissions in the background are scored, other evaluations are cancelled."""
        for task, kind in tuple(self._evaluations.items()):
            if kind != "submit":
                task.cancel()
        if self._evaluations:
            await asyncio.wait(tuple(self._evaluations))

    async def score(
        self,
        kind: ScoreKind,
        step: int,
        *,
        visible_to_agent: bool = True,
        author: str = "",
        instead: ev.ScoreRecorded | None = None,
    ) -> ev.ScoreRecorded:
        """Evaluate the artifact as it is now, or that of the ledger's entry `instead`, and enter the result in the
        ledger. One evaluation at a time.

        Raises AlreadySubmitted: a submission is the last entry, whatever still runs in the background.
        """
        if (
            kind != "validate"
            and instead is None
            and await worth_measuring(self._state, self.task, self.sandbox, self.artifacts)
        ):
            await self.score("validate", step, visible_to_agent=False, author=MEASURED)
        async with self._evaluating:
            if self.submitted:
                raise AlreadySubmitted
            # Imported now, and not on the loop: the first step of a session need not wait for it.
            await asyncio.to_thread(import_module, "workbench.scoring.evaluation")
            from workbench.scoring.artifact import ArtifactError
            from workbench.scoring.evaluation import evaluate, room_for
            from workbench.scoring.submissions import take

            split, digest, better = self.task.split_for(kind), None, instead
            try:
                if better is None:
                    digest, copy = await take(self.task, self.sandbox, self.artifacts, validation=kind == "validate")
                    if kind != "validate":
                        ask = self.on_question if kind == "submit" else None
                        better = await better_submission(self._state, digest, ask)
                if better is not None and better.artifact is not None:
                    digest, copy = better.artifact, await kept(self.task, self.artifacts, better.artifact)
                secret = await asyncio.to_thread(self._secret)
                found = await (self._world.evaluate or evaluate)(
                    self.task,
                    copy,
                    seed=self._seed,
                    secret=secret,
                    room=room_for(str(self.sandbox.describe().get("backend"))),
                    progress=self._progress,
                    split=split,
                    session=self._live.folder.name,
                    gpus=self._world.lease.gpus,
                )
            except ArtifactError as error:
                found = Evaluation(verdict=error.verdict, message=str(error), split=split)
            finally:
                self._tell_progress("")
            self._wanting(found.message)
            scored_with = await asyncio.to_thread(self._scored_with, digest, found)
            body = msgspec.structs.asdict(found)
            body |= {"artifact": digest, "isolation": self._isolation(found), "duration": round(found.duration, 6)}
            score = ev.ScoreRecorded(
                step=step,
                kind=kind,
                artifact_name=self.task.artifact.path,
                visible_to_agent=visible_to_agent,
                author=author,
                instead=better.step if better is not None else None,
                scored_with=scored_with,
                **body,
            )
            self.submitted = kind == "submit" and score.verdict == "ok"
            entry = self._emit(score)
            assert isinstance(entry, ev.ScoreRecorded)
            return entry

    def _scored_with(self, stored: str | None, evaluation: Evaluation) -> dict[str, str]:
        """What a later rescoring has to know; it is kept in the ledger."""
        from workbench.scoring.fingerprint import fingerprint

        if stored is None:
            return {}
        try:
            found = fingerprint(self.task)
        except (TaskError, OSError):  # a task that is being edited: its scores count, too
            found = {}
        scored = evaluation.artifact
        return found if scored in (None, stored) else {**found, "artifact": str(scored)}  # secrets were left out

    def _isolation(self, evaluation: Evaluation) -> str:
        if self.sandbox.protected:
            return evaluation.isolation
        reduced = "" if evaluation.isolation == "sandbox" else f"{evaluation.isolation}, "
        return f"{reduced}unprotected session"

    def _progress(self, fraction: float, text: str) -> None:
        self._tell_progress(f"{text} {fraction:.0%}" if fraction > 0 else text)

    def _tell_progress(self, text: str) -> None:
        if self.on_progress is not None:
            self.on_progress(text)


def _window_event(step: int, request: dict[str, Any]) -> ev.WindowChanged:
    """The event for a report of the agent commands. It comes from inside the sandbox, so nothing in it is trusted."""

    def count(name: str) -> int:
        value = request.get(name)  # compared, not converted: an integer may have any number of digits
        return int(value) if isinstance(value, int | float) and 0 <= value < 1 << 40 else 0

    path = request.get("path")
    counts: dict[str, Any] = {name: count(name) for name in ("first_line", "last_line", "total_lines", "current_line")}
    return ev.WindowChanged(step=step, path=path[:4096] if isinstance(path, str) else "", **counts)
