"""Reading what other programs wrote, which may hold anything in any place: bytes, JSON, and the fields of it.

Fields are decoded as they come, and a reader asks for what it wants with `text`, `record`, `items` and `number`: what
is of another kind is as if it were not there.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import mmap
import os
import re
import shutil
import tempfile
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from workbench.session.files import open_file, read_file
from workbench.session.plain import read_json, without_surrogates
from workbench.session.recording import RecordingError
from workbench.text import many

LARGEST = 64 << 20
"""Bytes of a file that is decoded as a whole."""
_MOST_VALUES = 2_000_000
"""Lists and objects in a file: each takes more memory than it takes bytes."""
_MOST_INFOS = 20
_PART = 1 << 24
_EARLIEST, _LATEST = 31536000.0, 32503680000.0
"""Seconds since 1970: the years 1971 and 3000. A stamp from before stands for none."""
UNREADABLE = (ValueError, RecursionError, MemoryError)
"""What a decoder raises: msgspec.DecodeError, UnicodeDecodeError and json.JSONDecodeError are ValueErrors."""

_Kind = TypeVar("_Kind")


def read_bytes(path: Path, limit: int = LARGEST) -> bytes:
    """A file that the user named. Raises RecordingError."""
    try:
        return read_file(path, limit, follow=True)
    except OSError as error:
        raise RecordingError(
            f"{path} cannot be read: {error.strerror or error}", "check its name and its permissions"
        ) from error


def passing_folder() -> Path:
    """A folder that goes with this process."""
    folder = Path(tempfile.mkdtemp(prefix="mlgym-tui-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def map_file(path: Path) -> bytes | mmap.mmap:
    """The same, however large: it is not read, but mapped."""
    with os.fdopen(open_file(path, follow=True), "rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if os.fstat(stream.fileno()).st_size else b""


def decode(data: bytes | mmap.mmap | memoryview | msgspec.Raw, kind: type[_Kind], what: str) -> _Kind:
    """JSON as `kind`, also where it holds what only Python's decoder takes (NaN, halves of surrogates).

    Raises RecordingError, which calls the file `what`.
    """
    try:
        return _decode(data, kind)
    except UNREADABLE as error:
        raise RecordingError(f"{what} cannot be read: {short(error)}", "if it is a copy, copy it again") from error


def decode_cut(
    data: bytes | mmap.mmap, kind: type[_Kind], what: str, key: str, problems: list[str], part: str = "step"
) -> _Kind:
    """`decode`; of a file that is cut off or damaged, what is whole of it, where one `part` of the list under `key` is:
    which is said.
    """
    try:
        return _decode(data, kind)
    except UNREADABLE as error:
        said = bytes(data).decode("utf-8-sig", "replace") if len(data) <= LARGEST else ""
        whole = _salvage(said, key, part, short(error), problems)
        with contextlib.suppress(*UNREADABLE):
            if whole[key]:
                return _decode(msgspec.json.encode(without_surrogates(whole)), kind)
        raise RecordingError(
            f"{what} cannot be read: it is not JSON, or damaged before its first {part} is complete ({short(error)})",
            "if it is a copy, copy it again; a session of mlgym-tui is opened by its folder",
        ) from error


def _decode(data: bytes | mmap.mmap | memoryview | msgspec.Raw, kind: type[_Kind]) -> _Kind:
    """At once, or slowly. Raises what is UNREADABLE."""
    try:
        return msgspec.json.decode(data, type=kind)
    except UNREADABLE as error:
        whole = bytes(data)
        if len(whole) > LARGEST or whole.count(b"{") + whole.count(b"[") > _MOST_VALUES:
            raise ValueError("it is too large to be read leniently") from error
        value = read_json(whole.decode("utf-8-sig", "replace"), strict=False)
        return msgspec.json.decode(msgspec.json.encode(value), type=kind)


def _salvage(said: str, key: str, part: str, damage: str, problems: list[str]) -> dict[str, Any]:
    """What is whole of the list under `key`, and behind it of `history` and `info`, in a text that is no JSON."""
    start = re.search(rf'"{key}"\s*:\s*\[', said)
    found, end, closed = elements(said, start.end()) if start is not None else ([], 0, False)
    whole: dict[str, Any] = {key: found}
    place, shown = f"in {part} {len(found) + 1}", f"{many(len(found), f'complete {part}')} before it"
    if closed:
        place, shown = f"behind its {part}s", f"all {len(found)}"
        history = re.compile(r'"history"\s*:\s*\[').search(said, end)
        if history is not None:
            messages, _, complete = elements(said, history.end())
            whole["history"] = messages if complete else messages[:2]  # a part does not tell which answer was the last
        whole["info"] = _find_info(said, end)
    ending = "" if whole.get("info") is not None else "; how the run ended is not known"
    problems.append(f"the file is cut off or damaged {place} ({damage}): {shown} can be shown{ending}")
    return whole


def _find_info(said: str, start: int) -> Any:
    """The last object called "info" from `start` on that reads as an outcome."""
    decoder = json.JSONDecoder(strict=False)
    for match in reversed(deque(re.compile(r'"info"\s*:\s*(?=\{)').finditer(said, start), _MOST_INFOS)):
        with contextlib.suppress(*UNREADABLE):
            value, _ = decoder.raw_decode(said, match.end())
            if isinstance(value, dict) and "exit_status" in value:
                return value
    return None


def short(error: BaseException) -> str:
    """What went wrong, in a line."""
    return str(error).partition("\n")[0][:200] or type(error).__name__


def elements(text: str, position: int) -> tuple[list[Any], int, bool]:
    """The complete elements of the array at `position`, where reading stopped, and whether the array was closed."""
    decoder = json.JSONDecoder(strict=False)
    separator = re.compile(r"[\s,]*")
    found: list[Any] = []
    while True:
        gap = separator.match(text, position)
        position = gap.end() if gap else position
        if text.startswith("]", position):
            return found, position + 1, True
        try:
            value, position = decoder.raw_decode(text, position)
        except UNREADABLE:
            return found, position, False
        found.append(value)


def refuse_crowded(data: bytes | mmap.mmap, what: str, times: int = 1) -> None:
    """Raises RecordingError for a file of so many lists and objects that they would not fit into memory."""
    if len(data) <= _MOST_VALUES * times:
        return
    parts = (data[at : at + _PART] for at in range(0, len(data), _PART))
    found = sum(part.count(b"{") + part.count(b"[") for part in parts)
    if found > _MOST_VALUES * times:
        raise RecordingError(f"{what} has {found:,} brackets, more than can be read", "open what the program wrote")


def text(value: object) -> str:
    """A text as it is; of a list of parts, their texts; else nothing."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(text(part.get("text")) if isinstance(part, dict) else text(part) for part in value[:10_000])
    return ""


def record(value: object) -> dict[str, Any]:
    """An object as it is, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[dict[str, Any]]:
    """The objects of a list, else none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def number(value: object) -> float | None:
    """A finite number, else None."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300
    return float(value) if good and math.isfinite(value) else None  # type: ignore[arg-type]


def integer(value: object) -> int | None:
    """A number that an exit code can be."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31 else None


def numbers(entry: Any) -> dict[str, float]:
    """The finite numbers of a JSON object."""
    found = ((name, number(value)) for name, value in record(entry).items() if isinstance(name, str))
    return {name: value for name, value in found if value is not None}


def seconds(value: object) -> float:
    """A duration that can be added up: not negative, not NaN, not absurd."""
    found = number(value)
    return found if found is not None and 0 < found < 1e12 else 0.0


def moment(stamp: object) -> float | None:
    """Seconds since 1970 of such a number, or of a date in ISO 8601; None for anything else."""
    found = number(stamp)
    if isinstance(stamp, str):
        try:
            date = datetime.fromisoformat(stamp[:40])
            found = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    return found if found is not None and _EARLIEST < found < _LATEST else None


def as_action(function: str, arguments: object) -> str:
    """A tool call as one would type it: the command of a shell, else `function(name=value)`."""
    given = record(arguments)
    for name in ("command", "cmd", "raw_action"):
        if isinstance(given.get(name), str) and sum(isinstance(value, str) for value in given.values()) == 1:
            return str(given[name])
    if not given:
        return function if arguments in ({}, None, "") else f"{function}({text(arguments)})"
    if len(given) == 1 and isinstance(only := next(iter(given.values())), str) and "\n" in only:
        return f"{function}\n{only}"
    said = (f"{name}={msgspec.json.encode(value).decode('utf-8', 'replace')}" for name, value in given.items())
    return f"{function}({', '.join(said)})"
