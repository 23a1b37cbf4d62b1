"""Reads a submission from an untrusted folder: the file is opened once, without following links, and copied."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Literal

from workbench.errors import WorkbenchError

_MESSAGE = 1000


def printable(text: str) -> str:
    """Text of a submission, or about it, on one line of bounded length."""
    return "".join(character if character.isprintable() else " " for character in text[: 4 * _MESSAGE])[:_MESSAGE]


class ArtifactError(WorkbenchError):
    """There is no submission to score. `verdict` says of which kind, `message` what to do: printable, on one line."""

    def __init__(self, verdict: Literal["missing", "invalid"], message: str) -> None:
        super().__init__(printable(message))
        self.verdict: Literal["missing", "invalid"] = verdict


def open_artifact(path: Path | str, cap: int) -> bytes:
    """The bytes of a regular file of at most `cap` bytes, read once. Raises ArtifactError."""
    name = os.path.basename(path) or str(path)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK: a FIFO must not hold us
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise explain(error, name) from error
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError
        if not stat.S_ISREG(found.st_mode):
            raise ArtifactError("invalid", f"{name} is not a regular file")
        data = bytearray()
        while len(data) <= cap:  # the size is counted, not believed: the file may be growing
            piece = os.read(descriptor, min(1 << 20, cap + 1 - len(data)))
            if not piece:
                return bytes(data)
            data += piece
    except OSError as error:
        raise explain(error, name) from error
    finally:
        os.close(descriptor)
    raise ArtifactError("invalid", f"{name} is larger than {cap:,} bytes, the most that this task takes")


def explain(error: OSError | ValueError, name: str, path: str = "") -> ArtifactError:
    """Explain to the submission's author why it cannot be opened. `path`: the whole one, as the author sees it."""
    code = getattr(error, "errno", None)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ArtifactError("missing", f"{name} is missing: write it{path and f' to {path}'}, then try again")
    if isinstance(error, IsADirectoryError):
        return ArtifactError("invalid", f"{name} is a folder: it must be a regular file")
    if code in (errno.ELOOP, errno.EMLINK):
        return ArtifactError("invalid", f"{name} is a symbolic link: it must be a regular file")
    if isinstance(error, PermissionError):
        return ArtifactError("invalid", f"{name} cannot be read: chmod u+r {path or name}")
    if code == errno.ENXIO:
        return ArtifactError("invalid", f"{name} is not a regular file")
    return ArtifactError("invalid", f"{name} cannot be read: {getattr(error, 'strerror', None) or error}")
