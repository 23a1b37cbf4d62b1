"""Clean-room evaluation: an artifact goes in, a verdict and a score come out."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from workbench.isolation.local import read_tail
from workbench.isolation.processes import kill_group, start_process
from workbench.isolation.spec import DEFAULT_IMAGE, IsolatedProcess, SandboxError, describe_status
from workbench.isolation.temporary import OwnedFolder
from workbench.scoring.artifact import ArtifactError, open_artifact, printable
from workbench.scoring.bundle import pack
from workbench.scoring.copying import Check, copy_in_thread
from workbench.scoring.evaluator import JobSpec
from workbench.scoring.room import (
    MOST_THREADS,
    Guest,
    Isolation,
    RoomChoice,
    RoomError,
    choose,
    isolation_in,
    open_room,
)
from workbench.scoring.seeds import derive, evaluation_key
from workbench.session.events import Evaluation
from workbench.session.secrets import cache_folder, state_folder
from workbench.session.spec import SandboxName
from workbench.tasks.author_code import last_fault
from workbench.tasks.catalogue import Task, task_folders
from workbench.tasks.datasets import Prepared, file_hash, label_of, mounts, prepare_task
from workbench.tasks.errors import TaskError
from workbench.tasks.making import Progress
from workbench.tasks.packages import failed_import, installed_for, missing_modules, prepare_command
from workbench.tasks.submission import START_SECONDS, Terms

__all__ = ["ArtifactError", "Evaluation", "EvaluationError", "RoomError", "evaluate", "open_artifact"]

Rooms = Sequence[IsolatedProcess]
BY_THE_CLOCK = 5
"""An evaluation may take this many times its limit of processor time by the clock, since the machine may be busy."""
PROCESSES_OF_MODELS = 256
"""Threads and processes in a room that loads a model."""
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR", "LD_LIBRARY_PATH")


class EvaluationError(SandboxError):
    """The evaluation itself failed, through no fault of the submission."""


def room_for(sandbox: str) -> RoomChoice:
    """The kind of room in which work from a kind of sandbox is scored."""
    return "docker" if sandbox == "docker" else "auto"


async def evaluate(
    task: Task,
    artifact: bytes | Path | None,
    *,
    seed: int,
    secret: bytes | None = None,
    room: RoomChoice = "auto",
    progress: Progress | None = None,
    split: str = "test",
    session: str = "",
    gpus: Sequence[int] = (),
) -> Evaluation:
    """Score an artifact (its bytes, or a path that is opened without following links) in a fresh room.

    Of a checkpoint or model: the folder that holds it (a workspace), or its archive (see `bundle`). `gpus`: indices of
    those that a model may use.

    The same artifact, seed and secret give the same score. With a secret nothing about the evaluator's dice can be
    known in advance; a seed alone can be guessed, and is for repeating a result. `progress` gets a fraction and a text.
    One evaluation at a time is the caller's matter; cancelling kills everything. Raises EvaluationError or RoomError
    (both SandboxErrors) when it was not the submission that failed.
    """
    started = time.monotonic()
    if split not in task.spec.evaluate.splits:
        raise EvaluationError(
            f"task {task.id} has no split {split!r}", f"it has {', '.join(task.spec.evaluate.splits)}"
        )
    prepared = await _prepared(task)
    digest: str | None = None
    isolation: Isolation = "sandbox"
    try:
        async with _copied(task, artifact) as copy:
            digest = copy.digest
            key = await asyncio.to_thread(evaluation_key, seed, secret, task.id, digest)
            work = _Evaluation(
                task, copy, key, _job(task, split, key, prepared), prepared, room, session, gpus, progress
            )
            result, isolation = await work.result()
    except ArtifactError as error:
        result = {"verdict": error.verdict, "message": str(error)}
    metrics = _checked(task, result["metrics"]) if result["verdict"] == "ok" else {}
    return Evaluation(
        verdict=result["verdict"],
        metrics=metrics,
        score=metrics.get(task.primary_metric.name),
        standard_error=result.get("standard_error"),
        message=printable(result.get("message", "")),
        isolation=isolation,
        artifact=digest,
        duration=time.monotonic() - started,
        split=split,
        dataset=label_of(prepared),
    )


@dataclass(frozen=True)
class _Copy:
    """The copy of a submission that is scored: its bytes, or the archive of its files."""

    digest: str
    data: bytes = b""
    archive: Path | None = None


@contextlib.asynccontextmanager
async def _copied(task: Task, artifact: bytes | Path | None) -> AsyncIterator[_Copy]:
    """The artifact, copied once. Raises ArtifactError."""
    if artifact is None:
        raise ArtifactError("missing", f"{task.artifact.path} is missing: write it, then try again")
    if not task.artifact.bundled:
        data = await asyncio.to_thread(_bytes_of, task, artifact)
        yield _Copy(hashlib.sha256(data).hexdigest(), data)
        return
    owned = OwnedFolder("room")
    try:
        target = owned.path / "artifact.tar"
        archive = await copy_in_thread(owned.path, lambda check: _archive_of(task, artifact, target, check))
        yield _Copy(await asyncio.to_thread(file_hash, archive), archive=archive)
    finally:
        await asyncio.shield(asyncio.to_thread(owned.remove))


def _archive_of(task: Task, artifact: bytes | Path, target: Path, check: Check) -> Path:
    """The archive of a checkpoint or model: packed from a folder that holds it, or one of `pack`."""
    if isinstance(artifact, bytes):
        target.write_bytes(artifact)
        return target
    if artifact.is_dir():
        pack(artifact, task.artifact.path, task.artifact.also, task.artifact.max_bytes, target, check)
        return target
    if not artifact.is_file() or artifact.is_symlink():
        raise ArtifactError("missing", f"{artifact} is neither a folder that holds {task.artifact.path} nor an archive")
    return artifact


def _job(task: Task, split: str, key: bytes, prepared: dict[str, Prepared]) -> JobSpec:
    limits = task.limits
    return JobSpec(
        folder=str(task.folder),
        evaluator=str(task.evaluator),
        function=task.spec.evaluate.function,
        terms=Terms(
            task.artifact.function or task.artifact.path,
            limits.answer_seconds,
            loading_seconds=min(limits.loading_seconds, limits.evaluation_seconds),
            total_seconds=BY_THE_CLOCK * limits.evaluation_seconds,
            withhold=task.artifact.bundled and task.split_for("validate") != split,
        ),
        key=derive(key, "evaluator").hex(),
        split=split,
        artifact_name=os.path.basename(task.artifact.path),
        slow_to_load=task.artifact.bundled,
        data={name: (str(item.public(task.protocol)), str(item.secret)) for name, item in prepared.items()},
        protocol=task.protocol,
    )


@dataclass(frozen=True)
class _Evaluation:
    """One evaluation under way."""

    task: Task
    copy: _Copy
    key: bytes
    """Everything random in it is derived from this."""
    job: JobSpec
    prepared: dict[str, Prepared]
    room: RoomChoice
    session: str
    gpus: Sequence[int]
    progress: Progress | None

    async def result(self) -> tuple[dict[str, Any], Isolation]:
        """The evaluator's result, with what else its author must know of a failure, and how well the submission was
        isolated. Raises EvaluationError and RoomError.
        """
        if self.task.artifact.kind == "csv":  # nothing of it is run, so it needs no room
            return await self._run_evaluator([], 1, self.copy.data), "sandbox"
        guest = await self._guest()
        async with contextlib.AsyncExitStack() as stack:
            count = self.task.spec.evaluate.rooms
            rooms = [await stack.enter_async_context(open_room(self.room, guest)) for _ in range(count)]
            result = await self._run_evaluator(rooms, guest.threads)
            asked = rooms[result.get("room", 0)]
            if "room_failed" in result:
                said = " ".join((await asked.standard_error()).split())[-300:]
                raise RoomError(f"the room for the submission did not come up: {said or result['room_failed']}")
            if result.get("ended"):
                how = await asked.how_it_ended()
                said = "" if result["withhold"] else (await asked.standard_error()).strip()
                result["message"] += f": {how}" if how else ""
                result["message"] += f"; last on standard error: {said.splitlines()[-1][:200]}" if said else ""
            if result["verdict"] == "crashed":
                lacking = missing_modules(self.task, guest.packages, await self._sandbox())
                wanting = failed_import(result["message"], lacking)
                result["message"] += f"; {wanting}" if wanting else ""
            return result, isolation_in(await choose(self.room), rooms[0])

    async def _guest(self) -> Guest:
        """What runs in a room. Raises EvaluationError."""
        task, limits, runner = self.task, self.task.limits, self.task.spec.evaluate.runner
        name = os.path.basename(runner or task.artifact.path)
        ours = [task.file(path) for path in ([runner] if runner else task.artifact.beside)]
        files = {file.name: await asyncio.to_thread(file.read_bytes) for file in ours}
        places = mounts(task, self.prepared) if runner else {}
        return Guest(
            files=files if runner else {**files, name: self.copy.data},
            name=name,
            function="answer" if runner else task.artifact.function or "",
            seed=derive(self.key, "submission"),
            memory_bytes=limits.memory_bytes,
            cpu_seconds=math.ceil(limits.evaluation_seconds + limits.loading_seconds) * (MOST_THREADS if runner else 1),
            session=self.session,
            hide=(*task.folders, *task_folders(), cache_folder(), state_folder()),
            archive=self.copy.archive,
            archive_bytes=task.artifact.max_bytes,
            packages=await asyncio.to_thread(_packages, task, await self._sandbox()),
            data={folder: inside.removeprefix("data").strip("/") for folder, inside in places.items()},
            processes=PROCESSES_OF_MODELS if runner else 0,
            gpus=self.gpus if runner else (),
        )

    async def _sandbox(self) -> SandboxName:
        """The kind of sandbox whose packages the room uses."""
        return "docker" if await choose(self.room) == "docker" else "local"

    async def _run_evaluator(self, rooms: Rooms, threads: int, artifact: bytes = b"") -> dict[str, Any]:
        """Run the evaluator's process on our ends of the rooms' channels, or on the submission's bytes (`artifact`).

        Returns its result. The submission computes with so many `threads` at once.
        """
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        descriptors = [room.channel.fileno() for room in rooms]
        spec, terms = replace(self.job, artifact_bytes=len(artifact)), self.job.terms
        processor_seconds = self.task.limits.evaluation_seconds * threads
        process = await start_process(
            sys.executable,
            "-P",  # what lies in the current folder is not ours
            "-m",
            "workbench.scoring.evaluator",
            *map(str, descriptors),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=descriptors,
            cwd="/",
            env=environment,
        )
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        errors = asyncio.ensure_future(read_tail(process.stderr))
        counting = asyncio.ensure_future(_spend(rooms, processor_seconds))
        try:
            for room in rooms:
                room.channel.close()  # the evaluator holds the only copy: its death is seen in the room
            process.stdin.write(json.dumps(asdict(spec)).encode() + b"\n" + artifact)
            starting = max(1, len(rooms)) * (START_SECONDS + terms.loading_seconds)
            async with asyncio.timeout(starting + terms.total_seconds + 10):
                listening = asyncio.ensure_future(_listen(process.stdout, process.stdin, rooms, self.progress))
                try:
                    await asyncio.wait({listening, counting}, return_when=asyncio.FIRST_COMPLETED)
                    if not listening.done():
                        counting.result()
                        limit = f"{processor_seconds:g} s of processor time"
                        return _too_slow(f"{terms.function} is too slow: it took more than {limit}")
                    result = listening.result()
                finally:
                    listening.cancel()
                    await asyncio.wait({listening})  # what comes is read by others from now on
            if result:
                return result
            beside = os.path.dirname(spec.evaluator)
            fault = last_fault((await errors).decode(errors="replace"), beside)
            if not fault:
                fault = f"its process ended without a result: {describe_status(await process.wait())}"
            raise EvaluationError(f"the evaluator failed: {fault if beside in fault else f'{spec.evaluator}: {fault}'}")
        except TimeoutError:
            return _too_slow(f"the evaluation took more than {terms.total_seconds:g} s by the clock")
        finally:
            counting.cancel()
            kill_group(process)
            process.stdin.close()
            await asyncio.shield(_drain(process, errors))


def _too_slow(message: str) -> dict[str, Any]:
    return {"verdict": "timeout", "message": message}


def _packages(task: Task, sandbox: SandboxName) -> Path | None:
    """The folder with the packages that the submission may import. Raises EvaluationError."""
    folder = installed_for(task, sandbox, DEFAULT_IMAGE)
    if folder is None and task.requirements and not task.spec.requirements_optional:
        raise EvaluationError(
            f"the packages of task {task.id} are not installed ({', '.join(task.requirements)})",
            f"install them: {prepare_command(task, sandbox)}",
        )
    return folder


async def _prepared(task: Task) -> dict[str, Prepared]:
    """The task's datasets. Raises EvaluationError."""
    if not task.spec.datasets:
        return {}
    try:
        return await asyncio.to_thread(prepare_task, task)
    except (TaskError, OSError) as error:
        raise EvaluationError(str(error)) from error


def _bytes_of(task: Task, artifact: bytes | Path) -> bytes:
    cap = task.artifact.max_bytes
    if isinstance(artifact, Path):
        return open_artifact(artifact, cap)
    if len(artifact) > cap:
        raise ArtifactError("invalid", f"{task.artifact.path} is larger than {cap:,} bytes")
    return artifact


def _checked(task: Task, metrics: dict[str, Any]) -> dict[str, float]:
    """The metrics that the task names, all of them finite numbers."""
    wrong = [
        metric.key
        for metric in task.spec.metrics
        if not isinstance(metrics.get(metric.key), int | float) or not math.isfinite(metrics[metric.key])
    ]
    if wrong:
        returned = ", ".join(f"{key} = {value:g}" for key, value in metrics.items()) or "none"
        raise EvaluationError(
            f"{task.evaluator}: {task.spec.evaluate.function} returns no finite number for {', '.join(wrong)}, "
            f"which metrics of task.yaml names; it returns {returned}"
        )
    return {metric.key: float(metrics[metric.key]) for metric in task.spec.metrics}


async def _listen(
    output: asyncio.StreamReader,
    answers: asyncio.StreamWriter,
    rooms: Rooms,
    progress: Progress | None,
) -> dict[str, Any]:
    """The result that the evaluator writes at last; empty where it ends without one."""
    async for line in output:
        message = json.loads(line)
        if "result" in message:
            return dict(message["result"])
        if "over" in message:
            await rooms[message["over"]].end()
            answers.write(b"\n")
        elif progress is not None:
            progress(*message["progress"])
    return {}


async def _spend(rooms: Rooms, most: float) -> None:
    """Wait until the processes of the rooms have together used `most` seconds of processor time. What was seen once
    stays counted: a process that nobody waits for takes its time with it when it ends.
    """
    spent, before = 0.0, [0.0 for _ in rooms]
    while spent < most:
        await asyncio.sleep(min(1.0, max(0.1, (most - spent) / MOST_THREADS)))
        for number, room in enumerate(rooms):
            now = await room.processor_seconds()
            spent += max(0.0, now - before[number])
            before[number] = now


async def _drain(process: asyncio.subprocess.Process, errors: asyncio.Future[bytearray]) -> None:
    """Wait for the end of a killed process, and of its pipes."""
    await process.wait()
    await errors
    assert process.stdout is not None
    await read_tail(process.stdout)
