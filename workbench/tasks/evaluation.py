"""Clean-room evaluation: an artifact goes in, a verdict and a score come out."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench.sandbox.base import SandboxError
from workbench.session.events import Verdict
from workbench.tasks.artifact import ArtifactError, open_artifact
from workbench.tasks.catalogue import Task, task_folders
from workbench.tasks.datasets import Prepared, cache_folder, label_of, prepare_task
from workbench.tasks.errors import TaskError
from workbench.tasks.judge import JobSpec
from workbench.tasks.processes import kill_group, start_process
from workbench.tasks.room import Guest, Isolation, Room, RoomChoice, RoomError, open_room, read_tail
from workbench.tasks.seeds import derive, evaluation_key
from workbench.tasks.submission import START_SECONDS

__all__ = ["ArtifactError", "Evaluation", "EvaluationError", "RoomError", "evaluate", "open_artifact"]

Progress = Callable[[float, str], None]
_MESSAGE = 1000
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR", "LD_LIBRARY_PATH")


class EvaluationError(SandboxError):
    """The evaluation itself failed, through no fault of the submission."""


@dataclass(frozen=True)
class Evaluation:
    """The outcome of one evaluation."""

    verdict: Verdict
    metrics: dict[str, float] = field(default_factory=dict)
    """Empty unless the verdict is ok."""
    score: float | None = None
    """The primary metric; None unless the verdict is ok."""
    standard_error: float | None = None
    """Of the score, where the evaluator is stochastic."""
    message: str = ""
    """What went wrong, for the author of the submission; empty when nothing did."""
    isolation: Isolation = "sandbox"
    artifact_hash: str | None = None
    """sha256 of what was scored; None where nothing could be read."""
    duration: float = 0.0
    """Seconds."""
    split: str = "test"
    """Of the data."""
    dataset: str = ""
    """What must be said of the data ("stand-in"); empty for the real thing, or none."""


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
) -> Evaluation:
    """Score an artifact (its bytes, or a path that is opened without following links) in a fresh room.

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
    label = label_of(prepared)
    try:
        data = await asyncio.to_thread(_bytes_of, task, artifact)
    except ArtifactError as error:
        return Evaluation(error.verdict, message=error.message, duration=_since(started), split=split, dataset=label)
    digest = hashlib.sha256(data).hexdigest()
    key = await asyncio.to_thread(evaluation_key, seed, secret, task.id, digest)
    limits = task.limits
    spec = JobSpec(
        folder=str(task.folder),
        evaluator=task.spec.evaluate.file,
        function=task.spec.evaluate.function,
        asked=task.artifact.function or "",
        key=derive(key, "evaluator").hex(),
        split=split,
        answer_seconds=limits.answer_seconds,
        loading_seconds=min(limits.loading_seconds, limits.evaluation_seconds),
        total_seconds=limits.evaluation_seconds,
        artifact_name=os.path.basename(task.artifact.path),
        data={name: (str(item.public(task.protocol)), str(item.secret)) for name, item in prepared.items()},
    )
    isolation: Isolation = "sandbox"
    if task.artifact.kind == "code":
        guest = Guest(
            data=data,
            name=spec.artifact_name,
            function=spec.asked,
            seed=derive(key, "submission"),
            memory_bytes=limits.memory_bytes,
            cpu_seconds=math.ceil(limits.evaluation_seconds + limits.loading_seconds),
            session=session,
            hide=(task.folder, *task_folders(), cache_folder()),
        )
        async with open_room(room, guest) as opened:
            result = await _judge(spec, opened.channel, b"", progress)
            if "room_failed" in result:
                said = " ".join((await opened.standard_error()).split())[-300:]
                raise RoomError(f"the room for the submission did not come up: {said or result['room_failed']}")
            message = await _message(result, opened)
            isolation = opened.isolation
    else:  # nothing of it is run, so it needs no room
        result = await _judge(spec, None, data, progress)
        message = await _message(result, None)
    fine = result["verdict"] == "ok"
    metrics = _checked(task, result["metrics"]) if fine else {}
    return Evaluation(
        result["verdict"],
        metrics=metrics,
        score=metrics[task.primary_metric.name] if fine else None,
        standard_error=result["standard_error"] if fine else None,
        message=message,
        isolation=isolation,
        artifact_hash=digest,
        duration=_since(started),
        split=split,
        dataset=label,
    )


def _since(started: float) -> float:
    return time.monotonic() - started


async def _prepared(task: Task) -> dict[str, Prepared]:
    """The task's datasets. Raises EvaluationError."""
    if not task.spec.datasets:
        return {}
    try:
        return await asyncio.to_thread(prepare_task, task)
    except (TaskError, OSError) as error:
        raise EvaluationError(str(error)) from error


def _bytes_of(task: Task, artifact: bytes | Path | None) -> bytes:
    cap = task.artifact.max_bytes
    if artifact is None:
        raise ArtifactError("missing", f"{task.artifact.path} is missing: write it, then try again")
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
        raise EvaluationError(f"the evaluator of task {task.id} gives no number for {', '.join(wrong)}")
    return {metric.key: float(metrics[metric.key]) for metric in task.spec.metrics}


async def _message(result: dict[str, Any], room: Room | None) -> str:
    """What the author of the submission is told, in printable characters."""
    text = str(result.get("message", ""))
    if result.get("ended") and room is not None:
        how = await room.how_it_ended()
        said = (await room.standard_error()).strip().splitlines()
        text += f": {how}" if how else ""
        text += f"; last on standard error: {said[-1][:200]}" if said else ""
    return "".join(character if character.isprintable() else " " for character in text)[:_MESSAGE]


async def _judge(
    spec: JobSpec, channel: socket.socket | None, artifact: bytes, progress: Progress | None
) -> dict[str, Any]:
    """Run the judge's process on our end of the channel, or on the submission's bytes; its result."""
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    descriptor = -1 if channel is None else channel.fileno()
    spec = replace(spec, artifact_bytes=len(artifact))
    process = await start_process(
        sys.executable,
        "-P",  # what lies in the current folder is not ours
        "-m",
        "workbench.tasks.judge",
        str(descriptor),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=() if channel is None else (descriptor,),
        cwd="/",
        env=environment,
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    errors = asyncio.ensure_future(read_tail(process.stderr))
    try:
        if channel is not None:
            channel.close()  # the judge holds the only copy: its death is seen in the room
        process.stdin.write(json.dumps(asdict(spec)).encode() + b"\n" + artifact)
        async with asyncio.timeout(START_SECONDS + spec.loading_seconds + spec.total_seconds + 10):
            async for line in process.stdout:
                message = json.loads(line)
                if "result" in message:
                    return dict(message["result"])
                if progress is not None:
                    progress(*message["progress"])
        said = (await errors).decode(errors="replace").strip().splitlines()
        raise EvaluationError(
            f"the evaluator {spec.evaluator} of the task in {spec.folder} failed: {said[-1] if said else 'no result'}"
        )
    except TimeoutError:
        return {"verdict": "timeout", "message": f"the evaluation took more than {spec.total_seconds:g} s"}
    finally:
        kill_group(process)
        process.stdin.close()
        await asyncio.shield(_drain(process, errors))


async def _drain(process: asyncio.subprocess.Process, errors: asyncio.Future[bytearray]) -> None:
    """Wait for the end of a killed process, and of its pipes."""
    await process.wait()
    await errors
    assert process.stdout is not None
    await read_tail(process.stdout)
