"""Where the files that ship with the package are: task folders, Dockerfile.

In a checkout they are the top-level folders; in an installed wheel the build maps them to `workbench/_data/`.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_folder(name: str) -> Path:
    """Folder `name` ("tasks", "containers") of the checkout or of the installed package.

    Raises FileNotFoundError when the installation is incomplete.
    """
    for candidate in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"the folder {name!r} that ships with mlgym-tui is missing; reinstall the package")


def checkout() -> Path | None:
    """Root of the source checkout this package runs from, or None when it was installed."""
    root = _PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "tasks").is_dir() else None
