"""Shows exported files to the programs that they are for: Harbor's validator (ATIF) and Inspect's reader.

Neither is a dependency of this project: run it in an environment of its own, with harbor (Python 3.12 or newer) or
inspect-ai installed.

    python scripts/check_exports.py run.atif.json run.eval …
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def told_by_harbor(path: Path) -> list[str]:
    from harbor.utils.trajectory_validator import TrajectoryValidator  # type: ignore[import-not-found]

    validator = TrajectoryValidator()
    validator.validate(json.loads(path.read_bytes()), validate_images=False)
    return [str(error) for error in validator.get_errors()]


def told_by_inspect(path: Path) -> list[str]:
    from inspect_ai.log import read_eval_log  # type: ignore[import-not-found]

    try:
        log = read_eval_log(str(path))
    except Exception as error:
        return [str(error)]
    return [] if log.samples else ["it has no samples"]


def main() -> int:
    failed = 0
    for path in map(Path, sys.argv[1:]):
        is_atif = b"ATIF-v" in path.read_bytes()[:200]
        problems = told_by_harbor(path) if is_atif else told_by_inspect(path)
        failed += bool(problems)
        print(f"{path}: {'; '.join(problems[:3]) or 'good'}")
    return 1 if failed or len(sys.argv) < 2 else 0


if __name__ == "__main__":
    sys.exit(main())
