"""Content-addressed store: each content once, named by its sha256."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from workbench.session.files import LARGEST_OBJECT, UnfitFile, is_file, make_folder, open_file, read_file
from workbench.session.secrets import Redactor

_LARGEST_STORED = 16 << 30
"""Bytes of the largest file that is read through."""


def content_hash(data: bytes) -> str:
    """sha256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


class ObjectStore:
    """Files named by the hash of their content, in one folder, made when first needed."""

    def __init__(self, folder: Path, redactor: Redactor | None = None) -> None:
        """`redactor`: what it knows as secret is left out of what is stored."""
        self.folder = folder
        self._redactor = redactor

    def path(self, digest: str) -> Path:
        """Where the content is, or would be."""
        if len(digest) != 64 or not all(c in "0123456789abcdef" for c in digest):
            raise ValueError(f"not a sha256: {digest[:80]!r}")
        return self.folder / digest[:2] / digest[2:]

    def put(self, data: bytes) -> str:
        """Store `data` and return the hash of what was stored. Raises OSError (disk full, read-only folder)."""
        if self._redactor is not None:
            data = self._redactor.data(data)
        digest = content_hash(data)
        path = self.path(digest)
        if not is_file(path):
            make_folder(path.parent, below=1)
            temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
            try:
                with os.fdopen(open_file(temporary, os.O_WRONLY | os.O_CREAT, below=2), "wb") as stream:
                    stream.write(data)
                temporary.replace(path)
            except OSError:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise
        return digest

    def put_file(self, path: Path) -> str:
        """Move a file of the same file system into the store, as it is; the hash of its content. Raises OSError."""
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        target = self.path(digest)
        make_folder(target.parent, below=1)
        path.replace(target)
        return digest

    def get(self, digest: str) -> bytes:
        """The content. Raises FileNotFoundError when it is missing, another OSError when it cannot be read as a whole,
        ValueError when it is damaged.
        """
        data = read_file(self.path(digest), LARGEST_OBJECT, below=2)
        if content_hash(data) != digest:
            raise ValueError(_damaged(digest))
        return data

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
        return is_file(self.path(digest))


def _damaged(digest: str) -> str:
    return f"object {digest[:12]} is damaged: its content does not match its name"
