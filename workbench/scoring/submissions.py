"""Copies the submission out of the workspace into the session's store, from where it is scored."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from pathlib import Path, PurePosixPath

from workbench.isolation.spec import SandboxError
from workbench.sandbox.base import Sandbox
from workbench.scoring.artifact import open_artifact
from workbench.scoring.bundle import pack
from workbench.scoring.copying import Check, copy_in_thread
from workbench.session.files import make_folder
from workbench.session.objects import ObjectStore
from workbench.tasks.catalogue import Task
from workbench.text import megabytes

MOST_KEPT = 8
"""The validations of a session may keep this many checkpoints or models of the largest allowed size."""


async def take(task: Task, sandbox: Sandbox, store: ObjectStore, *, validation: bool) -> tuple[str, bytes | Path]:
    """Copy the task's artifact out of the workspace and store it: its sha256, and its bytes or its archive.

    Raises ArtifactError where there is none, and SandboxError where it cannot be stored; validations have a limit in
    this, a submission has none.
    """
    try:
        if task.artifact.bundled:
            return await _take_archive(task, sandbox, store, validation)
        data = await asyncio.to_thread(read_submission, task, sandbox)
        return await asyncio.to_thread(store.put, data), data
    except OSError as error:
        raise SandboxError(f"the submission cannot be stored in {store.folder}: {error.strerror or error}") from error


def read_submission(task: Task, sandbox: Sandbox) -> bytes:
    """The submission of a task in which it is one file, as it is in the workspace. Raises ArtifactError."""
    path = PurePosixPath(task.artifact.path)
    seen = f"{sandbox.workspace}/{path}"
    return open_artifact(sandbox.workspace_folder / path, task.artifact.max_bytes, below=len(path.parts) - 1, seen=seen)


async def _take_archive(task: Task, sandbox: Sandbox, store: ObjectStore, validation: bool) -> tuple[str, bytes | Path]:
    """Take a checkpoint or model: its files become one archive."""
    wanted = task.artifact
    most = MOST_KEPT * wanted.max_bytes
    kept = await asyncio.to_thread(_size_of, store)
    if validation and kept >= most:
        raise SandboxError(
            f"what `validate` has scored in this session is kept, and takes {megabytes(kept)} already, of "
            f"{megabytes(most)}: nothing more can be validated; `submit` still works"
        )

    def store_archive(check: Check) -> str:
        descriptor, name = tempfile.mkstemp(prefix=".packing-", dir=store.folder)
        os.close(descriptor)
        try:
            pack(sandbox.workspace_folder, wanted.path, wanted.also, wanted.max_bytes, Path(name), check)
            return store.put_file(Path(name))
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)

    make_folder(store.folder)
    await asyncio.to_thread(_remove_leftovers, store.folder)
    digest = await copy_in_thread(store.folder, store_archive)
    return digest, store.path(digest)


def _remove_leftovers(folder: Path) -> None:
    """Remove archives that a killed workbench left unfinished. One process evaluates at a time, so nobody uses them."""
    for path in folder.glob(".packing-*"):
        path.unlink(missing_ok=True)


def _size_of(store: ObjectStore) -> int:
    return sum(file.stat().st_size for file in store.folder.rglob("*") if file.is_file())
