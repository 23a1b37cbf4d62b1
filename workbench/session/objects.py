"""Content-addressed store: each content once, named by its sha256."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from workbench.session.redact import Redactor


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
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
            try:
                temporary.write_bytes(data)
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
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        return digest

    def get(self, digest: str) -> bytes:
        """The content. Raises FileNotFoundError when it is missing, ValueError when it is damaged."""
        data = self.path(digest).read_bytes()
        if content_hash(data) != digest:
            raise ValueError(f"object {digest[:12]} is damaged: its content does not match its name")
        return data

    def check(self, digest: str) -> None:
        """As `get`, for content that may be large: it is read through, and not kept."""
        with self.path(digest).open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
                raise ValueError(f"object {digest[:12]} is damaged: its content does not match its name")

    def __contains__(self, digest: str) -> bool:
        return self.path(digest).is_file()
