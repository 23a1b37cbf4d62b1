"""Content-addressed store: each content once, named by its sha256.

A large content lies there in chunks, which are objects of their own: beside where it would be, with `.chunks` after its
name, is the list of them. So a version of a large file costs what is new in it. All sessions of a folder share what
they hold by hard links: a pool beside them has a second name of each object, from which the next session that stores
the same content takes it. A session needs the pool for nothing once it has its own name of an object.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from workbench.session.files import LARGEST_OBJECT, UnfitFile, is_file, make_folder, open_file, read_file
from workbench.session.secrets import Redactor

STORES = ("objects", "artifacts")
"""The folders of a session that hold what its log names by hash."""
POOL = ".objects"
"""The folder beside the sessions that holds what they share."""
SMALLEST_SHARED = 4096
"""Bytes. What is smaller takes a block of the disk whether it is shared or not."""
_LARGEST_STORED = 16 << 30
"""Bytes of the largest file that is read through."""
_LARGEST_LIST = 16 << 20
_PIECE = 1 << 20
DIGEST = re.compile(rb"[0-9a-f]{64}")
_LIST = ".chunks"


class Chunk(NamedTuple):
    """A part of a large content."""

    digest: str
    size: int


def content_hash(data: bytes) -> str:
    """sha256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def pool_of(session: Path) -> Path | None:
    """The pool that the session in a folder shares, where there is one."""
    pool = session.parent / POOL
    return pool if pool.is_dir() and not pool.is_symlink() else None


def digests_in(text: bytes) -> set[str]:
    """Whatever in a text may name an object."""
    return {found.decode() for found in DIGEST.findall(text)}


class ObjectStore:
    """Files named by the hash of their content, in one folder, made when first needed."""

    def __init__(self, folder: Path, redactor: Redactor | None = None, pool: Path | None = None) -> None:
        """`redactor`: what it knows as secret is left out of what is stored. `pool`: a folder whose objects are shared;
        it is on the same file system, or is not used.
        """
        self.folder = folder
        self.redactor = redactor
        self.pool = pool

    def path(self, digest: str) -> Path:
        """Where the content is, or would be."""
        return self.folder / _place(digest)

    def put(self, data: bytes) -> str:
        """Store `data` and return the hash of what was stored. Raises OSError (disk full, read-only folder)."""
        if self.redactor is not None:
            data = self.redactor.data(data)
        digest = content_hash(data)
        path = self.path(digest)
        if not is_file(path):
            make_folder(path.parent, below=1)
            if not self._from_pool(digest, len(data), data):
                _write(path, data)
                self._to_pool(digest, len(data))
        return digest

    def put_chunks(self, digest: str, chunks: Iterable[Chunk]) -> None:
        """Say of what stored chunks a content consists. Raises OSError."""
        path = _list_of(self.path(digest))
        if not is_file(path):
            make_folder(path.parent, below=1)
            _write(path, "".join(f"{chunk.digest} {chunk.size}\n" for chunk in chunks).encode())

    def put_file(self, path: Path) -> str:
        """Move a file of the same file system into the store, as it is; the hash of its content. Raises OSError."""
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = os.fstat(stream.fileno()).st_size
        target = self.path(digest)
        make_folder(target.parent, below=1)
        if not is_file(target) and self._from_pool(digest, size):
            path.unlink()
        else:
            path.replace(target)
            self._to_pool(digest, size)
        return digest

    def _from_pool(self, digest: str, size: int, data: bytes | None = None) -> bool:
        """Whether the object could be had from the pool, where it is as it should be."""
        if self.pool is None or size < SMALLEST_SHARED:
            return False
        with contextlib.suppress(OSError):
            pooled = self.pool / _place(digest)
            with os.fdopen(open_file(pooled, below=2), "rb") as stream:
                if data is not None:
                    whole = os.fstat(stream.fileno()).st_size == size and stream.read() == data
                else:
                    whole = hashlib.file_digest(stream, "sha256").hexdigest() == digest
            if whole:
                os.link(pooled, self.path(digest), follow_symlinks=False)
                return True
            pooled.unlink()
        return False

    def _to_pool(self, digest: str, size: int) -> None:
        if self.pool is not None and size >= SMALLEST_SHARED:
            with contextlib.suppress(OSError):  # a file system without hard links, or too many of one file
                pooled = self.pool / _place(digest)
                make_folder(pooled.parent, below=1)
                os.link(self.path(digest), pooled, follow_symlinks=False)

    def chunks(self, digest: str) -> list[Chunk] | None:
        """Of what a content consists; None where it is one object. Raises OSError; ValueError for a damaged list."""
        path = self.path(digest)
        if is_file(path) or not is_file(_list_of(path)):
            return None
        found = []
        for line in read_file(_list_of(path), _LARGEST_LIST, below=2).splitlines():
            name, _, size = line.decode("ascii").partition(" ")
            _place(name)
            found.append(Chunk(name, int(size)))
        return found

    def names(self, digest: str) -> list[str]:
        """Names of the files in which a content lies: its own, or those of its list and its chunks. Raises as `chunks`
        does.
        """
        chunks = self.chunks(digest)
        own = _place(digest)
        return [own] if chunks is None else [own + _LIST, *(_place(chunk.digest) for chunk in chunks)]

    def pieces(self, digest: str) -> Iterator[bytes]:
        """The content, piece by piece. Raises as `get` does, of damage only after the last piece."""
        chunks = self.chunks(digest)
        whole = hashlib.sha256()
        if chunks is None:
            with os.fdopen(open_file(self.path(digest), below=2), "rb") as stream:
                while piece := stream.read(_PIECE):
                    whole.update(piece)
                    yield piece
        else:
            for chunk in chunks:
                piece = read_file(self.path(chunk.digest), LARGEST_OBJECT, below=2)
                whole.update(piece)
                yield piece
        if whole.hexdigest() != digest:
            raise ValueError(_damaged(digest))

    def get(self, digest: str) -> bytes:
        """The content. Raises FileNotFoundError when it is missing, another OSError when it cannot be read as a whole,
        ValueError when it is damaged.
        """
        found, size = [], 0
        for piece in self.pieces(digest):
            size += len(piece)
            if size > LARGEST_OBJECT:
                raise UnfitFile(
                    self.path(digest), f"it is larger than {LARGEST_OBJECT >> 20} MB, the most that is read"
                )
            found.append(piece)
        return b"".join(found)

    @contextlib.contextmanager
    def open(self, digest: str) -> Iterator[BinaryIO]:
        """As `get`, for content that may be large: it is read through once, and then stands open."""
        path = self.path(digest)
        with os.fdopen(open_file(path, below=2), "rb") as stream:
            if os.fstat(stream.fileno()).st_size > _LARGEST_STORED:
                raise UnfitFile(path, f"it is larger than {_LARGEST_STORED >> 30} GB")
            if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
                raise ValueError(_damaged(digest))
            stream.seek(0)
            yield stream

    def __contains__(self, digest: str) -> bool:
        path = self.path(digest)
        return is_file(path) or is_file(_list_of(path))

    def take_from(self, other: ObjectStore, digests: Iterable[str], *, link: bool) -> list[str]:
        """Have what `other` has of these contents, too: with `link` the same files under a second name, else copies of
        what is found to be whole. Returns those that it has not whole. Raises OSError where nothing can be written.
        """
        lost = []
        for digest in digests:
            if digest in self or digest not in other:
                continue
            try:
                for name in other.names(digest):
                    target = self.folder / name
                    make_folder(target.parent, below=1)
                    if not (link and _linked(other.folder / name, target)):
                        data = read_file(other.folder / name, LARGEST_OBJECT, below=2)
                        if not name.endswith(_LIST) and content_hash(data) != name.replace("/", ""):
                            raise ValueError(_damaged(digest))
                        if not is_file(target):
                            _write(target, data)
            except (FileNotFoundError, UnfitFile, ValueError):
                lost.append(digest)
        return lost


def _list_of(path: Path) -> Path:
    return path.with_name(path.name + _LIST)


def _place(digest: str) -> str:
    """Where in a store an object is."""
    if len(digest) != 64 or not all(c in "0123456789abcdef" for c in digest):
        raise ValueError(f"not a sha256: {digest[:80]!r}")
    return f"{digest[:2]}/{digest[2:]}"


def _linked(source: Path, target: Path) -> bool:
    """Whether `target` is another name of the regular file `source` now."""
    try:
        if is_file(source):
            os.link(source, target, follow_symlinks=False)
            return True
    except FileExistsError:
        return is_file(target)
    except OSError:
        pass
    return False


def _write(path: Path, data: bytes) -> None:
    """As a whole or not at all."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with os.fdopen(open_file(temporary, os.O_WRONLY | os.O_CREAT, below=2), "wb") as stream:
            stream.write(data)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _damaged(digest: str) -> str:
    return f"object {digest[:12]} is damaged: its content does not match its name"
