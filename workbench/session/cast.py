"""`shell.cast`: what the shell printed, with times, as asciicast v2 (https://docs.asciinema.org/manual/asciicast/v2/).

Times are those of the session (`elapsed` of its events), so that a span of an event is a span of the cast. Text; bytes
that are not UTF-8 are shown as U+FFFD.
"""

from __future__ import annotations

import bisect
import codecs
import os
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from workbench.session.files import open_file
from workbench.session.secrets import Redactor

CAST_FILE = "shell.cast"
_FLUSH_BYTES = 64 * 1024
_DEFAULT_CAP = 1 << 30
_LONGEST_LINE = 4 << 20
"""Bytes; the writer's are at most some hundred thousand."""
_MOST_TEXTS = 20_000
"""That are put together at once."""
_MOST_COLUMNS, _MOST_ROWS, _MOST_SIZES = 500, 300, 1000
"""Of a terminal that is replayed, and how often it may change its size."""


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
            self._fail(error)

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
            self.error = f"shell.cast reached its cap of {self._cap >> 20} MB; the rest is not recorded"
            self._stream.close()
            self._stream = None
            return
        try:
            self._stream.write(line)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.error = f"the shell is no longer recorded in shell.cast: {error.strerror or error}"
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _sane(size: object, most: int) -> int:
    """Columns or rows of a terminal. A hostile file may name any number, and a screen is made of it."""
    return min(most, max(1, int(str(size))))


class Cast:
    """A recorded shell: `pieces_until(t)` is what a terminal had been sent by then.

    Only where its lines begin is kept in memory; texts are read when they are asked for.
    """

    def __init__(self, path: Path) -> None:
        """Index the file, up to the writer's cap. Raises OSError when it cannot be read; damaged lines are skipped and
        counted in `damaged`.
        """
        self.columns, self.rows = 120, 40
        self.damaged = 0
        self._path = path
        self._times = array("d")
        self._places = array("q")
        """Where the line of each text begins."""
        self._lengths = array("q")
        """Characters of each text."""
        self._sizes: list[tuple[float, int, int, int]] = []
        """When, columns, rows, and after how many texts."""
        with os.fdopen(open_file(path), "rb") as stream:
            place = 0
            while place < _DEFAULT_CAP and (line := stream.readline(_LONGEST_LINE)):
                try:
                    self._take(line, place)
                except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError):
                    self.damaged += 1
                place += len(line)

    def _take(self, line: bytes, place: int) -> None:
        value = msgspec.json.decode(line)
        if place == 0:
            self.columns, self.rows = _sane(value["width"], _MOST_COLUMNS), _sane(value["height"], _MOST_ROWS)
            return
        at, kind, text = float(value[0]), value[1], str(value[2])
        if kind == "o":
            self._times.append(at)
            self._places.append(place)
            self._lengths.append(len(text))
        elif kind == "r" and len(self._sizes) < _MOST_SIZES:
            columns, _, rows = text.partition("x")
            size = _sane(columns, _MOST_COLUMNS), _sane(rows, _MOST_ROWS)
            self._sizes.append((at, *size, len(self._times)))

    def pieces_until(self, at: float, limit: int = 256 * 1024) -> list[str | tuple[int, int]]:
        """The last `limit` characters, or a little more, printed up to `at` seconds: in pieces, with the sizes
        (columns, rows) of the terminal where it took them. The first is a size.
        """
        end = bisect.bisect_right(self._times, at)
        begin, size = end, 0
        while begin > max(0, end - _MOST_TEXTS) and size < limit:
            begin -= 1
            size += self._lengths[begin]
        texts = self._texts(begin, end)
        pieces: list[str | tuple[int, int]] = [(self.columns, self.rows)]
        done = begin
        for when, columns, rows, position in self._sizes:
            if when > at or position > end:
                break
            if position > done:
                pieces += texts[done - begin : position - begin]
                done = position
                pieces.append((columns, rows))
            elif isinstance(pieces[-1], tuple):
                pieces[-1] = (columns, rows)
        return pieces + texts[done - begin :]

    def _texts(self, begin: int, end: int) -> list[str]:
        """Texts by their numbers, as far as the file still has them."""
        found = []
        try:
            with os.fdopen(open_file(self._path), "rb") as stream:
                for number in range(begin, end):
                    stream.seek(self._places[number])
                    found.append(str(msgspec.json.decode(stream.readline(_LONGEST_LINE))[2]))
        except (OSError, ValueError, TypeError, IndexError, RecursionError):
            pass
        return found
