"""The folder on the host that holds a running session's workspace."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from workbench.sandbox.temporary import OwnedFolder


def make_workspace(folder: OwnedFolder) -> Path:
    """The agent's part of a run's temporary folder. Raises OSError."""
    workspace = folder.path / "workspace"
    workspace.mkdir(mode=0o755)
    return workspace


def fill_with(workspace: Path, files: Mapping[str, bytes]) -> None:
    """Write the files that a task starts with: path, with '/' between parts → content. Raises OSError."""
    for path, data in files.items():
        target = workspace / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
