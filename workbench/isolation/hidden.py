"""What must not be seen in a sandbox though it lies under something that is mounted: evaluators and answers.

/usr and the Python of the host are visible inside. Where this package is installed there, its tasks would be too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from workbench.resources import checkout

_PACKAGE = Path(__file__).resolve().parent.parent


def hidden_in(mounted: Mapping[Path, Path], hide: Sequence[Path] = ()) -> list[Path]:
    """Where the folders to hide would be seen. `mounted`: folder of the host → place inside.

    To those in `hide` come this package (with the checkout that it runs from), whatever copy of it is installed beside
    a mounted Python, and the folders of `$MLGYM_TASKS`.
    """
    named = [Path(part).expanduser() for part in os.environ.get("MLGYM_TASKS", "").split(os.pathsep) if part]
    source = checkout()
    wanted = {path.resolve() for path in (_PACKAGE, *([] if source is None else [source]), *named, *hide)}
    for root in mounted:
        for pattern in ("lib/python3*", "local/lib/python3*", "local/*/lib/python3*"):
            for packages in root.glob(f"{pattern}/*-packages"):
                wanted.update(path.resolve() for path in packages.glob("workbench") if path.is_dir())
    found: list[Path] = []
    for path in sorted(wanted):
        for root, place in mounted.items():
            if path.is_dir() and path.is_relative_to(root) and path != root:
                seen = place / path.relative_to(root)
                if not any(seen.is_relative_to(other) for other in found):
                    found.append(seen)
    return found
