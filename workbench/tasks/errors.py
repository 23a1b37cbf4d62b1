"""What can be wrong with a task, in words for its user or author."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class TaskError(Exception):
    """A task that cannot be used. `str()` says where and why, and is fit to be shown as it is."""


@dataclass(frozen=True)
class Problem:
    """One fault of a task file."""

    file: Path
    line: int | None
    """Counted from 1; None when it belongs to no line."""
    field: str
    """"metrics.0.direction"; empty for the file as a whole."""
    message: str

    def __str__(self) -> str:
        place = str(self.file) + (f", line {self.line}" if self.line else "")
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"


class TaskFileError(TaskError):
    """A `task.yaml` with faults; all that were found are in `problems`."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class UnknownTask(TaskError):
    """There is no such task; `ref` is what was asked for."""

    def __init__(self, ref: str, message: str) -> None:
        super().__init__(message)
        self.ref = ref
