"""An episode: one task in one sandbox with one shell. Runs commands, validates, submits, and says it all as events."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from workbench.environment.services.desk import Service, ServiceDesk
from workbench.isolation.spec import SandboxError
from workbench.sandbox.base import Sandbox
from workbench.sandbox.commands import OPTIONAL_COMMANDS
from workbench.sandbox.multiline import MalformedEdit, rewrite_multiline
from workbench.sandbox.shell import CommandResult, Shell
from workbench.scoring.artifact import ArtifactError
from workbench.scoring.evaluation import Evaluation, evaluate, room_for
from workbench.scoring.fingerprint import fingerprint
from workbench.scoring.submissions import take
from workbench.session import events as ev
from workbench.session.events import Event
from workbench.session.objects import ObjectStore
from workbench.session.secrets import Redactor
from workbench.session.snapshot import Snapshotter
from workbench.session.state import SessionState
from workbench.tasks.catalogue import Task
from workbench.tasks.errors import TaskError
from workbench.tasks.packages import failed_import

Emit = Callable[[Event], Event]
Evaluate = Callable[..., Awaitable[Evaluation]]
ScoreKind = Literal["validate", "submit", "autosubmit"]

MOST_EVALUATIONS = 20
"""How many an agent may ask for in one step: a loop in the background must fill neither the ledger nor the time."""
_TRAINING = re.compile(r"(?:^|[\n;&|(])\s*(?:\w+=\S*\s+)*(?:python[\d.]*|torchrun|accelerate|deepspeed)(?=\s|$)")


def is_training_command(action: str) -> bool:
    """Whether the action runs Python or a training launcher as a command (not merely in its text)."""
    return _TRAINING.search(action) is not None


_SUBMITTED = {"ok": False, "text": "there is a submission already; the session is over", "exit_code": 1}


class AlreadySubmitted(Exception):
    """Something was submitted: nothing more is evaluated in this session."""


class Episode:
    """The environment of one session.

    `secret` is asked for in a thread, at the first evaluation: making it takes time on purpose.
    `emit` writes an event to the session's log; `state` is the fold over that log. The workspace is filled by
    `prepare` before `start`. `services` are the memory and literature commands that are switched on, by name. `gpus`
    are the session's: evaluations of a model may use them, too. `as_mlgym`: see `rewrite_multiline`.
    """

    def __init__(
        self,
        task: Task,
        sandbox: Sandbox,
        *,
        folder: Path,
        state: SessionState,
        emit: Emit,
        seed: int,
        secret: Callable[[], bytes],
        command_seconds: float | None = None,
        redactor: Redactor | None = None,
        services: Mapping[str, Service] | None = None,
        gpus: Sequence[int] = (),
        lacking: Mapping[str, str] | None = None,
        as_mlgym: bool = False,
        evaluate: Evaluate = evaluate,
    ) -> None:
        """`lacking`: optional modules that are not installed, each with the command that installs it."""
        self.task = task
        self.sandbox = sandbox
        self.submitted = False
        self.objects = ObjectStore(folder / "objects", redactor)
        self.artifacts = ObjectStore(folder / "artifacts", redactor)
        self._command_seconds = command_seconds or task.limits.command_seconds
        self.shell = Shell(sandbox, time_limit=self._command_seconds)
        self.on_progress: Callable[[str], None] | None = None
        """Told what the evaluation that runs is doing; nothing when it is over."""
        self._state = state
        self._emit = emit
        self._seed = seed
        self._secret = secret
        self._gpus = gpus
        self._lacking = lacking or {}
        self._told: set[str] = set()
        self._as_mlgym = as_mlgym
        self._evaluate = evaluate
        self._session = folder.name
        self._step = 0
        self._window: dict[str, Any] | None = None
        self._snapshotter = Snapshotter(sandbox.workspace_folder, self.objects)
        self._snapshotter.assume(state.files_at())
        self._evaluating = asyncio.Lock()
        self._evaluations: dict[asyncio.Task[ev.ScoreRecorded], Literal["validate", "submit"]] = {}
        """Those that the agent asked for and that are not over."""
        self._asked_for = 0
        """How many evaluations, in this step."""
        redact = redactor.text if redactor is not None else str
        self._desk = ServiceDesk(services or {}, session=folder.name, state=state, emit=emit, redact=redact)

    # -- life --------------------------------------------------------------------------------------------------------

    async def start(self, cwd: str | None = None, *, reason: str = "") -> None:
        """Start the sandbox and its shell. The first snapshot is the workspace as the agent finds it."""
        self.sandbox.on_request = self._answer
        self.sandbox.on_warning = self._warned
        await self.sandbox.start()
        self.shell.on_restart = self._shell_restarted
        await self.shell.start(cwd)
        self._emit(ev.SandboxReady(sandbox=self.sandbox.describe(), cwd=self.shell.cwd, reason=reason))
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

    async def run(self, action: str, *, at_most: float | None = None) -> CommandResult:
        """Run an action of an agent in the shell, for the task's limit or `at_most` seconds if that is less.

        A malformed edit comes back as refused, with exit code 2, as a syntax error does.
        """
        try:
            command = rewrite_multiline(action, as_mlgym=self._as_mlgym)
        except MalformedEdit as error:
            return CommandResult(
                exit_code=2,
                observation=str(error),
                truncated=False,
                cwd=self.shell.cwd,
                duration=0.0,
                raw=None,
                refused=True,
            )
        limit = self.task.limits.training_seconds if is_training_command(action) else self._command_seconds
        limit = limit if at_most is None else min(limit, max(at_most, 1.0))
        result = await self.shell.run(command, time_limit=limit, shown=action)
        if result.interrupted or result.timed_out:
            self._desk.cancel()
            for evaluation in tuple(self._evaluations):
                evaluation.cancel()
        return result

    def record(
        self, step: int, result: CommandResult, cast: tuple[float, float] | None, raw: str | None = None
    ) -> None:
        """Log the outcome of a step: what came back, and where the window is. `snapshot` is the other half."""
        if raw is None and result.raw:
            raw = self.objects.put(result.raw)
        observation, wanting = result.observation, self._wanting(result.observation)
        if wanting not in observation:
            observation = f"{observation.rstrip()}\n({wanting})\n"
        self._emit(
            ev.ActionFinished(
                step=step,
                exit_code=result.exit_code,
                observation=observation,
                truncated=result.truncated,
                cwd=result.cwd,
                duration=round(result.duration, 6),
                cast=cast,
                raw=raw,
                refused=result.refused,
                interrupted=result.interrupted,
                timed_out=result.timed_out,
                signal=result.signal,
                shell_restarted=result.shell_restarted,
            )
        )
        window, self._window = self._window, None
        if window is not None:
            self._emit(_window_event(step, window))

    def _wanting(self, text: str) -> str:
        """What to tell an agent whose program printed `text` for want of an optional package; the user gets a note."""
        said = failed_import(text, self._lacking)
        if said and said not in self._told:
            self._told.add(said)
            self._emit(ev.NoteAdded(text=said))
        return said

    async def snapshot(self, step: int | None = None) -> None:
        """Store what changed in the workspace. Logged when something did."""
        found = await asyncio.to_thread(self._snapshotter.scan)
        if found.changes or not self._state.steps[0].tree:
            self._emit(
                ev.WorkspaceSnapshot(
                    step=self._step if step is None else step,
                    tree=found.tree,
                    changes=found.changes,
                    skipped=found.skipped,
                )
            )

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
            return self._refusal() or await self._evaluation(kind)
        if kind in OPTIONAL_COMMANDS:
            release = self.shell.hold_time_limit()  # a rate limit is no fault of the command that waits
            try:
                return await self._desk.answer(kind, request, self._step)
            finally:
                release()
        return {"ok": False, "text": f"unknown request {str(kind)[:40]!r}", "exit_code": 2}

    def _refusal(self) -> dict[str, Any] | None:
        """Why the agent can have no evaluation now; else None."""
        if self.submitted:
            return dict(_SUBMITTED)
        if self._asked_for >= MOST_EVALUATIONS:
            text = f"there were {MOST_EVALUATIONS} evaluations in this step already; go on in the next one"
            return {"ok": False, "text": text, "exit_code": 1}
        return None

    async def _evaluation(self, kind: Literal["validate", "submit"]) -> dict[str, Any]:
        """Evaluate for the agent. The command that waits for it loses no time."""
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
            return {"ok": False, "text": "the evaluation was stopped", "exit_code": 130}
        except AlreadySubmitted:
            return dict(_SUBMITTED)
        except SandboxError as error:
            self._emit(ev.NoteAdded(text=f"the evaluation failed, through no fault of the submission: {error}"))
            return {"ok": False, "text": f"the evaluation itself failed: {error}", "exit_code": 1}
        finally:
            self._evaluations.pop(task, None)
            release()
        return self._reply(entry)

    async def settle(self) -> None:
        """No more commands will come: what was submitted in the background is scored, other evaluations are ended."""
        for task, kind in tuple(self._evaluations.items()):
            if kind != "submit":
                task.cancel()
        if self._evaluations:
            await asyncio.wait(tuple(self._evaluations))

    async def score(self, kind: ScoreKind, step: int, *, visible_to_agent: bool = True) -> ev.ScoreRecorded:
        """Evaluate the artifact as it is now and enter the result in the ledger. One evaluation at a time.

        Raises AlreadySubmitted: a submission is the last entry, whatever still runs in the background.
        """
        async with self._evaluating:
            if self.submitted:
                raise AlreadySubmitted
            split, digest = self.task.split_for(kind), None
            try:
                digest, copy = await take(self.task, self.sandbox, self.artifacts, validation=kind == "validate")
                secret = await asyncio.to_thread(self._secret)
                found = await self._evaluate(
                    self.task,
                    copy,
                    seed=self._seed,
                    secret=secret,
                    room=room_for(str(self.sandbox.describe().get("backend"))),
                    progress=self._progress,
                    split=split,
                    session=self._session,
                    gpus=self._gpus,
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
                scored_with=scored_with,
                **body,
            )
            entry = self._emit(score)
            assert isinstance(entry, ev.ScoreRecorded)
            if kind == "submit" and entry.verdict == "ok":
                self.submitted = True
            return entry

    def _scored_with(self, stored: str | None, evaluation: Evaluation) -> dict[str, str]:
        """For the ledger: what a later rescoring has to know."""
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

    def _reply(self, entry: ev.ScoreRecorded) -> dict[str, Any]:
        """What the agent reads after `validate` or `submit`."""
        if entry.verdict != "ok":
            advice = "Nothing was submitted. " if entry.kind == "submit" else ""
            return {"ok": False, "text": f"{entry.verdict}: {entry.message}\n{advice}".rstrip(), "exit_code": 1}
        metric = self.task.primary_metric
        lines = [f"{name}: {_number(value)}" for name, value in sorted(entry.metrics.items())]
        if entry.standard_error is not None:
            lines.append(f"standard error: {_number(entry.standard_error)}")
        best = self._state.best_score(split=entry.split)
        if metric.baseline is not None:
            lines.append(f"baseline: {_number(metric.baseline)}")
        if best is not None and best.score is not None:
            lines.append(f"best so far: {_number(best.score)}")
        if len(self.task.spec.evaluate.splits) > 1:
            lines.append(f"scored on the {entry.split} data")
        lines += [f"({caveat})" for caveat in entry.caveats]
        lines.append("Submitted." if entry.kind == "submit" else "Validated; nothing is submitted yet.")
        return {"ok": True, "text": "\n".join(lines), "exit_code": 0}


def _number(value: float) -> str:
    return f"{value:.6g}"


def _window_event(step: int, request: dict[str, Any]) -> ev.WindowChanged:
    """A report of the agent commands, taken with caution: it comes from inside the sandbox."""

    def count(name: str) -> int:
        value = request.get(name)  # compared, not converted: an integer may have any number of digits
        return int(value) if isinstance(value, int | float) and 0 <= value < 1 << 40 else 0

    path = request.get("path")
    return ev.WindowChanged(
        step=step,
        path=path[:4096] if isinstance(path, str) else "",
        first_line=count("first_line"),
        last_line=count("last_line"),
        total_lines=count("total_lines"),
        current_line=count("current_line"),
    )
