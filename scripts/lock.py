"""Writes constraints.txt anew: the newest versions that fit pyproject.toml, as pip resolves them.

    make lock

Run it with the oldest Python that is supported: what fits there has wheels for the later ones too (some packages drop
an old Python before we do).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from install import DEV_HEADING

ROOT = Path(__file__).resolve().parent.parent
BUILD_TOOLS = ("hatchling", "editables")
OLDEST = (3, 11)
HEADER = """\
# Exact versions of everything that `make` installs into .venv, the same for Python 3.11 to 3.13.
# Made by `make lock` (scripts/lock.py); not edited by hand.
# For running the workbench.
"""


def resolve(target: str) -> dict[str, str]:
    """Name → version of all that `target` and its build need; the package itself left out."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        subprocess.run([*command, "--report", report.name, "-e", target, *BUILD_TOOLS], cwd=ROOT, check=True)
        packages = [entry["metadata"] for entry in json.load(report)["install"]]
    found = {re.sub(r"[-_.]+", "-", package["name"]).lower(): package["version"] for package in packages}
    found.pop("mlgym-tui")
    return found


def lines(packages: dict[str, str]) -> str:
    """As they stand in the file."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(packages.items()))


def main() -> None:
    """Resolve, and write the file."""
    if sys.version_info[:2] != OLDEST:
        sys.exit(f"lock: run this with Python {'.'.join(map(str, OLDEST))}; this is {sys.version.split()[0]}")
    everything = resolve(".[dev]")
    needed = {name: everything[name] for name in resolve(".")}
    rest = {name: version for name, version in everything.items() if name not in needed}
    (ROOT / "constraints.txt").write_text(f"{HEADER}{lines(needed)}\n{DEV_HEADING}\n{lines(rest)}")
    print(f"lock: {len(everything)} packages in constraints.txt, {len(needed)} of them for running")


if __name__ == "__main__":
    main()
