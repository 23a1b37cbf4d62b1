"""Snapshots: what changed, stored once, restored exactly; nothing read through a link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.session.hostile import everything
from workbench.isolation.temporary import OwnedFolder
from workbench.session.events import FileChange, WorkspaceSnapshot, decode, encode
from workbench.session.objects import ObjectStore
from workbench.session.snapshot import Snapshotter, file_name, logged_name, restore


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "objects")


def kinds(changes: list[FileChange]) -> dict[str, str]:
    return {change.path: change.kind for change in changes}


def test_added_modified_deleted(workspace: Path, objects: ObjectStore) -> None:
    snapshotter = Snapshotter(workspace, objects)
    (workspace / "a.py").write_text("one")
    (workspace / "data").mkdir()
    (workspace / "data" / "b.csv").write_text("1,2")
    first = snapshotter.scan()
    assert kinds(first.changes) == {"a.py": "added", "data/b.csv": "added"}
    assert snapshotter.scan().changes == []
    (workspace / "a.py").write_text("two")
    (workspace / "data" / "b.csv").unlink()
    third = snapshotter.scan()
    assert kinds(third.changes) == {"a.py": "modified", "data/b.csv": "deleted"}
    assert third.tree != first.tree
    changed = next(change for change in third.changes if change.path == "a.py")
    assert changed.object is not None
    assert objects.get(changed.object) == b"two"


def test_the_tree_hash_is_that_of_the_content(workspace: Path, objects: ObjectStore) -> None:
    snapshotter = Snapshotter(workspace, objects)
    (workspace / "a").write_text("one")
    before = snapshotter.scan().tree
    (workspace / "a").write_text("two")
    assert snapshotter.scan().tree != before
    (workspace / "a").write_text("one")
    assert snapshotter.scan().tree == before


def test_a_rewrite_of_the_same_size_in_the_same_tick_is_seen(workspace: Path, objects: ObjectStore) -> None:
    snapshotter = Snapshotter(workspace, objects)
    file = workspace / "a"
    for number in range(10, 60):
        before = file.stat() if file.exists() else None
        with file.open("r+b" if before else "w+b") as stream:
            stream.write(b"%d" % number)
        if before:
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        changes = snapshotter.scan().changes
        assert len(changes) == 1
        assert changes[0].object is not None
        assert objects.get(changes[0].object) == b"%d" % number


def test_links_are_recorded_and_never_followed(workspace: Path, objects: ObjectStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("do not store me")
    (workspace / "file").symlink_to(secret / "key")
    (workspace / "folder").symlink_to(secret)
    os.mkfifo(workspace / "pipe")
    found = Snapshotter(workspace, objects).scan()
    assert {change.path: change.target for change in found.changes} == {
        "file": str(secret / "key"),
        "folder": str(secret),
    }
    assert not any(path.is_file() for path in objects.folder.glob("*/*"))


def test_large_files_are_named_but_not_kept(workspace: Path, objects: ObjectStore) -> None:
    (workspace / "big").write_bytes(b"x" * 2000)
    snapshotter = Snapshotter(workspace, objects, largest_file=1000)
    found = snapshotter.scan()
    assert found.skipped == ["big"]
    assert found.changes[0].object is None
    assert found.changes[0].size == 2000
    assert snapshotter.scan().skipped == ["big"]


def test_a_missing_workspace_is_no_error(tmp_path: Path, objects: ObjectStore) -> None:
    assert Snapshotter(tmp_path / "gone", objects).scan().skipped == ["."]


_NAMES = st.sampled_from(["a", "b.py", "d/e", "d/f.txt", "d/g/h", "ä ö", "x" * 60])


@given(st.lists(st.tuples(_NAMES, st.one_of(st.none(), st.binary(max_size=40))), max_size=12))
def test_restore_gives_the_same_tree(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[str, bytes | None]]
) -> None:
    root = tmp_path_factory.mktemp("trees")
    workspace, copy, objects = root / "w", root / "c", ObjectStore(root / "o")
    workspace.mkdir()
    copy.mkdir()
    snapshotter = Snapshotter(workspace, objects)
    files: dict[str, FileChange] = {}
    tree = ""
    for name, data in writes:
        target = workspace / name
        if data is None:
            target.unlink(missing_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        found = snapshotter.scan()
        tree = found.tree
        for change in found.changes:
            if change.kind == "deleted":
                files.pop(change.path)
            else:
                files[change.path] = change
    assert restore(files.values(), objects, copy) == []
    if writes:
        assert Snapshotter(copy, ObjectStore(root / "o2")).scan().tree == tree


def test_restore_stays_inside(tmp_path: Path, objects: ObjectStore) -> None:
    digest = objects.put(b"evil")
    folder = tmp_path / "w"
    folder.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    files = [
        FileChange(path="link", kind="added", target=str(outside)),
        FileChange(path="link/evil", kind="added", object=digest),
        FileChange(path="../evil", kind="added", object=digest),
        FileChange(path="lost", kind="added", object="0" * 64),
    ]
    assert restore(files, objects, folder) == ["link/evil", "../evil", "lost"]
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "evil").exists()


def test_trees_too_deep_or_too_wide_are_cut(workspace: Path, objects: ObjectStore) -> None:
    (workspace / "kept").write_text("here")
    here = os.open(workspace, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    found = Snapshotter(workspace, objects).scan()
    assert kinds(found.changes) == {"kept": "added"} and found.skipped == ["d/" * 99 + "d"]
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) == descriptors
    folder = OwnedFolder("run")
    workspace.rename(folder.path / "workspace")
    folder.remove()
    assert not folder.path.exists()


def test_empty_folders_count_too(workspace: Path, objects: ObjectStore) -> None:
    for number in range(200):
        (workspace / f"{number:03}").mkdir()
        (workspace / f"{number:03}" / "below").mkdir()
    snapshotter = Snapshotter(workspace, objects, most_entries=100)
    assert snapshotter.scan().skipped
    assert snapshotter._seen <= 102


def test_a_store_that_cannot_be_written_is_no_deleted_file(workspace: Path, tmp_path: Path) -> None:
    """A full disk must be told, not be logged as a change of the workspace."""
    snapshotter = Snapshotter(workspace, ObjectStore(tmp_path / "objects"))
    (workspace / "a").write_text("one")
    snapshotter.scan()
    (tmp_path / "objects").rename(tmp_path / "away")
    (tmp_path / "objects").write_text("in the way")
    (workspace / "a").write_text("two")
    with pytest.raises(OSError):
        snapshotter.scan()
    (tmp_path / "objects").unlink()
    assert kinds(snapshotter.scan().changes) == {"a": "modified"}


def test_nothing_is_restored_outside_or_over_something_else(tmp_path: Path, objects: ObjectStore) -> None:
    digest = objects.put(b"evil")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").write_text("mine")
    folder = tmp_path / "w"
    folder.mkdir()
    links = [
        FileChange(path="link", kind="added", target=str(outside)),
        FileChange(path="file-link", kind="added", target=str(outside / "mine")),
        FileChange(path="good", kind="added", object=digest),
        FileChange(path="sub/good", kind="added", object=digest),
    ]
    bad = ["link/new/evil", "link/mine", "file-link", "good/in-a-file", "sub", "good", "a/../../evil", "/evil", "./x"]
    bad += ["", "a//b", "a/", "a\0b", "a\0zz", "n" * 5000, f"new/{'n' * 300}", "/".join("n" * 101), "n/" * 3000 + "n"]
    bad += ["..", ".", "\ud800"]
    changes = [FileChange(path=path, kind="added", object=digest) for path in bad]
    changes += [FileChange(path=f"l{i}", kind="added", target=t) for i, t in enumerate(("", "a\0b", "t" * 5000))]
    changes += [FileChange(path="new/lost", kind="added", object="0" * 64), FileChange(path="no/hash", kind="added")]
    before = everything(outside)
    assert restore([*links, *changes], objects, folder) == [change.path[:4095] for change in changes]
    assert everything(outside) == before
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == [
        *("file-link", "good", "link", "sub", "sub/good"),
    ], "not even a folder is made for what is refused"
    assert (folder / "good").read_bytes() == b"evil"
    assert {path.name for path in tmp_path.iterdir()} == {"w", "outside", "objects"}


def test_names_that_are_no_text_stay_apart(workspace: Path, objects: ObjectStore, tmp_path: Path) -> None:
    names = [b"caf\xe9", b"caf\xe8", b"d\xff/caf\xe9", "café".encode(), b"caf\\xe9", b"\xef\xbf\xbd"]
    (workspace / os.fsdecode(b"d\xff")).mkdir()
    for name in names:
        (workspace / os.fsdecode(name)).write_bytes(name)
    (workspace / "link").symlink_to(os.fsdecode(b"caf\xe9"))
    found = Snapshotter(workspace, objects).scan()
    line = encode(WorkspaceSnapshot(step=1, tree=found.tree, changes=found.changes))
    read = decode(line)
    assert isinstance(read, WorkspaceSnapshot)
    assert read.changes == found.changes, "the log has them as they are in memory"
    copy = tmp_path / "copy"
    copy.mkdir()
    assert restore(read.changes, objects, copy) == []
    assert everything(copy) == everything(workspace)
    assert os.readlink(os.fsencode(copy / "link")) == b"caf\xe9"


@given(st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name))
def test_each_name_has_its_own_form_in_the_log(name: bytes) -> None:
    assert file_name(logged_name(name)) == name
    logged_name(name).encode("utf-8")
