"""What a task needs, and whether it can run on this machine now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from workbench.isolation.gpus import list_gpus
from workbench.tasks.catalogue import Task
from workbench.tasks.datasets import datasets_of, missing, needs_network
from workbench.tasks.errors import TaskError
from workbench.tasks.packages import installed_for, missing_modules, not_installed
from workbench.text import many


@dataclass(frozen=True)
class Needs:
    """What was found."""

    words: tuple[str, ...]
    """Like "data house-prices (0.5 MB)", "1 GPU", "network"."""
    obstacles: tuple[str, ...]
    """Why it cannot run now, and what to do; empty when it can."""
    stand_in: bool
    """Whether it can run on its stand-in."""
    optional: Mapping[str, str] = field(default_factory=dict)
    """Modules that it can do without and that are not installed, each with the command that installs it."""

    @property
    def verdict(self) -> str:
        """In a word or two: "yes", "stand-in only", "no"."""
        return "yes" if not self.obstacles else "stand-in only" if self.stand_in else "no"


def examine(task: Task) -> Needs:
    """Look at the data and the devices. Nothing is fetched or prepared. Cheap."""
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
    words += _asked(task)
    obstacles += lacking(task)
    if network:
        words.append("network")
    return Needs(tuple(words), tuple(obstacles), stand_in, missing_modules(task, packages))


def lacking(task: Task) -> list[str]:
    """Memory and processors that the task needs and this machine lacks; the stand-in of the data needs none."""
    asked = task.spec.resources
    if task.variant:
        return []
    found: list[str] = []
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if asked.memory_bytes is not None and asked.memory_bytes > memory:
        found.append(f"it asks for {gigabytes(asked.memory_bytes)} of memory; this machine has {gigabytes(memory)}")
    here = os.cpu_count() or 1
    if asked.cpus is not None and asked.cpus > here:
        found.append(f"it asks for {many(asked.cpus, 'CPU')}; this machine has {here}")
    return found


def _asked(task: Task) -> list[str]:
    asked = task.spec.resources
    memory = [] if asked.memory_bytes is None else [f"{gigabytes(asked.memory_bytes)} of memory"]
    return memory + ([] if asked.cpus is None else [many(asked.cpus, "CPU")])


def gigabytes(size: int) -> str:
    """Like "0.5 GB"."""
    return f"{size / (1 << 30):.3g} GB"
