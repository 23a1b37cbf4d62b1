"""Runs Python code of a task's author: loads functions, reports to the workbench, and explains failures."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import threading
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


def report_to_the_workbench(on_byte: Callable[[], object] = lambda: None) -> Callable[[dict[str, Any]], None]:
    """For a process that runs an author's code: a writer of JSON lines to standard output.

    What the code prints goes to standard error instead. `on_byte` is called, in a thread, for each byte on standard
    input; that stays open as long as the workbench lives, and its end ends this process.
    """

    def listen() -> None:
        while os.read(0, 1):
            on_byte()
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def write(message: dict[str, Any]) -> None:
        output.write(json.dumps(message) + "\n")
        output.flush()

    return write
