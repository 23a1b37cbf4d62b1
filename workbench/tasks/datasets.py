"""Datasets: found by id and prepared once into a cache, as a public part and a secret one that never enters a sandbox.
* The user's own files are looked for in the folder of `$MLGYM_DATA` (else `~/.local/share/mlgym-tui/data`). * What is
prepared goes to `$MLGYM_CACHE` (else `~/.cache/mlgym-tui`), each in a folder that appears there at once, complete, with
a manifest of checksums. A stopped preparation leaves nothing behind that counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from workbench.session.files import NoLocks, lock
from workbench.session.secrets import cache_folder, data_folder
from workbench.tasks.catalogue import TASK_FILE, Task, Variant, task_roots
from workbench.tasks.errors import TaskError
from workbench.tasks.making import Progress

if TYPE_CHECKING:
    from workbench.tasks.dataset_schema import DatasetSpec, InstalledSource

FORMAT = 1
"""The format of the cache; part of each key."""
_MANIFEST = "manifest.json"


class DatasetError(TaskError):
    """A dataset is not available. `str()` says why, and what to do."""


class Dataset(msgspec.Struct, frozen=True):
    """A dataset that was found and checked."""

    file: Path
    spec: DatasetSpec

    @property
    def id(self) -> str:
        """The id by which tasks refer to it."""
        return self.spec.id

    @property
    def maker(self) -> Path:
        """The Python file that prepares it."""
        return self.file.parent / self.spec.prepare.file


class Prepared(msgspec.Struct, frozen=True):
    """A prepared dataset. Its files must not be changed."""

    id: str
    folder: Path
    manifest: Mapping[str, Any]
    """Where it came from, and its files with their sizes and checksums."""

    @property
    def label(self) -> str:
        """Empty for the real data; else the label of a score on them ("stand-in", "not the known file")."""
        return str(self.manifest["label"])

    @property
    def secret(self) -> Path:
        """What only an evaluator sees."""
        return self.folder / "secret"

    def public(self, protocol: str = "") -> Path:
        """What the agent sees, read-only."""
        other = self.folder / "mlgym"
        return other if protocol == "mlgym" and other.is_dir() else self.folder / "public"

    def checksums(self) -> dict[str, str]:
        """The sha256 of each file, as it was prepared."""
        return {str(name): str(facts["sha256"]) for name, facts in sorted(self.manifest["files"].items())}


def find_dataset(ident: str, task: Task) -> Dataset:
    """A dataset of a task: in its own folder, or beside the tasks. Raises TaskError."""
    from workbench.tasks.dataset_schema import read_dataset

    roots = [task.folder, task.folder.parent, *task_roots()]
    for root in roots:
        file = root / "datasets" / f"{ident}.yaml"
        if file.is_file():
            return Dataset(file, read_dataset(file))
    looked = ", ".join(str(root / "datasets") for root in dict.fromkeys(roots))
    raise DatasetError(f"{task.folder / TASK_FILE}: datasets: {ident!r} is not there: no {ident}.yaml in {looked}")


def datasets_of(task: Task) -> list[Dataset]:
    """All datasets of a task. Raises TaskError."""
    return [find_dataset(ident, task) for ident in task.spec.datasets]


def prepare_task(task: Task, progress: Progress | None = None) -> dict[str, Prepared]:
    """The datasets of a task in its variant, prepared now where they were not. By id. Raises TaskError, OSError."""
    return {dataset.id: prepare(dataset, task.variant, progress) for dataset in datasets_of(task)}


def label_of(prepared: dict[str, Prepared]) -> str:
    """The label of a score on these data; empty for the real data."""
    return ", ".join(dict.fromkeys(item.label for item in prepared.values() if item.label))


def mounts(task: Task, prepared: dict[str, Prepared]) -> dict[Path, str]:
    """The public parts, and where they are in the workspace: `data`, or `data/<id>` where there are several."""
    one = len(prepared) == 1
    return {item.public(task.protocol): "data" if one else f"data/{name}" for name, item in prepared.items()}


def data_folder_of_user() -> Path:
    """Where files that the user brings are looked for."""
    return data_folder("MLGYM_DATA", "data")


def missing(dataset: Dataset, variant: Variant) -> str | None:
    """Why a dataset cannot be used now, and what to do; None when it is prepared or can be, without the network."""
    if variant and dataset.spec.tiny is None:
        return f"dataset {dataset.id} has no stand-in: leave --dataset out"
    if variant or _find(dataset, variant) is not None:
        return None
    source = dataset.spec.source
    if source.kind == "local":
        folder = data_folder_of_user() / source.folder
        lacking = [name for name in source.files if not (folder / name).is_file()]
        if lacking:
            how = source.how.strip().rstrip(".")
            stand_in = "; or use the small stand-in: --dataset tiny" if dataset.spec.tiny else ""
            return f"dataset {dataset.id}: {', '.join(lacking)} not in {folder}. {how}{stand_in}"
    if _is_fetched(dataset) and importlib.util.find_spec(_LIBRARIES[source.kind]) is None:
        stand_in = ", or use the small stand-in: --dataset tiny" if dataset.spec.tiny else ""
        fetch = f"pip install 'mlgym-tui[data]'{_or_install(dataset)}{stand_in}"
        return f"dataset {dataset.id} comes from Hugging Face: {fetch}"
    return None


_LIBRARIES = {"huggingface": "datasets", "hub-files": "huggingface_hub"}
"""Of the sources that are fetched."""


def _is_fetched(dataset: Dataset) -> bool:
    """Whether its data come over the network: this machine has them nowhere."""
    return dataset.spec.source.kind in _LIBRARIES and _on_this_machine(dataset)[1] is None


def needs_network(dataset: Dataset, variant: Variant) -> bool:
    """Whether preparing it will fetch something."""
    return not variant and _is_fetched(dataset) and _find(dataset, variant) is None


def prepare(dataset: Dataset, variant: Variant = "", progress: Progress | None = None) -> Prepared:
    """The dataset in the cache. It is prepared now if it is not there, or if its source has changed. Blocks; an
    exception raised in `progress` (and KeyboardInterrupt) stops the preparation, with nothing left behind. Raises
    DatasetError or OSError.
    """
    why = missing(dataset, variant)
    if why is not None:
        raise DatasetError(why)
    found = _find(dataset, variant)
    if found is not None and _source_is_the_same(dataset, variant, found):
        return found
    home = cache_folder() / "datasets" / dataset.id
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home, progress):
        found = _find(dataset, variant)  # another process may have made it meanwhile
        if found is not None and _source_is_the_same(dataset, variant, found):
            return found
        for left in home.glob(".making-*"):
            _delete(left)
        making = Path(tempfile.mkdtemp(prefix=".making-", dir=home))
        try:
            hub = _run(dataset, variant, making, progress)
            _write_manifest(dataset, variant, making, hub)
            final = _folder(dataset, variant)
            if final.exists():
                final.rename(making / "replaced")
            (making / "made").rename(final)
        finally:
            _delete(making)
    found = _find(dataset, variant)
    if found is None:
        raise DatasetError(f"dataset {dataset.id} was prepared in {home}, but is not there: is the disk full?")
    return found


def verify(prepared: Prepared) -> list[str]:
    """Files that differ from what was prepared. All of them are read. Raises OSError."""
    then = prepared.checksums()
    now = {path.relative_to(prepared.folder).as_posix(): path for path in _files(prepared.folder)}
    wrong = [f"{name} is missing" for name in then if name not in now]
    wrong += [f"{name} does not belong there" for name in now if name not in then]
    return wrong + [
        f"{name} was changed" for name, path in now.items() if name in then and file_hash(path) != then[name]
    ]


def _key(dataset: Dataset, variant: Variant) -> str:
    text = [str(FORMAT).encode(), variant.encode(), dataset.file.read_bytes(), dataset.maker.read_bytes()]
    return hashlib.sha256(b"\0".join(text)).hexdigest()[:12]


def _folder(dataset: Dataset, variant: Variant) -> Path:
    return cache_folder() / "datasets" / dataset.id / f"{variant or 'full'}-{_key(dataset, variant)}"


def _find(dataset: Dataset, variant: Variant) -> Prepared | None:
    """The prepared dataset, where its files are all there with their sizes."""
    folder = _folder(dataset, variant)
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if any((folder / name).lstat().st_size != facts["size"] for name, facts in manifest["files"].items()):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Prepared(dataset.id, folder, manifest)


def _source_is_the_same(dataset: Dataset, variant: Variant, prepared: Prepared) -> bool:
    """Whether the user's files, where they are still there, are those that it was made from."""
    if variant:
        return True
    folder, _ = _on_this_machine(dataset)
    for name, facts in prepared.manifest["source"].items():
        with contextlib.suppress(OSError):
            now = (folder / name).stat()
            as_before = (now.st_size, now.st_mtime_ns) == (facts["size"], facts["mtime_ns"])
            if not as_before and file_hash(folder / name) != facts["sha256"]:
                return False
    return True


def _installed(dataset: Dataset) -> InstalledSource | None:
    """The Debian package that also has the data, if there is one."""
    source = dataset.spec.source
    return source.installed if source.kind == "huggingface" else None


def _or_install(dataset: Dataset) -> str:
    """A hint to install the Debian package, if that would help."""
    installed = _installed(dataset)
    return f", or apt-get install {installed.package}" if installed and _is_fetched(dataset) else ""


def _on_this_machine(dataset: Dataset) -> tuple[Path, dict[str, str | None] | None]:
    """Where this machine has files for it, and those files with the checksums of their known forms; None for the files
    unless they are all there.
    """
    from workbench.tasks.hub import is_pattern

    source, installed = dataset.spec.source, _installed(dataset)
    if source.kind == "local":
        folder, wanted = data_folder_of_user() / source.folder, source.files
    elif source.kind == "hub-files":
        folder, wanted = data_folder_of_user() / dataset.id, source.files
    elif installed is not None:
        folder, wanted = Path(installed.folder), installed.files
    else:
        return Path(), None
    found: dict[str, str | None] = {}
    for name, known in wanted.items():
        here = sorted(folder.glob(name)) if is_pattern(name) and source.kind == "hub-files" else [folder / name]
        here = [path for path in here if path.is_file()]
        if not here:
            return folder, None
        found.update({path.relative_to(folder).as_posix(): known for path in here})
    return folder, found


def _run(dataset: Dataset, variant: Variant, making: Path, progress: Progress | None) -> dict[str, Any]:
    """Prepare into `making/made` in a separate process, which ends with this one. Returns where data of the Hub came
    from.
    """
    from workbench.tasks.preparing import Order

    target = making / "made"
    target.mkdir()
    order = Order(str(dataset.file.absolute()), variant, str(target.absolute()))
    folder, files = _on_this_machine(dataset)
    if files is not None and not variant:
        order = replace(order, source=str(folder.absolute()), files=tuple(files))
    outcome: dict[str, Any] = {}
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "workbench.tasks.preparing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            cwd="/",
        ) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
            process.stdin.flush()
            for line in process.stdout:
                message = json.loads(line)
                if "progress" not in message:
                    outcome = message
                    break
                if progress is not None:
                    progress(float(message["progress"][0]), str(message["progress"][1]))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        errors.seek(0, os.SEEK_END)
        errors.seek(max(0, errors.tell() - 4096))
        from workbench.tasks.author_code import last_fault

        said = last_fault(errors.read().decode(errors="replace"), dataset.maker.parent)
    if "done" not in outcome:
        why = outcome.get("error") or said or f"the process of {dataset.maker} ended"
        raise DatasetError(f"dataset {dataset.id} could not be prepared: {why}{_or_install(dataset)}")
    return dict(outcome["done"])


def _write_manifest(dataset: Dataset, variant: Variant, making: Path, hub: dict[str, Any]) -> None:
    """Checksums of all files; they and their folders become read-only, the secret part closed to others."""
    made = making / "made"
    label = "stand-in" if variant else ""
    origin: dict[str, Any] = {}
    if not variant and not hub:
        folder_here, files_here = _on_this_machine(dataset)
        for name, known in (files_here or {}).items():
            path = folder_here / name
            found, digest = path.stat(), file_hash(path)
            origin[name] = {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": digest}
            if known is not None and digest != known:
                label = f"{name} is not the known file"
    files = {
        path.relative_to(made).as_posix(): {"size": path.stat().st_size, "sha256": file_hash(path)}
        for path in _files(made)
    }
    manifest = {"dataset": dataset.id, "variant": variant, "label": label, "source": origin, "hub": hub, "files": files}
    (made / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for folder, _, names in os.walk(made):
        for name in names:
            path = Path(folder, name)
            path.chmod(0o444)
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        Path(folder).chmod(0o755)  # stays writable to us, so that it can be renamed and removed
    (made / "secret").chmod(0o700)


def _files(folder: Path) -> Iterator[Path]:
    """Regular files below a folder, but for its manifest, in order."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path != folder / _MANIFEST:
            yield path


def file_hash(path: Path) -> str:
    """sha256 of a file, in hexadecimal. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def _locked(home: Path, progress: Progress | None) -> Iterator[None]:
    """Hold the lock on a dataset: it is prepared by one process at a time."""
    with (home / ".lock").open("a") as file:
        with contextlib.suppress(NoLocks):
            if not lock(file):
                if progress is not None:
                    progress(0.0, f"waiting: another process prepares {home.name}")
                lock(file, wait=True)
        yield


def _delete(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
