"""Snapshots: what changed, stored once, restored exactly; nothing read through a link."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.session.hostile import everything
from workbench.isolation.temporary import OwnedFolder
from workbench.session.events import FileChange, WorkspaceSnapshot, decode, encode
from workbench.session.objects import ObjectStore, content_hash
from workbench.session.secrets import Redactor
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
    folders: dict[str, FileChange] = {}
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
        for known, changes in ((files, found.changes), (folders, found.folders)):
            for change in changes:
                if change.kind == "deleted":
                    known.pop(change.path)
                else:
                    known[change.path] = change
    assert restore(files.values(), objects, copy, folders.values()) == []
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


def test_who_stops_a_restoration_leaves_no_half_of_a_file(
    tmp_path: Path, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pieces(_: str) -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    folder = tmp_path / "w"
    folder.mkdir()
    digest = objects.put(b"half of it")
    monkeypatch.setattr(objects, "pieces", pieces)
    with pytest.raises(KeyboardInterrupt):
        restore([FileChange(path="a", kind="added", object=digest)], objects, folder)
    assert not (folder / "a").exists()


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


def test_folders_come_back_with_what_they_allow(workspace: Path, objects: ObjectStore, tmp_path: Path) -> None:
    (workspace / "empty" / "inner").mkdir(parents=True)
    (workspace / "closed").mkdir()
    (workspace / "closed" / "run.sh").write_text("#!/bin/sh")
    (workspace / "closed" / "run.sh").chmod(0o750)
    (workspace / "closed").chmod(0o555)
    (workspace / "empty").chmod(0o700)
    snapshotter = Snapshotter(workspace, objects)
    found = snapshotter.scan()
    copy = tmp_path / "copy"
    copy.mkdir()
    assert restore(found.changes, objects, copy, found.folders) == []
    modes = {path.relative_to(copy).as_posix(): path.stat().st_mode & 0o777 for path in copy.rglob("*")}
    assert modes == {"empty": 0o700, "empty/inner": 0o755, "closed": 0o555, "closed/run.sh": 0o750}
    assert Snapshotter(copy, objects).scan().tree == found.tree
    (workspace / "empty" / "inner").rmdir()
    (workspace / "empty").chmod(0o755)
    after = snapshotter.scan()
    assert after.changes == [] and kinds(after.folders) == {"empty": "modified", "empty/inner": "deleted"}
    assert after.tree != found.tree
    for folder in (workspace / "closed", copy / "closed"):
        folder.chmod(0o755)


def test_a_folder_is_not_made_through_a_link_or_outside(tmp_path: Path, objects: ObjectStore) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "w"
    for each in (outside, folder):
        each.mkdir()
    link = FileChange(path="link", kind="added", target=str(outside))
    assert restore([link], objects, folder) == []
    bad = [FileChange(path=path, kind="added", mode=0o777) for path in ("../evil", "link/new", "/evil", "")]
    assert sorted(restore([], objects, folder, bad)) == sorted(change.path for change in bad)
    assert list(outside.iterdir()) == [] and outside.stat().st_mode & 0o777 != 0o777


def stored_bytes(objects: ObjectStore) -> int:
    return sum(path.stat().st_size for path in objects.folder.rglob("*") if path.is_file())


def content_of(found: list[FileChange], path: str, objects: ObjectStore) -> bytes:
    (change,) = (change for change in found if change.path == path)
    assert change.object is not None
    return objects.get(change.object)


def test_what_is_appended_to_a_large_file_costs_what_is_appended(workspace: Path, objects: ObjectStore) -> None:
    large = workspace / "train.log"
    large.write_bytes(os.urandom(9 << 20))
    snapshotter = Snapshotter(workspace, objects)
    snapshotter.scan()
    for number in range(40):
        before = stored_bytes(objects)
        with large.open("ab") as stream:
            stream.write(b"step %d: loss 0.5\n" % number)
        found = snapshotter.scan()
        assert content_of(found.changes, "train.log", objects) == large.read_bytes()
        assert stored_bytes(objects) - before < 20_000


def test_a_change_within_a_large_file_that_also_grew_is_seen(workspace: Path, objects: ObjectStore) -> None:
    large = workspace / "weights"
    large.write_bytes(os.urandom(9 << 20))
    snapshotter = Snapshotter(workspace, objects)
    snapshotter.scan()
    before, status = stored_bytes(objects), large.stat()
    with large.open("r+b") as stream:
        stream.seek(4 << 20)
        stream.write(b"other")
        stream.seek(0, os.SEEK_END)
        stream.write(b"more")
    os.utime(large, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert content_of(snapshotter.scan().changes, "weights", objects) == large.read_bytes()
    assert stored_bytes(objects) - before < 9 << 20, "chunks that are as they were are not stored again"
    os.truncate(large, 3 << 20)
    assert content_of(snapshotter.scan().changes, "weights", objects) == large.read_bytes()


def test_what_is_inserted_leaves_the_other_chunks_as_they_were(workspace: Path, objects: ObjectStore) -> None:
    data = os.urandom(16 << 20)
    (workspace / "a").write_bytes(data)
    snapshotter = Snapshotter(workspace, objects)
    snapshotter.scan()
    before = stored_bytes(objects)
    (workspace / "a").write_bytes(b"in front of all" + data)
    snapshotter.scan()
    assert stored_bytes(objects) - before < 10 << 20


@pytest.mark.parametrize("first", [5 << 20, (5 << 20) + 7])
def test_no_secret_is_stored_in_two_halves(workspace: Path, tmp_path: Path, first: int) -> None:
    secret = "sk-0123456789abcdef0123456789abcdef"
    objects = ObjectStore(tmp_path / "objects", Redactor([secret]))
    snapshotter = Snapshotter(workspace, objects)
    large, data = workspace / "log", secret.encode() * (first // len(secret))
    large.write_bytes(data + b"sk-01234567")
    snapshotter.scan()
    with large.open("ab") as stream:
        stream.write(b"89abcdef0123456789abcdef and more")
    kept = content_of(snapshotter.scan().changes, "log", objects)
    assert secret.encode() not in kept
    assert kept == (data + secret.encode() + b" and more").replace(secret.encode(), b"[redacted]")


def test_sessions_share_what_they_hold(workspace: Path, tmp_path: Path) -> None:
    pool = tmp_path / ".objects"
    stores = [ObjectStore(tmp_path / name / "objects", pool=pool) for name in ("one", "two")]
    (workspace / "data.csv").write_bytes(os.urandom(50_000))
    (workspace / "model.bin").write_bytes(os.urandom(6 << 20))
    for store in stores:
        found = Snapshotter(workspace, store).scan()
        for change in found.changes:
            assert content_of(found.changes, change.path, store) == (workspace / change.path).read_bytes()
    one, two = (
        {path.stat().st_ino for path in store.folder.rglob("*") if path.stat().st_size > 4096} for store in stores
    )
    assert one and {inode for inode in one if inode in two} == {
        path.stat().st_ino for path in stores[0].folder.rglob("*") if path.is_file() and path.suffix != ".chunks"
    }


def test_an_object_of_the_pool_that_is_not_what_its_name_says_is_found_out(workspace: Path, tmp_path: Path) -> None:
    data = b"x" * 10_000
    store = ObjectStore(tmp_path / "one" / "objects", pool=tmp_path / ".objects")
    digest = content_hash(data)
    pooled = tmp_path / ".objects" / digest[:2] / digest[2:]
    pooled.parent.mkdir(parents=True)
    pooled.write_bytes(b"y" * 10_000)
    assert store.put(data) == digest
    assert store.get(digest) == data
