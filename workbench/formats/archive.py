"""Members of a zip file, also of those that Python's zipfile lists but cannot read: compressed with Zstandard."""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from workbench.session.files import open_file
from workbench.session.recording import RecordingError

_ZSTANDARD = 93
_LARGEST_MEMBER = 1 << 30
"""Bytes that a member is unpacked to at most, whatever its header says."""
_MOST_TIMES = 300
"""What a member may be larger than it is packed, beyond what is harmless: texts that repeat themselves come near it."""
_SPOOLED = 32 << 20
"""Larger ones are unpacked onto the disk, and mapped."""
_MOST_MEMBERS = 200_000
_CHUNK = 1 << 20


class Archive:
    """A zip file that the user named, open for reading."""

    def __init__(self, path: Path) -> None:
        """Raises RecordingError when it is none."""
        self.path = path
        self._file = os.fdopen(open_file(path, follow=True), "rb")
        try:
            self._zip = zipfile.ZipFile(self._file)
            self.members = {info.filename: info for info in self._zip.infolist()[:_MOST_MEMBERS]}
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
            self._file.close()
            raise RecordingError(f"{path} is no whole zip file: {error}", "if it is a copy, copy it again") from error

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, name: str) -> bytes | mmap.mmap:
        """A member, unpacked. Raises RecordingError for what is damaged, encrypted, or unpacks to too much."""
        info = self.members[name]
        kept: IO[bytes] = io.BytesIO()
        size = crc = 0
        try:
            with self._open(info) as stream:
                while chunk := stream.read(_CHUNK):
                    size += len(chunk)
                    crc = zlib.crc32(chunk, crc)
                    most = min(_LARGEST_MEMBER, _MOST_TIMES * info.compress_size + _SPOOLED)
                    if size > most:
                        raise ValueError(f"it unpacks to more than {most >> 20:,} MB")
                    if size > _SPOOLED and isinstance(kept, io.BytesIO):
                        spooled: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - the mapping outlives it
                        spooled.write(kept.getvalue())
                        kept = spooled
                    kept.write(chunk)
            if crc != info.CRC:
                raise ValueError("it is damaged: its checksum is wrong")
        except RecordingError:
            raise
        except Exception as error:  # zlib.error, zstandard.ZstdError, RuntimeError (encrypted), EOFError, …
            raise RecordingError(f"{self.path}: {name} cannot be read: {error}", "copy the file again") from error
        if isinstance(kept, io.BytesIO):
            return kept.getvalue()
        kept.flush()
        with kept:
            return mmap.mmap(kept.fileno(), 0, access=mmap.ACCESS_READ)

    @contextlib.contextmanager
    def _open(self, info: zipfile.ZipInfo) -> Iterator[Any]:
        if info.compress_type != _ZSTANDARD:
            with self._zip.open(info) as member:
                yield member
            return
        import zstandard

        self._file.seek(info.header_offset)
        header = self._file.read(30)
        if header[:4] != b"PK\3\4" or len(header) < 30 or info.flag_bits & 1:
            raise ValueError("it is damaged or encrypted")
        self._file.seek(sum(struct.unpack("<HH", header[26:30])), os.SEEK_CUR)
        packed = _Slice(self._file, info.compress_size)
        # A writer may begin a new frame now and then; the window is bounded, for it is memory.
        unpack = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        with unpack.stream_reader(cast(IO[bytes], packed), read_across_frames=True, closefd=False) as stream:
            yield stream


class _Slice(io.RawIOBase):
    """The next bytes of a file, and no more."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(self._left, size if size >= 0 else self._left))
        self._left -= len(data)
        return data
