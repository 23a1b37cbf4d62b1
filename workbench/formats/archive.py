"""Members of a zip file, also those that Python's zipfile cannot read: packed by Zstandard, or in a cut file."""

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
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

from workbench.session.files import open_file
from workbench.session.recording import RecordingError
from workbench.text import many

_ZSTANDARD = 93
_LARGEST_MEMBER = 1 << 30
"""Bytes that a member is unpacked to at most, whatever its header says."""
_MOST_TIMES = 300
"""What a member may be larger than it is packed, beyond what is harmless: texts that repeat themselves come near it."""
_SPOOLED = 32 << 20
"""Larger ones are unpacked onto the disk, and mapped."""
_MOST_MEMBERS = 200_000
_CHUNK = 1 << 20
_LOCAL = struct.Struct("<4sHHHHHLLLHH")
"""What stands in front of a member."""
_SIZE_FOLLOWS = 8
"""Flag of a member that does not say beforehand how long it is."""


class Archive:
    """A zip file that the user named, open for reading."""

    def __init__(self, path: Path) -> None:
        """Raises RecordingError when it is none, or is cut off before the end of its first member."""
        self.path = path
        self.problem = ""
        """What is wrong with it."""
        self._file = os.fdopen(open_file(path, follow=True), "rb")
        self._zip: zipfile.ZipFile | None = None
        try:
            self._zip = zipfile.ZipFile(self._file)
            self.members = {info.filename: info for info in self._zip.infolist()[:_MOST_MEMBERS]}
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
            self.members = {info.filename: info for info in islice(self._whole_members(), _MOST_MEMBERS)}
            if not self.members:
                self._file.close()
                why = "it is cut off before the end of its first member, or damaged"
                raise RecordingError(f"{path} is no whole zip file: {why}", "if it is a copy, copy it again") from error
            self.problem = f"the file is cut off or damaged, after {many(len(self.members), 'whole member')}"

    def _whole_members(self) -> Iterator[zipfile.ZipInfo]:
        """Those from the beginning on, of a file whose list of members is lost."""
        size, place = os.fstat(self._file.fileno()).st_size, 0
        while True:
            self._file.seek(place)
            header = self._file.read(_LOCAL.size)
            if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
                return
            _, _, flags, method, _, _, crc, packed, unpacked, named, extra = _LOCAL.unpack(header)
            info = zipfile.ZipInfo(self._file.read(named).decode("utf-8", "replace"))
            info.header_offset, info.flag_bits, info.compress_type = place, flags, method
            info.CRC, info.compress_size, info.file_size = crc, packed, unpacked
            place += _LOCAL.size + named + extra + packed
            if place > size or flags & _SIZE_FOLLOWS:
                return
            yield info

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
        if info.compress_type != _ZSTANDARD and self._zip is not None:
            with self._zip.open(info) as member:
                yield member
            return
        import zstandard

        self._file.seek(info.header_offset)
        header = self._file.read(_LOCAL.size)
        if header[:4] != b"PK\3\4" or len(header) < _LOCAL.size or info.flag_bits & 1:
            raise ValueError("it is damaged or encrypted")
        self._file.seek(sum(_LOCAL.unpack(header)[-2:]), os.SEEK_CUR)
        packed = _Slice(self._file, info.compress_size)
        if info.compress_type != _ZSTANDARD:
            yield _Inflated(packed) if info.compress_type == zipfile.ZIP_DEFLATED else packed
            return
        # A writer may begin a new frame now and then; the window is bounded, for it is memory.
        unpack = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        with unpack.stream_reader(cast(IO[bytes], packed), read_across_frames=True, closefd=False) as stream:
            yield stream


class _Inflated:
    """What was deflated."""

    def __init__(self, packed: _Slice) -> None:
        self._packed, self._unpack = packed, zlib.decompressobj(-zlib.MAX_WBITS)

    def read(self, size: int) -> bytes:
        while not self._unpack.eof:
            data = self._unpack.decompress(self._unpack.unconsumed_tail or self._packed.read(_CHUNK), size)
            if data or not (self._unpack.unconsumed_tail or self._packed.left):
                return data
        return b""


class _Slice(io.RawIOBase):
    """The next bytes of a file, and no more."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self.left = file, size

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(self.left, size if size >= 0 else self.left))
        self.left = self.left - len(data) if data else 0  # whoever writes the file may have made it shorter
        return data
