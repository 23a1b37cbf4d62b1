"""Reads a submission from an untrusted folder: the file is opened once, without following links, and copied."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Literal

from workbench.errors import WorkbenchError
from workbench.session.files import UnfitFile, read_file

_MESSAGE = 1000


def printable(text: str) -> str:
    """Text of a submission, or about it, on one line of bounded length."""
    return "".join(character if character.isprintable() else " " for character in text[: 4 * _MESSAGE])[:_MESSAGE]


class ArtifactError(WorkbenchError):
    """There is no submission to score. `verdict` says of which kind, `message` what to do: printable, on one line."""

    def __init__(self, verdict: Literal["missing", "invalid"], message: str) -> None:
        super().__init__(printable(message))
        self.verdict: Literal["missing", "invalid"] = verdict


def open_artifact(path: Path, cap: int, *, below: int = 0, seen: str = "") -> bytes:
    """The bytes of a regular file of at most `cap` bytes, opened without following a link at its last part or at the
    `below` folders that hold it. `seen`: its path, as the submission's author sees it. Raises ArtifactError.
    """
    name = "/".join(path.parts[-1 - below :])
    try:
        return read_file(path, cap, below=below)
    except UnfitFile as error:
        wanted = f"a regular file of at most {cap:,} bytes is wanted"
        raise ArtifactError("invalid", f"{name} cannot be scored: {error.strerror}; {wanted}") from error
    except (OSError, ValueError) as error:
        raise explain(error, name, seen) from error


def explain(error: OSError | ValueError, name: str, path: str = "") -> ArtifactError:
    """Explain to the submission's author why it cannot be opened. `path`: the whole one, as the author sees it."""
    code = getattr(error, "errno", None)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ArtifactError("missing", f"{name} is missing: write it{path and f' to {path}'}, then try again")
    if code in (errno.ELOOP, errno.EMLINK):
        return ArtifactError("invalid", f"{name} is a symbolic link: it must be a regular file")
    if isinstance(error, PermissionError):
        return ArtifactError("invalid", f"{name} cannot be read: chmod u+r {path or name}")
    if code == errno.ENXIO:
        return ArtifactError("invalid", f"{name} is not a regular file")
    return ArtifactError("invalid", f"{name} cannot be read: {getattr(error, 'strerror', None) or error}")
