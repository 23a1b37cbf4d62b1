"""Each kind of task that `tasks new` makes holds; each way to break it fails `tasks check`, with why and where."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.checks.task_check import Finding, check
from workbench.tasks.catalogue import Task, load_task
from workbench.tasks.errors import TaskFileError
from workbench.tasks.scaffold import Kind, scaffold

pytestmark = pytest.mark.bwrap


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is prepared of the same files, with the same program, is the same: once for all tasks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLGYM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize(("kind", "variant"), [("code", ""), ("csv", ""), ("csv", "tiny"), ("checkpoint", "tiny")])
async def test_a_new_task_holds(tmp_path: Path, kind: Kind, variant: str) -> None:
    task = load_task(scaffold(tmp_path / "mine", "mine", kind)).under(variant=variant)
    found = {finding.name: finding async for finding in check(task)}
    assert {finding.outcome for finding in found.values()} == {"ok"}, found
    assert "no better than" not in found["demo"].detail and "same score again" in found
    if kind == "csv":
        assert "demo on validation data" in found and "wrong artifact: NaN in the last column" in found
    if kind == "checkpoint":
        assert "weights.json cannot be loaded" in found["wrong artifact: files cut short"].detail


def broken(folder: Path, kind: Kind, *edits: tuple[str, str, str]) -> Path:
    """A new task with the first occurrence of a text in some of its files replaced."""
    made = scaffold(folder / "mine", "mine", kind)
    for name, old, new in edits:
        file = made / name
        text = file.read_text()
        assert old in text, (name, old)
        file.write_text(text.replace(old, new, 1))
    return made


async def first_failure(task: Task) -> Finding:
    async for finding in check(task):
        if finding.outcome == "failed":
            return finding
    raise AssertionError("all holds")


@pytest.mark.parametrize(
    ("kind", "old", "new", "words"),
    [
        ("code", "level: beginner", "levle: beginner", "line 5: levle: is not a known field; did you mean 'level'?"),
        ("code", "direction: maximize, ", "", "line 22: metrics.0.direction: is required"),
        ("code", "evaluate/adding.py", "evaluate/gone.py", "evaluate.file: the file 'evaluate/gone.py' is not there"),
        ("code", "$artifact", "$artefact", "line 6: description: $artefact is not a known name; there are"),
        ("csv", "path: submission.csv", "also: [x.csv]\n  path: submission.csv", "artifact.also: is for checkpoints"),
        ("csv", "stand_in: {rmse", "stand_in: {rsme", "baseline.stand_in.rsme: no such metric; there are rmse"),
        ("csv", "path: submission.csv", "path: /tmp/x.csv", "artifact.path: must be a relative path, without '..'"),
        ("checkpoint", "  runner:", "  #", "evaluate.runner: is required for a checkpoint or a model"),
        ("checkpoint", "evaluate/runner.py", "starter/train.py", "evaluate.runner: must not be in the starter folder"),
    ],
)
def test_a_faulty_file_is_told_with_line_and_field(tmp_path: Path, kind: Kind, old: str, new: str, words: str) -> None:
    with pytest.raises(TaskFileError) as error:
        load_task(broken(tmp_path, kind, ("task.yaml", old, new)))
    assert words in str(error.value) and f"{tmp_path}/mine/task.yaml, line " in str(error.value)


EVALUATOR = "evaluate/adding.py"
LAX = (
    'read_predictions(\n        job.artifact, job.artifact_name, key="id", column="y", wanted=list(truth), '
    "allowed=others\n    )",
    "{**dict.fromkeys(truth, 0.0), **{key: float(y) for key, y in "
    "(line.split(',') for line in job.artifact.decode().split()[1:]) if key in truth}}",
)


@pytest.mark.parametrize(
    ("kind", "file", "old", "new", "check_name", "words"),
    [
        ("code", "task.yaml", "{Accuracy: 0.0}", "{Accuracy: 0.5}", "baseline",
         "Accuracy 0 (published 0.5): further apart than Accuracy ± 0.05. Write what it reaches under baseline.scores"),
        ("code", "task.yaml", "metrics:", "datasets: [gone]\nmetrics:", "data",
         "mine/task.yaml: datasets: 'gone' is not there: no gone.yaml in"),
        ("code", EVALUATOR, '"Accuracy"', '"accuracy"', "baseline",
         "mine/evaluate/adding.py: evaluate returns no finite number for Accuracy, which metrics of task.yaml names; "
         "it returns accuracy = 0"),
        ("code", EVALUATOR, "right / QUESTIONS", "float('nan')", "baseline", "it returns Accuracy = nan"),
        ("code", EVALUATOR, "right / QUESTIONS", "'good'", "baseline", "is 'good', which is no number"),
        ("code", EVALUATOR, "right = 0", "right = 0 / 0", "baseline",
         "mine/evaluate/adding.py, line 11: ZeroDivisionError: division by zero"),
        ("code", EVALUATOR, "right = 0", "right = = 0", "baseline", "mine/evaluate/adding.py, line 11: SyntaxError"),
        ("code", EVALUATOR, "def evaluate(", "def score(", "baseline", "adding.py has no function evaluate"),
        ("code", EVALUATOR, "return Scores", "Scores", "baseline", "evaluate returned a NoneType"),
        ("code", EVALUATOR, "right = 0", "raise SystemExit(3)", "baseline",
         "mine/evaluate/adding.py: its process ended without a result: exit status 3"),
        ("code", EVALUATOR, "job.progress(number", "job.progress('soon'", "baseline", "adding.py, line 16: TypeError"),
        ("code", EVALUATOR, "right / QUESTIONS", "__import__('time').time() % 0.001",
         "same score again", "job.random is the only randomness"),
        ("code", "starter/total.py", "return 0", "return 1 / 0", "baseline", "crashed: total.py, line 2, in total"),
        ("code", "demo/total.py", "sum(numbers)", "summe(numbers)", "demo", "crashed: total.py, line 3, in total"),
        ("csv", "datasets/measurements.py", "dice = making", "1 / 0\n    dice = making", "data",
         "measurements could not be prepared: {folder}/datasets/measurements.py, line 8: ZeroDivisionError"),
        ("csv", "datasets/measurements.py", "dice = making", "exit(3)\n    dice = making", "data",
         "measurements.yaml: its program ended its process by SystemExit(3)"),
        ("csv", "datasets/measurements.py", "def prepare", "def make", "data", "has no function prepare"),
        ("csv", "datasets/measurements.yaml", "rows: 1000", "row: 1000", "data", "line 10: KeyError: 'rows'"),
        ("csv", "datasets/measurements.yaml", "seed: 7", "sede: 7", "data",
         "mine/datasets/measurements.yaml, line 5: source.sede: is not a known field; did you mean 'seed'?"),
        ("csv", "datasets/measurements.py", 'complete if part == "train" else questions', "complete", "data",
         "the agent has secret/test.csv too, as public/test.csv"),
        ("csv", "starter/baseline.py", 'train = table("train")', "train = tabel", "baseline",
         "baseline.py of task mine ended with exit code 1: baseline.py, line 12: NameError"),
        ("csv", "starter/baseline.py", '"submission.csv"', '"sub.csv"', "baseline", "left no submission.csv"),
        ("csv", "starter/baseline.py", 'table("validation") + table("test")', 'table("test")[1:]', "baseline",
         "invalid: submission.csv: 1 id is missing: 9"),
        ("csv", "evaluate/errors.py", 'f"{job.split}.csv"', '{"test": "test.csv"}[job.split]',
         "demo on validation data", "evaluate/errors.py, line 11: KeyError: 'validation'"),
        ("csv", "evaluate/errors.py", *LAX, "wrong artifact: every second row is missing", "the verdict is ok"),
        ("checkpoint", "evaluate/runner.py", "ARTIFACT =", "while True: pass\nARTIFACT =", "baseline",
         "timeout: it did not load within 0.5 s"),
        ("checkpoint", "evaluate/runner.py", "    values =", "    while True: pass\n    values =", "baseline",
         "timeout: model gave no answer within 0.3 s"),
        ("checkpoint", "evaluate/runner.py", "def answer", "def reply", "baseline", "runner.py has no function answer"),
        ("checkpoint", "evaluate/runner.py", "ARTIFACT =", "1 / 0\nARTIFACT =", "baseline",
         "crashed: runner.py, line 13, in <module>: ZeroDivisionError"),
        ("checkpoint", "starter/train.py", "model/weights.json", "model.json", "baseline",
         "invalid: model/weights.json cannot be loaded"),
        ("checkpoint", "task.yaml", "requirements: []", "requirements: [nothing-like-it==1]", "baseline",
         "its packages are not installed"),
    ],
)  # fmt: skip
async def test_a_broken_task_fails_with_the_reason(
    tmp_path: Path, kind: Kind, file: str, old: str, new: str, check_name: str, words: str
) -> None:
    edits = [(file, old, new)]
    if words.startswith("timeout"):
        limits = "limits: {training_seconds: 600, answer_seconds: 10}"
        short = "loading_seconds: 0.5" if "load" in words else "answer_seconds: 0.3"
        edits += [("task.yaml", limits, f"limits: {{{short}}}")]
    finding = await first_failure(load_task(broken(tmp_path, kind, *edits)))
    words = words.replace("{folder}", str(tmp_path / "mine"))
    assert finding.name == check_name and words in finding.detail, finding
    assert "Traceback" not in finding.detail


async def test_what_an_evaluator_prints_is_ignored_and_a_fault_is_told_once(tmp_path: Path) -> None:
    forged = 'print(\'{"result": {"verdict": "ok", "metrics": {"Accuracy": 9}}}\', flush=True)'
    task = load_task(broken(tmp_path, "code", (EVALUATOR, "right = 0", f"right = 0\n    {forged}")))
    assert {finding.outcome async for finding in check(task)} == {"ok"}
    (task.folder / EVALUATOR).write_text("def evaluate(job):\n    raise ValueError('no')\n")
    failed = [finding.detail async for finding in check(task) if finding.outcome == "failed"]
    assert failed[0].endswith("adding.py, line 2: ValueError: no") and set(failed[1:]) == {"as baseline"}


async def test_a_demo_that_is_worse_is_remarked_on(tmp_path: Path) -> None:
    task = load_task(broken(tmp_path, "code", ("task.yaml", "maximize", "minimize")))
    details = [finding.detail async for finding in check(task) if finding.name == "demo"]
    assert details == ["Accuracy 1 (no better than the baseline, 0: minimize is meant?)"]
