"""Large files of a workspace, stored in chunks: a version of a file costs what is new in it.

Chunks end where the content says, so that what is inserted in the middle leaves those around it as they were. A file
that grew is known by its beginning, all of which is read and compared by a keyed hash (a tenth of the time of copying
it): neither equal size and time nor a change in the middle is taken for nothing. Only what follows is stored, together
with the last few pieces while they are small: many short appends neither make long lists nor rewrite long chunks.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import xxhash

from workbench.session.objects import Chunk, ObjectStore

if TYPE_CHECKING:
    from hashlib import _Hash

LARGE = 128 << 10
"""Bytes from which a file is stored in this way."""
_LEAST, _MOST = 1 << 20, 4 << 20
"""Bytes of a chunk."""
_LOOKED_AT = 1 << 19
_BITS = 20
"""A chunk ends with eight bytes whose hash begins with so many zeros."""
_FACTOR = 0x9E3779B97F4A7C15
_KEY = secrets.randbits(64)
"""Of the hash by which beginnings are compared: nobody in a sandbox knows it."""


class _Part(NamedTuple):
    chunk: Chunk
    """As it is stored: without secrets."""
    raw: int
    """Bytes in the file."""


class Stored(msgspec.Struct, frozen=True):
    """A version of a file, and what is needed to store the next one cheaply."""

    digest: str
    """Of the content, as it is stored."""
    size: int
    """Bytes of that."""
    raw: int
    seen: bytes
    """Keyed hash of what was read."""
    whole: _Hash
    parts: tuple[_Part, ...]


def store_large(descriptor: int, objects: ObjectStore, before: Stored | None, most: int) -> Stored | None:
    """Store an open file of which `before` was stored before; None where it is larger than `most` bytes.

    Raises OSError: `UnreadableFile` where it is the file's fault.
    """
    hasher = xxhash.xxh3_128(seed=_KEY)
    parts: list[_Part] = []
    whole, place, head = hashlib.sha256(), 0, b""
    if before is not None and _begins_with(descriptor, before, hasher, objects):
        if os.fstat(descriptor).st_size <= before.raw:
            return before
        parts, whole, place = list(before.parts), before.whole.copy(), before.raw
        new = os.fstat(descriptor).st_size - place
        small: list[_Part] = []
        while parts and parts[-1].raw < _LEAST and parts[-1].raw <= 2 * (new + sum(part.raw for part in small)):
            small.insert(0, parts.pop())
        try:
            head = b"".join(objects.get(part.chunk.digest) for part in small)
        except (OSError, ValueError):  # somebody was in the store
            return store_large(descriptor, objects, None, most)
        head_raw = sum(part.raw for part in small)
    else:
        hasher, head_raw = xxhash.xxh3_128(seed=_KEY), 0
    margin = objects.redactor.longest if objects.redactor is not None else 0
    buffer = b""
    while True:
        wanted = _MOST + margin - len(head) - len(buffer)
        while wanted > 0 and (piece := _read(descriptor, wanted, place + len(buffer))):
            buffer += piece
            wanted -= len(piece)
        if not buffer and not head:
            break
        cut = _cut(buffer, max(0, _LEAST - len(head)), max(0, _MOST - len(head)))
        if objects.redactor is not None:
            cut = objects.redactor.beyond(buffer, cut)
        raw, buffer = buffer[:cut], buffer[cut:]
        hasher.update(raw)
        place += len(raw)
        if place > most:
            return None
        clean = objects.redactor.data(raw) if objects.redactor is not None else raw
        whole.update(clean)
        parts.append(_Part(Chunk(objects.put(head + clean), len(head) + len(clean)), head_raw + len(raw)))
        head, head_raw = b"", 0
    digest, size = whole.hexdigest(), sum(part.chunk.size for part in parts)
    if len(parts) != 1 and digest not in objects:
        objects.put_chunks(digest, (part.chunk for part in parts))
    return Stored(digest, size, place, hasher.digest(), whole, tuple(parts))


class UnreadableFile(OSError):
    """Of the file that is to be stored, not of the store."""


def _read(descriptor: int, size: int, place: int) -> bytes:
    try:
        return os.pread(descriptor, size, place)
    except OSError as error:
        raise UnreadableFile(error.errno, error.strerror) from error


def _begins_with(descriptor: int, before: Stored, hasher: xxhash.xxh3_128, objects: ObjectStore) -> bool:
    """Whether the file begins with what was stored of it; `hasher` is then where that ends."""
    place = 0
    buffer = memoryview(bytearray(256 << 10))
    while place < before.raw:
        try:
            size = os.preadv(descriptor, [buffer[: before.raw - place]], place)
        except OSError as error:
            raise UnreadableFile(error.errno, error.strerror) from error
        if not size:
            return False
        hasher.update(buffer[:size])
        place += size
    if hasher.digest() != before.seen:
        return False
    if objects.redactor is None:
        return True
    margin = min(place, objects.redactor.longest)  # a secret of which only the beginning was there is stored anew
    around = _read(descriptor, 2 * objects.redactor.longest, place - margin)
    return objects.redactor.beyond(around, margin) == margin


def _cut(data: bytes, least: int, most: int) -> int:
    """Where the first chunk of `data` ends."""
    most = min(most, len(data))
    if most <= least:
        return most
    import numpy as np  # takes a tenth of a second, and few sessions have files of this size

    shift = np.uint64(64 - _BITS)
    for begin in range(least, most, _LOOKED_AT):
        end = min(begin + _LOOKED_AT, most)
        found = most
        for offset in range(8):
            count = (end - begin - offset) // 8
            if count > 0:
                words = np.frombuffer(data, "<u8", count, begin + offset)
                hits = np.flatnonzero((words * np.uint64(_FACTOR)) >> shift == 0)
                if hits.size:
                    found = min(found, begin + offset + 8 * int(hits[0]) + 8)
        if found < most:
            return found
    return most
