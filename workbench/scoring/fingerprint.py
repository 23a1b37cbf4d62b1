"""Hashes of everything that a score depends on: they tell later whether the task or its data have changed."""

from __future__ import annotations

import hashlib
import json

from workbench import __version__
from workbench.session.plain import without_defaults
from workbench.tasks.catalogue import Task, regular_files
from workbench.tasks.datasets import prepare_task

NAMES = {"task": "the task's files", "data": "the data", "package": "mlgym-tui itself"}
"""The parts of a fingerprint, in words."""
_COUNT = ("artifact", "evaluate", "limits", "metrics")
"""Fields of a `task.yaml` that a score can depend on."""


def fingerprint(task: Task) -> dict[str, str]:
    """Hashes of everything that decides a submission's score, by the names in NAMES. Raises TaskError or OSError."""
    fields = {name: value for name, value in without_defaults(task.spec, in_lists=True).items() if name in _COUNT}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    baseline, demo = task.spec.baseline, task.spec.demo
    left_out = {"task.yaml", demo, baseline.script, baseline.submission}
    for folder in task.folders:
        for path in regular_files(folder):
            name = path.relative_to(folder).as_posix()
            if name not in left_out:
                digest.update(f"\0{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    found = {"task": digest.hexdigest()[:16], "package": __version__}
    prepared = prepare_task(task)
    if prepared:
        data = hashlib.sha256(json.dumps({name: item.checksums() for name, item in sorted(prepared.items())}).encode())
        found["data"] = data.hexdigest()[:16]
    return found


def changed(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """What has changed, in words. Parts that one of the two does not have are left out."""
    return [words for name, words in NAMES.items() if name in then and name in now and then[name] != now[name]]
