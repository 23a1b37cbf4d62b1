"""A new task's folder: small, complete and runnable, for its author to change."""

from __future__ import annotations

import re
from pathlib import Path

from workbench.tasks.catalogue import load_task
from workbench.tasks.errors import TaskError

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

_FILES = {
    "task.yaml": """\
# What each field means: docs/tasks.md. Check this file, and the whole task, with `mlgym-tui tasks check`.
id: {id}
name: {id}
domain: example
level: beginner
description: |
  Write a function that adds up.

  What to write: the file $artifact in $workspace, with the function

      def total(numbers):

  that returns the sum of a list of up to 100 whole numbers. Your score is the share of right answers to 200 such lists,
  between 0 and 1; the higher, the better. A call may take at most $answer_seconds seconds.

  `validate` scores the file as it is; `submit` scores it and ends your work.
baseline:
  submission: starter/total.py
  scores: {{Accuracy: 0.0}}       # run `mlgym-tui baseline` and write here what it reaches
  tolerance: {{Accuracy: 0.05}}
metrics:
  - {{key: Accuracy, direction: maximize, primary: true}}
artifact:
  kind: code                    # or csv: see docs/tasks.md
  path: total.py
  function: total
evaluate:
  file: evaluate/adding.py
demo: demo/total.py
""",
    "starter/total.py": """\
def total(numbers):
    return 0
""",
    "demo/total.py": '''\
def total(numbers):
    """There is a function for that."""
    return sum(numbers)
''',
    "evaluate/adding.py": '''\
"""Adding up: the share of right answers. An agent never sees this file."""

from workbench.tasks.submission import Job, NoPlainValue, Scores

QUESTIONS = 200


def evaluate(job: Job) -> Scores:
    right = 0
    for number in range(1, QUESTIONS + 1):
        numbers = [int(job.random.random() * 2000) - 1000 for _ in range(1 + int(job.random.random() * 100))]
        try:
            right += job.submission.call(numbers) == sum(numbers)
        except NoPlainValue:
            pass  # what it returned is no number: a wrong answer
        job.progress(number / QUESTIONS, "asking")
    return Scores(metrics={"Accuracy": right / QUESTIONS})
''',
}


def scaffold(folder: Path, ident: str) -> Path:
    """Make the folder; its absolute path. Raises TaskError or OSError."""
    if not _ID.fullmatch(ident):
        raise TaskError(f"{ident!r} is no id: letters, digits, '-' and '_' only, and a letter or digit first")
    if folder.exists():
        raise TaskError(f"{folder} is there already: choose another id, or another place with --in")
    for name, text in _FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.format(id=ident) if name == "task.yaml" else text, encoding="utf-8")
    return load_task(folder).folder
