"""What a program of a task's author wrote to standard error when it failed, said in one line with its file and line."""

from __future__ import annotations

import os
import re
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


def function_of(module: Any, name: str, file: Path) -> Callable[..., Any]:
    """A function of a module that was loaded from `file`. Raises ImportError."""
    found = getattr(module, name, None)
    if not callable(found):
        raise ImportError(f"{file} has no function {name}")
    return found  # type: ignore[no-any-return]
