"""Rescoring: the submissions of a saved session are scored again in a fresh clean room and compared with its ledger.
Only the session's folder and its task are needed; the ledger itself is never written. The random numbers of an
evaluation depend on the session's seed and the artifact alone, so the same task, data and seed give the same score
again. Where one of them has changed, or is not known, two scores agree when they are within their noise.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from workbench.checks.baseline import NOISE, REPEATED
from workbench.environment.assembly import session_secret
from workbench.errors import WorkbenchError
from workbench.formats.open import open_recording
from workbench.formats.table import SOURCE
from workbench.isolation.spec import SandboxError
from workbench.runner.trust import Consent, named_task, trust
from workbench.scoring.evaluation import Evaluation, evaluate, room_for
from workbench.scoring.fingerprint import changed, fingerprint
from workbench.scoring.room import RoomChoice
from workbench.scoring.room import choose as choose_room
from workbench.session.events import ScoreRecorded, SessionStarted
from workbench.session.objects import ObjectStore
from workbench.session.state import SessionState, fold
from workbench.session.store import command_for
from workbench.tasks.catalogue import Task, find_task
from workbench.tasks.errors import UnknownTask
from workbench.tasks.making import Progress

Outcome = Literal["agrees", "differs", "not scored"]
Which = Literal["last", "best", "all"]
_ROUNDING = 1e-12
"""Relative tolerance for two sums of the same numbers."""


class NotScorable(WorkbenchError):
    """Nothing of this session can be scored again. `str()` says why, `hint` what to do."""


class SavedSession(msgspec.Struct, frozen=True):
    """A session that is to be scored again."""

    folder: Path
    state: SessionState
    task: Task
    """The task as it is now, under the session's protocol and on its variant of the data."""
    problems: list[str] = msgspec.field(default_factory=list)
    """What is damaged in the session's folder."""
    own: bool = False
    """Whether the session is this user's. What somebody else's session submitted is scored in a sandbox only."""

    @property
    def started(self) -> SessionStarted:
        """Its first event."""
        assert self.state.started is not None
        return self.state.started

    @property
    def room(self) -> RoomChoice:
        """Where the session's submissions were scored."""
        return room_for(self.started.sandbox)


class Rescored(msgspec.Struct, frozen=True):
    """One entry of the ledger, and the outcome of scoring it again."""

    entry: ScoreRecorded
    outcome: Outcome
    why: str
    """How the two scores were compared, or why there is no second one."""
    now: Evaluation | None = None
    exact: bool = False
    """Whether exactly the same score was expected; otherwise one within the noise."""
    changes: tuple[str, ...] = ()
    """What has changed since the entry was made, in words."""


def open_session(path: Path, task: str = "", consent: Consent | None = None) -> SavedSession:
    """The session in a folder, with its task (`task`: where that is, if the session's own word for it will not do).

    Raises NotScorable, RecordingError or TaskError, and NotTrusted when the session is not the user's own and they do
    not allow its task.
    """
    recording = open_recording(path)
    if recording.source != SOURCE or (recording.started is not None and recording.started.source):
        raise NotScorable(
            f"{path.name} was recorded by another program: it has scores, but no submissions that could be scored",
            f"look at it with `{command_for(path, 'replay')}`; score a file with `mlgym-tui evaluate TASK FILE`",
        )
    if recording.folder is None:
        raise NotScorable(f"{path.name} is a log without its session's folder", "name the folder of a session")
    state = fold(recording.events)
    if state.started is None:
        raise NotScorable(f"the beginning of {recording.folder.name} is lost, and with it the task and the seed")
    name, started = recording.folder.name, state.started
    trusted = trust(recording.folder, state, [] if task else named_task(started), consent or Consent())
    try:
        found = find_task(task).under(started.protocol, started.dataset) if task else trusted.task(started)
    except UnknownTask as error:
        raise NotScorable(
            f"the task of {name} is not here any more: {error}",
            "say where it is: --task FOLDER (or add its parent to $MLGYM_TASKS)",
        ) from error
    if found.id != started.task:
        raise NotScorable(
            f"{name} is of task {started.task}, and {found.folder} is task {found.id}",
            "name the right one: --task TASK",
        )
    return SavedSession(recording.folder, state, found, recording.problems, trusted.own)


def choose(saved: SavedSession, which: Which = "last", step: int | None = None) -> list[ScoreRecorded]:
    """Entries of the ledger: those of a step; the best; all with a submission; or the last submission, else score.

    Raises NotScorable where there is none.
    """
    ledger = saved.state.scores_until()
    with_artifact = [entry for entry in ledger if entry.artifact]
    name = saved.folder.name
    if not with_artifact:
        what = "its evaluations found no submission" if ledger else "nothing was validated or submitted"
        raise NotScorable(f"{name} has no submission: {what}")
    if step is not None:
        chosen = [entry for entry in with_artifact if entry.step == step]
        if not chosen:
            steps = ", ".join(str(number) for number in dict.fromkeys(entry.step for entry in with_artifact))
            raise NotScorable(f"{name} has no submission of step {step}", f"there are those of steps {steps}")
        return chosen
    if which == "all":
        return with_artifact
    best = saved.state.best_score()
    if which == "best":
        if best is None or not best.artifact:
            raise NotScorable(f"{name} has no score: none of its submissions was valid", "--all scores them all")
        return [best]
    scored = [entry for entry in with_artifact if entry.score is not None]
    submitted = [entry for entry in scored if entry.kind != "validate"]
    return [(submitted or scored or with_artifact)[-1]]


async def rescore(
    saved: SavedSession,
    entries: Sequence[ScoreRecorded],
    *,
    room: RoomChoice | None = None,
    gpus: Sequence[int] = (),
    progress: Progress,
) -> AsyncIterator[Rescored]:
    """Each entry scored again, one after the other; the same submission on the same split only once.

    `gpus`: those that a model may use. Cancelling it kills what runs. Raises TaskError or OSError where the task's data
    cannot be had.
    """
    if not saved.own and await choose_room(room or saved.room) == "reduced":
        raise NotScorable(
            f"{saved.folder.name} is not marked as yours: what it submitted is scored in a sandbox only",
            "use --room bubblewrap or --room docker; `mlgym-tui doctor` says what works here",
        )
    known = await asyncio.to_thread(fingerprint, saved.task)
    seed = saved.started.seed
    secret = None if seed is None else await asyncio.to_thread(session_secret, seed)
    where = ""

    async def score(entry: ScoreRecorded) -> Evaluation | str:
        """The evaluation, or why there is none."""
        if entry.split not in saved.task.spec.evaluate.splits:
            return f"the task has no {entry.split} data any more"
        try:
            submission = await asyncio.to_thread(_stored, saved, entry.artifact or "")
        except FileNotFoundError:
            return "the submission is lost: it is not in artifacts/"
        except (OSError, ValueError) as error:
            return f"the submission is lost: {error}"
        try:
            return await evaluate(
                saved.task,
                submission,
                seed=seed or 0,
                secret=secret,
                room=room or saved.room,
                progress=lambda fraction, text: progress(fraction, f"{where}: {text}"),
                split=entry.split,
                session=saved.folder.name,
                gpus=gpus,
            )
        except SandboxError as error:
            hint = "; --room auto scores it without Docker" if (room or saved.room) == "docker" else ""
            return f"the evaluation failed, through no fault of the submission: {error}{hint}"

    done: dict[tuple[str | None, str], Evaluation | str] = {}
    for number, entry in enumerate(entries, 1):
        key = entry.artifact, entry.split
        if key not in done:
            where = f"step {entry.step}" + (f" ({number} of {len(entries)})" if len(entries) > 1 else "")
            progress(0.0, f"{where}: scoring")
            done[key] = await score(entry)
        result = done[key]
        if isinstance(result, str):
            yield Rescored(entry, "not scored", result)
        else:
            yield compare(saved.task, entry, result, known, seed_known=seed is not None)


def _stored(saved: SavedSession, digest: str) -> bytes | Path:
    """The submission, as it was stored. Raises FileNotFoundError where it is missing, ValueError where damaged."""
    store = ObjectStore(saved.folder / "artifacts")
    if not saved.task.artifact.bundled:
        return store.get(digest)
    with store.open(digest):  # an archive may be large: it is never read as a whole
        return store.path(digest)


def compare(
    task: Task, entry: ScoreRecorded, now: Evaluation, known: dict[str, str], *, seed_known: bool = True
) -> Rescored:
    """Compare an entry with a new evaluation. `known`: the fingerprint of the task as it is now."""
    changes = changed(entry.scored_with, known)
    if not seed_known:
        changes.append("the session's seed, which is not known")
    if "artifact" in entry.scored_with:
        changes.append("the submission, of which secrets were left out when it was stored")
    if now.dataset != entry.dataset and "the data" not in changes:
        changes.append("the data")
    said = functools.partial(Rescored, entry, now=now, changes=tuple(changes))
    if now.verdict != entry.verdict:
        told = f" ({now.message})" if now.message else ""
        return said("differs", f"the verdict was {entry.verdict}, and is {now.verdict}{told}", exact=not changes)
    if now.verdict != "ok":
        return said("agrees", f"the same verdict, {now.verdict}", exact=True)
    wrong = [name for name in _comparable(task, entry, now) if not _same(task, name, entry, now)]
    if not wrong:
        measured = sorted(metric.key for metric in task.spec.metrics if metric.measured and metric.key in now.metrics)
        note = f"; {', '.join(measured)} is measured anew each time" if measured else ""
        return said("agrees", f"the same score{note}", exact=True)
    if changes or not entry.scored_with:
        return said(*_within_noise(task, entry, now, wrong, changes))
    told = ", ".join(
        f"{name} was {_number(entry.metrics.get(name))} and is {_number(now.metrics.get(name))}" for name in wrong
    )
    return said("differs", f"{told}, with the same task, data and seed", exact=True)


def _comparable(task: Task, entry: ScoreRecorded, now: Evaluation) -> list[str]:
    measured = {metric.key for metric in task.spec.metrics if metric.measured}
    return [name for name in dict.fromkeys([*entry.metrics, *now.metrics]) if name not in measured]


def _same(task: Task, name: str, entry: ScoreRecorded, now: Evaluation) -> bool:
    """Whether a metric is the same again. Metrics of models come from numerical libraries, and may differ a little."""
    then, new = entry.metrics.get(name), now.metrics.get(name)
    if then is None or new is None:
        return False
    tolerance = _ROUNDING if task.artifact.kind in ("code", "csv") else REPEATED
    return math.isclose(then, new, rel_tol=tolerance, abs_tol=tolerance * 1e-3)


def _within_noise(
    task: Task, entry: ScoreRecorded, now: Evaluation, wrong: list[str], changes: list[str]
) -> tuple[Outcome, str]:
    """Something has changed, so the primary metric must be within the standard errors of both evaluations."""
    since = f"changed since: {', '.join(changes)}" if changes else "it is not recorded what it was scored with"
    then, new, primary = entry.score, now.score, task.primary_metric.name
    if then is None or new is None or (primary not in entry.metrics and wrong):
        return "differs", f"the metrics are others; {since}"
    if primary not in wrong:
        return "agrees", f"{primary} is the same, {', '.join(wrong)} not; {since}"
    noise = NOISE * math.hypot(entry.standard_error or 0.0, now.standard_error or 0.0)
    apart = f"{primary} was {_number(then)} and is {_number(new)}"
    beyond = f"{NOISE:g} standard errors (± {noise:.4g})"
    if noise and abs(new - then) <= noise:
        return "agrees", f"{apart}: within {beyond}; {since}"
    return "differs", f"{apart}{f', more than {beyond} apart' if noise else ''}; {since}"


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.10g}"
