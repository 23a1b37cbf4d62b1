"""Finding tasks: those that ship with the package, those in folders of `$MLGYM_TASKS`, and any by its path."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Literal, cast

import msgspec
from msgspec.structs import replace

from workbench.resources import data_folder
from workbench.session.events import Metric
from workbench.session.files import read_file
from workbench.tasks.errors import TaskError, UnknownTask
from workbench.text import did_you_mean
from workbench.yamlfile import MAX_FILE

if TYPE_CHECKING:
    from workbench.tasks.schema import Artifact, TaskLimits, TaskSpec

TASK_FILE = "task.yaml"
ENVIRONMENT = "MLGYM_TASKS"
_SKIPPED = ("__pycache__",)

Variant = Literal["", "tiny"]
Protocol = Literal["", "mlgym"]


class Task(msgspec.Struct, frozen=True):
    """A task that was found and checked."""

    folder: Path
    """Where its files are; absolute."""
    spec: TaskSpec
    variant: Variant = ""
    """The variant of its data: the real data, or the small generated stand-in (`tiny`)."""
    protocol: Protocol = ""
    """How it is scored: our own rules, or those of MLGym (`validate` sees the test data)."""

    def under(self, protocol: str = "", variant: str = "") -> Task:
        """The same task under another protocol, on another variant of its data. Raises TaskError."""
        if protocol not in ("", "mlgym"):
            raise TaskError(f"unknown protocol {protocol!r}; there is mlgym")
        if variant not in ("", "tiny"):
            raise TaskError(f"unknown variant {variant!r} of the data; there is tiny, the small generated stand-in")
        if variant and not self.spec.datasets:
            raise TaskError(f"task {self.id} has no dataset, and so no stand-in: leave --dataset out")
        return replace(self, protocol=cast(Protocol, protocol), variant=cast(Variant, variant))

    def split_for(self, kind: str) -> str:
        """The split of the data that `validate` or `submit` scores on."""
        splits, protocols = self.spec.evaluate.splits, self.spec.evaluate.protocols
        if self.protocol and self.protocol in protocols:
            return protocols[self.protocol]
        validation = kind == "validate" and self.protocol != "mlgym" and "validation" in splits
        return "validation" if validation else "test" if "test" in splits else splits[0]

    @property
    def id(self) -> str:
        """The id, as MLGym names it."""
        return self.spec.id

    @property
    def limits(self) -> TaskLimits:
        """The limits on time and memory."""
        return self.spec.limits

    @property
    def artifact(self) -> Artifact:
        """What an agent submits."""
        return self.spec.artifact

    @property
    def requirements(self) -> list[str]:
        """Python packages, as pip reads them: the task's, and those that its GPUs need where this machine has some."""
        from workbench.isolation.gpus import list_gpus

        besides = self.spec.resources.requirements
        return [*self.spec.requirements, *(besides if besides and list_gpus() else [])]

    @property
    def primary_metric(self) -> Metric:
        """The metric that counts, with the published baseline (on a stand-in: the baseline there)."""
        metric = self.spec.primary_under(self.protocol)
        return Metric(name=metric.key, direction=metric.direction, baseline=self.baseline_scores.get(metric.key))

    @property
    def baseline_scores(self) -> dict[str, float]:
        """What the baseline reaches, by metric."""
        return self.spec.baseline.stand_in if self.variant else self.spec.baseline.scores

    @property
    def folders(self) -> list[Path]:
        """The folders of its files: its own, and one that it may share with other tasks."""
        shared = self.spec.shares
        return [self.folder] if shared is None else [self.folder, self.folder.parent / shared]

    def file(self, path: str) -> Path:
        """A file of the task, by its path in the task's folder."""
        found = [folder / path for folder in self.folders if (folder / path).is_file()]
        return found[0] if found else self.folder / path

    @property
    def evaluator(self) -> Path:
        """The evaluator's file. Never shown to an agent."""
        return self.file(self.spec.evaluate.file)

    def description(self, workspace: str = "/home/agent/workspace") -> str:
        """The task as the agent reads it. `workspace` is the path inside the sandbox."""
        limits = self.limits
        return Template(self.spec.description).substitute(
            workspace=workspace,
            artifact=self.artifact.path,
            command_seconds=f"{limits.command_seconds:g}",
            training_minutes=f"{limits.training_seconds / 60:g}",
            evaluation_seconds=f"{limits.evaluation_seconds:g}",
            answer_seconds=f"{limits.answer_seconds:g}",
        )

    def starter_files(self) -> dict[str, bytes]:
        """The files that the workspace starts with: path, with '/' between parts → bytes. Raises OSError."""
        roots = [folder / self.spec.starter for folder in reversed(self.folders)]
        return {path.relative_to(root).as_posix(): path.read_bytes() for root in roots for path in regular_files(root)}

    def baseline_submission(self) -> bytes | None:
        """The artifact that the published baseline belongs to, where it ships with the task. Raises OSError."""
        path = self.spec.baseline.submission
        return self.file(path).read_bytes() if path else None

    def demo(self) -> str | None:
        """A better submission, for the scripted demo agent. Raises OSError."""
        return self.file(self.spec.demo).read_text(encoding="utf-8") if self.spec.demo else None


def load_task(folder: Path) -> Task:
    """The task in a folder (or of a `task.yaml`). Raises TaskError."""
    from workbench.tasks.schema import read_task

    folder = Path(os.path.abspath(folder.parent if folder.name == TASK_FILE else folder))
    return Task(folder=folder, spec=read_task(folder))


def list_tasks(extra: Sequence[Path] = (), problems: list[TaskError] | None = None) -> list[Task]:
    """All tasks, by id. Those that cannot be used are left out; their errors go to `problems`."""
    return _load(task_folders(extra), [] if problems is None else problems)


def _load(folders: Iterable[Path], problems: list[TaskError]) -> list[Task]:
    found: list[Task] = []
    for folder in folders:
        try:
            found.append(load_task(folder))
        except TaskError as error:
            problems.append(error)
    return sorted(found, key=lambda task: task.id.casefold())


def _naming(ident: str, folders: Iterable[Path]) -> Iterator[Path]:
    """Those whose file has the id in its text. Reading a task as a whole takes fifty times as long."""
    for folder in folders:
        with suppress(OSError):
            if ident.encode() in read_file(folder / TASK_FILE, MAX_FILE, follow=True):
                yield folder


def find_task(ref: str, extra: Sequence[Path] = ()) -> Task:
    """A task by its id, or by the path of its folder (with a '/' in it, or where no task has that id).

    Raises UnknownTask (a TaskError) with the nearest name, or TaskError for a task with faults or an id given twice.
    """
    path = Path(ref).expanduser()
    if os.sep in ref or ref in (".", ".."):
        if not (path if path.name == TASK_FILE else path / TASK_FILE).is_file():
            raise UnknownTask(ref, f"no task in {ref}: there is no {TASK_FILE}")
        return load_task(path)
    try:
        return find_known_task(ref, extra)
    except UnknownTask:
        if ref and (path / TASK_FILE).is_file():
            return load_task(path)
        raise


def tasks_called(ident: str, extra: Sequence[Path] = ()) -> list[Task]:
    """Those of `list_tasks` that have this id; more than one is a fault."""
    likely = _load(_naming(ident, task_folders(extra)), [])
    return [task for task in likely if task.id == ident] or [task for task in list_tasks(extra) if task.id == ident]


def find_known_task(ident: str, extra: Sequence[Path] = ()) -> Task:
    """A task by its id, of those that `list_tasks` finds. Raises what `find_task` does."""
    matches = tasks_called(ident, extra)
    if len(matches) > 1:
        folders = " and ".join(str(task.folder) for task in matches)
        raise TaskError(f"more than one task has the id {ident!r}: {folders}; name the folder instead")
    if matches:
        return matches[0]
    for folder in task_folders(extra):
        if folder.name == ident:
            return load_task(folder)  # it has faults, or another id
    raise UnknownTask(ident, _unknown(ident, [task.id for task in list_tasks(extra)]))


def task_roots(extra: Sequence[Path] = ()) -> list[Path]:
    """Folders that tasks are looked for in: given ones, those of `$MLGYM_TASKS`, the shipped ones."""
    named = [Path(part).expanduser() for part in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if part]
    return [*extra, *named, data_folder("tasks")]


def task_folders(extra: Sequence[Path] = ()) -> list[Path]:
    """Folders with a `task.yaml`, each once: the roots themselves, and the folders in them."""
    found: dict[Path, Path] = {}
    for root in task_roots(extra):
        try:
            candidates = [root, *sorted(root.iterdir())]
        except OSError:
            continue
        for candidate in candidates:
            if (candidate / TASK_FILE).is_file():
                found.setdefault(candidate.resolve(), candidate)
    return list(found.values())


def _unknown(ref: str, ids: list[str]) -> str:
    return f"unknown task {ref!r}; {did_you_mean(ref, sorted(ids))}"


def regular_files(root: Path) -> Iterator[Path]:
    """Files below a folder, in order, without links and what Python leaves behind."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(files):
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink() and not name.endswith(".pyc"):
                yield path
