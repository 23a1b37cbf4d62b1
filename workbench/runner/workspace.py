"""The folder on the host that holds a running session's workspace, and what is left of those of dead processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from workbench.sandbox.orphans import process_started

_PREFIX = "mlgym-workspace-"
_OWNER = "owner"


def make_run_folder(session: str) -> Path:
    """A folder of our own for one run: `workspace/` inside it is the agent's. Raises OSError."""
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{session}-"))
    (folder / _OWNER).write_text(f"{os.getpid()} {process_started(os.getpid())}\n", encoding="utf-8")
    (folder / "workspace").mkdir(mode=0o755)
    return folder


def fill_with(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files that a task starts with: path, with '/' between parts → content."""
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def remove_run_folder(folder: Path) -> None:
    """Delete it, whatever the agent did to its permissions."""

    def mend(function: object, path: str, _error: object) -> None:
        with contextlib.suppress(OSError):
            parent = Path(path).parent
            parent.chmod(parent.stat().st_mode | stat.S_IRWXU)
            target = Path(path)
            if target.is_dir() and not target.is_symlink():
                target.chmod(stat.S_IRWXU)
                shutil.rmtree(target, ignore_errors=True)
            else:
                target.unlink()

    if folder.name.startswith(_PREFIX):
        shutil.rmtree(folder, onerror=mend)


def abandoned_run_folders() -> Iterable[Path]:
    """Run folders whose process is gone (killed -9, or the machine went down)."""
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")):
        with contextlib.suppress(OSError, ValueError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            pid, _, started = (folder / _OWNER).read_text(encoding="utf-8").strip().partition(" ")
            if process_started(int(pid)) != started:
                yield folder
