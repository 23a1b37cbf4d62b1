"""`shell.cast`: what the shell printed, with times, as asciicast v2 (https://docs.asciinema.org/manual/asciicast/v2/).

Times are those of the session (`elapsed` of its events), so that a span of an event is a span of the cast. Text; bytes
that are not UTF-8 are shown as U+FFFD.
"""

from __future__ import annotations

import codecs
import contextlib
import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from workbench.session.files import open_file
from workbench.session.secrets import Redactor
from workbench.text import megabytes

CAST_FILE = "shell.cast"
_FLUSH_BYTES = 64 * 1024
_DEFAULT_CAP = 1 << 30
_NOT_RECORDED = "the shell is no longer recorded in shell.cast: {}"
LONGEST_LINE = 4 << 20
"""Bytes; the writer's are at most some hundred thousand."""
_MOST_PIECES = 20_000
"""Most that are put together for one look."""
_NEAR, _BLOCK, _MOST_READ = 1 << 16, 4 << 20, 32 << 20
"""Bytes: what is read line by line, what is searched at once, and the most that is read for one look."""
_MOST_COLUMNS, _MOST_ROWS = 500, 300
"""The largest terminal that is replayed."""
_TIME = re.compile(rb"\s*\[\s*(\d{1,15}(?:\.\d*)?(?:[eE][-+]?\d{1,3})?)\s*,")
_DAMAGED = contextlib.suppress(ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError)


class CastWriter:
    """Appends to `shell.cast`. A write error (disk full) ends the recording, not the session: see `error`.

    `feed` is cheap; small pieces are gathered until `flush` or 64 KB. `burst` bytes are kept of what comes between two
    `flush(end_of_command=True)`; a note stands for the rest, so that `yes` cannot fill the disk.
    """

    def __init__(
        self,
        folder: Path,
        now: Callable[[], float],
        *,
        columns: int,
        rows: int,
        timestamp: int,
        redactor: Redactor | None = None,
        burst: int = 32 << 20,
        cap: int = _DEFAULT_CAP,
    ) -> None:
        self.error: str | None = None
        self._now = now
        self._redactor = redactor or Redactor()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending: list[str] = []
        self._pending_size = 0
        self._pending_time = 0.0
        self._burst = burst
        self._burst_left = burst
        self._dropped = 0
        self._cap = cap
        self._stream: IO[bytes] | None = None
        path = folder / CAST_FILE
        try:
            descriptor = open_file(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            self._stream = os.fdopen(descriptor, "ab", buffering=0)
            if self._stream.tell() == 0:
                header = {"version": 2, "width": columns, "height": rows, "timestamp": timestamp}
                header["env"] = {"TERM": "xterm-256color", "SHELL": "/bin/bash"}  # type: ignore[assignment]
                self._line(header)
            elif os.pread(descriptor, 1, self._stream.tell() - 1) != b"\n":
                # A torn last line of a killed process must not swallow the next one.
                self._stream.write(b"\n")
        except OSError as error:
            self._end(_NOT_RECORDED.format(error.strerror or error))

    def feed(self, data: bytes) -> None:
        """Output of the shell."""
        if self._stream is None:
            return
        if len(data) > self._burst_left:
            self._dropped += len(data) - self._burst_left
            data = data[: self._burst_left]
        self._burst_left -= len(data)
        if not data:
            return
        if not self._pending:
            self._pending_time = self._now()
        self._pending.append(self._decoder.decode(data))
        self._pending_size += len(data)
        if self._pending_size >= _FLUSH_BYTES:
            self.flush()

    def resize(self, columns: int, rows: int) -> None:
        """The terminal changed its size."""
        self.flush()
        self._line([round(self._now(), 6), "r", f"{columns}x{rows}"])

    def flush(self, *, end_of_command: bool = False) -> None:
        """Write what was gathered."""
        if self._pending:
            text = self._redactor.text("".join(self._pending))
            # A secret may come in pieces, as one types it.
            held = 0 if end_of_command else self._redactor.unfinished(text)
            self._pending = [text[-held:]] if held else []
            self._pending_size = held
            if len(text) > held:
                self._line([round(self._pending_time, 6), "o", text[: len(text) - held]])
        if end_of_command:
            if self._dropped:
                self._line([round(self._now(), 6), "o", f"\r\n[{self._dropped} bytes not recorded]\r\n"])
            self._dropped = 0
            self._burst_left = self._burst

    def close(self) -> None:
        """Write what is left and close the file. Can be called twice."""
        self.flush(end_of_command=True)
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _line(self, value: object) -> None:
        if self._stream is None:
            return
        line = msgspec.json.encode(value) + b"\n"
        if self._stream.tell() + len(line) > self._cap:
            self._end(f"shell.cast reached its cap of {megabytes(self._cap)}; the rest is not recorded")
            return
        try:
            self._stream.write(line)
        except OSError as error:
            self._end(_NOT_RECORDED.format(error.strerror or error))

    def _end(self, error: str) -> None:
        self.error = error
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _sane(size: object, most: int) -> int:
    """Columns or rows of a terminal. A hostile file may name any number, and a screen is made of it."""
    return min(most, max(1, int(str(size))))


class Cast:
    """A recorded shell: `pieces_until(t)` is what a terminal had been sent by then.

    Nothing of it is kept in memory, and no more is read than is asked for: its times never go back, so that a moment is
    found by halving the file.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError when it cannot be read."""
        self.columns, self.rows = 120, 40
        self._path = path
        with self._open() as stream:
            header = stream.readline(LONGEST_LINE)
            self._begin = len(header)
            with _DAMAGED:
                value = msgspec.json.decode(header)
                self.columns, self.rows = _sane(value["width"], _MOST_COLUMNS), _sane(value["height"], _MOST_ROWS)

    def pieces_until(self, at: float, limit: int = 256 * 1024) -> list[str | tuple[int, int]]:
        """The last `limit` characters, or a little more, printed up to `at` seconds: in pieces, with the sizes
        (columns, rows) of the terminal where it took them. The first is a size. Damaged lines are skipped.
        Raises OSError.
        """
        with self._open() as stream:
            end, span = self._place_after(stream, at), 2 * limit
            while True:
                begin = max(self._begin, end - span)
                pieces, place = self._read(stream, begin, end, limit)
                if place is not None or begin == self._begin or span > _MOST_READ:
                    break
                span *= 4
            if not (pieces and isinstance(pieces[0], tuple)):
                pieces.insert(0, self._size_at(stream, begin if place is None else place))
            return pieces

    def printed(self, begin: float = 0.0, end: float = float("inf")) -> Iterator[str]:
        """What the shell printed between two moments, in pieces. Raises OSError."""
        with self._open() as stream:
            stream.seek(self._place_after(stream, begin) if begin > 0 else self._begin)
            while (line := stream.readline(LONGEST_LINE)) and (_time_of(line) or 0.0) <= end:
                with _DAMAGED:
                    kind, text = _printed(line)
                    if kind == "o":
                        yield text

    def last_time(self) -> float:
        """When something was printed last; 0.0 where nothing was. Raises OSError."""
        with self._open() as stream:
            end = stream.seek(0, os.SEEK_END)
            stream.seek(max(self._begin, end - LONGEST_LINE))
            times = (_time_of(line) for line in reversed(stream.read(LONGEST_LINE).split(b"\n")))
            return next((time for time in times if time is not None and math.isfinite(time)), 0.0)

    def _open(self) -> IO[bytes]:
        return os.fdopen(open_file(self._path), "rb")

    def _place_after(self, stream: IO[bytes], at: float) -> int:
        """Where what was recorded after a moment begins."""
        low, high = self._begin, min(_DEFAULT_CAP, os.fstat(stream.fileno()).st_size)
        while high - low > _NEAR:
            middle = (low + high) // 2
            stream.seek(middle)
            place = middle + len(stream.readline(LONGEST_LINE))  # the rest of a line
            time = None
            while place < high and time is None and (line := stream.readline(LONGEST_LINE)):
                time = _time_of(line)
                place += len(line) if time is None else 0
            low, high = (low, middle) if time is None or time > at else (place, high)
        stream.seek(low)
        while (line := stream.readline(LONGEST_LINE)) and (_time_of(line) or 0.0) <= at:
            low += len(line)
        return low

    def _read(
        self, stream: IO[bytes], begin: int, end: int, limit: int
    ) -> tuple[list[str | tuple[int, int]], int | None]:
        """The last `limit` characters of what was recorded between two places, in pieces, and where they begin; None
        where there are not so many.
        """
        stream.seek(begin)
        lines = stream.read(end - begin).split(b"\n")
        pieces: list[str | tuple[int, int]] = []
        characters, place = 0, end + 1
        for number in range(len(lines) - 1, -1 if begin == self._begin else 0, -1):
            place -= len(lines[number]) + 1
            with _DAMAGED:
                kind, text = _printed(lines[number])
                if kind == "o":
                    pieces.append(text)
                    characters += len(text)
                elif not (pieces and isinstance(pieces[-1], tuple)):  # else another size came at once
                    pieces.append(_size(text))
            if characters >= limit or len(pieces) >= _MOST_PIECES:
                return pieces[::-1], place
        return pieces[::-1], None

    def _size_at(self, stream: IO[bytes], place: int) -> tuple[int, int]:
        """The size of the terminal, as the last line says that told it; for a good part of the largest files back."""
        least, block = max(self._begin, place - _MOST_READ), _BLOCK >> 6
        while place > least:
            begin, block = max(least, place - block), min(4 * block, _BLOCK)
            stream.seek(begin)
            data = stream.read(place - begin)
            found = len(data)
            while (found := data.rfind(b'"r"', 0, found)) >= 0:
                line = data[data.rfind(b"\n", 0, found) + 1 :].partition(b"\n")[0]
                with _DAMAGED:
                    kind, text = _printed(line)
                    if kind == "r":
                        return _size(text)
            place = begin + 1024 if begin > least else least  # a line may lie across
        return self.columns, self.rows


def _time_of(line: bytes) -> float | None:
    """The time of a line; None where it has none."""
    found = _TIME.match(line)
    return float(found[1]) if found else None


def _printed(line: bytes) -> tuple[str, str]:
    """Kind and text of a line. Raises what _DAMAGED suppresses."""
    value = msgspec.json.decode(line)
    if not isinstance(value[0], int | float) or value[1] not in ("o", "r"):
        raise ValueError("nothing for the screen")
    return value[1], str(value[2])


def _size(text: str) -> tuple[int, int]:
    columns, _, rows = text.partition("x")
    return _sane(columns, _MOST_COLUMNS), _sane(rows, _MOST_ROWS)
