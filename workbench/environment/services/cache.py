"""A folder that keeps answers for a while. If it cannot be used, it behaves as if it were empty."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from workbench.session.files import write_whole

T = TypeVar("T")

MOST_BYTES = 200 << 20
"""Of all answers; the oldest go first."""
_LARGEST = 16 << 20
"""Of one answer."""


class DiskCache(msgspec.Struct, frozen=True):
    """Values that can be written as JSON, by key. Several processes may share the folder."""

    folder: Path
    most_bytes: int = MOST_BYTES
    now: Callable[[], float] = time.time

    async def get(self, key: str, kind: type[T], max_age: float) -> T | None:
        """The value, unless it is older than so many seconds or of another kind; else None."""
        return await asyncio.to_thread(self._get, key, kind, max_age)

    async def put(self, key: str, value: Any) -> None:
        """Keep a value, where that is possible."""
        await asyncio.to_thread(self._put, key, value)

    def _get(self, key: str, kind: type[T], max_age: float) -> T | None:
        file = self._file(key)
        try:
            age = self.now() - file.stat().st_mtime
            if age > max_age or file.stat().st_size > _LARGEST:
                return None
            kept_key, value = msgspec.json.decode(file.read_bytes(), type=tuple[str, kind])  # type: ignore[valid-type]
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        return value if kept_key == key else None

    def _put(self, key: str, value: Any) -> None:
        data = msgspec.json.encode((key, value))
        if len(data) > _LARGEST:
            return
        with contextlib.suppress(OSError):
            write_whole(self._file(key), data)
            os.utime(self._file(key), (self.now(), self.now()))
            self._prune()

    def _file(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()}.json"

    def _prune(self) -> None:
        files = []
        for file in self.folder.glob("*.json"):
            with contextlib.suppress(FileNotFoundError):
                found = file.stat()
                files.append((found.st_mtime, found.st_size, file))
        total = sum(size for _, size, _ in files)
        if total <= self.most_bytes:
            return
        for _, size, file in sorted(files):
            file.unlink(missing_ok=True)
            total -= size
            if total <= self.most_bytes * 0.8:
                break
