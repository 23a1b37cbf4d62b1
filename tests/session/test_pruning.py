"""Pruning: what nobody needs goes; nothing that a session shows, and nothing of one that runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from workbench.session import events as ev
from workbench.session.clock import Clock
from workbench.session.log import EventLog
from workbench.session.objects import POOL, ObjectStore, pool_of
from workbench.session.pruning import prune
from workbench.session.snapshot import Snapshotter
from workbench.session.store import new_session_folder, remove_session


def session(root: Path, files: dict[str, bytes]) -> tuple[Path, EventLog, ObjectStore]:
    """A session whose log names these files."""
    folder = new_session_folder(root, "t")
    workspace = root.parent / f"w-{folder.name}"
    workspace.mkdir()
    for name, data in files.items():
        (workspace / name).write_bytes(data)
    log = EventLog(folder, Clock())
    store = ObjectStore(folder / "objects", pool=pool_of(folder))
    log.append(ev.SessionStarted(format=1, task="t"))
    found = Snapshotter(workspace, store).scan()
    log.append(ev.WorkspaceSnapshot(step=0, tree=found.tree, changes=found.changes))
    return folder, log, store


def age(path: Path) -> None:
    for each in path.rglob("*"):
        os.utime(each, (1, 1), follow_symlinks=False)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 3600)


def whole(store: ObjectStore, files: dict[str, bytes], folder: Path) -> bool:
    from workbench.session.log import read_log
    from workbench.session.state import fold

    kept = {file.path: store.get(file.object or "") for file in fold(read_log(folder)[0]).files_at()}
    return kept == files


def test_what_no_session_has_any_more_goes(tmp_path: Path, later: None) -> None:
    root = tmp_path / "sessions"
    shared, alone = os.urandom(6 << 20), os.urandom(50_000)
    first, log, _ = session(root, {"shared": shared, "alone": alone})
    second, other, store = session(root, {"shared": shared})
    for each in (log, other):
        each.close()
    assert prune(root).freed == 0
    remove_session(first)
    tried = prune(root, dry_run=True)
    assert (tried.unshared, tried.freed) == (1, 50_000)
    done = prune(root)
    assert (done.unshared, done.freed) == (1, 50_000)
    assert prune(root).freed == 0
    assert whole(store, {"shared": shared}, second)


def test_what_a_log_does_not_name_goes_and_the_rest_stays(tmp_path: Path, later: None) -> None:
    root = tmp_path / "sessions"
    files = {"large": os.urandom(6 << 20), "small": b"x"}
    folder, log, store = session(root, files)
    store.put(b"never logged" * 1000)
    assert prune(root).running == [folder], "its process may be about to name it"
    log.close()
    done = prune(root)
    assert (done.unnamed, done.unshared, done.freed) == (1, 1, 12_000)
    assert whole(store, files, folder)


def test_what_is_young_stays(tmp_path: Path) -> None:
    root = tmp_path / "sessions"
    _, log, store = session(root, {})
    digest = store.put(b"about to be named")
    log.close()
    assert prune(root).unnamed == 0 and digest in store


def test_what_is_there_twice_becomes_one(tmp_path: Path, later: None) -> None:
    """Sessions of older versions shared nothing."""
    root = tmp_path / "sessions"
    data = os.urandom(50_000)
    made = []
    for _ in range(2):
        folder, log, _ = session(root, {})
        store = ObjectStore(folder / "objects")
        change = ev.FileChange(path="a", kind="added", object=store.put(data))
        log.append(ev.WorkspaceSnapshot(step=0, tree="", changes=[change]))
        log.close()
        made.append((folder, store))
    done = prune(root)
    assert (done.joined, done.freed) == (1, 50_000)
    assert all(whole(store, {"a": data}, folder) for folder, store in made)
    assert prune(root).joined == 0


def test_a_pool_that_is_a_link_is_left_alone(tmp_path: Path, later: None) -> None:
    root, outside = tmp_path / "sessions", tmp_path / "outside" / "aa"
    outside.mkdir(parents=True)
    (outside / "mine").write_text("mine")
    root.mkdir()
    (root / POOL).symlink_to(outside.parent)
    assert prune(root).unshared == 0
    assert (outside / "mine").exists()


def test_what_is_left_of_something_that_was_killed_goes(tmp_path: Path, later: None) -> None:
    root = tmp_path / "sessions"
    folder, log, _ = session(root / ".again-x", {"a": b"x"})
    left = root / ".20260102-101500-t-0c77d2"
    left.mkdir()
    (left / "events.jsonl").write_text("{")
    assert prune(root).sessions == [left], "the other one runs"
    log.close()
    assert prune(root).sessions == [folder.parent] and not folder.parent.exists()
