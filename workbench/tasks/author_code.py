"""Python of a task's author: functions loaded from its files, and what a program said when it failed, in one line."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PLACE = re.compile(r'^\s+File "(?P<file>[^"\n]+)", line (?P<line>\d+)', re.MULTILINE)


def last_fault(said: str, folder: str | Path) -> str:
    """The last line of a traceback, behind its last place in `folder`: "<folder>/a.py, line 3: ValueError: no".

    The same without a place where no line of `folder` is in it; empty for an empty text.
    """
    lines = said.strip().splitlines()
    if not lines:
        return ""
    inside = os.path.join(os.fspath(folder), "")
    places = [found for found in _PLACE.finditer(said) if found["file"].startswith(inside)]
    where = f"{places[-1]['file']}, line {places[-1]['line']}: " if places else ""
    return where + lines[-1].strip()


def load_function(file: Path, function: str, name: str = "") -> Callable[..., Any]:
    """A function of a Python file that belongs to a task or a dataset, and so is trusted. Raises what that raises."""
    spec = importlib.util.spec_from_file_location(name or file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    keep, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a task's folder is not ours to write to
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = keep
    found = getattr(module, function, None)
    if not callable(found):
        raise ImportError(f"{file} has no function {function}")
    return found  # type: ignore[no-any-return]
