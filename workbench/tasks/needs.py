"""What a task needs, and whether it can run on this machine now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from workbench.isolation.batch import memory, processors
from workbench.isolation.gpus import list_gpus
from workbench.tasks.catalogue import Task
from workbench.tasks.datasets import datasets_of, missing, needs_network
from workbench.tasks.errors import TaskError
from workbench.tasks.packages import installed_for, missing_modules, not_installed
from workbench.text import many


class Needs(msgspec.Struct, frozen=True):
    """What a task needs, and what is missing."""

    words: tuple[str, ...]
    """Like "data house-prices (0.5 MB)", "1 GPU", "network"."""
    obstacles: tuple[str, ...]
    """Why it cannot run now, and what to do; empty when it can."""
    stand_in: bool
    """Whether it can run on its stand-in."""
    optional: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Optional modules that are not installed, each with the command that installs it."""

    @property
    def verdict(self) -> str:
        """In a word or two: "yes", "stand-in only", "no"."""
        return "yes" if not self.obstacles else "stand-in only" if self.stand_in else "no"


def examine(task: Task) -> Needs:
    """What the task needs and what is missing here. This is cheap: nothing is fetched or prepared."""
    words: list[str] = []
    obstacles: list[str] = []
    stand_in = bool(task.spec.datasets)
    network = False
    try:
        for dataset in datasets_of(task):
            words.append(f"data {dataset.id}" + (f" ({dataset.spec.size})" if dataset.spec.size else ""))
            network = network or needs_network(dataset, task.variant)
            why = missing(dataset, task.variant)
            if why is not None:
                obstacles.append(why)
            stand_in = stand_in and dataset.spec.tiny is not None
    except TaskError as error:
        obstacles.append(str(error))
        stand_in = False
    spec = task.spec
    packages = installed_for(task, "local", "")
    if spec.requirements and not spec.requirements_optional and packages is None:
        obstacles.append(not_installed(task))
        stand_in = False
    gpus = task.spec.resources.gpus
    if gpus:
        words.append(many(gpus, "GPU"))
        here = len(list_gpus())
        if here < gpus and not task.variant:
            obstacles.append(f"it needs {many(gpus, 'GPU')}; this machine has {here or 'none'}")
    words += [asked for asked, _, _ in _resources(task)]
    obstacles += lacking(task)
    if network:
        words.append("network")
    return Needs(tuple(words), tuple(obstacles), stand_in, missing_modules(task, packages))


def lacking(task: Task) -> list[str]:
    """Memory and processors that the task needs and this machine lacks; the stand-in of the data needs none."""
    rows = () if task.variant else _resources(task)
    return [f"it asks for {asked}; this machine has {here}" for asked, here, enough in rows if not enough]


def _resources(task: Task) -> Iterator[tuple[str, str, bool]]:
    """The memory and processors that the task asks for, what this machine has of them, and whether that is enough."""
    asked = task.spec.resources
    if asked.memory_bytes is not None:
        there = memory()
        yield f"{gigabytes(asked.memory_bytes)} of memory", gigabytes(there), there >= asked.memory_bytes
    if asked.cpus is not None:
        here = processors()
        yield many(asked.cpus, "CPU"), str(here), here >= asked.cpus


def gigabytes(size: int) -> str:
    """Like "0.5 GB"."""
    return f"{size / (1 << 30):.3g} GB"
