"""Faults of a task, told to its user or its author."""

from __future__ import annotations

from workbench.errors import WorkbenchError
from workbench.yamlfile import Problem, in_lines

__all__ = ["Problem", "TaskError", "TaskFileError", "UnknownTask"]


class TaskError(WorkbenchError):
    """A task that cannot be used. `str()` says where and why, and is fit to be shown as it is."""


class TaskFileError(TaskError):
    """A `task.yaml` with faults; all that were found are in `problems`."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(in_lines(problems))
        self.problems = problems


class UnknownTask(TaskError):
    """There is no such task; `ref` is what was asked for."""

    def __init__(self, ref: str, message: str) -> None:
        super().__init__(message)
        self.ref = ref
