"""Downloads from the Hugging Face Hub: rows of a dataset, or files of any repository (weights, tokenizers, shards). Its
own cache is used, so that what was fetched once is not fetched again, and a broken download goes on where it ended. A
revision that is a branch is resolved to its commit first, which is recorded with the prepared dataset. Without the
network there is an error at once, unless all is in the cache.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.tasks.making import Progress, Rows, SourceError

if TYPE_CHECKING:
    from workbench.tasks.dataset_schema import HubFilesSource, HuggingFaceSource

_WAYS_OUT = "look at the network (HTTPS_PROXY, HF_ENDPOINT), or use the small stand-in: --dataset tiny"


def is_pattern(name: str) -> bool:
    """Whether a name in a source's `files` is a pattern."""
    return any(sign in name for sign in "*?[")


def fetch_rows(source: HuggingFaceSource, progress: Progress) -> tuple[Rows, dict[str, Any]]:
    """The splits of a dataset, and where they came from. Raises SourceError."""
    offline = _be_quick_offline()
    try:
        import datasets  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise SourceError(_not_installed("datasets")) from None
    revision = source.revision
    rows: dict[str, Any] = {}
    try:
        if not offline:
            revision = _library().HfApi().dataset_info(source.repo, revision=revision).sha
        for number, (ours, theirs) in enumerate(source.splits.items()):
            progress(number / len(source.splits), f"fetching {source.repo}, {theirs}")
            rows[ours] = datasets.load_dataset(source.repo, source.config, split=theirs, revision=revision)
    except SourceError:
        raise
    except Exception as error:  # the libraries raise a dozen kinds for a missing network alone
        raise _not_fetched(source.repo, error) from error
    return rows, {"repo": source.repo, "revision": revision}


def fetch_files(source: HubFilesSource, progress: Progress) -> tuple[dict[str, Path], dict[str, Any]]:
    """Files of a repository by their path in it, in the Hub's cache, checked; and where they came from.

    Raises SourceError.
    """
    offline = _be_quick_offline()
    library = _library()
    repo, kind = source.repo, source.repo_type
    try:
        if offline:
            folder = library.snapshot_download(
                repo, repo_type=kind, revision=source.revision, allow_patterns=list(source.files), local_files_only=True
            )
            commit = Path(folder).name
            names = [path.relative_to(folder).as_posix() for path in sorted(Path(folder).rglob("*")) if path.is_file()]
            found = {name: Path(folder, name) for name in chosen(names, source.files, repo)}
            expected: dict[str, str] = {}
        else:
            facts = library.HfApi().repo_info(repo, revision=source.revision, repo_type=kind, files_metadata=True)
            commit = str(facts.sha)
            sizes = {item.rfilename: int(item.size or 0) for item in facts.siblings}
            wanted = chosen(sorted(sizes), source.files, repo)
            expected = {item.rfilename: _known_hash(item) for item in facts.siblings}
            found = {}
            with _watched(library, repo, kind, sum(sizes[name] for name in wanted), progress):
                for name in wanted:
                    path = library.hf_hub_download(repo, name, repo_type=kind, revision=commit)
                    found[name] = Path(path)
    except Exception as error:  # as above
        if offline:
            raise SourceError(f"{repo}: the Hugging Face Hub does not answer; {_WAYS_OUT}") from error
        if isinstance(error, SourceError):
            raise
        raise _not_fetched(repo, error) from error
    for number, (name, path) in enumerate(found.items()):
        progress(number / len(found), f"checking {name}")
        _check(name, path, source.files.get(name), expected.get(name, ""), repo)
    return found, {"repo": repo, "revision": commit}


def chosen(names: list[str], files: Mapping[str, str | None], repo: str) -> list[str]:
    """Of `names`, those that `files` names or has a pattern for. Raises SourceError where one has none."""
    taken: dict[str, None] = {}
    for wanted in files:
        here = [name for name in names if (fnmatchcase(name, wanted) if is_pattern(wanted) else name == wanted)]
        if not here:
            raise SourceError(f"{repo} has no file {wanted}: it is not the repository, or the revision, that was meant")
        taken.update(dict.fromkeys(here))
    return list(taken)


def hub_answers(time_limit: float = 5.0) -> bool:
    """Whether the Hub answers. Its library would keep trying for minutes. `time_limit` in seconds."""
    import urllib.error
    import urllib.request

    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=time_limit).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def _be_quick_offline() -> bool:
    """Whether the Hub is out of reach. The libraries then look into their cache alone, so that they fail at once."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE") or not hub_answers():
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
        return True
    return False


def _library() -> Any:
    try:
        import huggingface_hub  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise SourceError(_not_installed("huggingface_hub")) from None
    return huggingface_hub


def _not_installed(package: str) -> str:
    return (
        f"the Python package `{package}` is not installed: pip install 'mlgym-tui[data]', "
        "or use the small stand-in: --dataset tiny"
    )


def _not_fetched(repo: str, error: Exception) -> SourceError:
    said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return SourceError(f"{repo} cannot be fetched from Hugging Face: {said}; {_WAYS_OUT}")


def _known_hash(item: Any) -> str:
    """What the Hub says of a file: its sha256 where it is large, else the hash that git has for it; or nothing."""
    lfs = item.lfs
    if lfs is not None:
        return str(lfs["sha256"] if isinstance(lfs, Mapping) else lfs.sha256)
    return str(item.blob_id or "")


def _check(name: str, path: Path, known: str | None, said: str, repo: str) -> None:
    """A file against the checksum of the task's author, else that of the Hub."""
    want = known or said
    git = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    digest = git if len(want) == 40 else hashlib.sha256()
    if not want:
        return
    with path.open("rb") as stream:
        got = hashlib.file_digest(stream, lambda: digest).hexdigest()
    if got != want:
        raise SourceError(
            f"{name} of {repo} is not what it should be (its checksum is {got[:12]}…, not {want[:12]}…): "
            f"delete {path.resolve()} and try again"
        )


@contextmanager
def _watched(library: Any, repo: str, kind: str, total: int, progress: Progress) -> Iterator[None]:
    """Report the progress of downloads by the growth of the Hub's cache: the libraries' own progress bars differ by
    version.
    """
    folder = Path(library.constants.HF_HUB_CACHE, f"{kind}s--{repo.replace('/', '--')}", "blobs")
    before = _size(folder)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            got = max(0, _size(folder) - before)
            progress(min(0.99, got / max(1, total)), f"fetching {repo}: {got / 1e6:,.0f} of {total / 1e6:,.0f} MB")

    progress(0.0, f"fetching {repo}: {total / 1e6:,.0f} MB")
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _size(folder: Path) -> int:
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue  # renamed meanwhile
    return total
