"""A task for tests whose submission is a model: numbers in a file, and code beside it, loaded in a room."""

from __future__ import annotations

import textwrap
from pathlib import Path

from workbench.tasks.catalogue import Task, load_task

EVALUATOR = """
    import struct

    from workbench.tasks.submission import Failure, Job, Scores

    def evaluate(job: Job) -> Scores:
        answers = []
        for room in job.submissions:
            questions = [1.0, 2.0, 3.0]
            answer = room.send(struct.pack("3d", *questions), 24)
            if len(answer) != 24:
                raise Failure("invalid", f"{len(answer)} bytes, not 24")
            answers.append(struct.unpack("3d", answer))
        if any(answer != answers[0] for answer in answers):
            raise Failure("invalid", "two rooms, two answers")
        return Scores(metrics={"error": sum(abs(a - 2 * q) for a, q in zip(answers[0], questions))})
"""
RUNNER = """
    import json
    import os
    import struct
    import sys

    from submission_server import NotASubmission

    folder = os.environ["ARTIFACT"]
    try:
        with open(f"{folder}/model/weights.json") as stream:
            weight = json.load(stream)["weight"]
    except (OSError, ValueError, KeyError) as error:
        raise NotASubmission(f"model/weights.json: {error}") from None
    sys.path.insert(0, f"{folder}/src")
    try:
        from network import apply
    except ImportError:
        def apply(weight, value):
            return weight * value

    def answer(question: bytes) -> bytes:
        values = struct.unpack(f"{len(question) // 8}d", question)
        return struct.pack(f"{len(values)}d", *(apply(weight, value) for value in values))
"""


def make_model_task(folder: Path, *, rooms: int = 1, seconds: float = 5.0) -> Task:
    """A task folder that is complete: `error` is 0 for the weight 2."""
    for part in ("starter", "evaluate"):
        (folder / part).mkdir(parents=True)
    (folder / "evaluate" / "evaluator.py").write_text(textwrap.dedent(EVALUATOR))
    (folder / "evaluate" / "runner.py").write_text(textwrap.dedent(RUNNER))
    (folder / "task.yaml").write_text(
        textwrap.dedent(
            f"""\
            id: doubling
            name: Doubling
            domain: tests
            level: beginner
            description: Write $artifact.
            metrics:
              - {{key: error, direction: minimize, primary: true}}
            artifact: {{kind: model, path: model, also: [src, settings.json], max_bytes: 20000}}
            limits: {{answer_seconds: 30, loading_seconds: 30, evaluation_seconds: {seconds}, memory_bytes: 300000000}}
            evaluate: {{file: evaluate/evaluator.py, runner: evaluate/runner.py, rooms: {rooms}}}
            """
        )
    )
    return load_task(folder)


def make_submission(root: Path, weight: str = '{"weight": 2.0}', network: str = "") -> Path:
    """A workspace with a model."""
    (root / "model").mkdir(parents=True)
    (root / "model" / "weights.json").write_text(weight)
    if network:
        (root / "src").mkdir()
        (root / "src" / "network.py").write_text(textwrap.dedent(network))
    return root
