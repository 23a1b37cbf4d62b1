"""The evaluator's process: trusted, it runs a task's evaluator, which asks the submission over a socket.

`python -m workbench.scoring.evaluator [FD …]` reads one line of JSON (the job) from standard input, which stays open.
Each FD is the channel of a room; without one there is nothing to ask, and the submission's bytes follow on standard
input.
JSON lines come on standard output: `{"progress": [fraction, text]}`; `{"over": number}` for a room that is not asked
any more, answered by a byte on standard input when it is gone; and last `{"result": {...}}`. Nothing that a submission
sends is more than data that is checked here; it has no way to write to this process's output.
"""

from __future__ import annotations

import contextlib
import functools
import json
import numbers
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from workbench.scoring.seeds import UnpredictableRandom
from workbench.tasks.author_code import load_function, report_to_the_workbench
from workbench.tasks.submission import DataFolders, Failure, Job, ProcessEnded, RoomNotReady, Scores, Submission, Terms


@dataclass(frozen=True)
class JobSpec:
    """A job as it is sent to this process."""

    folder: str
    evaluator: str
    """File with the evaluator, absolute or relative to the folder."""
    function: str
    """The function in it."""
    terms: Terms
    key: str
    """The key of the evaluator's random numbers, in hex."""
    split: str
    artifact_name: str = ""
    artifact_bytes: int = 0
    """How many bytes of the submission follow on standard input."""
    slow_to_load: bool = False
    data: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Public and secret folder of each dataset."""
    protocol: str = ""
    """See `Job`."""


def load_evaluator(folder: Path, file: str, function: str) -> Callable[[Job], Scores]:
    """The evaluator of a task: function `function` of its file."""
    return cast(Callable[[Job], Scores], load_function(folder / file, function, "evaluator"))


def run_evaluator(
    spec: JobSpec,
    channels: Sequence[socket.socket],
    artifact: bytes,
    write: Callable[[dict[str, Any]], None],
    gone: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Run one evaluation; the result as a JSON object. `gone` waits for the end of the room last written as "over"."""
    folder = Path(spec.folder)
    evaluator = load_evaluator(folder, spec.evaluator, spec.function)
    last = float("-inf")
    current = 0

    def enter(number: int) -> None:
        """Room `number` comes next: the one before is left for good, before anything is loaded here."""
        nonlocal current
        if number != current + 1:
            raise RuntimeError("the rooms of a submission are asked one after the other")
        submissions[current].leave()
        write({"over": current})
        gone()
        current = number

    submissions = [
        Submission(channel, spec.terms, functools.partial(enter, number)) for number, channel in enumerate(channels)
    ]

    def progress(fraction: float, text: str) -> None:
        nonlocal last
        fraction, text = float(fraction), str(text)
        now = time.monotonic()
        if now - last >= 0.1 or fraction in (0.0, 1.0):
            last = now
            write({"progress": [fraction, text]})

    try:
        if spec.slow_to_load and submissions:
            progress(0.0, "loading the submission")
        for submission in submissions[:1]:
            submission.start()
        job = Job(
            submissions=submissions,
            random=UnpredictableRandom(bytes.fromhex(spec.key)),
            split=spec.split,
            folder=folder,
            progress=progress,
            artifact=artifact,
            artifact_name=spec.artifact_name,
            data={name: DataFolders(Path(public), Path(secret)) for name, (public, secret) in spec.data.items()},
            protocol=spec.protocol,
        )
        return {"verdict": "ok", **asdict(_numbers(evaluator(job), spec.function))}
    except RoomNotReady as error:
        return {"room_failed": str(error), "room": current}
    except Failure as failure:
        return {
            "verdict": failure.verdict,
            "message": failure.message,
            "room": current,
            "ended": isinstance(failure, ProcessEnded),
            "withhold": spec.terms.withhold and any(submission.questions for submission in submissions),
        }


def _numbers(scores: object, function: str) -> Scores:
    """What an evaluator returned, as plain numbers. Raises TypeError for anything but Scores of numbers."""
    if not isinstance(scores, Scores):
        raise TypeError(f"{function} returned a {type(scores).__name__}, where it must return Scores")
    for name, value in {**scores.metrics, "standard_error": scores.standard_error or 0.0}.items():
        if not isinstance(value, numbers.Real):
            raise TypeError(f"{name} in the Scores that {function} returned is {value!r}, which is no number")
    return Scores(
        {name: float(value) for name, value in scores.metrics.items()},
        None if scores.standard_error is None else float(scores.standard_error),
    )


def main() -> None:
    """Entry point of the process."""
    given = json.loads(sys.stdin.buffer.readline())
    spec = JobSpec(**{**given, "terms": Terms(**given["terms"])})
    artifact = sys.stdin.buffer.read(spec.artifact_bytes)
    gone = threading.Semaphore(0)
    write = report_to_the_workbench(gone.release)  # a byte says that a room is gone
    with contextlib.ExitStack() as kept:
        channels = [kept.enter_context(socket.socket(fileno=int(descriptor))) for descriptor in sys.argv[1:]]
        write({"result": run_evaluator(spec, channels, artifact, write, gone.acquire)})


if __name__ == "__main__":
    main()
