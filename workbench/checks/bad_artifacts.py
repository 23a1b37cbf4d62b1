"""Submissions that no task may give a score: malformed, broken or hostile ones."""

from __future__ import annotations

import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from workbench.scoring.bundle import pack, unpack
from workbench.tasks.catalogue import Task

_CODE = (".py", ".yaml", ".yml", ".json", ".txt", ".md")
"""Text files are not damaged: a text that was cut or changed may still be a valid submission."""
_NUMBER = re.compile(r"\s*[+-]?[\d.]+(e[+-]?\d+)?\s*", re.IGNORECASE)
_LARGE = 64 << 20


def bad_files(task: Task) -> Iterator[tuple[str, bytes]]:
    """Cases for a task whose submission is one file: the name of each, and its bytes."""
    yield "wrong artifact: not of the kind", b"\xff\xfe\0 this is nothing \0" * 9
    if task.artifact.kind == "code":
        function = task.artifact.function or "f"
        yield "wrong artifact: no such function", f"def {function}_(*arguments):\n    return 0\n".encode()
        yield "wrong artifact: an exception", f"def {function}(*arguments):\n    raise ValueError('no')\n".encode()
        yield "hostile artifact: forged result", _forging(task).encode()
        yield "hostile artifact: ends its process", b"import os\nos._exit(0)\n"
    if task.artifact.kind == "csv":
        yield "wrong artifact: no rows", b"Id,value\n"
        yield "hostile artifact: one endless line", b"Id," + b"a" * 1_000_000
        yield "hostile artifact: quotes left open", b'Id,value\n1,"' + b"1\n" * 100_000
    if task.artifact.max_bytes < _LARGE:
        yield "hostile artifact: too large", b"\0" * (task.artifact.max_bytes + 1)


def bad_tables(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Cases for a task whose submission is a table: the name of each, and the valid table `good` with that fault."""
    first, *rows = good.decode("utf-8", "replace").splitlines(keepends=True) or [""]
    yield "wrong artifact: every second row is missing", "".join([first, *rows[::2]]).encode()
    yield "wrong artifact: every row twice", "".join([first, *rows, *rows]).encode()
    cells = [row.rstrip("\r\n").rpartition(",") for row in rows]
    if all(_NUMBER.fullmatch(value) for _, _, value in cells):
        spoiled = (f"{before}{comma}nan\n" for before, comma, _ in cells)
        yield "wrong artifact: NaN in the last column", "".join([first, *spoiled]).encode()


def bad_folders(task: Task, good: Path, making: Path) -> Iterator[tuple[str, Path]]:
    """Cases for a checkpoint or a model: the name of each, and a copy of the valid folder `good` with that fault.

    Each copy is made in `making` and removed before the next. Blocks.
    """
    archive = making / "good.tar"
    pack(good, task.artifact.path, task.artifact.also, task.artifact.max_bytes, archive)
    for name, spoil in _cases(task):
        folder = making / "bad"
        unpack(archive, folder, task.artifact.max_bytes)
        spoil(folder)
        try:
            yield name, folder
        finally:
            shutil.rmtree(folder)


def _cases(task: Task) -> Iterator[tuple[str, Callable[[Path], None]]]:
    def main_file(folder: Path) -> Path:
        """The artifact, or one of its files."""
        path = folder / task.artifact.path
        return path if path.is_file() else next(file for file in sorted(path.rglob("*")) if file.is_file())

    def weights(folder: Path) -> list[Path]:
        """All files other than text; if there are none, the artifact's main file."""
        return _files(folder, code=False) or [main_file(folder)]

    def cut(folder: Path) -> None:
        for file in weights(folder):
            _write(file, file.read_bytes()[: file.stat().st_size // 2])

    def bomb(folder: Path) -> None:
        for file in weights(folder):
            _write(file, pickle.dumps(_Bomb(_forging(task))))

    def forge(folder: Path) -> None:
        for file in _files(folder, code=True):
            if file.suffix == ".py":
                _write(file, _forging(task).encode())

    def link(folder: Path) -> None:
        file = main_file(folder)
        file.unlink()
        file.symlink_to(task.evaluator)

    def large(folder: Path) -> None:
        file = main_file(folder)
        file.chmod(0o600)
        os.truncate(file, task.artifact.max_bytes + 1)

    yield "wrong artifact: files cut short", cut
    yield "hostile artifact: pickles that run code", bomb
    if task.artifact.also:
        yield "hostile artifact: code that forges a result", forge
    yield "hostile artifact: a link", link
    yield "hostile artifact: too large", large


class _Bomb:
    """An object whose pickle runs code when it is loaded."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (self._code,)


def _forging(task: Task) -> str:
    """A program that writes a forged result to every open file, then ends."""
    result = f'{{"result": {{"verdict": "ok", "metrics": {{"{task.primary_metric.name}": 1e9}}, "standard_error": 0}}}}'
    return (
        "import os\n"
        f"line = {result!r}.encode() + b'\\n'\n"
        "for number in range(64):\n"
        "    try: os.write(number, line)\n"
        "    except OSError: pass\n"
        "os._exit(0)\n"
    )


def _files(folder: Path, *, code: bool) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if file.is_file() and (file.suffix in _CODE) == code]


def _write(file: Path, data: bytes) -> None:
    file.chmod(0o600)
    file.write_bytes(data)
