"""A new task's folder: small, complete and runnable, for its author to change. Copied from `tasks/templates/<kind>`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from workbench.resources import data_folder
from workbench.tasks.catalogue import TASK_FILE, load_task, regular_files
from workbench.tasks.errors import TaskError

Kind = Literal["code", "csv", "checkpoint"]

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_PLACE_OF_ID = "TASK_ID"
"""What stands for the id in a template's `task.yaml`."""


def scaffold(folder: Path, ident: str, kind: Kind = "code") -> Path:
    """Make the folder; its absolute path. Raises TaskError or OSError."""
    if not _ID.fullmatch(ident):
        raise TaskError(f"{ident!r} is no id: letters, digits, '-' and '_' only, and a letter or digit first")
    if folder.exists():
        raise TaskError(f"{folder} is there already: choose another id, or another place with --in")
    template = data_folder("tasks") / "templates" / kind
    for file in regular_files(template):
        copy = folder / file.relative_to(template)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = file.read_text(encoding="utf-8")
        copy.write_text(text.replace(_PLACE_OF_ID, ident) if file.name == TASK_FILE else text, encoding="utf-8")
    return load_task(folder).folder
