"""What a session starts with: its folder, and files where they are not just the task's."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from workbench.agents.agent import Agent
from workbench.agents.models.replay import ReplayAgent
from workbench.runner.agents import StartError
from workbench.session.events import FileChange
from workbench.session.objects import ObjectStore
from workbench.session.store import new_session_folder
from workbench.tasks.catalogue import Task, regular_files

MAX_BYTES = 256 << 20
"""Of all files of `--starter` together: what is larger is data."""
_HINT = "name a folder with the files that the agent is to find"


def folder_for(root: Path, task: str) -> Path:
    """Where a new session is to be saved. Raises StartError."""
    try:
        return new_session_folder(root, task)
    except OSError as error:
        raise StartError(
            f"no session can be saved in {root}: {error.strerror or error}",
            "choose another folder with --sessions or $MLGYM_SESSIONS, or mend this one",
        ) from error


class Starting(msgspec.Struct, frozen=True):
    """What the agent finds in its workspace."""

    source: str
    """Where it is from: a folder, or `replay:` and the recording that shows it."""
    files: Mapping[str, tuple[bytes, int]]
    """Path in the workspace → content and mode."""
    note: str

    def stored(self, objects: ObjectStore) -> list[FileChange]:
        """The files as the log names them. Raises OSError."""
        return [
            FileChange(path=path, kind="added", object=objects.put(data), size=len(data), mode=mode)
            for path, (data, mode) in sorted(self.files.items())
        ]


def starting_point(task: Task, agent: Agent | None, folder: str) -> Starting | None:
    """The files of `folder`, where one is named; else those that a replayed recording shows, and what the task has
    besides; else None: the task's. Raises StartError.
    """
    if folder:
        place = Path(folder).expanduser().absolute()
        files = _read(place)
        return Starting(str(place), files, f"the session starts with the files of {place}, and not with the task's")
    if not isinstance(agent, ReplayAgent) or not agent.plan.files:
        return None
    own = {path: (data, 0o644) for path, data in task.starter_files().items() if path not in agent.plan.files}
    note = f"the session starts with these files as the recording shows them: {', '.join(sorted(agent.plan.files))}"
    if own:
        note += f"; it does not show, and the task has: {', '.join(sorted(own))}"
    return Starting(agent.model, {**own, **agent.plan.files}, note)


def _read(place: Path) -> dict[str, tuple[bytes, int]]:
    if not place.is_dir():
        raise StartError(f"--starter: {place} is no folder", _HINT)
    files: dict[str, tuple[bytes, int]] = {}
    total = 0
    try:
        for path in regular_files(place):
            status = path.stat()
            total += status.st_size
            if total > MAX_BYTES:
                raise StartError(f"--starter: {place} holds more than {MAX_BYTES >> 20} MiB", _HINT)
            files[path.relative_to(place).as_posix()] = (path.read_bytes(), stat.S_IMODE(status.st_mode))
    except OSError as error:
        raise StartError(
            f"--starter: {error.filename or place} cannot be read: {error.strerror or error}", _HINT
        ) from error
    return files
