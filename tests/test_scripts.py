"""What scripts, benchmarks and documents import of the package is there (no type checker reads them all)."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(
    file
    for pattern in (
        "scripts/*",
        "benchmarks/*.py",
        "docs/*.md",
        "README.md",
        "CONTRIBUTING.md",
        ".ci/run",
        "tasks/**/*.py",
    )
    for file in ROOT.glob(pattern)
    if file.is_file()
)
IMPORT = re.compile(r"^\s*from (workbench[\w.]*) import (\([^)]*\)|[^\n#]+)", re.MULTILINE)


def imports(file: Path) -> list[tuple[str, str]]:
    found = IMPORT.findall(file.read_text(encoding="utf-8"))
    return [
        (module, name.strip()) for module, names in found for name in names.strip("() \n").split(",") if name.strip()
    ]


@pytest.mark.parametrize(
    "file", [file for file in FILES if imports(file)], ids=lambda file: str(file.relative_to(ROOT))
)
def test_imports_of_the_package_are_there(file: Path) -> None:
    for module, name in imports(file):
        found = importlib.import_module(module)
        if not hasattr(found, name.split(" as ")[0]):
            importlib.import_module(f"{module}.{name}")


def test_what_the_workbench_needs_is_installed_to_run_it() -> None:
    """Not only with what tests need: a machine of a developer would not tell."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked, _, _ = (ROOT / "constraints.txt").read_text(encoding="utf-8").partition("# For tests and checks.")
    for needed in project["dependencies"]:
        name = re.split(r"[<>=~!; \[]", needed)[0]
        assert re.search(rf"^{re.escape(name)}==", locked, re.MULTILINE), name
