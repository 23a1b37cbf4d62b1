"""Copies the submission out of the workspace into the session's store, from where it is scored."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from pathlib import Path

from workbench.isolation.spec import SandboxError
from workbench.isolation.watch import megabytes
from workbench.sandbox.base import Sandbox
from workbench.scoring.artifact import ArtifactError, explain
from workbench.scoring.bundle import pack
from workbench.scoring.copying import Check, copy_in_thread
from workbench.session.files import make_folder
from workbench.session.objects import ObjectStore
from workbench.tasks.catalogue import Task

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
        return await _take_file(task, sandbox, store)
    except OSError as error:
        raise SandboxError(f"the submission cannot be stored in {store.folder}: {error.strerror or error}") from error


async def _take_file(task: Task, sandbox: Sandbox, store: ObjectStore) -> tuple[str, bytes | Path]:
    name = task.artifact.path
    path = f"{sandbox.workspace}/{name}"
    try:
        data = await sandbox.read_file(path, task.artifact.max_bytes)
    except OSError as error:
        raise explain(error, name, path) from None
    except SandboxError as error:
        raise ArtifactError("invalid", f"{name} cannot be scored: {error}") from None
    return await asyncio.to_thread(store.put, data), data


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
