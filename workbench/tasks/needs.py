"""What a task needs, and whether it can run on this machine now."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from workbench.tasks.catalogue import Task
from workbench.tasks.datasets import datasets_of, missing, needs_network
from workbench.tasks.errors import TaskError

_GPU_DEVICE = re.compile(r"nvidia\d+")


@dataclass(frozen=True)
class Needs:
    """What was found."""

    words: tuple[str, ...]
    """Like "data house-prices (0.5 MB)", "1 GPU", "network"."""
    obstacles: tuple[str, ...]
    """Why it cannot run now, and what to do; empty when it can."""
    stand_in: bool
    """Whether it can run on its stand-in."""

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
    gpus = task.spec.resources.gpus
    if gpus:
        words.append(f"{gpus} GPU{'s' * (gpus > 1)}")
        here = count_gpus()
        if here < gpus:
            obstacles.append(f"it needs {gpus} GPU{'s' * (gpus > 1)}; this machine has {here or 'none'}")
    if network:
        words.append("network")
    return Needs(tuple(words), tuple(obstacles), stand_in)


def count_gpus() -> int:
    """NVIDIA devices of this machine."""
    return sum(1 for path in Path("/dev").glob("nvidia*") if _GPU_DEVICE.fullmatch(path.name))
