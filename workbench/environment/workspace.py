"""The folder on the host that holds a running session's workspace."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from workbench.isolation.temporary import OwnedFolder


def make_workspace(folder: OwnedFolder) -> Path:
    """The agent's part of a run's temporary folder. Raises OSError."""
    workspace = folder.path / "workspace"
    workspace.mkdir(mode=0o755)
    return workspace


def offer_data(workspace: Path, data: Mapping[Path, str], *, mounted: bool) -> None:
    """Places for the folders of `data` (host → path in the workspace): to mount at, or links where nothing is mounted.

    Raises OSError.
    """
    for folder, inside in data.items():
        *above, name = PurePosixPath(inside).parts
        parent = workspace
        for part in above:
            parent = _folder_at(parent / part)
        place = _folder_at(parent / name)
        if not mounted:
            place.rmdir()
            place.symlink_to(folder)


def _folder_at(place: Path) -> Path:
    """A folder of ours, in the place of a link or a file: a restored workspace may hold those wherever it likes."""
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        place.unlink()
    place.mkdir(exist_ok=True)
    return place


def fill_with(workspace: Path, files: Mapping[str, bytes], modes: Mapping[str, int] | None = None) -> None:
    """Write the files that a task starts with: path, with '/' between parts → content. Raises OSError."""
    for path, data in files.items():
        target = workspace / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        if modes is not None:
            target.chmod(modes[path] & 0o777)
